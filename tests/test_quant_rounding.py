"""GPTQ and AdaRound on weights small enough to check against plain definitions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib import quant
from lib.quant.affine import affine
from lib.quant.layers import input_rows
from lib.quant.rounding import adaround, gptq, output_error, second_moment


def toy(seed: int = 0, outputs: int = 6, columns: int = 20, rows: int = 300):
    """A weight, and inputs whose columns are strongly correlated."""
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(columns // 3, columns, generator=g)
    x = torch.randn(rows, columns // 3, generator=g) @ mix
    x = x + 0.3 * torch.randn(rows, columns, generator=g)
    return torch.randn(outputs, columns, generator=g), x


def loss(q, w, x) -> torch.Tensor:
    return output_error((q.dequantize() - w).reshape(len(w), -1), second_moment(w, x))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_gptq_beats_nearest_on_correlated_inputs(bits):
    """Column by column it is greedy, so one layer can come out worse (seed 946 at 2 bits): of
    twenty nearly all win, and the sum of errors falls far below."""
    errors = torch.tensor([[loss(q, w, x).sum() for q in (
        gptq(w, x, bits), affine(w, bits, clip="mse"))] for w, x in map(toy, range(20))])
    assert (errors[:, 0] < errors[:, 1]).sum() >= 18
    assert errors[:, 0].sum() < 0.7 * errors[:, 1].sum()


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1000), bits=st.integers(2, 4))
def test_adaround_is_never_worse_than_nearest_in_any_output(seed, bits):
    w, x = toy(seed)
    learned = loss(adaround(w, x, bits, steps=100), w, x)
    nearest = loss(affine(w, bits, clip="mse"), w, x)
    assert (learned <= nearest * (1 + 1e-4)).all()
    assert learned.sum() < 0.9 * nearest.sum()


def test_gptq_is_sequential_least_squares():
    """Without damping: after each column the later ones are the least-squares answer to its error,
    solved here anew each time."""
    w, x = toy(3)
    fast = gptq(w, x, 3, damping=1e-9)
    scale, zero = fast.scale.float(), fast.zero.float()
    h, rest, codes = second_moment(w, x)[0].double(), w.double(), torch.empty_like(w)
    for j in range(w.shape[1]):
        codes[:, j] = (rest[:, j] / scale[:, 0] + zero.expand_as(scale)[:, 0]).round().clamp(0, 7)
        error = rest[:, j] - (codes[:, j] - zero.expand_as(scale)[:, 0]) * scale[:, 0]
        if j + 1 < w.shape[1]:
            shift = torch.linalg.solve(h[j + 1:, j + 1:], h[j + 1:, j])
            rest[:, j + 1:] += error[:, None] * shift
    assert (codes == fast.codes).float().mean() > 0.99       # equal but for ties


def test_gptq_does_not_depend_on_the_block():
    w, x = toy(1)
    assert torch.equal(gptq(w, x, 3, block=4).codes, gptq(w, x, 3, block=128).codes)


def test_act_order_gives_codes_in_the_weights_own_order():
    w, x = toy(2)
    x = x * torch.linspace(0.1, 3, x.shape[1])[torch.randperm(
        x.shape[1], generator=torch.Generator().manual_seed(0))]
    q = gptq(w, x, 3, act_order=True)
    assert loss(q, w, x).sum() < loss(affine(w, 3, clip="mse"), w, x).sum()
    assert (q.dequantize() - w).abs().mean() < w.abs().mean()


@pytest.mark.parametrize("method", [gptq, adaround])
@pytest.mark.parametrize("how", [{"bits": 2}, {"bits": 2, "levels": 3}, {"bits": 3, "axis": None},
                                 {"bits": 3, "group": 7}, {"bits": 3, "symmetric": True}])
def test_codes_stay_on_the_grid_and_inputs_untouched(method, how):
    w, x = toy()
    kept_w, kept_x = w.clone(), x.clone()
    q = method(w, x, **how, **({"steps": 30} if method is adaround else {}))
    base = how.get("levels", 2 ** how["bits"])
    assert q.codes.shape == w.shape and 0 <= q.codes.min() <= q.codes.max() < base
    assert q.levels <= base and q.dequantize().isfinite().all()
    assert torch.equal(w, kept_w) and torch.equal(x, kept_x)


@pytest.mark.parametrize("method", [gptq, adaround])
def test_many_bits_are_the_identity(method):
    w, x = toy()
    assert (method(w, x, bits=16).dequantize() - w).abs().max() < 2e-4 * w.abs().max()


@pytest.mark.parametrize("method", [gptq, adaround])
def test_weights_on_the_grid_come_back(method):
    _, x = toy()
    w = torch.randint(0, 4, (6, 20), generator=torch.Generator().manual_seed(0)).float() - 1
    w[:, :2] = torch.tensor([-1.0, 2.0])
    assert torch.allclose(method(w, x, bits=2, clip="minmax").dequantize(), w)


def test_a_grouped_convolution_uses_each_groups_inputs():
    g = torch.Generator().manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, groups=2, padding=1)
    x = torch.rand(8, 4, 6, 6, generator=g) * torch.tensor([1, 5, 1, 0.1]).view(4, 1, 1)
    rows = input_rows(layer, x)
    w = layer.weight.detach()
    whole = gptq(w, rows, 3).codes
    parts = [gptq(w[3 * i:3 * i + 3], rows[i], 3).codes for i in (0, 1)]
    assert torch.equal(whole, torch.cat(parts))


@pytest.mark.parametrize("method", ["gptq", "adaround"])
def test_dead_inputs_and_constant_weights_do_no_harm(method):
    w, x = toy()
    x[:, 3], w[2] = 0, 0
    values = quant.quantize(w, method, bits=4, inputs=x).dequantize()
    assert values.isfinite().all() and (values[2] == 0).all()
    values = quant.quantize(w, method, bits=4, inputs=torch.zeros_like(x)).dequantize()
    assert values.isfinite().all()


@pytest.mark.parametrize("method", ["gptq", "adaround"])
def test_bad_inputs_are_refused(method):
    w, x = toy()
    with pytest.raises(ValueError, match="do not meet"):
        quant.quantize(w, method, inputs=x[:, :5])
    with pytest.raises(ValueError, match="NaN"):
        quant.quantize(w, method, inputs=x / 0)
    with pytest.raises(ValueError, match="inputs"):
        quant.quantize(w, method)
    with pytest.raises(ValueError, match="rows"):
        quant.quantize(w[0], method, inputs=x)
    with pytest.raises(ValueError, match="calibration"):
        quant.ptq(nn.Linear(3, 2), method)
