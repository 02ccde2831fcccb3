"""What a training won, pair by pair, and when it has paid back."""

import numpy as np
import pandas as pd
import pytest

from lib import tables
from lib.page import figures, findings
from lib.tables import Cost, Row

RIGHT = {"": 900, "lsq": 950, "nested": 945, "ste": 901}


def row(tuned: str, right: int | None = None, **more) -> Row:
    right = RIGHT[tuned] if right is None else right
    values = (np.arange(1000) < right).astype(np.uint8)
    return Row(**({"task": "digits", "model": "resnet8", "recipe": "ours", "seed": 0, "n": 1000,
                   "quantizer": "lsq", "bits": 2, "a_bits": 4, "tuned": tuned, "macs": 1000,
                   "metric": "accuracy", "score": right / 10, "scores": values} | more))


def table(*rows: Row) -> tuple[pd.DataFrame, dict]:
    return tables.frame(list(rows)), {one.id: one.scores for one in rows}


def test_a_gain_is_counted_pair_by_pair_between_rows_that_differ_in_their_training_alone():
    rows, scores = table(row(""), row("lsq"), row("lsq", 980, bits=4), row("ste"),
                         row("lsq", 990, a_bits=8))
    line, = tables.gains(rows, scores, "", "lsq").itertuples()
    assert (line.width, line.before, line.score, line.over) == ("2/4", 90.0, 95.0, "examples")
    assert line.gain == pytest.approx(5) and 3.5 < line.low < line.high < 6.5
    told, = findings.at_widths(tables.gains(rows, scores, "", "lsq"), "training through it")
    assert told == ("At 2/4 bits, of 1 net, training through it wins on 1 (digits resnet8 "
                    f"{line.gain:.2f} [{line.low:.2f}, {line.high:.2f}] points) and loses on 0; "
                    "on 0 the paired interval carries no difference")


def test_trainings_are_compared_if_they_take_as_long():
    rows, scores = table(row("finetune", 900, quantizer="", bits=None, a_bits=None, epochs=2),
                         row("finetune", 990, quantizer="", bits=None, a_bits=None, epochs=9),
                         row("finetune+distill", 950, quantizer="", bits=None, a_bits=None,
                             epochs=2, teacher="resnet56"))
    line, = tables.gains(rows, scores, "finetune", "finetune+distill").itertuples()
    assert (line.before, line.score) == (90.0, 95.0)


def test_what_the_interval_does_not_carry_is_no_gain():
    rows, scores = table(row(""), row("ste"), row("lsq", a_bits=None),
                         row("nested", 930, a_bits=None))
    told, = findings.at_widths(tables.gains(rows, scores, "", "ste"), "training through it")
    assert told.endswith("wins on 0 and loses on 0; on 1 the paired interval carries no difference")
    told, = findings.at_widths(tables.gains(rows, scores, "lsq", "nested"), "nesting")
    assert "nesting wins on 0 and loses on 1 (digits resnet8 -2.00 [" in told
    assert tables.gains(rows, scores, "finetune", "lsq").empty


def test_widths_are_told_together_and_what_no_interval_carries_is_counted():
    rows, scores = table(row(""), row("lsq"), row("", task="other"), row("lsq", 902, task="other"),
                         row("", task="third"), row("lsq", 800, task="third"),
                         row("", a_bits=2), row("lsq", 901, a_bits=2))
    first, second = findings.at_widths(tables.gains(rows, scores, "", "lsq"), "training")
    assert first.startswith("At 2/4 bits, of 3 nets, training wins on 1 (digits resnet8 5.00 [")
    assert "and loses on 1 (third resnet8 -10.00 [" in first
    assert first.endswith("on 1 the paired interval carries no difference")
    assert second == ("At 2/2 bits, of 1 net, training wins on 0 and loses on 0; on 1 the paired "
                      "interval carries no difference")


def test_widths_of_nets_of_several_metrics_are_told_in_points():
    """0.3261 of R² are 32.61 points, beside 5.00 percent of accuracy."""
    rows, scores = table(row(""), row("lsq"))
    won = tables.gains(rows, scores, "", "lsq")
    other = won.assign(task="mv", metric="r2", gain=0.3261, low=0.0725, high=0.5796)
    told, = findings.at_widths(pd.concat([won, other]), "training")
    assert "wins on 2 (digits resnet8 5.00 [" in told
    assert "; mv resnet8 32.61 [7.25, 57.96] points)" in told


def test_gains_over_folds_are_paired_fold_by_fold():
    rows, scores = table(*(row(tuned, right + 10 * fold, fold=fold)
                           for tuned, right in (("", 800), ("lsq", 850)) for fold in range(3)))
    line, = tables.gains(rows, scores, "", "lsq").itertuples()
    assert (line.over, line.gain) == ("folds", pytest.approx(5)) and line.low == pytest.approx(5)


def test_a_teacher_that_helps_is_told_from_one_that_does_not():
    student = {"quantizer": "", "bits": None, "a_bits": None, "sizes": "width=2"}
    rows, scores = table(row("", **student),
                         row("distill", 950, teacher="resnet56", **student))
    won = tables.gains(rows, scores, "", "distill").assign(student="new")
    axis, = figures.distill.gains(won).axes
    assert [tick.get_text() for tick in axis.get_yticklabels()] == [
        "digits resnet8 width=2\nnew, by resnet56"]
    assert list(tables.techniques(rows)) == ["width=2", "width=2, distill, taught by resnet56"]


def test_students_are_told_by_how_they_learn():
    student = {"quantizer": "", "bits": None, "a_bits": None, "sizes": "width=2"}
    rows, scores = table(row("", **student), row("distill", 950, teacher="resnet56", **student),
                         row("distill", 901, teacher="resnet9", **student))
    won = tables.gains(rows, scores, "", "distill").assign(student=["new", "new"])
    told, = findings.by_student(won)
    assert told.startswith("Students that are new: of 2 trainings a teacher wins on 1 (digits "
                           "resnet8 width=2 by resnet56 5.00 [")
    assert told.endswith(" points) and loses on 0; on 1 the paired interval carries no difference")


def test_teachers_below_their_students_are_told_apart_from_those_above():
    student = {"quantizer": "", "bits": None, "a_bits": None, "sizes": "width=2"}
    whole = {**student, "sizes": ""}
    rows, scores = table(
        row("", **student), row("distill", 950, teacher="resnet56", **student),
        row("distill", 850, teacher="resnet9", **student),
        row("distill", 901, teacher="unknown", **student),
        row("", 970, **whole | {"model": "resnet56"}), row("", 890, **whole | {"model": "resnet9"}),
        row("", 999, **student | {"model": "resnet9"}), row("", 999, **whole | {"task": "other"}),
        row("finetune", 999, **whole | {"model": "resnet9"}))
    won = tables.with_teachers(tables.gains(rows, scores, "", "distill"), rows)
    assert dict(zip(won.teacher, won.teacher_score.fillna(0), strict=True)) == {
        "resnet56": 97.0, "resnet9": 89.0, "unknown": 0}
    assert findings.helps(won) == (
        "Of 1 training with a teacher that scores above the student alone, 1 gain by the paired "
        "interval and 0 lose; of 1 training with one that does not, 0 gain by the paired interval "
        "and 1 lose; of 1 training with one whose own score is not known here, 0 gain by the "
        "paired interval and 0 lose")
    assert findings.helps(won.head(0)) == "No student has a teacher"


def test_widths_are_said_in_words():
    rows, _ = table(row("lsq"), row("lsq", bits=None, levels=3), row("lsq", a_bits=None),
                    row("", quantizer="", bits=None, a_bits=None))
    assert list(tables.width(rows)) == ["2/4", "3 levels/4", "2/32", "32/32"]


def test_a_training_has_paid_back_when_its_work_is_spared():
    """3e6 MACs in floats are 3e6·1024 bit operations; an answer spares 1000·(1024 − 2·4)."""
    trained = row("lsq")
    rows, _ = table(row(""), trained)
    costs = pd.DataFrame([vars(Cost(trained.id, "spent_s", "measured", "clock", 7.0)),
                          vars(Cost(trained.id, "spent_macs", "modelled", "counted", 3e6))])
    line = tables.paid_back(rows, costs).iloc[0]
    assert line.seconds == 7 and line["training, 10⁹ MACs"] == pytest.approx(3e-3)
    assert line["bit operations, 10⁶"] == pytest.approx(1000 * 8 / 1e6)
    assert line["answers until paid back"] == pytest.approx(3e6 * 1024 / (1000 * 1016))


def test_the_figure_has_a_hollow_mark_for_rounded_and_a_dot_for_trained_through():
    points = pd.DataFrame([
        {"task": "digits", "net": "resnet8", "width": width, "how": how, "loss": loss,
         "low": loss - 0.5, "high": loss + 0.5}
        for width, how, loss in (("4/4", "rounded", 0.5), ("4/4", "trained through", 0.1),
                                 ("2/2", "rounded", 30.0), ("2/2", "trained through", 3.0))])
    axis, = figures.qat.won(points).axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["4/4", "2/2"]
    hollow = [line for line in axis.lines if line.get_markerfacecolor() == "none"
              and line.get_marker() == "o"]
    assert list(hollow[0].get_ydata()) == [0.5, 30.0]
    assert findings.won(points).startswith("Trained through the quantizer 2 of 2 nets and widths")
