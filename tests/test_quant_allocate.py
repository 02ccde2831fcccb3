"""Mixed precision against brute force, and sensitivities of a net whose answer is known."""

import itertools

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.quant import allocate as rules
from lib.quant.allocate import allocate, greedy, sensitivity

WIDTHS = (2, 3, 4, 8)


def table(errors: list[list[int]], sizes: list[int]) -> pd.DataFrame:
    return pd.DataFrame([
        {"layer": f"l{i}", "bits": b, "error": float(e), "size_bytes": sizes[i] * b}
        for i, row in enumerate(errors) for b, e in zip(WIDTHS, row, strict=True)])


def cost(frame: pd.DataFrame, bits: dict[str, int], column: str) -> float:
    keyed = dict(zip(zip(frame["layer"], frame["bits"], strict=True), frame[column], strict=True))
    return sum(keyed[choice] for choice in bits.items())


errors = st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(errors=errors, sizes=st.lists(st.integers(1, 40), min_size=5, max_size=5),
       share=st.floats(0, 1))
def test_dynamic_programming_equals_brute_force(errors, sizes, share):
    frame = table(errors, sizes)
    names = [f"l{i}" for i in range(len(errors))]
    least = 2 * sum(sizes[:len(names)])
    budget = int(least * (1 + 3 * share))
    best = min(sum(e for _, e in chosen) for chosen in itertools.product(
        *([(size * b, e) for b, e in zip(WIDTHS, row, strict=True)]
          for row, size in zip(errors, sizes, strict=False)))
        if sum(s for s, _ in chosen) <= budget)
    exact, quick = allocate(frame, budget), greedy(frame, budget)
    assert list(exact) == list(quick) == names
    assert cost(frame, exact, "error") == best <= cost(frame, quick, "error")
    for bits in (exact, quick):
        assert cost(frame, bits, "size_bytes") <= budget


def test_greedy_finds_the_best_where_errors_are_convex_and_sizes_alike():
    frame = table([[81, 27, 9, 0], [40, 20, 11, 0], [9, 3, 1, 0]], [10, 10, 10])
    for budget in range(60, 241, 10):
        assert cost(frame, greedy(frame, budget), "error") <= \
            1.5 * cost(frame, allocate(frame, budget), "error") + 9


def test_a_budget_counts_tables_unless_they_outweigh_the_layers():
    """A layer of 1 000 weights at 2 and 4 levels, then one of 10: its tables take 40 bytes."""
    def layer(name: str, weights: int, tables: int) -> list[dict]:
        return [{"layer": name, "weights": weights, "levels": levels, "bits": b, "error": 0.0,
                 "size_bytes": weights * b // 8 + tables} for levels, b in ((2, 1), (4, 2))]

    large, small = pd.DataFrame(layer("a", 1000, 20)), pd.DataFrame(layer("b", 10, 40))
    assert rules.budget(large, 2) == 1000 * 2 // 8      # less than 2 bits and 20 bytes take
    assert rules.budget(small, 2) == 10 * 2 // 8 + 40
    assert rules.budget(pd.concat([large, small]), 2) == 1010 * 2 // 8


def test_a_budget_too_small_is_refused():
    frame = table([[3, 2, 1, 0]], [10])
    for rule in (allocate, greedy):
        with pytest.raises(ValueError, match="budget"):
            rule(frame, 19)
        assert rule(frame, 20) == {"l0": 2}
    with pytest.raises(ValueError, match="finite"):
        allocate(frame.assign(error=float("nan")), 100)


def test_sensitivity_finds_the_layer_that_matters():
    """One layer's outputs are multiplied by nearly nothing: its bits hardly matter."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    net = nn.Sequential(net, nn.Linear(3, 3)).train()
    x = torch.rand(32, 2, 4, 4)
    frame = sensitivity(net, x, bits=(2, 4, 8), measure="mse")
    assert net.training and list(frame["layer"].unique()) == ["0.0", "0.3", "1"]
    for _, rows in frame.groupby("layer"):
        assert rows["error"].is_monotonic_decreasing and rows["size_bytes"].is_monotonic_increasing
    ternary = sensitivity(net, x, levels=(3, 4), measure="mse")
    assert list(ternary["bits"]) == [2] * 6 and list(ternary["levels"]) == [3, 4] * 3
    assert ternary["error"][1::2].tolist() == frame["error"][::3].tolist()
    small = allocate(ternary, int(ternary["size_bytes"][::2].sum()), choice="levels")
    assert small["0.3"] == 3                         # 192 weights; for 9 both take 3 bytes
    first = frame.iloc[0]
    assert first["macs_bits"] == 4 * 2 * 9 * 16 * 2
    assert sensitivity(net, x, bits=(2,))["error"].min() >= -1e-6       # a KL divergence
    with pytest.raises(ValueError, match="measure"):
        sensitivity(net, x, measure="accuracy")
    with pytest.raises(ValueError, match="calibration"):
        sensitivity(net, None)
