"""The loop that lifts a quantizer of one weight to a model."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from lib import quant
from lib.quant import lift
from lib.quant.layers import input_rows, layers

DATA_FREE = [name for name in quant.METHODS if name not in ("gptq", "adaround", "brecq")]


def net() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
                          nn.Flatten(), nn.Linear(8 * 36, 12), nn.ReLU(), nn.Linear(12, 3))
    nn.init.normal_(model[1].weight)
    nn.init.normal_(model[1].bias)
    return model


def images(n: int = 20) -> torch.Tensor:
    return torch.randn(n, 3, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", DATA_FREE)
def test_the_model_is_left_alone_and_its_copy_computes_what_is_stored(method):
    model = net()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    small = quant.ptq(model, method, bits=8, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert not any(hasattr(m, "compressed") for m in model.modules())
    assert small.training and not small.eval().training
    found = 0
    for module in small.modules():
        for key, q in getattr(module, "compressed", {}).items():
            found += 1
            assert torch.equal(getattr(module, key), q.dequantize()) and q.method == method
    assert found == (8 if method.startswith("edge_") and method != "edge_multipoint" else 3)
    if not method.startswith("edge_"):
        for name, t in small.state_dict().items():
            if name.endswith("bias") or name.startswith("1."):
                assert torch.equal(t, before[name])               # biases and batch-norm stay
    if method != "edge_multipoint":
        x = images()
        with torch.no_grad():
            y, z = model.eval()(x), small(x)
        assert (y - z).norm() < 0.1 * y.norm()


def test_sixteen_bits_are_the_identity_point():
    model, x = net().eval(), images()
    with torch.no_grad():
        y = model(x)
        for method in ("mid_tread", "nearest_uniform", "affine", "hqq"):
            assert torch.allclose(quant.ptq(model, method, bits=16)(x), y, atol=1e-3)


def test_bits_may_differ_by_layer_and_unnamed_layers_stay_float():
    small = quant.ptq(net(), "mid_tread", bits={"0": 3, "6": 5})
    assert {n: m.compressed["weight"].bits for n, m in layers(small).items()
            if hasattr(m, "compressed")} == {"0": 3, "6": 5}
    assert torch.equal(small[4].weight, net()[4].weight)
    with pytest.raises(ValueError, match=r"\['5'\], but the layers are: 0, 4, 6"):
        quant.ptq(net(), "mid_tread", bits={"5": 3})


@pytest.mark.parametrize("method", ["affine", "gptq", "brecq"])
def test_levels_may_differ_by_layer(method):
    more = {"steps": 3} if method == "brecq" else {}
    small = quant.ptq(net(), method, levels={"0": 3, "4": 6}, calibration=images(), **more)
    found = {name: layer.compressed["weight"] for name, layer in layers(small).items()
             if hasattr(layer, "compressed")}
    assert {name: (q.base, q.bits) for name, q in found.items()} == {"0": (3, 2), "4": (6, 3)}
    assert all(q.levels <= q.base for q in found.values())


def test_granularity_and_options_reach_the_method():
    small = quant.ptq(net(), "affine", bits=4, axis=None, clip="mse", symmetric=True)
    assert small[0].compressed["weight"].scale.shape == (1, 1)
    small = quant.ptq(net(), "affine", levels=3, group=9)
    assert small[0].compressed["weight"].scale.shape == (24, 1)
    assert small[0].compressed["weight"].levels == 3


def test_what_is_missing_or_unknown_is_said():
    with pytest.raises(ValueError, match="gptq needs calibration="):
        quant.ptq(net(), "gptq", bits=4)
    with pytest.raises(ValueError, match="use ptq"):
        quant.quantize(torch.randn(3, 3), "brecq")
    with pytest.raises(ValueError, match="gptq needs inputs="):
        quant.quantize(torch.randn(3, 3), "gptq")
    with pytest.raises(ValueError, match="choose one of: .*mid_rise"):
        quant.ptq(net(), "midrise")


def test_each_layer_sees_what_quantized_layers_before_it_make(monkeypatch):
    seen, mid_tread = [], quant.METHODS["mid_tread"]

    def spy(w, inputs, bits, axis, group, generator):
        seen.append(inputs)
        return mid_tread(w, bits, axis)

    monkeypatch.setattr(lift, "METHODS", {"spy": spy})
    model, x = net().eval(), images()
    small = quant.ptq(model, "spy", bits=2, calibration=x)
    with torch.no_grad():
        assert torch.equal(seen[1], small[:4](x)) and torch.equal(seen[2], small[:6](x))
        assert not torch.equal(seen[1], model[:4](x))
    assert seen[0].shape == (20 * 36, 27)
    model.add_module("7", nn.Identity())
    model.spare = nn.Linear(3, 3)
    model.forward = lambda x: nn.Sequential.forward(model[:7], x)
    with pytest.raises(ValueError, match="no input reached"):
        quant.ptq(model, "spy", bits=2, calibration=x)


@pytest.mark.parametrize("layer, shape", [
    (nn.Conv2d(4, 6, 3, stride=2, padding=1), (5, 4, 9, 8)),
    (nn.Conv2d(4, 6, (1, 3), dilation=2, padding="same", padding_mode="reflect"), (5, 4, 9, 8)),
    (nn.Conv2d(4, 6, 3, groups=2), (5, 4, 9, 8)), (nn.Conv1d(4, 6, 3, stride=2), (5, 4, 11)),
    (nn.Linear(4, 6), (5, 7, 4))])
def test_input_rows_times_weight_rows_are_the_outputs(layer, shape):
    x = torch.randn(shape)
    y = layer(x) - (layer.bias if isinstance(layer, nn.Linear)
                    else layer.bias.view(-1, *[1] * (len(shape) - 2)))
    rows, w = input_rows(layer, x), layer.weight.flatten(1)
    if rows.dim() == 3:                                              # (groups, rows, k)
        out = torch.cat([r @ part.T for r, part in zip(rows, w.chunk(2), strict=True)], 1)
    else:
        out = rows @ w.T
    wanted = y.flatten(0, -2) if isinstance(layer, nn.Linear) else y.movedim(1, -1).flatten(0, -2)
    order = (v[v[:, 0].argsort()] for v in (out.detach(), wanted.detach()))
    assert torch.allclose(*order, atol=1e-5)
    assert len(input_rows(layer, x, most=10).flatten(0, -2)) <= 2 * 10 + 5


def test_a_pruning_mask_becomes_zeros_that_mid_tread_keeps():
    class Mask(nn.Module):
        def forward(self, w):
            return w * (w.abs() > 0.05)

    model = net()
    for layer in layers(model).values():
        parametrize.register_parametrization(layer, "weight", Mask())
    small = quant.ptq(model, "mid_tread", bits=4)
    for a, b in zip(layers(model).values(), layers(small).values(), strict=True):
        assert (b.weight[a.weight == 0] == 0).all() and (a.weight == 0).any()
        assert b.compressed["weight"].nonzero <= a.weight.count_nonzero()
        assert not parametrize.is_parametrized(b)


def test_models_with_several_inputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x, y):
            return self.b(torch.relu(self.a(x)) + y)

    x = torch.randn(30, 3), torch.randn(30, 4)
    small = quant.ptq(Two(), "gptq", bits=4, calibration=x)
    assert small.a.compressed["weight"].levels <= 16


# Edge's loop.

def test_edge_shares_one_range_between_weight_and_bias():
    model = net()
    model[4].bias.data[0] = 3.0                                   # far outside the weights
    small = quant.ptq(model, "edge_nearest_uniform", bits=4)
    w, b = (small[4].compressed[key] for key in ("weight", "bias"))
    assert torch.equal(w.scale, b.scale)
    both = torch.cat([model[4].weight.flatten(), model[4].bias])
    assert torch.isclose(w.scale, (both.max() - both.min()) / 15).all()
    alone = quant.ptq(model, "edge_mid_rise", bits=4)[4].compressed
    assert alone["weight"].scale < 0.2 * alone["bias"].scale
    gamma = small[1].compressed
    assert set(gamma) == {"weight", "bias"} and not torch.equal(small[1].weight, model[1].weight)
    assert torch.equal(small[1].running_var, model[1].running_var)


def test_edge_multipoint_leaves_the_first_and_the_last_parameter_and_all_biases():
    small = quant.ptq(net(), "edge_multipoint", bits=3)
    assert {n: set(m.compressed) for n, m in small.named_modules() if hasattr(m, "compressed")} \
        == {"1": {"weight"}, "4": {"weight"}, "6": {"weight"}}


# Shared weights.

def tied() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    model[2].weight = model[0].weight
    return model


@pytest.mark.parametrize("method", ["affine", "hqq", "nearest_normal", "multipoint", "gptq"])
def test_a_shared_weight_is_quantized_once_and_stays_shared(method):
    small = quant.ptq(tied(), method, bits=3, calibration=torch.randn(64, 8))
    assert small[0].weight is small[2].weight
    for layer in (small[0], small[2]):
        assert torch.equal(layer.weight, layer.compressed["weight"].dequantize())


def test_brecq_refuses_a_shared_weight():
    with pytest.raises(ValueError, match="0, 2 share a weight"):
        quant.ptq(tied(), "brecq", bits=3, calibration=torch.randn(64, 8), steps=2)
