"""Joules of rows: which are compared with which, and what is said of an earlier study's claims."""

import numpy as np
import pandas as pd
import pytest

from lib import tables
from lib.base import Setting, paths
from lib.page import findings_of_joules
from lib.study.trials import Trial
from lib.tables import Cost, Row, plan
from lib.tables.joules import curves, epochs_to

NET = {"recipe": "plan", "sizes": "width=8", "epochs": 20}
LESS = {"pruner": "magnitude_l1", "amount": 0.5, "schedule": "every-5"}


def row(score, seed=0, model="resnet8", task="cifar10@small", **asked) -> Row:
    setting = Setting(**NET | asked)
    hits = np.arange(100) < score
    return Row(task=task, model=model, seed=seed, split="test", n=100, metric="accuracy",
               score=float(score), score_low=score - 5.0, score_high=score + 5.0, loss=1.0,
               macs=100, macs_nonzero=50 if setting.pruner else 100, scores=hits, **setting.asked)


def made(rows, joules=None) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    """Rows as a frame, costs of 2 J a training by 45 nm and 1 J by 7 nm times `joules[i]`, scores.
    """
    costs = []
    for i, one in enumerate(rows):
        times = joules[i] if joules else 1.0
        for process, each in (("45 nm, Horowitz 2014", 2.0), ("7 nm, Jouppi 2021", 1.0)):
            costs.append(Cost(one.id, "energy_j", "modelled", process, 1e-6 * each * times))
            costs.append(Cost(one.id, "spent_energy_j", "modelled", f"{process}, 64 at once, adam",
                              each * times))
        costs.append(Cost(one.id, "spent_s", "measured", "clock", 5.0))
    frame = pd.DataFrame([vars(cost) for cost in costs])
    return tables.frame(rows), frame, {one.id: one.scores for one in rows}


def learned(rows, ends, epochs=20) -> pd.DataFrame:
    """Scores that rise evenly to the ends, an epoch a line."""
    lines = []
    for one, end in zip(rows.itertuples(), ends, strict=True):
        for epoch in range(1, epochs + 1):
            told = {name: getattr(one, name) for name in (*tables.joules.NET, "seed", "fold")}
            lines.append(told | {"epoch": epoch, "val_score": end * min(1.0, epoch / 10)})
    return pd.DataFrame(lines)


def claims() -> pd.DataFrame:
    return tables.load_table("resnet_energy", paths.PUBLISHED)


def test_energies_are_modelled_ones_a_line_a_process():
    rows, costs, _ = made([row(80), row(70, 1)])
    found = tables.energies(rows, costs)
    assert found.groupby("id").process.apply(sorted).tolist() == [["45 nm", "7 nm"]] * 2
    first = found[found.process == "45 nm"].iloc[0]
    assert (first.answer_j, first.training_j) == (2e-6, 2.0)
    none = tables.energies(rows, costs[costs.quantity == "spent_s"])
    assert none.empty


def test_a_change_is_compared_with_the_net_it_is_most_like():
    """Shortcuts: the same model with them, not another depth; seed by seed."""
    rows = [row(80 + seed, seed) for seed in range(3)]
    rows += [row(90, seed, model="resnet14") for seed in range(3)]
    rows += [row(60 + seed, seed, model="resnet14", sizes="width=8 shortcut=0")
             for seed in range(3)]
    frame, costs, scores = made(rows, [1] * 3 + [3] * 6)
    trials = [Trial(one.task, one.model, one.setting, one.seed) for one in rows]
    energy = tables.energies(frame, costs)
    found = tables.changes(frame, energy, scores, trials[:6], trials[6:])
    assert len(found) == 1
    line = found.iloc[0]
    assert (line.against, line.net) == ("resnet14 width=8", "resnet14 width=8 shortcut=0")
    assert line.gain == pytest.approx(-29) and line.over == "seeds" and line.high < 0
    assert line.training == line.training_most == 1
    deeper = tables.changes(frame, energy, scores, trials[:3], trials[3:6]).iloc[0]
    assert deeper.gain == pytest.approx(9) and deeper.training == 3
    assert tables.changes(frame, energy, scores, trials[:6], trials[:3]).empty   # itself


def test_names_say_what_differs():
    rows, _, _ = made([row(80), row(80, 1), row(80, lr=0.003), row(80, epochs=5), row(80, **LESS),
                      row(80, recipe="plan-bf16")])
    assert tables.names(rows).tolist() == [
        "resnet8 width=8", "resnet8 width=8", "resnet8 width=8, rate 0.003",
        "resnet8 width=8, 5 epochs", "resnet8 width=8, 50% pruned",
        "resnet8 width=8, bfloat16"]


def test_what_is_cheapest_for_a_score_counts_if_both_processes_say_so():
    rows, costs, _ = made([row(80), row(80, model="effnet")], [1, 4])
    found = curves(learned(rows, [80, 90]), tables.energies(rows, costs))
    found["recipe"] = tables.names(found)
    table = tables.cheapest(found, [40, 85, 99])
    assert set(table.level) == {40, 85}                         # nobody comes to 99
    near = table[table.level == 40]
    assert (near.recipe == "resnet8 width=8").all() and near.agrees.all()
    assert near.joules.tolist() == [pytest.approx(2 * 5 / 20), pytest.approx(5 / 20)]
    assert near.times.tolist() == [pytest.approx(4.0)] * 2 and near.epoch.tolist() == [5, 5]
    far = table[table.level == 85]
    assert (far.recipe == "effnet width=8").all() and far.times.isna().all()
    assert findings_of_joules.cheapest(table) == (
        "Both processes name the same cheapest recipe for 2 of 2 scores: resnet8 width=8 to 40 on "
        "cifar10@small; effnet width=8 to 85 on cifar10@small")
    assert findings_of_joules.cheapest(tables.cheapest(found, [40, 50])).endswith(
        "2 of 2 scores: resnet8 width=8 to 40, 50 on cifar10@small")
    alone = found[found.recipe == "effnet width=8"]
    assert tables.cheapest(alone, [40]).empty               # among one recipe none is cheapest
    turned = found.copy()
    turned.loc[(turned.process == "7 nm") & (turned.recipe == "effnet width=8"), "joules"] /= 100
    assert not tables.cheapest(turned, [40]).agrees.any()


def test_epochs_up_to_a_score_are_missing_where_it_is_never_reached():
    rows, _, _ = made([row(80), row(80, 1)])
    found = epochs_to(learned(rows, [80, 30]), 40.0)
    assert found.tolist()[0] == 5 and np.isnan(found.tolist()[1])
    best = tables.best_epochs(learned(rows, [80, 30]))
    assert best.epoch.tolist() == [10, 10] and best.last_score.tolist() == [80, 30]


def test_the_share_that_is_there_over_a_training():
    """20 epochs, a third of a half goes after the 5th, 10th and 15th."""
    assert plan.density(20, 5, 0.6) == pytest.approx(1 - (0 + 0.2 + 0.4 + 0.6) / 4)
    assert plan.density(4, 5, 0.6) == 1.0


def test_pruning_stands_against_the_longest_dense_training_that_multiplies_no_more():
    """70 % go in three parts over 20 epochs: 0.65 of the weights are there, 0.77 of the products
    are made; 15 dense epochs make 0.75 of them."""
    most = LESS | {"amount": 0.7}
    rows = [row(80 + seed, seed, **most) for seed in range(3)]
    rows += [row(70 + seed, seed, epochs=15) for seed in range(3)]
    rows += [row(60, seed, epochs=10) for seed in range(3)]
    rows += [row(99, seed, epochs=16) for seed in range(3)]
    rows += [row(90, seed) for seed in range(4)]
    frame, _, scores = made(rows)
    trials = [Trial(one.task, one.model, one.setting, one.seed) for one in rows]
    found = tables.against_shorter(frame, scores, trials[:3], trials[3:])
    assert len(found) == 1 and found.against.iloc[0] == "resnet8 width=8, 15 epochs"
    assert found.left.iloc[0] == pytest.approx(100 * (1 - 0.35 * 2 / 3))
    assert found.left_against.iloc[0] == 75 and found.gain.iloc[0] == pytest.approx(10)
    told = findings_of_joules.paid(found)
    assert "1 of 1 comparisons and loses in 0" in told and "+10.00" in told and "75 %" in told
    alone = tables.against_shorter(frame, scores, trials[:3], trials[9:12])
    assert alone.empty and "no" in findings_of_joules.paid(alone).lower()


def test_what_joules_buy_is_told_by_factor():
    rows = [row(70 + seed, seed, sizes="width=4") for seed in range(3)]
    rows += [row(90 + seed, seed) for seed in range(3)]
    frame, costs, _ = made(rows, [1] * 3 + [4] * 3)
    trials = [Trial(one.task, one.model, one.setting, one.seed) for one in rows]
    points = tables.bought(frame, tables.energies(frame, costs), {"width": trials})
    assert points.net.tolist() == ["resnet8 width=4", "resnet8 width=8"]
    assert points.joules.tolist() == [2.0, 8.0] and points.score.tolist() == [71.0, 91.0]
    assert (points.low < points.score).all() and (points.high > points.score).all()
    assert findings_of_joules.bought(points) == (
        "Width on cifar10@small: resnet8 width=4 71.0 [68.5, 73.5], resnet8 width=8 91.0 [88.5, "
        "93.5] for 4 times the joules")


def judged(rows, joules=None, ends=None) -> pd.DataFrame:
    frame, costs, scores = made(rows, joules)
    history = learned(frame, ends or [one.score for one in rows])
    return tables.judge_plan(frame, history, costs, scores, claims()).set_index("claim")


def verdict(found: pd.DataFrame, words: str) -> list[str]:
    return found[found.index.str.contains(words)].verdict.tolist()


def test_a_claim_without_rows_is_not_tested():
    found = judged([row(80, recipe="ours")])
    assert len(found) == 5 and found.verdict.str.startswith("not testable here").all()
    assert found.rows.eq(0).all() and (found.study == "ResNet-energy").all()
    empty = tables.judge_plan(tables.load("06_nothing"), pd.DataFrame(), tables.load_costs("06_no"),
                              {}, claims())
    assert empty.verdict.str.startswith("not testable here").all()


@pytest.mark.parametrize("others, wanted", [
    ((70, 75), "generalizes"), ((70, 90), "does not generalize"), ((70, 80), "undecided")])
def test_the_best_rate_is_best_only_ahead_of_every_other(others, wanted):
    rows = [row(80 + seed % 2, seed) for seed in range(4)]
    for rate, score in zip((1e-4, 3e-3), others, strict=True):
        rows += [row(score + (seed + 1) % 2, seed, lr=rate) for seed in range(4)]
    assert verdict(judged(rows), "best learning rate") == [wanted]


@pytest.mark.parametrize("score, wanted", [(80, "generalizes"), (60, "does not generalize")])
def test_pruning_saves_only_while_accuracy_holds(score, wanted):
    xavier = {"sizes": "width=8 init=xavier"}
    rows = [row(80, seed, **xavier) for seed in range(3)]
    rows += [row(score, seed, **xavier, **LESS | {"amount": 0.6}) for seed in range(3)]
    found = judged(rows)
    assert verdict(found, "saves 15") == [wanted]
    line = found[found.index.str.contains("saves 15")].iloc[0]
    assert line.ours == pytest.approx(100 * 0.3 * 2 / 3) and "skips zeros" in line.cause
    little = [row(80, seed, **xavier, **LESS | {"amount": 0.2}) for seed in range(3)]
    assert verdict(judged(rows[:3] + little), "saves 15") == ["does not generalize"]


def test_shortcuts_are_judged_by_epochs_seed_by_seed():
    rows = [row(80, seed, model="resnet20") for seed in range(3)]
    rows += [row(60, seed, model="resnet20", sizes="width=8 shortcut=0") for seed in range(3)]
    ends = [80.0, 82.0, 81.0, 60.0, 61.0, 60.5]
    found = judged(rows, ends=ends)
    assert verdict(found, "shortcuts") == ["generalizes"]
    assert found[found.index.str.contains("shortcuts")].low.iloc[0] > 0
    assert verdict(judged(rows, ends=[60.0] * 6), "shortcuts") == ["undecided"]


def test_the_order_of_joules_is_of_equal_accuracy_under_both_processes():
    rows = [row(70, model="mlp_simple", sizes="hidden=64"), row(80), row(80, **LESS)]
    assert verdict(judged(rows, [9, 3, 1]), "feed-forward") == ["generalizes"]
    assert verdict(judged(rows, [1, 3, 2]), "feed-forward") == ["does not generalize"]
    assert verdict(judged(rows, [9, 3, 3]), "feed-forward") == ["does not generalize"]   # as much


def test_accuracy_is_of_nets_that_multiply_less():
    assert verdict(judged([row(80), row(95, **LESS)]), "98 %") == ["undecided"]
    assert verdict(judged([row(80), row(60, **LESS)]), "98 %") == ["does not generalize"]
    assert verdict(judged([row(99)]), "98 %")[0].startswith("not testable here")


def test_what_an_answer_saves_pays_a_training_back():
    dense, small = row(80, recipe="ours", epochs=None), row(
        79, recipe="ours", epochs=None, quantizer="lsq", bits=4, a_bits=4, tuned="lsq")
    rows, costs, _ = made([dense, small], [1.0, 0.25])
    costs = costs[~((costs.id == dense.id) & (costs.quantity == "spent_energy_j"))]
    offers = rows.assign(net=rows.model, technique=tables.techniques(rows))
    found = tables.of_answers(offers, rows, costs)
    trained = found[found.technique.str.contains("lsq")]
    assert trained.share.tolist() == [pytest.approx(25.0)] * 2
    assert trained.answers.tolist() == [pytest.approx(0.5 / 1.5e-6), pytest.approx(0.25 / 0.75e-6)]
    whole = found[~found.technique.str.contains("lsq")]
    assert whole.share.tolist() == [100, 100] and whole.answers.isna().all()


def test_two_smaller_nets_that_are_offered_are_two_though_neither_has_a_technique():
    nets = [row(80, recipe="ours", epochs=None, sizes=sizes)
            for sizes in ("", "width=8", "width=4")]
    rows, costs, _ = made(nets, [1.0, 0.25, 0.125])
    offers = rows[rows.sizes != ""].assign(net=rows.model, technique="dense")
    found = tables.of_answers(offers, rows, costs)
    assert found.groupby("sizes").share.first().to_dict() == {
        "width=8": pytest.approx(25.0), "width=4": pytest.approx(12.5)}


def change(net, gain, low, high, least, most, **more):
    return {"factor": "width", "task": "digits", "against": "resnet8", "over": "examples",
            "net": net, "gain": gain, "low": low, "high": high, "training": least,
            "training_most": most} | more


def test_changes_are_sorted_by_what_they_buy_and_by_what_no_interval_carries():
    changed = pd.DataFrame([change("wide", 3.0, 1.0, 5.0, 9.04, 123.4),
                            change("thin", -1.0, -2.5, 0.5, 0.0841, 0.0852),
                            change("init", 0.5, 0.1, 0.9, 1.0, 1.0, factor="initialisation"),
                            change("flat", -3.0, -4.0, -2.0, 0.5, 0.5),
                            change("deep", 0.2, -1.0, 1.4, 2.0, 2.0),
                            change("own", 0.5, 0.1, 0.9, np.nan, np.nan, against="other")])
    free, bought, spared, lost, same = findings_of_joules.sorted_out(changed)
    assert free == ("digits, more score at no more joules (paired over examples): init +0.50 "
                    "[+0.10, +0.90] against resnet8, the same joules")
    assert bought == ("digits, more score for joules (paired over examples): wide +3.00 [+1.00, "
                      "+5.00] against resnet8, 9 to 120 times the joules; own +0.50 [+0.10, "
                      "+0.90] against other, joules that are not known")
    assert "no loss that can be told" in spared and "thin -1.00" in spared and "0.084" in spared
    assert "less score" in lost and "flat -3.00 [-4.00, -2.00]" in lost
    assert "no difference that can be told" in same and "deep +0.20" in same


@pytest.mark.parametrize("least, most, words", [
    (0.25, 0.25, "0.25"), (2.21, 2.4, "2.2 to 2.4"), (9.04, 123.4, "9 to 120"), (1.0, 1.0, "1"),
    (np.nan, np.nan, "")])
def test_multiples_are_written_out_in_two_digits(least, most, words):
    assert findings_of_joules.multiples(least, most) == words


def test_who_ends_highest_is_told_by_task():
    history = pd.DataFrame({"task": ["a", "a", "b", "b"], "net": ["x", "y", "x", "x"],
                            "epoch": [2, 2, 1, 2], "val_score": [80.0, 90.0, 99.0, 70.0]})
    assert findings_of_joules.learned(history) == ("On a y ends highest, at 90.0; on b x ends "
                                                   "highest, at 70.0")
