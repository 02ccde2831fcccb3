"""Losses: pair by pair against the net as trained, with their own interval; answers among all."""

import numpy as np
import pytest

from lib import tables
from lib.base.metric import METRICS
from lib.tables import Row

NET = "telescope/mlp_complex"
FOLDS = (0, 1, 2)
BASE = {0: 80.0, 1: 84.0, 2: 88.0}          # as trained, by fold


def row(score, fold=0, **more):
    return Row(**({"task": "telescope", "model": "mlp_complex", "recipe": "ours", "seed": 0,
                   "fold": fold, "n": 4, "metric": "accuracy", "score": score,
                   "size_bytes": 8192} | more))


def swept(loss, **asked):
    """A candidate that loses `loss`, and 0.1 more on each later fold."""
    return [row(BASE[fold] - loss - 0.1 * fold, fold, **asked) for fold in FOLDS]


def losses(*rows, nets=(NET,), scores=None, **more):
    table = tables.frame(list(rows))
    return tables.losses(table, nets, scores or {}, **more)


def base():
    return [row(BASE[fold], fold) for fold in FOLDS]


def test_a_loss_is_taken_pair_by_pair_over_folds():
    gptq = {"quantizer": "gptq", "bits": 4, "size_bytes": 2048}
    table = losses(*base(), *swept(0.5, **gptq)).set_index("technique")
    line = table.loc["gptq, 4 bits"]
    assert (line.loss, line.low, line.high) == pytest.approx(tables.t_interval([0.5, 0.6, 0.7]))
    assert (line.over, line.runs, line.KiB, line.base_KiB) == ("folds", 3, 2, 8)
    assert line.score == pytest.approx(84 - 0.6) and line.bits_asked == line.bits == 4
    itself = table.loc["as trained"]
    assert (itself.loss, itself.low, itself.high, itself.KiB) == (0, 0, 0, 8)


PRUNED = {"pruner": "magnitude_l1", "amount": 0.5, "tuned": "finetune", "epochs": 12,
          "size_bytes": 5000, "sparsity": 0.5}


def test_a_training_that_comes_with_a_technique_does_not_count_as_its_gain():
    """The dense net gains 1 by as long a training; pruned, it gains 0.4 and so loses 0.6."""
    longer = swept(-1.0, tuned="finetune", epochs=12)
    table = losses(*base(), *swept(-0.4, **PRUNED), *longer).set_index("technique")
    pruned = "magnitude_l1 50 %, finetune, 12 epochs"
    assert list(table.loc[["as trained", pruned, "finetune, 12 epochs"]].loss) == pytest.approx(
        [0.9, 0.6, 0])
    assert set(table.against) == {"finetune, 12 epochs"}
    line = table.loc[pruned]
    assert (line.low, line.high, line.sparsity) == pytest.approx((0.6, 0.6, 0.5))
    assert line.base_KiB == 8


def test_a_longer_training_counts_only_where_it_is_better_and_dense_and_whole():
    worse = swept(0.2, tuned="finetune", epochs=12)
    taught = swept(-2.0, tuned="finetune+distill", teacher="resnet56")
    lacking = swept(-2.0, tuned="finetune")[:2]
    table = losses(*base(), *swept(-0.4, **PRUNED), *worse, *taught, *lacking)
    assert set(table.against) == {"as trained"}
    assert table.set_index("technique").loc["finetune, 12 epochs"].loss == pytest.approx(0.3)
    assert "tuned='finetune'" not in str(table.technique) and len(table.attrs["left_out"]) == 1


def test_a_smaller_net_that_was_taught_is_a_candidate_and_a_smaller_pruned_one_is_not():
    small = {"sizes": "hidden=8", "size_bytes": 2000}
    taught = swept(0.3, **small, tuned="distill", teacher="mlp_complex")
    table = losses(*base(), *swept(0.5, **small), *taught,
                   *swept(0.1, **small, pruner="magnitude_l1", amount=0.5))
    assert list(table.technique) == ["as trained", "dense", "distill, taught by mlp_complex"]
    assert list(tables.by_kind(table).kind) == ["", "a smaller net", "taught"]


def test_losses_on_the_validation_part_stand_apart():
    val = [row(BASE[fold] + 1, fold, split="val") for fold in FOLDS]
    val += [row(BASE[fold] - 2, fold, split="val", **PRUNED) for fold in FOLDS]
    table = losses(*base(), *swept(0.5, **PRUNED), *val, split="val")
    assert list(table.loss) == pytest.approx([0, 3])


def test_draws_are_averaged_within_a_fold_and_count_alone_where_nothing_else_varies():
    asked = {"quantizer": "stochastic_uniform", "bits": 3}
    folds = [row(BASE[fold] - lost, fold, draw=draw, **asked)
             for fold in FOLDS for draw, lost in enumerate((fold, fold + 2.0))]
    line = losses(*base(), *folds).iloc[1]
    assert (line.loss, line.low, line.high) == pytest.approx(tables.t_interval([1, 2, 3]))
    assert (line.over, line.runs) == ("folds", 6)
    one = [row(79.0 - draw, draw=draw, **asked) for draw in range(3)]
    line = losses(row(80.0), *one).iloc[1]
    assert (line.loss, line.low, line.high) == pytest.approx(tables.t_interval([1, 2, 3]))
    assert line.over == "draws"


def test_seeds_are_paired_where_there_is_one_split():
    rows = [row(score, fold=None, seed=seed, **asked) for seed in range(3) for score, asked in (
        (90.0 + seed, {}), (89.0 - seed, {"pruner": "magnitude_l1", "amount": 0.5}))]
    line = losses(*rows).iloc[1]
    assert (line.loss, line.low, line.high) == pytest.approx(tables.t_interval([1, 3, 5]))
    assert (line.over, line.technique) == ("seeds", "magnitude_l1 50 %")


def test_one_run_has_a_paired_interval_over_examples():
    rng = np.random.default_rng(0)
    before = (rng.random(2000) < 0.9).astype(np.uint8)
    after = before.copy()
    after[:100] = 1 - after[:100]                   # few answers change, so few can differ
    whole = row(100 * before.mean(), n=2000)
    small = row(100 * after.mean(), n=2000, quantizer="affine", bits=4)
    line = losses(whole, small, scores={whole.id: before, small.id: after}).iloc[1]
    difference = 100 * (before.astype(float) - after)
    half = 1.96 * difference.std() / np.sqrt(2000)
    assert line.loss == pytest.approx(difference.mean()) and line.over == "examples"
    assert line.high - line.low == pytest.approx(2 * half, rel=0.1)
    assert line.low < line.loss < line.high
    unpaired = METRICS["accuracy"].interval(after)
    assert unpaired[1] - unpaired[0] > 1.2 * (line.high - line.low)     # what pairing gains
    bare = losses(whole, small).iloc[1]
    assert bare.loss == line.loss and np.isnan(bare.low) and bare.over == ""


@pytest.mark.parametrize("name, before, after", [
    ("accuracy", [1, 1, 0, 1], [1, 0, 1, 0]), ("r2", [0.5, 0.0, 0.25, 1.0], [0.5, 1.0, 0.0, 4.0])])
def test_the_mean_of_what_examples_add_is_the_loss(name, before, after):
    metric = METRICS[name]
    old, new = np.array(before, np.float32), np.array(after, np.float32)
    if name == "accuracy":
        totals = metric.total(old), metric.total(new)
    else:
        deviations = np.array([4.0, 1.0, 9.0, 2.0])
        totals = tuple(metric.total(np.stack([errors, deviations], 1)) for errors in (old, new))
    shares = metric.paired(metric.stored(old) if name == "accuracy" else old, new, totals[0])
    assert shares.shape == (4,) and shares.mean() == pytest.approx(totals[0] - totals[1])


def test_r2_of_a_faultless_net_cannot_be_paired():
    with pytest.raises(ValueError, match="makes no error at all"):
        METRICS["r2"].paired(np.zeros(3), np.ones(3), 1.0)


def test_a_candidate_without_all_its_pairs_is_left_out_and_named():
    some = swept(0.1, quantizer="affine", bits=4)[:2]           # a fold is missing
    other = [row(70.0, fold, n=5, quantizer="affine", bits=3) for fold in FOLDS]    # other examples
    strange = [*swept(0.1, quantizer="affine", bits=2),
               row(70.0, 2, seed=1, quantizer="affine", bits=2)]    # of a net that nobody scored
    table = losses(*base(), *some, *other, *strange, *swept(0.1, quantizer="affine", bits=8))
    assert list(table.technique) == ["as trained", "affine, 8 bits"]
    assert table.attrs["left_out"] == [f"{NET}: mlp_complex, affine, {bits} bits"
                                       for bits in (4, 3, 2)]


def test_smaller_dense_nets_are_candidates_and_larger_or_foreign_ones_are_not():
    few = {"size_bytes": 512}
    table = losses(
        *base(), *swept(1, sizes="hidden=18,11", **few), *swept(2, model="mlp_simple", **few),
        *swept(3, recipe="edge", epochs=3, **few), *swept(0, sizes="hidden=200", size_bytes=9999),
        *swept(0, model="knn", recipe="", size_bytes=None), *swept(0, task="churn", **few),
        *swept(0, split="val", sizes="hidden=5", **few), *swept(0, lr=0.1),
        *swept(0, model="mlp_simple", quantizer="gptq", bits=4, **few))
    dense = table[table.technique == "dense"]
    assert list(zip(dense.model, dense.sizes, dense.recipe, strict=True)) == [
        ("mlp_complex", "hidden=18,11", "ours"), ("mlp_simple", "", "ours"),
        ("mlp_complex", "", "edge")]
    assert len(table) == 4 and list(dense.loss) == pytest.approx([1.1, 2.1, 3.1])


def test_edges_nets_are_those_of_its_recipe():
    edge = {"recipe": "edge", "sizes": "width=16", "size_bytes": 4096}
    rows = [*base(), *swept(0.2, quantizer="affine", bits=4), *swept(1.0, **edge),
            *swept(1.5, quantizer="affine", bits=4, **edge)]
    ours, theirs = losses(*rows), losses(*rows, recipe="edge")
    assert list(ours.technique) == ["as trained", "affine, 4 bits", "dense"]
    assert list(theirs.technique) == ["as trained", "affine, 4 bits"]
    assert theirs.loss[1] == pytest.approx(0.5) and set(theirs.base_KiB) == {4}
    with pytest.raises(ValueError, match="no test row of telescope/resnet9 as trained by recipe"):
        losses(*rows, nets=["telescope/resnet9"])


def candidates():
    """KiB, losses of three folds: what each is, of a net that takes 8 KiB."""
    sure = [row(BASE[fold] - 0.5, fold, quantizer="gptq", bits=4, size_bytes=4096)
            for fold in FOLDS]
    unsure = [row(BASE[fold] - fold, fold, quantizer="gptq", bits=2, size_bytes=2048)
              for fold in FOLDS]                                # 0, 1, 2: within 1 by the mean
    worse = swept(0.9, quantizer="affine", bits=4, size_bytes=6144)
    dense = swept(3.0, sizes="hidden=2", size_bytes=1024)
    return [*base(), *sure, *unsure, *worse, *dense]


def test_answers_are_the_smallest_within_the_tolerance_by_mean_and_by_interval():
    table = tables.answers(losses(*candidates())).set_index("technique")
    assert list(table.index[table.by_mean]) == ["gptq, 2 bits"]
    assert list(table.index[table.by_interval]) == ["gptq, 4 bits"]
    assert set(table.index[table.front]) == {"as trained", "gptq, 4 bits", "gptq, 2 bits", "dense"}


def test_doing_nothing_and_dense_nets_may_win():
    bad = swept(5.0, quantizer="affine", bits=2, size_bytes=1024)
    alone = tables.answers(losses(*base(), *bad)).set_index("technique")
    assert list(alone.index[alone.by_mean]) == ["as trained"]
    assert list(alone.index[alone.by_interval]) == ["as trained"]
    good = swept(-0.5, sizes="hidden=18,11", size_bytes=512)
    table = tables.answers(losses(*base(), *bad, *good)).set_index("technique")
    assert list(table.index[table.by_interval]) == list(table.index[table.front]) == ["dense"]


def test_the_matrix_holds_the_worst_mean_loss_over_nets_in_points():
    r2 = {"task": "mv", "metric": "r2", "fold": None}
    rows = [*candidates(), row(0.99, **r2), row(0.96, quantizer="gptq", bits=4, **r2)]
    table = tables.matrix(losses(*rows, nets=[NET, "mv/mlp_complex"])).set_index("technique")
    line = table.loc["gptq, 4 bits"]                # 0.03 of R² are three points, 0.5 % are half
    assert (line.worst, line.worst_on, line.nets) == (pytest.approx(3), "mv/mlp_complex", 2)
    assert (line.quantizer, line.bits_asked) == ("gptq", 4)
    assert (table.worst["gptq, 2 bits"], table.nets["gptq, 2 bits"]) == (1, 1)
    assert "dense" not in table.index and table.worst["as trained"] == 0


def test_files_are_candidates_of_their_net_and_of_smaller_ones_and_never_what_others_lose_against():
    """A file holds more than weights: whether its net is smaller is told by the parameters."""
    whole = [row(BASE[fold], fold, params=100) for fold in FOLDS]
    static = {"deploy": "static", "size_bytes": 9000}
    longer = {"tuned": "finetune", "epochs": 12, "params": 100}
    table = losses(*whole, *swept(-0.5, **longer), *swept(-2.0, **longer, **static),
                   *swept(0.5, params=100, **static),
                   *swept(1.0, params=50, sizes="hidden=8", **static),
                   *swept(1.0, params=200, sizes="hidden=90", **static))
    assert set(table.against) == {"finetune, 12 epochs"}
    assert sorted(zip(table.deploy, table.sizes, strict=True)) == [
        ("", ""), ("", ""), ("static", ""), ("static", ""), ("static", "hidden=8")]
