"""Simulated activations: near the identity at 8 bits, worse with fewer, honest about where."""

import pytest
import torch
from torch import nn

from lib import quant
from lib.quant.activations import Activation, smooth_inputs


@pytest.fixture
def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(),
                             nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(),
                             nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 4))


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(128, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def error(small: nn.Module, net: nn.Module, x: torch.Tensor) -> float:
    with torch.no_grad():
        y = net(x)
        return float((small(x) - y).square().mean() / y.var())


@pytest.mark.parametrize("method", ["mse", "minmax", "percentile", "dynamic"])
def test_eight_bits_are_nearly_the_identity_and_fewer_are_worse(net, x, method):
    errors = [error(quant.ptq(net, "affine", bits=16, a_bits=b, a_method=method, calibration=x),
                    net, x) for b in (8, 4, 2)]
    assert errors[0] < 2e-3 and errors[0] < errors[1] < errors[2]


def test_layers_say_their_bits_and_the_ends_keep_eight(net, x):
    small = quant.ptq(net, "affine", bits=4, a_bits=4, calibration=x)
    assert [small[i].a_bits for i in (0, 2, 5, 7)] == [8, 4, 4, 8]
    assert not any(hasattr(m, "a_bits") or hasattr(m, "activation") for m in net.modules())
    seen = []
    small[2].register_forward_hook(lambda m, args, y: seen.append(args[0]))
    small(x)
    assert len(seen[0].unique()) <= 16


def test_a_step_of_known_inputs():
    entry = Activation(2, "minmax")
    x = torch.tensor([[0.0, 1.0, 2.0, 3.0], [0.4, 1.4, 2.6, 9.0]])
    entry(x[:1])                                                # the range is that of the first
    assert torch.equal(entry(x), torch.tensor([[0.0, 1, 2, 3], [0, 1, 3, 3]]))


def test_dynamic_ranges_do_not_depend_on_the_rest_of_the_batch():
    entry, x = Activation(4, "dynamic"), torch.randn(6, 5, 3)
    x[1] *= 100
    assert torch.equal(entry(x), torch.cat([entry(row[None]) for row in x]))


def test_gradients_pass_the_rounding_but_not_the_clamp():
    entry = Activation(2, "minmax")
    entry(torch.tensor([[0.0, 3.0]]))
    x = torch.tensor([0.4, 2.2, 7.0], requires_grad=True)
    entry(x).sum().backward()
    assert x.grad.tolist() == [1, 1, 0]


def test_smoothing_changes_no_output_and_helps_where_a_channel_stands_out():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(256, 32, generator=g)
    x[:, 5] *= 80
    net = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4), nn.Linear(4, 4))
    with torch.no_grad():
        net[0].weight[:, 5] /= 80
    smoothed = quant.layers.bare_copy(net)
    smooth_inputs(smoothed, x)
    assert error(smoothed, net, x) < 1e-9
    assert not torch.equal(smoothed[0].weight, net[0].weight)
    plain, better = (quant.ptq(net, "affine", bits=8, a_bits=8, calibration=x, a_method="minmax",
                               smooth=alpha) for alpha in (None, 0.5))
    assert error(better, net, x) < 0.5 * error(plain, net, x)


def test_bad_input_is_refused(net, x):
    with pytest.raises(ValueError, match="calibration"):
        quant.ptq(net, "affine", a_bits=8)
    with pytest.raises(ValueError, match="a_method"):
        quant.ptq(net, "affine", a_bits=8, calibration=x, a_method="best")
    with pytest.raises(ValueError, match="NaN"):
        quant.ptq(net, "affine", a_bits=8, calibration=x / 0)
    with pytest.raises(ValueError, match="bits"):
        quant.ptq(net, "affine", a_bits=33, calibration=x)
    with pytest.raises(ValueError, match="alpha"):
        quant.ptq(net, "affine", calibration=x, smooth=2.0)
    with pytest.raises(ValueError, match="calibration"):
        quant.ptq(net, "affine", smooth=0.5)
