"""Choice: what is offered was chosen on other folds than those on which its loss is read."""

import numpy as np
import pandas as pd
import pytest

from lib import tables
from lib.base import paths
from lib.page import findings
from lib.tables import Row, choice

FOLDS = range(5)
WHOLE = [80.0, 82.0, 84.0, 86.0, 88.0]          # as trained, by fold


def row(score, fold, **more):
    return Row(**({"task": "telescope", "model": "mlp_complex", "recipe": "ours", "seed": 0,
                   "fold": fold, "n": 400, "metric": "accuracy", "score": score,
                   "size_bytes": 8192} | more))


def net(**more):
    return [row(score, fold, **more) for fold, score in zip(FOLDS, WHOLE, strict=True)]


def lost(losses, **asked):
    """A candidate that loses so much on each fold."""
    return [row(WHOLE[fold] - loss, fold, **asked) for fold, loss in enumerate(losses)]


def gptq(bits, **more):
    return {"quantizer": "gptq", "bits": bits, "size_bytes": 256 * bits} | more


def offered(*rows, nets=("telescope/mlp_complex",), scores=None):
    table = tables.frame(list(rows))
    points = tables.in_points(tables.offered(tables.losses(table, nets, scores or {})))
    folds = tables.by_fold(points, table)
    return points, folds, tables.chosen(points, folds)


LUCKY = [0.0, 0.0, 0.0, 0.0, 4.9]               # 0.98 on all folds, 1.225 where it is left out


def test_the_loss_of_each_fold_is_that_of_its_pairs():
    points, folds, _ = offered(*net(), *lost(LUCKY, **gptq(2)))
    assert folds.loc[points.index[points.bits == 2]].to_numpy()[0] == pytest.approx(LUCKY)
    assert (folds.loc[points.index[points.technique == "as trained"]] == 0).all(axis=None)
    assert folds.mean(axis=1).to_numpy() == pytest.approx(points.loss.to_numpy())


def test_a_fold_is_paired_with_the_net_trained_on_not_with_a_smaller_one_trained_on():
    """Both are called finetune; the smaller one, worse by 10 points, made losses 5 points less."""
    small = {"sizes": "hidden=9", "size_bytes": 4096}
    points, folds, _ = offered(
        *net(), *lost([-1] * 5, tuned="finetune"), *lost([10] * 5, **small),
        *lost([9] * 5, tuned="finetune", **small), *lost([2] * 5, **gptq(2)))
    assert set(points.against) == {"finetune"}
    assert folds.mean(axis=1).to_numpy() == pytest.approx(points.loss.to_numpy())
    two = points[points.bits == 2]
    assert folds.loc[two.index].to_numpy()[0] == pytest.approx([3] * 5)
    rows = tables.frame([*net(), *lost([-1] * 5, tuned="finetune"), *lost([2] * 5, **gptq(2))])
    alone = tables.by_fold(two, rows)               # without the line of what it is paired with
    assert alone.to_numpy()[0] == pytest.approx([3] * 5)


def test_r2_is_read_in_hundredths():
    r2 = {"task": "mv", "metric": "r2"}
    rows = [row(0.9, fold, **r2) for fold in FOLDS] + [
        row(0.9 - 0.01 * fold, fold, **r2, **gptq(2)) for fold in FOLDS]
    points, folds, _ = offered(*rows, nets=("mv/mlp_complex",))
    assert folds.loc[points.index[points.bits == 2]].to_numpy()[0] == pytest.approx(list(FOLDS))


def test_what_luck_chose_is_read_on_the_folds_that_did_not_choose_it():
    """Left out, the lossy fold is where 2 bits look free; each other fold sees it and takes 4."""
    points, folds, chosen = offered(*net(), *lost(LUCKY, **gptq(2)), *lost([0.1] * 5, **gptq(4)))
    line = chosen.set_index("by").loc["mean"]
    assert line.technique == "gptq, 2 bits" and line.loss == pytest.approx(0.98)
    reads = [0.1, 0.1, 0.1, 0.1, 4.9]
    assert (line["read"], line.read_low, line.read_high) == pytest.approx(tables.t_interval(reads))
    assert (line.alike, line.folds, line.chosen_on) == (1, 5, "other folds")
    sure = chosen.set_index("by").loc["interval"]
    assert sure.technique == "gptq, 4 bits"
    (task, told), = findings.offers(chosen)
    assert task == "telescope" and told.endswith(
        "it loses 0.98 [-1.74, 3.70] points over folds, and 1.06 [-1.61, 3.73] where each fold is "
        "left out of the choice and read")
    assert findings.front(chosen).endswith("a compressed one for 1 of 1 nets, a dense one for 0, "
                                           "and the net itself for 0")


def test_the_interval_of_the_other_folds_is_what_chooses_by_the_interval():
    even = [0.9, 0.95, 0.9, 0.95, 0.9]
    _, _, chosen = offered(*net(), *lost(even, **gptq(2)), *lost([0, 1.6, 0, 1.6, 0], **gptq(1)))
    line = chosen.set_index("by").loc["interval"]
    assert line.technique == "gptq, 2 bits" and line["read"] == pytest.approx(np.mean(even))
    assert line.alike == 5


def test_what_is_taken_along_is_the_smallest_within_each_loss_once():
    points, folds, _ = offered(*net(), *lost([1.5] * 5, **gptq(2)), *lost([0.8] * 5, **gptq(3)),
                               *lost([0.1] * 5, **gptq(4)))
    taken = tables.taken(points, folds, [2.0, 0.5, 1.0, 0.9])
    assert list(zip(taken.within, taken.technique, strict=True)) == [
        (0.5, "gptq, 4 bits"), (0.9, "gptq, 3 bits"), (2.0, "gptq, 2 bits")]
    assert taken.loss.tolist() == pytest.approx([0.1, 0.8, 1.5])
    assert taken["read"].tolist() == pytest.approx([0.1, 0.8, 1.5])
    with pytest.raises(ValueError, match="within 0 points; name numbers above 0"):
        tables.taken(points, folds, [1.0, 0.0])


def test_where_nothing_keeps_every_net_the_nearest_is_named_and_what_training_on_gains():
    """The net gains 1.1 by being trained on; rounded as it is, it loses 0.2 of its own."""
    longer = {"tuned": "finetune", "epochs": 9}
    rows = [*net(), *lost([-1.1] * 5, **longer), *lost([0.2] * 5, **gptq(4)),
            *lost([3.0] * 5, **gptq(2))]
    points, folds, chosen = offered(*rows)
    told = tables.advice(points, folds, chosen)[0]
    assert told == ("No quantizer that was tried keeps the one net within a point; **gptq at 4 "
                    "bits** comes nearest: at most 1.30 points (intervals up to 1.30) on the one "
                    "net, most on telescope mlp_complex, which as trained loses 1.10 already "
                    "against itself trained on.")
    points, folds, chosen = offered(*net(), *lost([3.0] * 5, **gptq(2)))
    told = tables.advice(points, folds, chosen)[0]
    assert told.endswith("on the one net, most on telescope mlp_complex.")


def test_of_one_net_the_advice_speaks_of_one():
    points, folds, chosen = offered(*net(), *lost([0.1] * 5, **gptq(4)))
    told = " ".join(tables.advice(points, folds, chosen))
    assert "on the one net" in told
    assert tables.kinds(chosen).to_numpy().tolist() == [
        ["rounded", "telescope mlp_complex 8×", "telescope mlp_complex 8×"]]
    assert "read on it, telescope mlp_complex loses 0.10 [0.10, 0.10]" in told


def test_a_net_with_one_split_takes_what_the_others_chose():
    one = {"task": "cifar10", "model": "resnet20", "fold": None, "n": 10000}
    right = np.arange(10000) < 9000
    whole = row(90.0, **one, scores=right)
    rows, scores = [whole], {whole.id: right}
    for bits, loss in ((2, 0.0), (3, 1.5), (4, 0.3)):
        answers = np.arange(10000) < 9000 - 100 * loss
        rows.append(row(90.0 - loss, **one, **gptq(bits)))
        scores[rows[-1].id] = answers
    tabular = [*net(), *lost([3.0] * 5, **gptq(2)), *lost([0.2] * 5, **gptq(3)),
               *lost([0.0] * 5, **gptq(4))]
    points, folds, chosen = offered(
        *tabular, *rows, nets=("telescope/mlp_complex", "cifar10/resnet20"), scores=scores)
    line = chosen[(chosen.task == "cifar10") & (chosen.by == "mean")].iloc[0]
    assert line.technique == "gptq, 3 bits"             # though 2 bits lose nothing on its test
    assert line["read"] == pytest.approx(1.5) and line.read_low < 1.5 < line.read_high
    assert line.chosen_on == "other nets" and np.isnan(line.folds)
    told = findings.offers(chosen)[1][1]
    assert told.startswith("resnet20: nothing is chosen on its one split; by what other nets chose,"
                           " gptq, 3 bits, 0.75 KiB for 8, it loses 1.50 [")
    by_mean = tables.advice(points, folds, chosen)[-2]
    assert tables.kinds(chosen).iloc[:, 1].tolist() == ["telescope mlp_complex 11×"]   # it alone
    assert by_mean.endswith(". cifar10 resnet20, of one split: what keeps the others within a "
                            "point, gptq, 3 bits, loses at most 1.50.")


def test_nothing_is_done_to_a_net_on_which_what_others_chose_was_not_tried():
    one = {"task": "cifar10", "model": "resnet20", "fold": None}
    rows = [row(90.0, **one), row(90.0, **one, quantizer="affine", bits=2, size_bytes=512)]
    points, folds, chosen = offered(*net(), *lost([0.2] * 5, **gptq(3)), *rows,
                                    nets=("telescope/mlp_complex", "cifar10/resnet20"))
    found = tables.kinds(chosen)        # "the net itself" would say that nothing smaller keeps it
    assert found.iloc[:, 0].tolist() == ["rounded"]
    assert not found.apply(lambda column: column.str.contains("cifar10")).any(axis=None)
    for told in tables.advice(points, folds, chosen)[-2:]:
        assert told.endswith(". cifar10 resnet20, of one split: nothing is offered, as no rounding "
                             "that keeps the others within a point was tried there.")
    line = chosen[chosen.task == "cifar10"].iloc[0]
    assert (line.technique, line["read"], line.chosen_on) == ("as trained", 0, "nothing")


def test_the_kinds_of_the_smallest_nets_are_told_with_the_commonest_first():
    chosen = pd.DataFrame([
        {"task": task, "net": "n", "technique": technique, "pruner": "", "structure": "",
         "quantizer": quantizer, "tuned": tuned, "teacher": "", "by": by, "chosen_on": on,
         "base_KiB": 10.0, "KiB": size}
        for task, technique, quantizer, tuned, by, on, size in [
            ("a", "as trained", "", "", "mean", "other folds", 10.0),
            ("a", "as trained", "", "", "interval", "other folds", 10.0),
            ("b", "lsq, 2 bits", "lsq", "lsq", "mean", "other folds", 0.3),
            ("b", "gptq, 4 bits", "gptq", "", "interval", "other folds", 1.5),
            ("c", "dense", "", "", "mean", "its validation part", 0.04),
            ("c", "as trained", "", "", "interval", "its validation part", 10.0),
            ("d", "as trained", "", "", "mean", "nothing", 10.0)]])
    found = tables.kinds(chosen)
    assert found.columns[1:].tolist() == ["by the mean loss", "by the 95 % interval's upper end"]
    assert found.iloc[0].tolist() == ["the net itself", "a n 1×", "a n 1×, c n 1×"]
    assert found.set_index(found.columns[0]).T.iloc[0].to_dict() == {
        "the net itself": "a n 1×", "trained through rounding": "b n 33×", "rounded": "–",
        "a smaller net, trained from scratch": "c n 250×"}


def test_where_no_net_has_folds_the_choice_says_that_it_was_read_where_it_was_made():
    rows = [row(80.0, 0), row(79.5, 0, **gptq(2))]
    points, folds, chosen = offered(*rows)
    line = chosen.set_index("by").loc["mean"]
    assert line.technique == "gptq, 2 bits" and np.isnan(line["read"])
    assert line.chosen_on == "the same test part"
    assert findings.offers(chosen)[0][1].endswith("read where it was chosen")
    told = " ".join(tables.advice(points, folds, chosen))
    assert "chosen and read on the same test part, which flatters it: telescope mlp_complex" in told
    assert "Chosen anew" not in told


def test_the_advice_is_chosen_again_without_each_fold():
    """3 bits keep all folds but one; without that one they would be advised, and fail on it."""
    points, folds, chosen = offered(
        *net(), *lost([0.1, 0.1, 0.1, 0.1, 9.0], **gptq(3)), *lost([0.1] * 5, **gptq(4)))
    told = tables.advice(points, folds, chosen)
    assert told[0].startswith("**gptq at 4 bits** loses at most 0.10 points")
    assert told[1] == ("Chosen anew without each fold in turn, it is the same 4 of 5 times; read "
                       "on the fold that was left out, it loses at most 1.88 points "
                       "(telescope mlp_complex).")
    assert "telescope mlp_complex loses 1.88 [-3.06, 6.82]" in told[2]


@pytest.fixture
def published(monkeypatch):
    monkeypatch.setattr(paths, "_profile", "published")
    rows = tables.load("03_ptq")
    points = tables.in_points(tables.offered(tables.load_table("03_losses")))
    return rows, points


def test_a_quarter_of_a_point_of_the_published_rows_is_half_a_point_on_folds_that_did_not_choose(
        published):
    rows, points = published
    chosen = tables.chosen(points, tables.by_fold(points, rows))
    line = chosen[(chosen.task == "telescope") & (chosen.by == "interval")].iloc[0]
    assert (round(line.loss, 2), round(line["read"], 2)) == (0.25, 0.56)
    sure = chosen[(chosen.by == "interval") & (chosen.chosen_on == "other folds")]
    assert (sure["read"] <= 1).all() and len(sure) == 6


def test_among_rounded_nets_alone_mv_loses_several_times_what_its_choice_says(published):
    rows, points = published
    points = points[(points.task == "mv") & (points.technique != "dense")]
    line = tables.chosen(points, tables.by_fold(points, rows)).iloc[0]
    assert (round(line.loss, 2), round(line["read"], 2)) == (0.39, 3.08)


def test_nothing_is_chosen_on_the_nets_that_others_trained(published):
    rows, points = published
    chosen = tables.chosen(points, tables.by_fold(points, rows))
    one = chosen[chosen.task.isin(["cifar10", "fashion_mnist@edge"])]
    assert set(one.chosen_on) == {"other nets"} and len(one) == 4
    assert isinstance(chosen, pd.DataFrame) and set(chosen.by) == set(choice.RULES)
