"""Replication: each verdict can come about, and only from the rows that deserve it."""

import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from lib import replication
from lib.base import paths
from lib.replication import edge, resnet_energy, verdicts
from lib.replication.verdicts import Estimate, Evidence, number, statement
from lib.tables.rows import Cost, Row, frame
from lib.tables.store import cost_frame, load_table

CLAIMS = load_table("claims", paths.PUBLISHED).fillna({"note": ""})
NONE = replication.Part(frame([]), {}, cost_frame([]))
INF = np.inf


def tables(claims: pd.DataFrame = CLAIMS, cells: dict | None = None, **parts) -> replication.Tables:
    """Tables of a test: rows of each part, or a Part; everything else is empty."""
    made = {name: value if isinstance(value, replication.Part) else
            replication.Part(frame(value), {}, cost_frame([]))
            for name, value in parts.items() if name not in ("history", "heads", "fp32")}
    empty = {name: load_table(name, paths.PUBLISHED).head(0) for name in replication.CELLS}
    fp32 = load_table("edge_fp32", paths.PUBLISHED)
    return replication.Tables(
        claims, empty | (cells or {}), parts.get("fp32", fp32),
        *(made.get(name, NONE) for name in ("compressed", "plan", "files", "served")),
        parts.get("history", pd.DataFrame()), parts.get("heads", pd.DataFrame()))


def judged(key: str, **parts) -> pd.Series:
    """The line of one main claim."""
    table = replication.main(replication.judge(tables(**parts)))
    return table[table.key == key].iloc[0]


def part(mean: float, half: float = 1.0, runs: int = 5) -> Estimate:
    return Estimate("a network", mean, mean - half, mean + half, runs, 1)


def verdict(means, low: float = -INF, high: float = INF, half: float = 1.0, others=()) -> str:
    found = Evidence([part(mean, half) for mean in means], others=[part(m, half) for m in others])
    return statement(found, low, high)["verdict"]


# statements: planted true, false and borderline

@pytest.mark.parametrize("low, high, true, false, borderline", [
    (0, INF, 3.0, -3.0, 0.5), (-INF, 1, -2.0, 4.0, 1.2), (15, 30, 22.0, 40.0, 29.5)])
def test_a_statement_holds_fails_or_is_undecided(low, high, true, false, borderline):
    assert verdict([true], low, high) == "holds"
    assert verdict([false], low, high) == "does not hold"
    assert verdict([borderline], low, high) == "undecided"


@pytest.mark.parametrize("mean, wanted", [(22.0, "holds"), (10.0, "does not hold"),
                                          (40.0, "does not hold"), (30.5, "undecided")])
def test_both_ends_of_a_range_count(mean, wanted):
    """An upper bound was never read."""
    assert verdict([mean], 15, 30) == wanted


def test_an_interval_that_contains_the_bound_is_undecided():
    for mean in (-0.9, -0.1, 0.0, 0.1, 0.9):
        assert verdict([mean], 0, INF) == "undecided"
    assert verdict([0.0], 0, INF, half=0.0) == "undecided"
    assert verdict([0.001], 0, INF, half=0.0) == "holds"


def test_a_missing_value_never_decides():
    """A NaN made "6 bits are enough" false where all that was measured held."""
    missing = Estimate("a network without an interval", np.nan, np.nan, np.nan, 1, 1)
    one_run = Estimate("a network trained once", 9.0, np.nan, np.nan, 1, 1)
    held = [part(0.0, 0.5) for _ in range(7)]
    for gap in (missing, one_run):
        found = statement(Evidence([*held, gap]), -INF, 1)
        assert found["verdict"] == "holds" and found["rows"] == 7
        assert statement(Evidence([gap]), -INF, 1)["verdict"] == "not testable"


def test_one_network_that_contains_the_bound_leaves_a_claim_undecided():
    assert verdict([-2.0] * 7 + [0.5], -INF, 1) == "undecided"
    assert verdict([-2.0] * 7 + [9.0], -INF, 1) == "does not hold"


def test_a_joint_statement_shows_one_result_and_never_an_envelope():
    found = statement(Evidence([part(5.0), part(10.0, 2.0)]), 0, INF)
    assert (found["measured"], found["low"], found["high"]) == (5.0, 4.0, 6.0)
    found = statement(Evidence([part(5.0), part(-8.0, 2.0)]), 0, INF)
    assert (found["measured"], found["low"], found["high"]) == (-8.0, -10.0, -6.0)


def test_many_results_are_corrected_before_one_of_them_refutes():
    """One of 60 that excludes the bound by itself is expected by chance."""
    barely = -1.1
    assert verdict([barely], 0, INF) == "does not hold"
    assert verdict([barely] + [0.0] * 19, 0, INF) == "undecided"
    assert verdict([barely], 0, INF, others=[0.0] * 19) == "undecided"
    assert verdict([-barely], 0, INF) == "holds"
    assert verdict([-barely], 0, INF, others=[0.0] * 19) == "undecided"


def test_the_p_value_agrees_with_the_interval():
    for runs in (0, 3, 5, 10):
        one = Estimate("", 1.0, 0.0, 2.0, runs)
        assert verdicts.p_value(one, 0, INF) == pytest.approx(0.05)
        assert verdicts.p_value(one, 0.1, INF) > 0.05 > verdicts.p_value(one, -0.1, INF)


# numbers

def named(said: float, scores, others=(), **changes) -> dict:
    asked = {"span": (64.0, 86.0), "error": 0.005} | changes
    return number(said, np.array(scores, float), pd.Series(others, dtype=float), **asked)


AROUND_85 = [84.98, 84.99, 85.0, 85.01, 85.02]


def test_a_number_is_reproduced_where_one_more_run_would_score():
    assert named(85.01, AROUND_85)["verdict"] == "reproduced"
    assert named(80.0, AROUND_85)["verdict"] == "not reproduced"
    low, high = named(85.0, AROUND_85)["low"], named(85.0, AROUND_85)["high"]
    assert named(high - 1e-9, AROUND_85)["verdict"] == "reproduced"
    assert named(high + 1e-9, AROUND_85)["verdict"] == "not reproduced"
    assert named(low - 1e-9, AROUND_85)["verdict"] == "not reproduced"


def test_few_or_wide_runs_and_no_runs_test_nothing():
    assert named(85.0, AROUND_85[:4])["verdict"] == "not testable"
    assert named(85.0, [])["verdict"] == "not testable"
    assert named(85.0, [81, 83, 85, 87, 89])["verdict"] == "not testable"
    assert named(20.0, [81, 83, 85, 87, 89])["verdict"] == "not reproduced"
    assert named(85.2, [85.2], random=False)["verdict"] == "reproduced"
    assert named(85.2, [85.21], random=False)["verdict"] == "not reproduced"


@pytest.mark.parametrize("scale", [
    {}, {"log": True, "span": (8601.0, 3000.0), "error": np.log(1.01)}])
@pytest.mark.parametrize("random", [True, False])
def test_a_number_tests_nothing_where_half_of_the_others_fit_as_well(scale, random):
    """One rule for accuracies and squared errors, for drawn and for certain values: California's
    cells were reproduced where Telescope's were not testable."""
    scores = AROUND_85 if random else [85.0]
    said = named(85.0, scores, [85.0, 70.0, 71.0], random=random, **scale)
    assert said["verdict"] == "reproduced" and said["permuted"] == pytest.approx(1 / 3)
    said = named(85.0, scores, [85.0, 70.0], random=random, **scale)
    assert said["verdict"] == "not testable"


@pytest.mark.parametrize("errors, said, wanted", [
    ((3.6, 3.8, 4, 4.2, 4.4), 16, "reproduced"), ((3.6, 3.8, 4, 4.2, 4.4), 40, "not reproduced"),
    ((1, 2, 4, 8, 16), 16, "not testable"), ((1, 2, 4, 8, 16), 1e9, "not reproduced")])
def test_squared_errors_are_judged_by_their_logarithms(errors, said, wanted):
    found = named(said, np.square(errors), log=True, span=(1e5, 1e-3), error=np.log(1.01))
    assert found["verdict"] == wanted
    assert found["measured"] == pytest.approx(np.exp(np.log(np.square(errors)).mean()))


# chance

def test_rates_by_chance_are_those_of_drawn_numbers():
    generator = np.random.default_rng(0)
    found = named(85.0, [84, 84.5, 85, 85.5, 86], [70, 80, 85.5, 90], span=(50.0, 100.0))
    drawn = [named(said, [84, 84.5, 85, 85.5, 86], [70, 80, 85.5, 90], span=(50.0, 100.0))
             for said in generator.uniform(50, 100, 4000)]
    share = np.mean([one["verdict"] == "reproduced" for one in drawn])
    assert found["random"] == pytest.approx(share, abs=0.02) and found["permuted"] == 0.25
    own = Evidence([part(3.0, 1.0), part(6.0, 2.0)])
    pool = [part(mean) for mean in (-10.0, -2.0, 3.0, 6.0, 8.0)]
    rates = verdicts.held_by_chance(own, 0, 7, pool, log=False)
    held = [statement(Evidence([part(one, 1.0), part(two, 2.0)]), 0, 7)["verdict"] == "holds"
            for one, two in generator.uniform(-10, 10, (2000, 2))]
    assert rates["random"] == pytest.approx(np.mean(held), abs=0.02)
    assert rates["permuted"] == pytest.approx(1 / 25)      # 3 alone lies in both


def test_a_rule_that_cannot_confirm_has_no_rate_of_confirming():
    wide = named(85.0, [81, 83, 85, 87, 89])
    assert wide["random"] == wide["permuted"] == 0


# Edge: cells and statements

NET = {"task": "telescope@edge", "model": "mlp_simple", "recipe": "edge", "metric": "accuracy"}
OWN = {"model": "mlp_simple-edge", "recipe": ""}


def rows(values: dict, seeds: int = 5, spread: float = 0.01, **changes) -> list[Row]:
    """Rows of Edge's networks, {(quantizer, bits): score} around that score, seed by seed; "" is
    the baseline."""
    made = []
    for name, score in values.items():
        asked = {"quantizer": name[0], "bits": name[1], "granularity": "tensor"} if name else {}
        made += [Row(**(NET | asked | changes), seed=seed, score=score + spread * (seed - 2))
                 for seed in range(seeds)]
    return made


def own(values: dict, draws: int = 5, spread: float = 0.01, **changes) -> list[Row]:
    """Rows on Edge's own weights: one each, and several draws of what rounds at random."""
    made = []
    for name, score in values.items():
        asked = {"quantizer": name[0], "bits": name[1]} if name else {}
        random = bool(name) and "stochastic" in name[0]
        made += [Row(**(NET | OWN | asked | changes), seed=0, draw=draw if random else None,
                     score=score + spread * (draw - 2) * random)
                 for draw in range(draws if random else 1)]
    return made


def cell(score: float, quantizer: str = "edge_nearest_uniform", **changes) -> dict:
    return {"study": "Edge", "task": "telescope@edge", "model": "mlp_simple", "bits": 4,
            "quantizer": quantizer, "points": np.nan, "metric": "accuracy", "score": score,
            "float_score": 86.0, "chance": 64.0} | changes


def lines(made: list[Row], *cells: dict, name: str = "edge_ptq") -> pd.DataFrame:
    """The lines of the first cell, by set of networks."""
    given = tables(cells={name: pd.DataFrame(cells)}, compressed=made)
    found = replication.cells(replication.judge(given))
    return found[found.value == cells[0]["score"]].set_index("set")


def test_a_cell_is_judged_on_edges_weights_and_on_networks_trained_anew():
    made = own({("edge_nearest_uniform", 4): 85.2}) + rows({("edge_nearest_uniform", 4): 85})
    found = lines(made, cell(85.2))
    assert found.verdict.to_dict() == {edge.OWN: "reproduced", edge.ANEW: "not reproduced"}
    assert found.rows.to_dict() == {edge.OWN: 1, edge.ANEW: 5}
    found = lines(made, cell(85.01))
    assert found.verdict.to_dict() == {edge.OWN: "not reproduced", edge.ANEW: "reproduced"}


@pytest.mark.parametrize("changes", [{"sizes": "width=16"}, {"epochs": 3, "batch_size": 64}])
def test_a_network_built_or_trained_otherwise_tests_no_number(changes):
    found = lines(rows({("edge_nearest_uniform", 4): 85}, **changes), cell(85.0))
    assert found.verdict[edge.ANEW] == "not testable" and found.measured[edge.ANEW] == 85
    assert np.isnan(found.random[edge.ANEW])


@pytest.mark.parametrize("more", [{"pruner": "edge", "amount": 0.2}, {"repairs": "folded"},
                                  {"a_bits": 8}, {"granularity": "channel"}, {"recipe": "ours"}])
def test_rows_of_other_techniques_test_no_cell(more):
    assert lines(rows({("edge_nearest_uniform", 4): 85}, **more), cell(85.0)).rows.sum() == 0


def test_a_cause_is_what_alone_moves_the_score():
    name = "edge_nearest_normal"
    base = {(name, 4): 70.0, ("edge_own_nearest_normal", 4): 70.4, ("nearest_normal", 4): 85.0}
    found = lines(own(base), cell(70, name)).why[edge.OWN]
    assert found == ""                                  # a corrected twin is no cause
    moved = own(base | {("edge_sorted_nearest_normal", 4): 85.0})
    assert edge.CAUSES["sorted"] in lines(moved, cell(70, name)).why[edge.OWN]
    missed = own({(name, 4): 60.0, ("edge_sorted_nearest_normal", 4): 70.0})
    assert edge.CAUSES["sorted"] in lines(missed, cell(70, name)).why[edge.OWN]
    elsewhere = own({(name, 4): 60.0, ("edge_sorted_nearest_normal", 4): 75.0})
    assert lines(elsewhere, cell(70, name)).why[edge.OWN] == ""


def test_every_cause_has_its_switch():
    from lib import quant
    switched = {name.split("_")[1] for name in quant.METHODS
                if quant.file_of(name).name == "edge_switched.py"}
    assert switched == set(edge.CAUSES)


def test_multipoint_is_judged_by_rows_of_as_many_points():
    made = own({(edge.POINTS, 4): 70}) + rows({(edge.POINTS, 4): 70})
    assert lines(made, cell(70, edge.POINTS, points=5)).rows.to_dict() == {edge.ANEW: 5}
    assert lines(made, cell(70, edge.POINTS, points=10)).rows.sum() == 0


@pytest.mark.parametrize("said, wanted", [(82.755, "reproduced"), (82.74, "not reproduced")])
def test_a_pruned_cell_comes_back_to_the_digit_on_edges_weights(said, wanted):
    made = [*own({"": 86.0}), Row(**(NET | OWN), pruner="edge", amount=0.5, seed=0, score=82.755),
            Row(**(NET | OWN), pruner="edge", amount=0.5, seed=0, score=82.755, bits=4,
                quantizer="affine")]
    pruned = {key: value for key, value in cell(said).items()
              if key not in ("bits", "quantizer", "points")} | {"amount": 0.5}
    found = lines(made, pruned, pruned | {"score": 60.0, "amount": 0.7}, name="edge_prune")
    assert found.verdict[edge.OWN] == wanted and found.rows[edge.OWN] == 1


def test_a_number_read_off_a_figure_is_judged_as_well_as_it_can_be_read():
    made = rows({"": 86.0}) + rows({("edge_nearest_uniform", 2): 83.0}, tuned="ste")
    made += rows({("edge_nearest_uniform", 2): 70.0})
    read = cell(83.2, bits=2, reading=0.3)
    assert lines(made, read, name="edge_qat").verdict[edge.ANEW] == "reproduced"
    assert lines(made, read | {"score": 84.0}, name="edge_qat").verdict[edge.ANEW] == \
        "not reproduced"


SIX = (edge.BEST, 6)


def dense(lost: dict[str, float], spread: float = 0.05, seeds: int = 5) -> list[Row]:
    """Rows of networks trained anew that lose so many points at 6 bits, with some spread."""
    made = []
    for task, loss in lost.items():
        made += rows({"": 86.0}, task=task, seeds=seeds)
        made += rows({SIX: 86.0 - loss}, task=task, spread=spread, seeds=seeds)
    return made


TASKS = ("telescope@edge", "churn@edge")


@pytest.mark.parametrize("losses, spread, wanted", [
    ((0.2, 0.3), 0.05, "holds"), ((0.2, 3.0), 0.05, "does not hold"),
    ((0.2, 0.9), 0.3, "undecided")])
def test_six_bits_are_enough_or_not(losses, spread, wanted):
    made = dense(dict(zip(TASKS, losses, strict=True)), spread)
    assert judged("dense", compressed=made).verdict == wanted


def test_a_network_without_an_interval_does_not_decide_that_six_bits_are_not_enough():
    made = dense({TASKS[0]: 0.2}) + dense({TASKS[1]: 5.0}, seeds=1)
    found = judged("dense", compressed=made)
    assert found.verdict == "holds" and found.rows == 10


RANKS = {edge.BEST: 86.0, "edge_nearest_uniform": 85.0, "edge_mid_rise": 84.0,
         "edge_nearest_histogram": 83.0, "edge_stochastic_histogram": 82.0,
         "edge_nearest_normal": 81.0, "edge_stochastic_normal": 80.0}


def ranked(scores: dict[str, float]) -> list[Row]:
    """Three networks on which the quantizers are in this order at 4 bits and nearly so at 6."""
    made = []
    for task in (*TASKS, "mv@edge"):
        for bits in (4, 6):
            made += rows({(name, bits): score + (bits == 6) * 0.1
                          for name, score in scores.items()}, task=task)
    return made


def test_the_best_quantizer_is_before_each_other_one():
    names = list(RANKS)
    assert judged("best", compressed=ranked(RANKS)).verdict == "holds"
    assert judged("normal", compressed=ranked(RANKS)).verdict == "holds"
    turned = dict(zip(reversed(names), RANKS.values(), strict=True))
    assert judged("best", compressed=ranked(turned)).verdict == "does not hold"
    assert judged("normal", compressed=ranked(turned)).verdict == "does not hold"
    mixed = [row for row in ranked(RANKS) if row.task != "mv@edge"]
    mixed += [row for row in ranked(turned) if row.task == "mv@edge"]
    assert judged("best", compressed=mixed).verdict == "undecided"


def churn(scores: tuple[float, float], model: str = "mlp_simple") -> list[Row]:
    """Five trainings on Churn at one score, and pruned by 60 % at another."""
    made = rows({"": scores[0]}, task="churn@edge", model=model)
    return made + rows({"": scores[1]}, task="churn@edge", model=model, pruner="edge", amount=0.6,
                       spread=0.05)


@pytest.mark.parametrize("loss, wanted", [(0.2, "holds"), (5.0, "does not hold"),
                                          (0.95, "undecided")])
def test_weights_can_be_removed_or_not(loss, wanted):
    assert judged("pruned", compressed=churn((86.0, 86.0 - loss))).verdict == wanted


@pytest.mark.parametrize("loss, wanted", [(0.2, "holds"), (5.0, "does not hold"),
                                          (0.95, "undecided")])
def test_training_through_the_quantizer_keeps_the_accuracy_or_not(loss, wanted):
    """Judged with the quantizer that the figure shows as the best one."""
    figure = pd.DataFrame([cell(85.9, "edge_nearest_uniform", reading=0.3),
                           cell(84.0, "edge_mid_rise", reading=0.3)])
    made = rows({"": 86.0}) + rows({("edge_nearest_uniform", 4): 86.0 - loss}, tuned="ste",
                                   spread=0.05)
    made += rows({("edge_mid_rise", 4): 50.0}, tuned="ste")
    assert judged("qat", compressed=made, cells={"edge_qat": figure}).verdict == wanted


def test_pruning_raises_the_accuracy_of_what_was_quantized_or_not():
    net = {"task": "fashion_mnist@edge", "model": "resnet9"}
    after = {"pruner": "edge", "amount": 0.2, "order": "quantize prune", "spread": 0.5}
    quantized = rows({("edge_nearest_uniform", 8): 30.0}, **net)
    for score, wanted in ((80.0, "holds"), (20.0, "does not hold"), (30.2, "undecided")):
        made = quantized + rows({("edge_nearest_uniform", 8): score}, **net, **after)
        assert judged("raises", compressed=made).verdict == wanted


# Green

def files(lost: dict[str, float], spread: float = 0.1) -> list[Row]:
    """Rows of T1 as files on five folds of USC-HAD: {deploy: points lost against FP32}."""
    return [Row(task="usc_had", model="transformer_t1", recipe="ours", metric="accuracy", seed=0,
                fold=fold, deploy=deploy,
                score=60.0 + fold - loss + spread * (fold - 2) * (loss > 0))
            for deploy, loss in lost.items() for fold in range(5)]


@pytest.mark.parametrize("loss", [2.5, 0.2, 6.0, 3.4])
def test_a_loss_on_other_data_than_greens_is_shown_and_decides_nothing(loss):
    line = judged("static", files=files({"fp32": 0.0, "static": loss}))
    assert line.verdict == "not testable" and line.measured == pytest.approx(loss)
    assert line.rows > 0


@pytest.mark.parametrize("times, wanted", [(1.7, "holds"), (1.0, "does not hold"),
                                           (3.0, "does not hold"), (1.95, "undecided")])
def test_a_speed_is_compared_by_the_outer_ends_of_both_intervals(times, wanted):
    made = files({"fp32": 0.0, "static": 0.1})
    costs = [Cost(row.id, "latency_s", "measured", "clock", value, 0.97 * value, 1.03 * value)
             for row in made if row.fold == 0
             for value in [times if row.deploy == "fp32" else 1.0]]
    given = replication.Part(frame(made), {}, cost_frame(costs))
    assert judged("faster", files=given).verdict == wanted


# ResNet-energy

def trainings(scores: dict[float | None, float], **changes) -> list[Row]:
    """Rows of one ResNet trained at each rate, three seeds around that score."""
    asked = {"task": "cifar10@small", "model": "resnet8", "recipe": "plan", "metric": "accuracy",
             "sizes": "width=8", "epochs": 20} | changes
    return [Row(**asked, lr=rate, seed=seed, score=score + 0.1 * (seed - 1) * (rate is None))
            for rate, score in scores.items() for seed in range(3)]


def at_rate(rate: float) -> pd.DataFrame:
    """The claims, of which this rate is said to be the best."""
    return CLAIMS.assign(value=CLAIMS.value.where(CLAIMS.key != "rate", rate))


def test_the_rate_that_is_claimed_is_the_one_that_is_judged():
    """A true claim of 0.003 was refuted: the rate of the recipe was judged in its place."""
    made = trainings({None: 60.0, 0.003: 70.0, 0.0003: 50.0})
    assert judged("rate", claims=at_rate(0.003), plan=made).verdict == "holds"
    assert judged("rate", claims=at_rate(0.001), plan=made).verdict == "does not hold"
    assert judged("rate", claims=at_rate(0.0003), plan=made).verdict == "does not hold"
    tied = trainings({None: 60.0, 0.003: 60.01, 0.0003: 50.0})
    assert judged("rate", claims=at_rate(0.001), plan=tied).verdict == "undecided"


def pruned(amount: float, loss: float) -> list[Row]:
    drawn = {"sizes": "width=8 init=xavier"}
    masked = {"pruner": "magnitude_l1", "amount": amount, "schedule": "every-5"}
    return trainings({None: 60.0}, **drawn) + trainings({None: 60.0 - loss}, **drawn, **masked)


@pytest.mark.parametrize("amount, wanted", [(0.6, "holds"), (0.2, "does not hold"),
                                            (0.95, "does not hold")])
def test_savings_are_compared_with_both_ends_and_with_no_condition_that_is_not_stated(
        amount, wanted):
    """A fall of the score refuted a statement that names none; 31.7 % was in "15 to 30 %"."""
    spared = 100 * (1 - resnet_energy.density(20, 5, amount)) * 2 / 3
    for loss in (0.0, 20.0):
        found = judged("savings", plan=pruned(amount, loss))
        assert found.verdict == wanted and found.measured == pytest.approx(spared)
    assert "20.0" in found.why


def test_density_counts_what_is_left_of_each_epoch():
    assert resnet_energy.density(20, 5, 0.6) == pytest.approx(1 - (0.2 + 0.4 + 0.6) / 4)
    assert resnet_energy.density(5, 5, 0.6) == 1.0


def test_an_accuracy_on_other_data_is_not_tested():
    """98 % was refuted by networks at 57 % on 10 000 images."""
    found = judged("accuracy", plan=pruned(0.5, 2.0))
    assert found.verdict == "not testable" and np.isnan(found.measured)


def test_shortcuts_speed_convergence_or_not():
    def history(first: int) -> pd.DataFrame:
        """Ten epochs of three seeds: with shortcuts the score jumps at `first`, without at 8."""
        made = []
        for sizes, jump in (("width=8", first), ("width=8 shortcut=0", 8)):
            made += [{"task": "cifar10@small", "model": "resnet34", "sizes": sizes, "seed": seed,
                      "epoch": epoch, "val_score": 50.0 + 40 * (epoch >= jump + seed % 2 * (
                          jump != 8)), "schedule": "", "pruner": "", "amount": np.nan, "lr": np.nan}
                     for seed in range(3) for epoch in range(1, 11)]
        return pd.DataFrame(made)
    assert judged("shortcuts", history=history(2)).verdict == "holds"
    assert judged("shortcuts", history=history(8)).verdict == "undecided"


@pytest.mark.parametrize("gained, wanted", [(5.0, "holds"), (-5.0, "does not hold"),
                                            (0.05, "undecided")])
def test_an_initialization_is_compared_with_the_usual_one(gained, wanted):
    made = trainings({None: 60.0}) + [
        Row(task="cifar10@small", model="resnet8", recipe="plan", metric="accuracy", epochs=20,
            sizes="width=8 init=xavier", seed=seed, score=60.0 + gained + 0.3 * (seed - 1))
        for seed in range(3)]
    assert judged("init", plan=made).verdict == wanted


@pytest.mark.parametrize("joules, feed, masked", [
    ((100, 10, 2), "holds", "holds"), ((1, 10, 100), "does not hold", "does not hold"),
    ((10, 10, 10), "undecided", "undecided")])
def test_energies_up_to_one_score_are_compared_by_seed(joules, feed, masked):
    nets = ({"model": "mlp_simple", "sizes": ""}, {}, {"pruner": "magnitude_l1", "amount": 0.5,
                                                       "schedule": "every-5"})
    made, costs, epochs = [], [], []
    for spent, changes in zip(joules, nets, strict=True):
        for row in trainings({None: 60.0}, **changes):
            made.append(row)
            costs.append(Cost(row.id, "spent_energy_j", "modelled", "45 nm, a paper",
                              spent * (1 + 0.01 * row.seed)))
            epochs += [{name: getattr(row, name) for name in resnet_energy.KEYS}
                       | {"epoch": epoch, "val_score": 3.0 * epoch} for epoch in range(1, 21)]
    history = frame(made).iloc[:0].drop(columns="score")
    history = pd.concat([history, pd.DataFrame(epochs)])[[*resnet_energy.KEYS, "epoch",
                                                          "val_score"]]
    given = {"plan": replication.Part(frame(made), {}, cost_frame(costs)), "history": history}
    assert judged("feed_forward", **given).verdict == feed
    assert judged("pruned_energy", **given).verdict == masked


# Real-time

def served(gained: float, spread: float = 1.0, policies: int = 1, saved: float = 0.0
           ) -> replication.Part:
    """Five seeds of one trace: the rule answers so many points more in time than either precision
    (other policies: as many), and a smaller network more than all."""
    share = {"fixed a file of floats": 80.0, "fixed a file of static int8": 70.0,
             "fixed resnet8 width=4, a file of floats": 99.0, "literal": 80.0 + gained}
    share |= {f"slack {number}": 80.0 for number in range(policies - 1)}
    made, costs = [], []
    for policy, value in share.items():
        for seed in range(5):
            row = Row(task="cifar10", model="resnet20", seed=seed, policy=policy, score=90.0,
                      trace="step, load 1.6", metric="accuracy")
            noise = spread * (seed - 2) * (policy[:5] != "fixed")
            joules = 1 - saved * (policy == "literal") + 1e-4 * seed
            made.append(row)
            costs += [Cost(row.id, "right_in_time", "measured", "replay", (value + noise) / 100),
                      Cost(row.id, "joules_per_1000", "modelled", "replay", joules)]
    return replication.Part(frame(made), {}, cost_frame(costs))


@pytest.mark.parametrize("gained, wanted", [(8.0, "holds"), (-8.0, "does not hold"),
                                            (1.0, "undecided")])
def test_a_changing_precision_is_compared_with_single_precisions_of_the_same_network(
        gained, wanted):
    assert judged("adapts", served=served(gained)).verdict == wanted


def test_a_policy_is_judged_among_all_policies_and_traces():
    assert judged("adapts", served=served(2.5)).verdict == "holds"
    assert judged("adapts", served=served(2.5, policies=30)).verdict == "undecided"


@pytest.mark.parametrize("saved, wanted", [(0.2, "holds"), (-0.2, "does not hold"),
                                           (0.0, "undecided")])
def test_energy_is_saved_or_not(saved, wanted):
    assert judged("saves", served=served(0.0, saved=saved)).verdict == wanted


def heads(loss: float) -> pd.DataFrame:
    losses = loss + 0.008 * np.linspace(-2, 2, 40)
    return pd.DataFrame({"loss": losses, "score": np.linspace(42, 58, 40), "seed": range(40)})


def test_the_benchmark_is_compared_with_untrained_heads():
    """It was refuted by a trained one."""
    trained = [Row(task="sst2", model="minilm", recipe="ours", seed=0, score=89.9, score_low=87.7,
                   score_high=91.7, metric="accuracy", loss=0.345)]
    found = judged("benchmark", files=trained, heads=heads(0.698))
    assert found.verdict == "reproduced" and found.rows == 40
    assert judged("benchmark", files=trained, heads=heads(0.345)).verdict == "not reproduced"
    assert judged("benchmark", files=trained).verdict == "not testable"


# what is published

def test_the_published_claims_and_cells_are_whole():
    assert 24 <= len(CLAIMS) <= 32 and not CLAIMS.duplicated(["study", "key"]).any()
    assert set(CLAIMS.study) == set(replication.STUDIES)
    assert CLAIMS[["claim", "said", "unit", "chapter", "missing", "source"]].notna().all(axis=None)
    ptq = load_table("edge_ptq", paths.PUBLISHED)
    assert not ptq.duplicated(["task", "model", "bits", "quantizer", "points"]).any()
    accuracy = ptq[ptq.metric == "accuracy"]
    assert accuracy.score.between(1, 100).all() and (accuracy.float_score > accuracy.chance).all()
    dense_ = ptq[ptq.model.isin(edge.DENSE) & ptq.points.isna()]
    assert set(dense_.groupby(["task", "model", "quantizer"]).size()) == {6}


def test_the_bounds_of_greens_losses_are_those_of_its_table():
    table = load_table("green_compressed", paths.PUBLISHED)
    kind = table.deploy.where(table.pruner == "", "pruning")
    lost = (table.float_score - table.score).groupby(kind)
    bounds = CLAIMS[CLAIMS.study == "Green"].set_index("key")
    for key in ("static", "dynamic", "pruning"):
        assert lost.min()[key] == pytest.approx(bounds.low[key])
        assert lost.max()[key] == pytest.approx(bounds.high[key])


def test_without_rows_nothing_is_testable():
    table = replication.judge(tables(cells={name: load_table(name, paths.PUBLISHED)
                                            for name in replication.CELLS}))
    assert set(table.verdict) == {"not testable"} and table.why.str.len().min() > 10
    assert (table.rows == 0).all()


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    before = paths.profile()
    paths.profile("published")
    try:
        started = time.process_time()
        table = replication.judge(replication.read())
        assert time.process_time() - started < 10
    finally:
        paths.profile(before)
    return table


def test_the_committed_rows_are_judged(published):
    main = replication.main(published)
    assert len(main) == len(CLAIMS) and set(published.verdict) <= set(replication.MEANINGS)
    assert tuple(published) == replication.COLUMNS
    tested = main[main.verdict != "not testable"]
    assert len(tested) >= 19 and (tested.rows > 0).all()
    assert tested[["measured", "low", "high"]].notna().all(axis=None)
    assert ((tested.low <= tested.measured) & (tested.measured <= tested.high)).all()
    for end in ("low", "high"):                     # none is decided whose interval has a bound
        bound = tested.key.map(CLAIMS.set_index("key")[end])
        inside = (tested.low <= bound) & (bound <= tested.high) & (tested.kind == "statement")
        assert not (inside & (tested.verdict == "holds")).any()
    assert main.set_index("key").verdict["benchmark"] == "reproduced"


def test_counts_and_rates_by_chance_cover_every_claim(published):
    counts = replication.counts(published)
    assert counts.claims.sum() == len(published)
    assert (counts[list(replication.MEANINGS)].sum(axis=1) == counts.claims).all()
    rates = replication.by_chance(published)
    decided = published[published.verdict != "not testable"]
    assert rates.decided.sum() == len(decided)
    shares = rates[["confirmed", "random", "permuted"]]
    assert ((shares >= 0) & (shares <= 1)).all(axis=None)
    cells = rates[rates.kind == "cell"]
    assert (cells.random < 0.05).all() and (cells.permuted < 0.2).all()


def test_it_knows_no_torch():
    code = "import sys; from lib import replication; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, check=True, timeout=60)
