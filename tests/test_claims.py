"""Claims: each verdict can come about, and only from the rows that deserve it."""

import numpy as np
import pandas as pd
import pytest

from lib import tables
from lib.base import paths
from lib.page import figures
from lib.tables import Row, cells, claims

NET = {"task": "telescope@edge", "model": "mlp_simple", "recipe": "edge", "metric": "accuracy"}
OWN = {"model": "mlp_simple-edge", "recipe": ""}
SPREAD = 0.01


def rows(values: dict[tuple[str, int] | str, float], seeds: int = 5, spread: float = SPREAD,
         **changes) -> list[Row]:
    """Rows of Edge's nets: {("edge_nearest_uniform", 4): 85.0} around that score, seed by seed;
    "" is the net as trained."""
    made = []
    for name, score in values.items():
        asked = {}
        if name:
            asked = {"quantizer": name[0], "bits": name[1], "granularity": "tensor"}
        made += [Row(**(NET | asked | changes), seed=seed, score=score + spread * (seed - 2))
                 for seed in range(seeds)]
    return made


def drawn(values: dict[tuple[str, int] | str, float], draws: int = 5, spread: float = SPREAD,
          **changes) -> list[Row]:
    """Rows on Edge's own weights: one each, and several draws of what rounds at random."""
    made = []
    for name, score in values.items():
        asked = {"quantizer": name[0], "bits": name[1]} if name else {}
        random = bool(name) and "stochastic" in name[0]
        made += [Row(**(NET | OWN | asked | changes), seed=0, draw=draw if random else None,
                     score=score + spread * (draw - 2) * random)
                 for draw in range(draws if random else 1)]
    return made


def cell(score: float, quantizer: str = "edge_nearest_uniform", **changes) -> pd.DataFrame:
    return pd.DataFrame([{"task": "telescope@edge", "model": "mlp_simple", "bits": 4,
                          "quantizer": quantizer, "points": None, "metric": "accuracy",
                          "score": score, "float_score": 86.0, "chance": 64.0} | changes])


def judged(made: list[Row], *published: pd.DataFrame) -> pd.Series:
    """What came of the first of these cells."""
    table = claims.judge(tables.frame(made), pd.concat(published))
    return table[table.kind != "conclusion"].iloc[0]


@pytest.mark.parametrize("score, wanted", [(85.01, "generalizes"), (80.0, "does not generalize")])
def test_a_retrained_net_is_judged_by_where_one_more_seed_would_lie(score, wanted):
    found = judged(rows({"": 86, ("edge_nearest_uniform", 4): 85}), cell(score))
    assert found.verdict == wanted and found.rows == 5 and found.kind == "cell"
    assert found.own_verdict.startswith("not testable here") and found.own_rows == 0


@pytest.mark.parametrize("ours, wanted", [
    (85.2, "reproduced"), (85.2049, "reproduced"), (85.21, "not reproduced")])
def test_on_its_own_weights_a_rounding_comes_back_to_the_printed_digit(ours, wanted):
    found = judged(drawn({"": 86, ("edge_nearest_uniform", 4): ours}), cell(85.2))
    assert found.own_verdict == wanted and found.own_rows == 1
    assert found.verdict.startswith("not testable here")


@pytest.mark.parametrize("ours, wanted", [(100.9, "reproduced"), (101.1, "not reproduced")])
def test_a_squared_error_on_its_own_weights_comes_back_within_a_percent(ours, wanted):
    made = drawn({("edge_mid_rise", 4): 0.5}, metric="r2", metric2="rmse", score2=ours**0.5)
    published = cell(100, "edge_mid_rise", metric="mse", float_score=50, chance=1000)
    assert judged(made, published).own_verdict == wanted


def test_rounding_at_random_is_judged_by_where_one_more_draw_would_lie():
    name = "edge_stochastic_uniform"
    made = {(name, 4): 85.0}
    assert judged(drawn(made), cell(85.03, name)).own_verdict == "reproduced"
    assert judged(drawn(made), cell(85.3, name)).own_verdict == "not reproduced"
    few = judged(drawn(made, draws=3), cell(85.0, name))
    assert few.own_verdict == "not testable here: draws: 3, needed: 5"
    assert judged(drawn(made, spread=1), cell(85.0, name)).own_verdict == (
        "not testable here: draws spread too widely to tell")


@pytest.mark.parametrize("spread, wanted", [(0.3, "generalizes"), (0.5, "not testable here")])
def test_an_interval_may_take_a_fifth_of_what_the_net_has_learned(spread, wanted):
    made = rows({("edge_nearest_uniform", 4): 85}, spread=spread)      # width 6.66·1.58·spread
    found = judged(made, cell(85))
    assert found.verdict.split(":")[0] == wanted
    assert ((found.high - found.low) / (86 - 64) > cells.WIDEST) == (wanted != "generalizes")


def test_an_interval_that_holds_most_other_numbers_tells_nothing():
    made = rows({("edge_nearest_uniform", 4): 85}, spread=0.1)
    near, far = cell(85.1, bits=6), cell(70, bits=8)
    one = judged(made, cell(85), near, far)
    assert one.verdict == "generalizes" and one.others == 0.5
    two = judged(made, cell(85), near, cell(84.9, bits=8), far)
    assert two.verdict == ("not testable here: 67 % of Edge's other numbers of this net fit as "
                           "well")
    elsewhere = judged(made, cell(85), cell(85, model="mlp_complex"), far)
    assert elsewhere.others == 0
    outside = judged(made, cell(70.5), near, cell(84.9, bits=8))
    assert outside.verdict == "does not generalize" and outside.others == 1


def test_a_cause_is_what_alone_moves_the_score():
    name, published = "edge_nearest_normal", cell(70, "edge_nearest_normal")
    own = {(name, 4): 70.0, ("edge_own_nearest_normal", 4): 70.4, ("nearest_normal", 4): 85.0}
    found = judged(drawn(own), published)
    assert found.own_verdict == "reproduced" and found.cause == ""      # a twin is no cause
    found = judged(drawn(own | {("edge_sorted_nearest_normal", 4): 85.0}), published)
    assert found.own_verdict == "reproduced"
    assert found.cause == "the set is left unsorted (without: 85)"
    missed = judged(drawn({(name, 4): 60.0, ("edge_sorted_nearest_normal", 4): 70.0}), published)
    assert missed.own_verdict == "not reproduced"
    elsewhere = judged(drawn({(name, 4): 60.0, ("edge_sorted_nearest_normal", 4): 75.0}), published)
    assert elsewhere.cause == ""                        # moves it, but not to Edge's number
    assert missed.cause == "the set is left unsorted (without: 70)"
    anew = judged(rows({(name, 4): 70, ("edge_zero_nearest_normal", 4): 80}), published)
    assert anew.verdict == "generalizes" and anew.cause == "no level is 0 (without: 80)"


def test_every_cause_has_its_switch():
    from lib import quant
    switched = {name.split("_")[1] for name in quant.METHODS
                if quant.file_of(name).name == "edge_switched.py"}
    assert switched == set(cells.CAUSES)


def test_few_seeds_show_a_pattern_that_is_never_counted_as_reproduced():
    made = rows({"": 86, ("edge_nearest_uniform", 4): 65}, seeds=1)
    found = judged(made, cell(66))
    assert found.kind == "pattern"
    assert found.verdict == "pattern, holds: whether it collapses (seeds: 1)"
    assert judged(made, cell(80)).verdict.startswith("pattern, does not hold")
    assert judged(rows({"": 86}), cell(66)).verdict.startswith("not testable here")
    counts = claims.by_verdict(claims.judge(tables.frame(made), cell(66)))
    line = counts[(counts["about"] == "patterns") & (counts.nets == claims.RETRAINED)].iloc[0]
    assert line["pattern, holds"] == line["all"] == 1
    assert not {"reproduced", "generalizes"} & set(counts)


def test_a_squared_error_collapses_where_it_is_near_the_variance():
    few = {"metric": "r2", "metric2": "rmse", "seeds": 1}
    made = rows({"": 0.9}, score2=10**0.5, **few)
    made += rows({("edge_mid_rise", 4): 0.1}, score2=90**0.5, **few)
    scale = {"metric": "mse", "float_score": 10, "chance": 100}
    assert "pattern, holds" in judged(made, cell(80, "edge_mid_rise", **scale)).verdict
    assert "does not hold" in judged(made, cell(20, "edge_mid_rise", **scale)).verdict


@pytest.mark.parametrize("changes, said", [
    ({"sizes": "width=16"}, "width=16"),
    ({"epochs": 3, "batch_size": 64}, "3 epochs, batches of 64")])
def test_a_net_built_or_trained_otherwise_is_a_stand_in_that_hides_no_failure(changes, said):
    net = {"task": "fashion_mnist@edge", "model": "resnet9"}
    made = rows({"": 92, ("edge_nearest_uniform", 4): 12}, seeds=1, **net, **changes)
    scale = {"float_score": 92, "chance": 10}
    assert judged(made, cell(10, **net, **scale)).verdict == f"stand-in: {said}, holds"
    table = claims.judge(tables.frame(made), cell(90, **net, **scale))
    assert table.verdict.iloc[-1] == f"stand-in: {said}, does not hold"
    assert "stand-in, does not hold" in claims.by_verdict(table)
    assert cells.stand_in(tables.frame(made)) == said


@pytest.mark.parametrize("more", [
    {"pruner": "edge", "amount": 0.2}, {"repairs": "folded"}, {"a_bits": 8},
    {"granularity": "channel"}, {"recipe": "ours"}])
def test_rows_of_other_techniques_test_no_cell(more):
    made = rows({"": 86, ("edge_nearest_uniform", 4): 85})
    other = rows({("edge_nearest_uniform", 4): 12}, **more)
    with_them = claims.judge(tables.frame(other + made), cell(85))
    assert with_them.equals(claims.judge(tables.frame(made), cell(85)))
    assert with_them.rows.iloc[-1] == 5


def test_multipoint_of_a_net_that_edge_did_not_keep_is_not_judged_on_its_weights():
    made = drawn({("edge_multipoint", 4): 42}) + rows({("edge_multipoint", 4): 42})
    found = judged(made, cell(42, "edge_multipoint", points=5))
    assert found.own_rows == 0 and found.rows == 5
    assert judged(made, cell(42, "edge_multipoint", points=10)).rows == 0


@pytest.mark.parametrize("errors, published, wanted", [
    ((3.6, 3.8, 4, 4.2, 4.4), 16, "generalizes"),
    ((3.6, 3.8, 4, 4.2, 4.4), 40, "does not generalize"),
    ((1, 2, 4, 8, 16), 16, "not testable here"),
    ((1, 2, 4, 8, 16), 1e9, "does not generalize")])
def test_squared_errors_are_judged_by_their_logarithms(errors, published, wanted):
    made = [Row(**(NET | {"metric": "r2", "metric2": "rmse"}), seed=seed, score=0.5, score2=rmse,
                quantizer="edge_mid_rise", bits=4) for seed, rmse in enumerate(errors)]
    found = judged(made, cell(published, "edge_mid_rise", metric="mse", float_score=0.001,
                              chance=1e5))
    assert found.verdict.split(":")[0] == wanted and 0 < found.low < 16 < found.high
    assert found.ours == pytest.approx(16, rel=0.02)        # the middle of 1, 4², 8², 16²


def conclusions(made: list[Row], *models: str) -> pd.DataFrame:
    published = [cell(85, model=model) for model in ("mlp_simple", *models)]
    return claims.judge(tables.frame(made), pd.concat(published)).iloc[:5]


SETS = [f"{r}_{s}" for r in ("nearest", "stochastic") for s in ("uniform", "normal")]
GOOD = {"stochastic_uniform": 86, "nearest_uniform": 85.5}
EDGE_SETS = {(f"edge_{s}", b): GOOD.get(s, 80) - 2 * (b == 4) for s in SETS for b in (4, 6)}


def test_edges_conclusions_on_nets_trained_anew():
    made = rows({"": 86.1} | EDGE_SETS) + rows({"": 86.1} | EDGE_SETS, model="mlp_complex")
    table = conclusions(made, "mlp_complex")
    best, normal, dense, simple, complex_ = table.verdict
    assert best == normal == dense == "generalizes"
    assert table.ours[0] == 1 and table.ours[2] == 6
    assert simple.startswith("not testable") and complex_.startswith("not testable")
    assert table.own_verdict.str.startswith("not testable").all()
    less = conclusions(made, "mlp_complex", "resnet9")
    assert less.verdict[0] == "stand-in: 2 of Edge's 3 nets, holds"


def test_edges_conclusions_on_its_own_weights_and_the_normal_set_once_sorted():
    on = [{}, {"model": "mlp_complex-edge"}]
    made = [row for net in on for row in drawn({"": 86.1} | EDGE_SETS, **net)]
    table = conclusions(made, "mlp_complex")
    assert list(table.own_verdict[:3]) == ["reproduced"] * 3
    assert table.own_ours[2] == 6 and table.verdict.str.startswith("not testable").all()
    sorted_ = {(f"edge_sorted_{r}_normal", b): 90 for r in ("nearest", "stochastic")
               for b in (4, 6)}
    mended = [row for net in on for row in drawn(sorted_, **net)]
    again = conclusions(made + mended, "mlp_complex")
    assert again.own_verdict[1] == "artefact: the set is left unsorted; sorted -2 ranks behind"


def test_one_seed_tells_of_a_collapse_alone():
    net = {"task": "fashion_mnist@edge", "model": "resnet9", "seeds": 1}
    scale = {"task": "fashion_mnist@edge", "model": "resnet9", "chance": 10, "float_score": 92}
    for score, wanted in ((12, "pattern, does not hold"), (91, "not testable here")):
        made = rows({"": 92, ("edge_stochastic_uniform", 8): score}, **net)
        table = claims.judge(tables.frame(made), cell(85, **scale))
        assert table.verdict[4].split(":")[0] == wanted


def test_claims_are_counted_once_on_each_kind_of_weights():
    made = rows({("edge_nearest_uniform", 4): 85}) + drawn({("edge_nearest_uniform", 4): 85})
    made += drawn({("edge_nearest_normal", 4): 70, ("edge_sorted_nearest_normal", 4): 85})
    published = pd.concat([cell(85), cell(70, "edge_nearest_normal")])
    counts = claims.by_verdict(claims.judge(tables.frame(made), published))
    own = counts[(counts["about"] == "telescope@edge") & (counts.nets == claims.OWN)].iloc[0]
    assert own["reproduced"] == own["reproduced, cause found"] == 1 and own["all"] == 2
    assert own["others inside, %"] == 0
    assert set(counts.groupby("about").size()) == {1, 2}      # no conclusion on own weights
    assert counts["all"].sum() == 2 * 2 + 5


def test_the_prediction_interval_holds_one_more_value_95_times_in_100():
    draws = np.random.default_rng(0).normal(size=(4000, 6))
    inside = [low <= one[-1] <= high for one in draws
              for low, high in [tables.prediction(one[:-1])]]
    assert 0.93 < np.mean(inside) < 0.97


def test_the_published_cells_are_whole():
    published = tables.load_table("edge_ptq", paths.PUBLISHED)
    assert not published.duplicated(["task", "model", "bits", "quantizer", "points"]).any()
    assert published.drop(columns="points").notna().all(axis=None)
    accuracy = published[published.metric == "accuracy"]
    assert accuracy.score.between(1, 100).all() and (accuracy.float_score > accuracy.chance).all()
    dense = published[published.model.str.startswith("mlp_") & published.points.isna()]
    plain = dense[~dense.quantizer.str.endswith("_iqr")]
    assert len(plain[plain.bits.isin([4, 6, 8])]) == 168        # 8 nets, 7 quantizers
    assert set(dense.groupby(["task", "model", "quantizer"]).size()) == {6}
    empty = claims.judge(tables.frame([]), published)
    assert len(empty) == len(published) + 5
    assert empty.verdict.str.startswith("not testable").all()
    assert empty.own_verdict.str.startswith("not testable").all()


# pruned and trained nets, and what Green printed

def pruned(score: float, amount: float = 0.5, **changes) -> Row:
    return Row(**(NET | OWN | {"pruner": "edge", "amount": amount} | changes), seed=0, score=score)


def pruned_cell(score: float, amount: float = 0.5, **changes) -> pd.DataFrame:
    return cell(score).drop(columns=["bits", "quantizer", "points"]).assign(
        amount=amount, **changes)


@pytest.mark.parametrize("score, wanted", [(82.755, "reproduced"), (82.74, "not reproduced")])
def test_a_pruned_cell_comes_back_to_the_digit_on_edges_own_net(score, wanted):
    made = [*drawn({"": 86.0}), pruned(82.755), pruned(60.0, 0.7),
            pruned(82.755, quantizer="affine", bits=4)]         # rounded too: another thing
    found = claims.judge_pruning(tables.frame(made), pd.concat(
        [pruned_cell(score), pruned_cell(60.0, 0.7)], ignore_index=True)).iloc[0]
    assert (found.own_verdict, found.own_rows, found.kind) == (wanted, 1, "pruned cell")
    assert found.claim == "telescope@edge/mlp_simple, pruned by 50 %: accuracy"
    assert found.verdict.startswith("not testable here")


def test_pruned_nets_that_were_trained_anew_are_judged_over_their_seeds():
    made = [*rows({"": 86.0}), *[pruned(80.0 + 0.01 * seed, model="mlp_simple", recipe="edge")
                                 for seed in range(1)]]
    made += [Row(**NET, pruner="edge", amount=0.5, seed=seed, score=80.0 + 0.01 * seed)
             for seed in range(1, 5)]
    table = tables.frame([row for row in made if row.model == "mlp_simple"])
    for score, wanted in ((80.03, "generalizes"), (85.0, "does not generalize")):
        found = claims.judge_pruning(table, pruned_cell(score)).iloc[0]
        assert found.verdict == wanted and found.rows == 5


def test_a_number_read_off_a_figure_is_judged_as_well_as_it_can_be_read():
    through = rows({("edge_nearest_uniform", 2): 83.0}, tuned="ste")
    made = tables.frame([*rows({"": 86.0}), *through, *rows({("edge_nearest_uniform", 2): 70.0})])
    read = cell(83.2, bits=2).assign(reading=0.3)
    found = claims.judge_trained(made, read).iloc[0]
    assert (found.verdict, found.kind, found.rows) == ("generalizes", "trained cell", 5)
    assert found.claim.endswith("at 2 bits: accuracy, trained through")
    found = claims.judge_trained(made, read.assign(score=84.0)).iloc[0]
    assert found.verdict == "does not generalize"
    assert judged(list(rows({"": 86.0})) + list(through), cell(83.0, bits=2)).rows == 0


def test_verdicts_are_told_by_what_there_is_of_them():
    counts = pd.DataFrame({"about": ["a"], "nets": [claims.OWN], "generalizes": [0],
                           "not reproduced": [2], "reproduced": [7], "all": [9],
                           "others inside, %": [40.0]})
    told, = figures.verdicts.counted(counts).to_dict("records")
    assert told == {"about": "a", "nets": claims.OWN, "claims": 9,
                    "verdicts": "7 reproduced; 2 not reproduced", "others inside, %": 40.0}


def test_conclusions_are_told_with_digits_that_tell_them_apart_and_with_what_is_known_of_them():
    """Two decimals made one number of the rates 0.001 and 0.003."""
    judged = pd.DataFrame([
        {"study": "s", "task": "t", "claim": "a rate", "published": 0.001, "ours": 0.003,
         "low": np.nan, "high": np.nan, "own_ours": 4.12, "own_low": 3.5, "own_high": 5.0,
         "own_verdict": "reproduced", "verdict": "does not generalize", "cause": "against 0.003"},
        {"study": "s", "task": "t", "claim": "b", "published": np.nan, "ours": np.nan,
         "low": np.nan, "high": np.nan, "own_ours": np.nan, "own_low": np.nan,
         "own_high": np.nan, "own_verdict": "undecided", "verdict": "undecided", "cause": ""}])
    rate, other = figures.verdicts.on_ours(judged).to_dict("records")
    assert (rate["published"], rate["ours"], rate["task"]) == ("0.001", "0.003", "t")
    assert rate["note"] == "against 0.003" and pd.isna(other["published"])
    assert pd.isna(other["ours"])
    rate, other = figures.verdicts.on_own_nets(judged).to_dict("records")
    assert rate["on its own nets"] == "4.12 [3.50, 5.00]" and pd.isna(other["on its own nets"])
    assert (rate["verdict"], rate["verdict of these"]) == ("reproduced", "does not generalize")


def test_what_green_printed_waits_for_its_data():
    cells = tables.load_table("green_compressed", paths.PUBLISHED)
    found = claims.judge_green(tables.frame(rows({"": 86.0})), cells)
    assert len(found) == 8 and set(found.verdict) == {claims.cell_by_cell.UNTESTED}
    assert "nothing is pruned" in found.cause[2] and set(found.study) == {"Green"}
    row = Row(task="unimib_adl@green", model="transformer_t1", recipe="ours", seed=0, score=71.0,
              score_low=69.0, score_high=73.0, metric="accuracy", pruner="magnitude_l1", amount=0.3)
    found = claims.judge_green(tables.frame([row]), cells).set_index("claim")
    assert found.verdict["transformer_t1 pruned by L1: accuracy"] == "generalizes"
    counts = claims.by_verdict(pd.concat([claims.judge(tables.frame([row]), cell(80.0)), found]))
    assert "conclusions of Green" in set(counts["about"])


@pytest.mark.parametrize("high, verdict", [
    (4.0, "stand-in: on usc_had and unimib_falls this loss holds"),
    (3.0, "stand-in: on usc_had and unimib_falls this loss does not hold")])
def test_what_green_printed_is_read_on_other_series_where_its_own_are_not_at_hand(high, verdict):
    """73.3 - 69.8 = 3.5 points lost by static int8."""
    cells = tables.load_table("green_compressed", paths.PUBLISHED)
    files = pd.DataFrame([{"task": task, "net": "transformer_t1", "model": "transformer_t1",
                           "deploy": "static", "pruner": "", "loss": 1.0, "low": 0.0, "high": end}
                          for task, end in (("usc_had", 5.0), ("unimib_falls", high))])
    found = claims.judge_green(tables.frame(rows({"": 86.0})), cells, files)
    static = found[found.claim == "transformer_t1 in 8 bits, static: points of accuracy lost"]
    assert static.published.item() == pytest.approx(3.5) and static.verdict.item() == verdict
    assert (found.verdict == claims.cell_by_cell.UNTESTED).sum() == 7


def test_pruned_and_trained_cells_are_counted_apart():
    made = tables.frame([*drawn({"": 86.0}), pruned(82.755)])
    both = pd.concat([claims.judge(made, cell(80.0)),
                      claims.judge_pruning(made, pruned_cell(82.755))], ignore_index=True)
    counts = claims.by_verdict(both).set_index(["about", "nets"])
    assert counts.loc[("telescope@edge, pruned", claims.OWN), "reproduced"] == 1
