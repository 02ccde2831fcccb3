"""Edge's quantizers with one thing switched off: that thing changes, and nothing else."""

import pytest
import torch
from torch import nn

from lib.quant import METHODS, is_random, ptq, quantize
from lib.quant.edge_switched import NAMES


def weights(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + 0.3


def rounded(name: str, w: torch.Tensor, bits: int = 4, seed: int = 0):
    return quantize(w, name, bits=bits, axis=None, generator=torch.Generator().manual_seed(seed))


def unswitched(name: str) -> str:
    return "edge_" + name.split("_", 2)[2]


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_quantizer_of_edges_with_a_word_more(name):
    assert unswitched(name) in METHODS and is_random(name) == is_random(unswitched(name))


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_sorted_alters_only_weights_at_the_least_level(rounding):
    w = weights(6, 30)
    edge, own = (rounded(f"edge_{kind}{rounding}_normal", w) for kind in ("", "sorted_"))
    assert torch.equal(edge.statistics, own.statistics)
    moved = edge.codes != own.codes
    assert torch.equal(moved, w == w.min()) and moved.sum() == 1
    assert own.dequantize()[moved].item() == w.min()            # min is a level
    assert edge.dequantize()[moved].item() > w.min()


@pytest.mark.parametrize("kind", ["uniform", "histogram", "normal"])
def test_own_gives_the_bias_its_own_range(kind):
    model = nn.Sequential(nn.Linear(5, 4))
    with torch.no_grad():
        model[0].weight.copy_(weights(4, 5))
        model[0].bias.copy_(100 + weights(4, seed=1))
    edge, own = (ptq(model, f"edge_{word}nearest_{kind}", bits=4) for word in ("", "own_"))
    for key in ("weight", "bias"):
        alone = rounded(f"edge_nearest_{kind}", getattr(model[0], key).detach())
        assert torch.equal(getattr(own[0], key), alone.dequantize()), key
    assert (edge[0].bias - own[0].bias).abs().max() > 0.01
    one = nn.Sequential(nn.Linear(5, 1))
    kept = ptq(one, f"edge_own_nearest_{kind}", bits=4)
    assert torch.equal(kept[0].bias, one[0].bias)               # one value is a range of its own


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("edge_zero_")
                                  and "normal" not in n])
def test_zero_moves_an_even_set_by_half_a_step_at_most(name):
    w = weights(6, 30)
    edge, moved = rounded(unswitched(name), w), rounded(name, w)
    assert torch.equal(edge.scale, moved.scale) and edge.base == moved.base
    assert (moved.zero - edge.zero).abs() <= 0.5
    assert 0 in moved.table_of_levels() and 0 not in edge.table_of_levels()
    assert rounded(name, torch.tensor([[-1.0], [0], [2]])).dequantize()[1] == 0


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_zero_moves_the_normal_sets_quantiles_and_leaves_its_ends(rounding):
    w = weights(6, 30)
    edge, moved = (rounded(f"edge_{kind}{rounding}_normal", w) for kind in ("", "zero_"))
    assert torch.equal(edge.statistics[:, 1:], moved.statistics[:, 1:])
    assert moved.table_of_levels().abs().min() < 1e-6 < edge.table_of_levels().abs().min()


def test_clamped_keeps_2_to_the_bits_levels():
    w = weights(6, 30)
    edge, clamped = rounded("edge_mid_rise", w, 3), rounded("edge_clamped_mid_rise", w, 3)
    assert edge.levels == 9 and clamped.levels <= clamped.base == 8
    assert torch.equal(edge.scale, clamped.scale)
    same = edge.dequantize() == clamped.dequantize()
    outside = edge.dequantize() < clamped.table_of_levels().min()
    assert torch.equal(same, ~outside) and outside.any()


def test_whole_rounds_a_layer_of_one_output_as_any_other():
    w = weights(1, 30)
    whole = rounded("edge_whole_mid_rise", w, 3).dequantize()
    assert torch.equal(whole, rounded("edge_mid_rise", w.T.contiguous(), 3).dequantize().T)
    assert len(whole.unique()) <= 9 < len(rounded("edge_mid_rise", w, 3).dequantize().unique())
    other = weights(4, 9)
    assert torch.equal(rounded("edge_whole_mid_rise", other, 3).dequantize(),
                       rounded("edge_mid_rise", other, 3).dequantize())
