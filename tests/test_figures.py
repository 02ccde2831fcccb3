"""Figures: the right values drawn where they belong, names as text, what matters in colour."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from lib import tables
from lib.base import Setting
from lib.page import figures, style
from lib.tables import Row
from lib.tables.ahead import largest_gain
from lib.tables.losses import DENSE, UNTOUCHED
from tests.toys import blobs


def texts(axis) -> list[str]:
    return [text.get_text() for text in axis.texts]


def ticks(labels) -> list[str]:
    return [label.get_text() for label in labels]


BITS = (np.log2(3), 2, 4)


def losses(quantizers: dict[str, list[float]], task="one") -> pd.DataFrame:
    return pd.DataFrame([
        {"task": task, "net": "net", "quantizer": name, "bits_asked": asked, "loss": loss,
         "low": loss - 0.1, "high": loss + 0.1}
        for name, row in quantizers.items() for asked, loss in zip(BITS, row, strict=True)])


SWEEP = {"good": [1, 0.5, 0], "better": [0.5, 0.2, 0], "fair": [2, 1, 0.1], "poor": [40, 4, 0.5],
         "worst": [60, 30, 2]}


def test_three_levels_are_a_tick_in_words_and_the_best_few_are_named():
    axis, = figures.ptq.losses_by_bits(losses(SWEEP)).axes
    assert ticks(axis.get_xticklabels()) == ["3\nlevels", "2", "4"]
    assert texts(axis) == ["good", "better"]                    # as the lines lie
    assert axis.get_ylim() == (-0.6, style.MOST_POINTS + 0.45)
    colors = {text.get_text(): text.get_color() for text in axis.texts}
    assert colors["better"] == style.ACCENT
    better = next(line for line in axis.lines if line.get_color() == style.ACCENT)
    assert list(better.get_ydata()) == [0.5, 0.2, 0]


def test_what_loses_more_than_the_axis_shows_is_marked_at_its_edge():
    axis, = figures.ptq.losses_by_bits(losses(SWEEP)).axes
    heads = [line for line in axis.lines if line.get_marker() == "^" and len(line.get_xdata())]
    assert sorted(tuple(line.get_xdata()) for line in heads) == [(0,), (0, 1)]
    assert {y for line in heads for y in line.get_ydata()} == {style.MOST_POINTS + 0.25}


def test_a_quantizer_of_one_net_alone_does_not_win_where_all_are_alike():
    """An edge_ name that ran only where every other lost nothing either gains on nobody."""
    table = pd.concat([losses(SWEEP), losses({"alone": [0, 0, 0], "good": [0, 0, 0]}, task="two")])
    first, second = figures.ptq.losses_by_bits(table).axes
    assert "alone" not in texts(first) + texts(second)
    assert [axis.get_title(loc="left") for axis in (first, second)] == ["one · net", "two · net"]


def points() -> pd.DataFrame:
    table = pd.DataFrame([
        ("one", "net", UNTOUCHED, 100, 0.0, False), ("one", "net", "gptq, 4 bits", 12.5, 0.2, True),
        ("one", "net", "gptq, 2 bits", 6.0, 3.0, True),
        ("one", "net", "affine, 2 bits", 6.5, 30.0, False),
        ("one", "net", DENSE, 10.0, 1.5, False)],
        columns=["task", "net", "technique", "KiB", "loss", "front"])
    return table.assign(low=table.loss - 0.1, high=table.loss + 0.1)


LONG = ("magnitude_l1 70 %, cubic, finetune+distill, taught by resnet20, 10 epochs, gptq, 4 bits, "
        "folded equalized corrected smooth")


@pytest.mark.parametrize("technique", ["gptq, 4 bits", LONG])
def test_the_front_names_the_smallest_chosen_net_the_dense_ones_and_doing_nothing(technique):
    table = points().replace({"technique": {"gptq, 4 bits": technique}})
    axis, = figures.ptq.front(table, table[table.technique.isin([technique, UNTOUCHED])]).axes
    assert {" ".join(text.split()) for text in texts(axis)} == {
        "as trained", "dense nets", f"{technique}, 12.5 KiB"}
    joined = next(line for line in axis.lines if line.get_color() == style.ACCENT)
    assert list(joined.get_xdata()) == [6.0, 12.5]                      # on the front, by size
    assert axis.get_xscale() == "log"
    axis.figure.draw_without_rendering()
    inside = axis.get_window_extent()
    for label in axis.texts:
        assert inside.x0 <= label.get_window_extent().x0 <= label.get_window_extent().x1 \
            <= inside.x1 + 0.05 * inside.width, label


def test_the_front_names_what_was_chosen_also_where_test_scores_would_have_it_otherwise():
    table = points()
    chosen = table[table.technique == "affine, 2 bits"]             # loses most, and is not on it
    axis, = figures.ptq.front(table, pd.concat([chosen, chosen.assign(net="another")])).axes
    assert "affine, 2 bits, 6.5 KiB" in {" ".join(text.split()) for text in texts(axis)}
    nothing = chosen.assign(KiB=np.nan)                             # of a kind that keeps none
    axis, = figures.ptq.front(table, nothing).axes
    assert set(texts(axis)) == {"as trained", "dense nets"}


def steps(scores: dict[str, float], net="net", bits=4) -> pd.DataFrame:
    """Each rung gains on the one above it, controls passed over; 1 point is what carries a gain."""
    table = pd.DataFrame([{"net": net, "rung": rung, "bits": bits, "score": score,
                           "low": score - 1, "high": score + 1, "metric": "accuracy"}
                          for rung, score in scores.items()])
    above = table.score.mask(table.rung.str.startswith("control")).ffill().shift()
    gain = table.score - above
    return table.assign(gain=gain, gain_low=gain - 1, gain_high=gain + 1, gain_over="examples")


LADDER = {"as published": 10.0, "zero is a level": 30.0, "control: new statistics": 90.0,
          "folded": 85.0}


def test_a_control_is_never_the_largest_gain():
    best = largest_gain(steps(LADDER))
    assert (best.rung, best.gain) == ("folded", 55.0)
    assert largest_gain(steps({"a": 50.0, "b": 50.5})) is None


def test_a_ladder_has_a_panel_a_net_its_rungs_from_top_to_bottom_and_hollow_controls():
    both = pd.concat([steps(LADDER), steps(LADDER, "other")], ignore_index=True)
    left, right = figures.ptq.ladder(both, pd.Series({"net": 92.3, "other": 91.0})).axes
    assert [axis.get_title(loc="left") for axis in (left, right)] == [
        "net, 92.30 as trained", "other, 91.00 as trained"]
    assert ticks(left.get_yticklabels()) == list(LADDER)
    drawn = [line for line in left.lines if line.get_linestyle() == "-"]
    rungs = next(line for line in drawn if len(line.get_xdata()) > 2)
    assert list(rungs.get_xdata()) == [10, 30, 85] and rungs.get_ydata()[0] > rungs.get_ydata()[1]
    hollow = next(line for line in left.lines if line.get_markerfacecolor() == "none")
    assert list(hollow.get_xdata()) == [90]
    assert "+55.00" in texts(left)
    assert left.get_xlabel() == "test accuracy, %" and left.get_xlim()[1] <= 102


def test_a_gain_that_its_interval_does_not_carry_is_not_written():
    axis, = figures.ptq.ladder(steps({"a": 50.0, "b": 50.5}), pd.Series({"net": 60.0})).axes
    assert not [text for text in texts(axis) if text.startswith("+")]


def shares(**losses: list[float]) -> pd.DataFrame:
    """Losses in points at 50, 70 and 90 %, by ranking."""
    return pd.DataFrame([{"task": "cifar10", "net": "resnet20", "pruner": name, "amount": amount,
                          "loss": loss, "low": loss - 0.1, "high": loss + 0.1}
                         for name, line in losses.items()
                         for amount, loss in zip((0.5, 0.7, 0.9), line, strict=True)])


def test_rankings_that_lose_least_are_named_and_the_control_is_dashed():
    figure = figures.prune.by_amount(shares(
        magnitude_l1=[0.1, 0.4, 2.0], wanda=[0.2, 0.6, 3.0], taylor=[0.3, 0.7, 4.0],
        magnitude_l1_layer=[1.0, 3.0, 20.0], random=[30.0, 60.0, 80.0]), "pruner")
    axis, = figure.axes
    legend, = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "magnitude_l1", "wanda", "taylor", "random"]
    assert texts(axis) == []                        # no name stands on a line
    dashed = [line for line in axis.lines if line.get_linestyle() == "--"]
    assert list(dashed[0].get_ydata()) == [30, 60, 80]
    best = next(line for line in axis.lines if line.get_color() == style.SERIES[0])
    assert list(best.get_xdata()) == [50, 70, 90] and list(best.get_ydata()) == [0.1, 0.4, 2.0]
    assert axis.get_xlabel() == "% of the weights asked to go"


def test_a_mask_is_drawn_with_what_stays_and_what_goes():
    w = torch.linspace(-1, 1, 1000)
    axis, = figures.prune.operator(w, w.abs() > 0.8).axes
    assert texts(axis) == ["20% stay", "80% go"]


def test_a_staircase_stands_on_the_gradient_that_it_lets_through():
    x = torch.linspace(-1, 1, 11)
    axis, = figures.qat.operator(x, (x * 2).round() / 2, (x.abs() < 0.8).float()).axes
    assert texts(axis) == ["rounded", "gradient let through"]


def test_a_teachers_answer_has_a_panel_a_temperature():
    axes = figures.distill.operator({"T = 1": [0.9, 0.1], "T = 4": [0.6, 0.4]}, ("cat", "dog")).axes
    assert [axis.get_title(loc="left") for axis in axes] == ["T = 1", "T = 4"]
    assert [bar.get_height() for bar in axes[1].patches] == [0.6, 0.4]
    assert ticks(axes[0].get_xticklabels()) == ["cat", "dog"]
    classes = ("automobile", "StandingUpFromLaying")
    axis, = figures.distill.operator({"T = 1": [0.9, 0.1]}, classes).axes
    assert ticks(axis.get_xticklabels()) == ["automobile", "StandingUpF…"]


def test_sensitivity_is_deepest_where_the_answers_move_most():
    table = pd.DataFrame([("conv", 2, 0.5), ("conv", 4, 1e-4), ("linear", 2, 0.01),
                          ("linear", 4, 1e-6)], columns=["layer", "bits", "error"])
    axis, = figures.ptq.sensitivity(table).axes
    assert ticks(axis.get_yticklabels()) == ["conv", "linear"]
    assert ticks(axis.get_xticklabels()) == ["2", "4"]
    shades = [patch.get_alpha() for patch in axis.patches]
    assert max(shades) == shades[0] == style.DEEPEST and min(shades) == shades[3] == 0
    assert "0.5" in texts(axis)


def test_curves_are_means_over_seeds_a_panel_a_net():
    history = pd.DataFrame([
        {"task": "one", "model": model, "epoch": epoch, "train_loss": 1 / epoch + seed,
         "val_loss": 2 / epoch + seed} for model in ("a", "b") for seed in (0, 1)
        for epoch in (1, 2)])
    first, second = figures.train.curves(history).axes
    assert first.get_title(loc="left") == "one\na" and second.get_title(loc="left") == "one\nb"
    drawn = {line.get_label(): list(line.get_ydata()) for line in first.lines}
    assert drawn == {"validation": [2.5, 1.5], "training": [1.5, 1.0]}


def test_confusion_names_its_classes_and_draws_errors_out():
    matrix = pd.DataFrame([("walk", "walk", 90.0), ("walk", "run", 10.0), ("run", "walk", 2.0),
                           ("run", "run", 98.0)], columns=["true", "given", "share"])
    axis, = figures.train.confusion(matrix.assign(task="one", model="net")).axes
    assert ticks(axis.get_yticklabels()) == ticks(axis.get_xticklabels()) == ["walk", "run"]
    assert texts(axis) == ["90", "10", "98"]                            # 2 % stays without a number
    right, wrong = axis.patches[0].get_facecolor(), axis.patches[1].get_facecolor()
    assert right[:3] != wrong[:3]


def test_balance_names_classes_and_the_share_of_the_commonest():
    table = pd.DataFrame({"task": ["t", "t", "u", "u"], "class": ["a", "$b$", "c", "d"],
                          "share": [30.0, 70.0, 50.0, 50.0]})
    first, second = figures.data.balance(table).axes
    assert ticks(first.get_yticklabels()) == ["a", "$b$"] and texts(first) == ["70.0 %"]
    many = pd.DataFrame({"task": "t", "class": range(100), "share": 1.0})
    axis, = figures.data.balance(many).axes
    assert axis.get_ylabel() == "100 classes" and ticks(axis.get_yticklabels()) == []


def test_examples_are_drawn_for_a_task():
    figure, name, caption, alt = figures.data.examples(blobs(), 5)
    assert name == "01_examples_blobs"
    assert caption == "Test examples of blobs: columns, each value standardised."
    assert alt == "What test examples of blobs look like: columns, each value standardised"
    assert ticks(figure.axes[0].get_yticklabels()) == list("abcd")


def summary() -> pd.DataFrame:
    rows = [Row(task=task, model=model, metric=metric, score=score, score_low=score - width,
                score_high=score + width, seed=0, n=2000, recipe="ours" if model == "net" else "")
            for task, metric, width in (("one", "accuracy", 2), ("two", "r2", 0.1))
            for model, score in (("net", 0.95), ("svm", 0.25))]
    table = tables.summary(tables.frame(rows))
    return table.assign(kind=table.model.map({"net": "net", "svm": "rival"}))


PUBLISHED = pd.DataFrame({"task": ["one"], "model": ["net"], "metric": ["accuracy"],
                          "score": [0.4]})


def test_the_table_of_baselines_says_what_the_rows_say():
    table = figures.report.baseline_table(summary(), PUBLISHED).set_index(["task", "model"])
    assert table.score["one", "net"] == "0.95" and table.score["two", "svm"] == "0.2500"
    assert table["95 % interval"]["two", "net"] == "0.8500 – 1.0000"     # no R² is above one
    assert table.published["one", "net"] == "0.40" and table.published.isna().sum() == 3
    assert list(table.index) == [("one", "net"), ("one", "svm"), ("two", "net"), ("two", "svm")]
    assert table.recipe["one", "net"] == "ours" and pd.isna(table.recipe["one", "svm"])
    assert table.n["one", "net"] == "2,000"


@pytest.mark.parametrize("asked, said", [
    ({"recipe": "edge"}, "Edge's"),
    ({"recipe": "edge", "sizes": "width=16"}, "Edge's, stand-in: width=16"),
    ({"recipe": "edge", "epochs": 3, "batch_size": 64},
     "Edge's, stand-in: 3 epochs, batches of 64"),
    ({"recipe": "ours", "sizes": "width=4"}, "ours: width=4"),
    ({"recipe": ""}, "its author's")])
def test_a_net_that_another_studys_recipe_was_changed_for_is_called_a_stand_in(asked, said):
    rows = [Row(task="one", model="net", metric="accuracy", score=90.0 + fold, seed=0, fold=fold,
                n=100, **asked) for fold in range(2)]
    table = figures.report.baseline_table(
        tables.summary(tables.frame(rows)).assign(kind="net"), PUBLISHED)
    assert table.recipe[0] == said and table.over[0] == "folds (2)"
    assert table.published[0] == "0.40 (one split)"         # beside a mean over folds


def test_the_answers_say_what_was_read_where_it_was_not_chosen():
    line = {"task": "one", "net": "net", "model": "net", "sizes": "", "KiB": 6.0, "base_KiB": 100.0,
            "technique": "gptq, 2 bits", "loss": 0.5, "low": -1.0, "high": 2.0, "over": "folds",
            "runs": 5, "n": 2000, "read": 1.83, "read_low": -0.57, "read_high": 4.23, "alike": 4,
            "folds": 5, "chosen_on": "other folds", "by": "mean"}
    dense = line | {"technique": DENSE, "sizes": "width=4", "by": "interval", "over": "examples",
                    "alike": np.nan, "folds": np.nan, "chosen_on": "other nets"}
    unread = dense | {"task": "two", "read": np.nan, "chosen_on": "the same test part"}
    table = figures.report.answer_table(pd.DataFrame(
        [line, dense, unread, unread | {"by": "mean"}]))
    assert table["read"].tolist()[:2] == ["1.83 [-0.57, 4.23]"] * 2 and pd.isna(table["read"][2])
    assert table.loss[0] == "0.50 [-1.00, 2.00]" and table.KiB[0] == "6 of 100"
    assert table["chosen on"].tolist() == [
        "other folds: 4 of 5 alike", "other nets", "the same test part"]
    assert table.over.tolist() == ["folds (5), n 2,000", "examples, n 2,000",
                                   "examples, n 2,000"]
    assert table.offered.tolist()[1] == "dense: width=4"
    assert table.by.tolist() == ["mean", "interval", "both"]


def test_accuracy_and_r2_never_share_an_axis_and_no_axis_passes_its_best():
    table = summary()
    table.loc[table.metric == "accuracy", ["score", "high"]] = [99.5, 130.0]
    accuracy, r2 = figures.report.baselines(table, PUBLISHED).axes
    assert [axis.get_xlabel() for axis in (accuracy, r2)] == ["test accuracy, %", "test R²"]
    assert accuracy.get_xlim()[1] < 103 and r2.get_xlim()[1] < 1.03


def test_the_matrix_holds_the_worst_loss_over_nets():
    table = pd.DataFrame([
        ("gptq", 4, "one", 0.1), ("gptq", 4, "two", 0.4), ("gptq", np.log2(3), "one", 250.0),
        ("affine", 4, "one", -0.001)], columns=["technique", "bits_asked", "task", "loss"])
    frame, shade = figures.report.matrix(table.assign(net="net"))
    assert list(frame.columns) == ["technique", "3 levels", "4 bits"]
    assert frame["4 bits"].tolist() == ["0.40", "0.00 (1 net)"]
    assert frame["3 levels"].tolist()[0] == "250" and pd.isna(frame["3 levels"][1])
    assert shade["4 bits"].tolist() == [0.08, 0] and shade["3 levels"][0] == 1


def test_the_pruned_matrix_has_a_line_a_recipe_and_a_column_a_share():
    asked = [Setting(pruner="magnitude_l1", amount=0.9),
             Setting(pruner="magnitude_l1", amount=0.9, quantizer="gptq", bits=4),
             Setting(pruner="magnitude_l1", amount=0.5, structure="channel", tuned="finetune"),
             Setting(pruner="random", amount=0.5), Setting()]
    table = pd.DataFrame([dataclasses.asdict(setting) | {"task": task, "net": "net", "loss": loss}
                          for setting in asked for task, loss in (("one", 1.5), ("two", 2.5))])
    frame, shade = figures.report.pruned_matrix(table)
    assert list(frame) == ["technique", "50 %", "90 %"] and list(shade) == ["50 %", "90 %"]
    assert frame.technique.tolist() == ["magnitude_l1", "random", "magnitude_l1, channel, finetune"]
    assert frame["50 %"].tolist()[1:] == ["2.50", "2.50"] and frame["90 %"][0] == "2.50"


def test_joules_of_two_processes_stand_side_by_side_with_fit_digits():
    found = pd.DataFrame([("one", "net", "net", "", "gptq, 4 bits", process, value, 25.0, answers)
                          for process, value, answers in (("45 nm", 0.00123, 777.6),
                                                          ("7 nm", 0.0004, np.nan))],
                         columns=["task", "net", "model", "sizes", "technique", "process",
                                  "microjoules", "share", "answers"])
    smaller = found.assign(technique="dense", sizes="width=2")
    table = figures.report.joules_table(pd.concat([found, smaller]))
    assert table.technique.tolist() == ["gptq, 4 bits", "dense: width=2"]
    assert table["net"][0] == "one net"
    assert table["µJ an answer, 45 nm"][0] == "0.00123"
    assert table["µJ an answer, 7 nm"][0] == "0.0004"
    large = figures.report.joules_table(found.assign(microjoules=6049.6))
    assert large["µJ an answer, 45 nm"][0] == "6,050"
    assert table["of the net as trained, 45 nm"][0] == "25 %"
    assert table["answers until paid back, 45 nm"][0] == "778"
    assert pd.isna(table["answers until paid back, 7 nm"][0])


def test_labels_are_moved_apart_no_further_than_needed():
    assert style.spread([0.0, 5.0], 1) == [0.0, 5.0]
    moved = style.spread([1.0, 1.0, 0.9], 0.5)
    assert moved[2] < moved[0] < moved[1]
    assert np.allclose(np.diff(sorted(moved)), 0.5) and abs(np.mean(moved) - 0.9667) < 0.01


def test_earlier_scores_stand_beside_the_same_model_on_the_same_split():
    earlier = pd.DataFrame([("Edge", "one", "net", "accuracy", 85.65),
                            ("Green", "elsewhere", "net", "accuracy", 77.0)],
                           columns=["study", "task", "model", "metric", "score"])
    mine = pd.DataFrame([("one", "net", "accuracy", 86.0, 85.0, 87.0, "seeds", 5, 2000),
                         ("one", "other", "accuracy", 90.0, 89.0, 91.0, "seeds", 5, 2000)],
                        columns=["task", "model", "metric", "score", "low", "high", "over", "runs",
                                 "n"])
    table = figures.report.earlier_table(mine, earlier)
    assert table.published.tolist() == ["85.65", "77.00"]
    assert table.ours.tolist()[0] == "86.00" and pd.isna(table.ours[1])
    assert table["95 % interval"].tolist()[0] == "85.00 – 87.00"
    assert (table.over[0], table.n[0]) == ("seeds (5)", "2,000")
