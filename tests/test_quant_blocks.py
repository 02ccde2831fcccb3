"""Block reconstruction on nets small enough for seconds."""

import copy

import pytest
import torch
from torch import nn

from lib import quant
from lib.quant.blocks import importance, units


class Toy(nn.Module):
    """A residual block of a dense and a grouped convolution."""

    is_block = True

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1, groups=2)

    def forward(self, x):
        return torch.relu(x + self.conv2(torch.relu(self.bn1(self.conv1(x)))))


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    g = torch.Generator().manual_seed(1)
    return torch.rand(128, 3, 6, 6, generator=g) * torch.rand(128, 3, 1, 1, generator=g)


@pytest.fixture(scope="module")
def net(x) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), Toy(), nn.AvgPool2d(3),
                            nn.Flatten(), nn.Linear(24, 4))
        for _ in range(20):
            net(x)
    return net.eval()


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def error(small: nn.Module, net: nn.Module, x: torch.Tensor) -> float:
    with torch.no_grad():
        y = net(x)
        return float((small(x) - y).square().mean() / y.var())


@pytest.fixture(scope="module")
def small(net, x) -> nn.Module:
    return quant.ptq(net, "brecq", bits=2, calibration=x, generator=generator(), steps=400)


def test_a_unit_is_a_block_or_a_layer_outside_one(net, x):
    assert units(net, x) == ["0", "2", "5"]
    assert units(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)), torch.rand(4, 3)) == ["0", "1"]


def test_importance_is_where_the_answer_comes_from(x):
    """Only the first of three channels is read, in every example."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(108, 4))
    net.requires_grad_(False)[0].bias.fill_(1)
    for outputs in (4, 1):
        net[3] = nn.Linear(108, outputs).requires_grad_(False)
        net[3].weight[:, 36:] = 0
        found = importance(net, ["0", "3"], x, generator())["0"].float()
        assert found.shape == (128, 3, 6, 6) and abs(found.mean() - 1) < 0.02
        assert (found[:, 1:] == 0.5).all() and found[:, 0].mean() > 1.9


def test_it_beats_rounding_to_nearest_at_two_bits(small, net, x):
    nearest = quant.ptq(quant.fold.fold_batch_norm(net), "affine", bits=2, clip="mse")
    assert error(small, net, x) < 0.4 * error(nearest, net, x)


def test_every_layer_computes_with_the_codes_it_stores(small):
    found = [m for m in small.modules() if isinstance(m, quant.layers.LAYERS)]
    assert len(found) == 4
    for layer in found:
        q = layer.compressed["weight"]
        assert torch.equal(layer.weight, q.dequantize()) and q.levels <= q.base == 4
        assert q.codes.shape == layer.weight.shape and not hasattr(layer, "parametrizations")
        assert type(layer) in quant.layers.LAYERS and layer.weight.requires_grad
        slices = len(layer.weight)
        assert q.size_bytes <= -(-q.codes.numel() // 4) + 8 * slices


def test_its_model_and_the_global_state_stay_as_they_were(net, x):
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    net.train()
    made = [quant.ptq(net, "brecq", bits=3, a_bits=4, calibration=x, generator=generator(), steps=5)
            for _ in range(2)]
    assert net.training and made[0].training
    net.eval()
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(
        made[0].state_dict().values(), made[1].state_dict().values(), strict=True))


def test_many_bits_are_the_identity(net, x):
    small = quant.ptq(net, "brecq", bits=12, calibration=x, generator=generator(), steps=0)
    assert error(small, net, x) < 1e-5


@pytest.mark.parametrize("how", [{"levels": 3}, {"axis": None}, {"group": 9}])
def test_other_grids(net, x, how):
    small = quant.ptq(net, "brecq", bits=2, calibration=x, generator=generator(), steps=40, **how)
    assert small[2].conv1.compressed["weight"].levels <= how.get("levels", 4)
    assert error(small, net, x) < 0.5


def test_bits_of_single_layers_leave_the_others_float(net, x):
    small = quant.ptq(net, "brecq", bits={"0": 3, "2.conv2": 2}, levels={"0": 5, "2.conv2": 3},
                      calibration=x, generator=generator(), steps=10)
    assert small[0].compressed["weight"].base == 5
    assert small[2].conv2.compressed["weight"].base == 3
    assert not hasattr(small[5], "compressed") and torch.equal(small[5].weight, net[5].weight)


def test_activations_learn_their_steps(net, x):
    how = {"bits": 4, "a_bits": 3, "calibration": x}
    learned, fixed = (quant.ptq(net, "brecq", generator=generator(), steps=s, **how)
                      for s in (120, 0))
    names = ("0", "2.conv1", "2.conv2", "5")
    assert [learned.get_submodule(n).a_bits for n in names] == [8, 3, 3, 8]
    assert learned[2].conv1.activation.scale != fixed[2].conv1.activation.scale
    assert error(learned, net, x) < error(fixed, net, x)


def test_a_transformer_goes_block_by_block():
    from lib.models.transformer import EncoderBlock
    with torch.random.fork_rng():
        torch.manual_seed(0)
        block = EncoderBlock(8, 2, 16, 0.1, False)
        net = nn.Sequential(nn.Linear(4, 8), block, nn.Linear(8, 3)).eval()
    x = torch.randn(64, 5, 4, generator=generator())
    assert units(net, x) == ["0", "1", "2"]
    small = quant.ptq(net, "brecq", bits=3, calibration=x, generator=generator(), steps=200)
    assert error(small, net, x) < error(quant.ptq(net, "affine", bits=3, clip="mse"), net, x)


def test_bad_input_is_refused(net, x):
    with pytest.raises(ValueError, match="calibration"):
        quant.ptq(net, "brecq")
    with pytest.raises(ValueError, match="NaN"):
        quant.ptq(net, "brecq", calibration=x / 0, steps=1)
    with pytest.raises(ValueError, match="layers are"):
        quant.ptq(net, "brecq", bits={"nowhere": 2}, calibration=x)
    with pytest.raises(ValueError, match="bits"):
        quant.ptq(net, "brecq", bits=0, calibration=x)
    with pytest.raises(ValueError, match="whole model"):
        quant.quantize(net[5].weight, "brecq")
