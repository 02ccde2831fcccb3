"""Policies beside single models: means, paired gains, Holm, on numbers made by hand."""

import numpy as np
import pandas as pd
import pytest

from lib.results import holm
from lib.results.policies import against, policies, replays

SHARES = {"slack": [0.90, 0.92, 0.94], "fixed a": [0.89, 0.90, 0.91], "fixed b": [0.5, 0.6, 0.7]}
ENERGIES = {"slack": 4.0, "fixed a": 2.0, "fixed b": 1.0}


def replayed(shares=SHARES, trace="poisson, load 1.8"):
    """Rows and costs of these on-time accuracies by seed; all within the deadline."""
    rows, costs = [], []
    for policy, values in shares.items():
        for seed, value in enumerate(values):
            name = f"{trace} {policy} {seed}"
            rows.append({"id": name, "task": "t", "model": "m", "trace": trace, "policy": policy,
                         "seed": seed, "score": 100 * value})
            costs += [{"id": name, "quantity": quantity, "value": one} for quantity, one in (
                ("right_in_time", value), ("attainment", 1.0), ("p99", 0.02),
                ("joules_per_1000", ENERGIES[policy]))]
    return pd.DataFrame(rows), pd.DataFrame(costs)


def test_means_over_seeds_with_their_interval():
    table = policies(*replayed()).set_index("policy")
    assert list(table.index) == ["slack", "fixed a", "fixed b"]
    assert table.single.tolist() == [False, True, True] and (table.seeds == 3).all()
    line = table.loc["slack"]
    half = 4.302652730 * 0.02 / np.sqrt(3)          # t of 2 degrees of freedom
    assert line.on_time_accuracy == pytest.approx(0.92)
    assert line.on_time_accuracy_low == pytest.approx(0.92 - half)
    assert line.goodput == pytest.approx(1.8) and line.energy_mj == pytest.approx(4)
    assert table.loc["fixed b"].on_time_accuracy_high < 1 and line.slo_attainment_high <= 1


def test_gains_are_paired_over_seeds_and_corrected_over_all_lines():
    table = against(*replayed(), "slack").set_index("single")
    assert table.best.to_dict() == {"fixed a": True, "fixed b": False}
    line = table.loc["fixed a"]
    gains = np.array([1.0, 2.0, 3.0])               # pp, seed by seed
    assert line.on_time_accuracy_gain == pytest.approx(2)
    half = 4.302652730 * gains.std(ddof=1) / np.sqrt(3)
    assert line.on_time_accuracy_high - 2 == pytest.approx(half)
    assert line.energy_ratio == pytest.approx(2) and table.loc["fixed b"].energy_ratio == 4
    assert table.holm.tolist() == pytest.approx(holm(table.p).tolist())
    assert line.holm >= line.p


def test_the_best_single_model_is_chosen_for_each_trace():
    first, second = replayed(), replayed(SHARES | {"fixed b": [0.99, 0.99, 0.99]}, "step, load 1.6")
    rows, costs = (pd.concat(both) for both in zip(first, second, strict=True))
    table = against(rows, costs, ["slack", "absent"], best=True).set_index("trace")
    assert table.single.to_dict() == {"poisson, load 1.8": "fixed a", "step, load 1.6": "fixed b"}
    assert (table.policy == "slack").all()
    assert sorted(table.holm) == pytest.approx(sorted(holm(table.p)))
    assert table.holm.min() == pytest.approx(2 * table.p.min())


def test_without_a_replay_there_is_no_line_and_one_seed_has_no_interval():
    rows, costs = replayed()
    assert policies(rows.head(0), costs).empty and against(rows.head(0), costs, "slack").empty
    one = against(rows[rows.seed == 0], costs, "slack")
    assert one.on_time_accuracy_low.isna().all() and one.holm.isna().all()
    assert replays(rows, costs).single.sum() == 6
