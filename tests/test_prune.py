"""Weights that become zeros, of float and of quantized models."""

import math

import pytest
import torch
from torch import nn

from lib import measure, models, prune, quant
from lib.quant.layers import layers
from tests.toys import blobs


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(128, 10))


@pytest.mark.parametrize("amount", [0.0, 0.2, 0.5, 0.9])
def test_the_smallest_weights_go_and_no_others(amount):
    model = net()
    thin = prune.prune(model, "magnitude_l1", amount)
    assert prune.sparsity(model) == 0
    assert prune.sparsity(thin) == pytest.approx(amount, abs=1e-3)
    pairs = list(zip(layers(model).values(), layers(thin).values(), strict=True))
    kept = [a.weight[b.weight != 0] for a, b in pairs]
    gone = [a.weight[b.weight == 0] for a, b in pairs]
    assert all(torch.equal(a.weight[b.weight != 0], b.weight[b.weight != 0]) for a, b in pairs)
    assert torch.equal(model[0].bias, thin[0].bias)
    if amount:
        assert min(w.abs().min() for w in kept) > max(w.abs().max() for w in gone if w.numel())


@pytest.mark.parametrize("method", ["affine", "nearest_uniform", "nearest_normal", "kmeans",
                                    "mid_rise", "edge_nearest_uniform", "edge_nearest_normal"])
def test_a_quantized_model_stays_quantized(method):
    axis = None if method.startswith("edge_") else 0
    small = quant.ptq(net(), method, bits=4, axis=axis)
    thin = prune.prune(small, "magnitude_l1", 0.3)
    assert prune.sparsity(thin) >= 0.3 - 1e-3
    for before, after in zip(layers(small).values(), layers(thin).values(), strict=True):
        q = after.compressed["weight"]
        assert torch.equal(q.dequantize(), after.weight)
        assert q.base == before.compressed["weight"].base
        same = after.weight != 0
        assert torch.equal(before.weight[same], after.weight[same])


def test_sums_of_points_have_no_level_to_take_away():
    small = quant.ptq(net(), "multipoint", bits=4)
    with pytest.raises(ValueError, match="multipoint has no table of levels"):
        prune.prune(small, "magnitude_l1", 0.5)


@pytest.mark.parametrize(("bits", "amount", "share"), [(4, 0.2, 0.72), (6, 0.2, 0.60),
                                                       (8, 0.2, 0.55), (4, 0.0, 0.21)])
def test_edges_ranks_take_far_more_of_few_levels_than_was_asked(bits, amount, share):
    """A Gaussian weight within four deviations, 16 levels: the 4 least of them hold |w| < 1.07σ."""
    w = torch.randn(400_000, generator=torch.Generator().manual_seed(0)).clamp(-4.0, 4.3)
    layer = nn.Linear(1, len(w), bias=True)
    layer.weight.data = quant.quantize(w, "nearest_uniform", bits=bits, axis=None).dequantize()[
        :, None]
    thin = prune.prune(layer, "edge", amount)
    assert prune.sparsity(thin) == pytest.approx(share, abs=0.06)
    assert torch.equal(thin.bias, layer.bias)               # the last tensor is left alone
    levels = layer.weight.abs().unique()
    assert len(thin.weight.abs().unique()) == len(levels) - math.ceil(
        amount * (len(levels) - 1))                          # ranks 0 … k became one: zero


def test_what_was_reached_is_measured():
    task = blobs()
    thin = prune.prune(models.build("mlp_simple", task), "magnitude_l1", 0.5)
    reached = measure.size(thin)
    assert reached["nonzero"] == sum(int(p.count_nonzero()) for p in thin.parameters())
    assert reached["sparsity"] == prune.sparsity(thin) == pytest.approx(0.5, abs=0.01)


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="no pruning 'l7'; choose one of: random, edge, magnit"):
        prune.prune(net(), "l7")
    with pytest.raises(ValueError, match="amount=1: choose a share"):
        prune.prune(net(), "magnitude_l1", 1)
    with pytest.raises(ValueError, match="no structure '4:8'; choose unstructured, 2:4, channel"):
        prune.prune(net(), "magnitude_l1", 0.5, structure="4:8")
    with pytest.raises(ValueError, match="amount=0.3: 2:4 takes half"):
        prune.prune(net(), "magnitude_l1", 0.3, structure="2:4")
    with pytest.raises(ValueError, match="edge prunes single weights"):
        prune.prune(net(), "edge", 0.5, structure="2:4")
    with pytest.raises(ValueError, match="wanda needs calibration="):
        prune.prune(net(), "wanda", 0.5)
    with pytest.raises(ValueError, match="taylor needs losses="):
        prune.prune(net(), "taylor", 0.5)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_codes_and_weights_of_half_precision_lose_the_same(kind):
    torch.manual_seed(0)
    small = quant.ptq(nn.Sequential(nn.Linear(256, 64)).to(kind), "affine", bits=8)
    thin = prune.prune(small, amount=0.5)[0]
    assert torch.equal(thin.weight, thin.compressed["weight"].dequantize())
    assert (thin.weight == 0).float().mean() >= 0.5
