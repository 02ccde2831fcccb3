"""Claims: each verdict can come about, and only from the rows that deserve it."""

import numpy as np
import pandas as pd
import pytest

from lib import tables
from lib.base import paths
from lib.tables import Row, claims

NET = {"task": "telescope@edge", "model": "mlp_simple", "recipe": "edge", "metric": "accuracy"}


def rows(values: dict[tuple[str, int] | str, float], seeds: int = 5, spread: float = 0.1,
         **changes) -> list[Row]:
    """Rows of Edge's nets: {("edge_nearest_uniform", 4): 85.0} around that score, seed by seed;
    "" is the net as trained. As saved, the repaired twins have one range a tensor too."""
    made = []
    for name, score in values.items():
        asked = {}
        if name:
            asked = {"quantizer": name[0], "bits": name[1], "granularity": "tensor"}
        made += [Row(**(NET | asked | changes), seed=seed, score=score + spread * (seed - 2))
                 for seed in range(seeds)]
    return made


def cell(score: float, quantizer: str = "edge_nearest_uniform", **changes) -> pd.DataFrame:
    return pd.DataFrame([{"task": "telescope@edge", "model": "mlp_simple", "bits": 4,
                          "quantizer": quantizer, "points": None, "metric": "accuracy",
                          "score": score, "float_score": 86.0} | changes])


def verdict(made: list[Row], cells: pd.DataFrame, line: int = -1) -> str:
    return claims.judge(tables.frame(made), cells).verdict.iloc[line]


@pytest.mark.parametrize("score, wanted", [(85.2, "reproduced"), (80.0, "not reproduced")])
def test_a_cell_is_judged_by_where_one_more_seed_would_lie(score, wanted):
    made = rows({"": 86, ("edge_nearest_uniform", 4): 85, ("nearest_uniform", 4): 85.1})
    assert verdict(made, cell(score)) == wanted


def test_a_cell_that_only_a_bug_brings_back_is_an_artefact():
    made = rows({"": 86, ("edge_nearest_normal", 4): 60, ("nearest_normal", 4): 85})
    found = verdict(made, cell(60, "edge_nearest_normal"))
    assert found.startswith("artefact: the set is left unsorted") and found.endswith("85")


def test_few_seeds_judge_the_pattern_only_and_none_say_so():
    made = rows({"": 86, ("edge_nearest_uniform", 4): 30}, seeds=1)
    assert verdict(made, cell(12)).startswith("reproduced: whether it collapses")
    assert verdict(made, cell(80)).startswith("not reproduced")
    assert verdict(rows({"": 86}), cell(12)).startswith("not testable here")
    elsewhere = rows({("edge_nearest_uniform", 4): 12}, recipe="ours")
    assert set(claims.judge(tables.frame(elsewhere), cell(12)).rows) == {0}


def test_nets_of_one_seed_move_no_rank_and_tell_only_of_collapses():
    net = {"task": "fashion_mnist@edge", "model": "resnet9"}
    good = {(f"edge_{s}", b): 86 for s in ("stochastic_uniform", "mid_rise") for b in (4, 8)}
    made = rows({"": 86.1} | good)
    table = [claims.judge(tables.frame(made + rows({
        "": 92, ("edge_stochastic_uniform", 8): score}, seeds=1, **net)), cell(85))
        for score in (12, 91)]
    alone = claims.judge(tables.frame(made), cell(85))
    assert {t.ours[0] for t in [*table, alone]} == {alone.ours[0]}
    assert [t.verdict[4].split(":")[0] for t in table] == ["not reproduced", "not testable here"]
    assert alone.verdict[4].startswith("not testable")


@pytest.mark.parametrize("changes, said", [
    ({"sizes": "width=16"}, "width=16"),
    ({"epochs": 3, "batch_size": 64}, "3 epochs, batches of 64")])
def test_a_net_built_or_trained_otherwise_is_a_stand_in_and_says_how(changes, said):
    net = {"task": "fashion_mnist@edge", "model": "resnet9"}
    made = rows({"": 92, ("edge_nearest_uniform", 4): 12}, seeds=1, **net, **changes)
    assert verdict(made, cell(10, **net)) == (
        f"tested on a stand-in: {said}, reproduced: whether it collapses (seeds: 1)")


@pytest.mark.parametrize("more", [
    {"pruner": "edge", "amount": 0.2}, {"repairs": "folded"}, {"a_bits": 8},
    {"granularity": "channel"}])
def test_rows_of_other_techniques_test_no_cell(more):
    made = rows({"": 86, ("edge_nearest_uniform", 4): 85})
    other = rows({("edge_nearest_uniform", 4): 12}, **more)
    with_them = claims.judge(tables.frame(other + made), cell(85))
    assert with_them.equals(claims.judge(tables.frame(made), cell(85)))
    assert with_them.rows.iloc[-1] == 5


@pytest.mark.parametrize("errors, published, wanted", [
    ((3.6, 3.8, 4, 4.2, 4.4), 16, "reproduced"), ((3.6, 3.8, 4, 4.2, 4.4), 40, "not reproduced"),
    ((1, 2, 4, 8, 16), 16, "not testable here"), ((1, 2, 4, 8, 16), 1e9, "not reproduced")])
def test_squared_errors_are_judged_by_their_logarithms(errors, published, wanted):
    made = [Row(**(NET | {"metric": "r2", "metric2": "rmse"}), seed=seed, score=0.5, score2=rmse,
                quantizer="edge_mid_rise", bits=4) for seed, rmse in enumerate(errors)]
    cells = cell(published, "edge_mid_rise", metric="mse")
    found = claims.judge(tables.frame(made), cells).iloc[-1]
    assert found.verdict.split(":")[0] == wanted and 0 < found.low < 16 < found.high
    assert found.ours == pytest.approx(16, rel=0.02)        # the middle of 1, 4², 8², 16²


def test_edges_conclusions():
    sets = [f"{r}_{s}" for r in ("nearest", "stochastic") for s in ("uniform", "normal")]
    good = {"stochastic_uniform": 86, "nearest_uniform": 85.5}
    made = rows({"": 86.1}) + rows({
        (f"edge_{s}", b): good.get(s, 80) - 30 * (b == 4) for s in sets for b in (4, 6)
    } | {(s, b): 85 for s in sets for b in (4, 6)})
    both = made + rows({"": 86.1, **{(f"edge_{s}", 6): good.get(s, 79) for s in sets},
                        **{(s, 6): 85 for s in sets}}, model="mlp_complex")
    cells = pd.concat([cell(85), cell(85, model="mlp_complex")])
    table = claims.judge(tables.frame(both), cells)
    best, normal, dense, simple, complex_ = table.verdict[:5]
    assert best == "reproduced" and table.ours[0] == 1
    assert normal.startswith("artefact: the set is left unsorted")
    assert dense == "reproduced" and table.ours[2] == 6
    assert simple.startswith("not testable") and complex_.startswith("not testable")
    less = claims.judge(tables.frame(both), pd.concat([cells, cell(85, model="resnet9")]))
    assert less.verdict[0].startswith("tested on a stand-in: 2 of Edge's 3 nets, on which it holds")


def test_the_prediction_interval_holds_one_more_value_95_times_in_100():
    draws = np.random.default_rng(0).normal(size=(4000, 6))
    inside = [low <= one[-1] <= high for one in draws
              for low, high in [tables.prediction(one[:-1])]]
    assert 0.93 < np.mean(inside) < 0.97


def test_the_published_cells_are_whole():
    cells = tables.load_table("edge_ptq", paths.PUBLISHED)
    assert not cells.duplicated(["task", "model", "bits", "quantizer", "points"]).any()
    assert cells.drop(columns="points").notna().all(axis=None)
    accuracy = cells[cells.metric == "accuracy"].score
    assert accuracy.between(1, 100).all() and cells.bits.isin([2, 4, 6, 8, 10, 12]).all()
    empty = claims.judge(tables.frame([]), cells)
    assert len(empty) == len(cells) + 5 and empty.verdict.str.startswith("not testable").all()
