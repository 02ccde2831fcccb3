"""Results: intervals that hold what they say, paired differences, candidates, the selection."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib import results
from lib.base import paths, titles
from lib.base.metric import METRICS
from lib.base.resampling import Z
from lib.results import Cost, Row

FOLDS = range(5)
WHOLE = [80.0, 82.0, 84.0, 86.0, 88.0]          # the baseline's score on each fold
OTHERS = ("telescope", "churn", "breast_cancer", "digits")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """No table of another run is read: latencies of 08, remade energies."""
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    monkeypatch.setattr(paths, "_profile", "toy")


def row(score, fold=0, **more):
    return Row(**({"task": "telescope", "model": "mlp_complex", "recipe": "ours", "seed": 0,
                   "fold": fold, "n": 400, "metric": "accuracy", "score": score, "params": 4000,
                   "size_bytes": 16384} | more))


def base(**more):
    return [row(score, fold, **more) for fold, score in zip(FOLDS, WHOLE, strict=True)]


def lost(losses, **asked):
    """A candidate that loses so much on each fold; a number: the same on all."""
    losses = losses if isinstance(losses, list) else [losses] * len(FOLDS)
    return [row(WHOLE[fold] - loss, fold, **asked) for fold, loss in enumerate(losses)]


def gptq(bits, **more):
    return {"quantizer": "gptq", "bits": bits, "size_bytes": 512 * bits} | more


def frame(*rows):
    return results.frame(list(rows))


def nets_of(table):
    """Every network of these rows at its usual sizes, as `results.networks` gives them."""
    found = table[table.sizes == ""][["task", "model"]].drop_duplicates()
    return found.rename(columns={"model": "net"}).assign(net_sizes="", epochs_run=50.0, why_not="")


def candidates(*rows, scores=None, costs=(), nets=None, split="test"):
    table = frame(*rows)
    costs = pd.DataFrame([vars(cost) for cost in costs],
                         columns=["id", "quantity", "kind", "source", "value", "low", "high"])
    return results.candidates(table, scores or {}, costs, nets_of(table) if nets is None else nets,
                              split)


def joined(*rows, **more):
    """Candidates of the test set beside their selection losses."""
    tested = candidates(*[one for one in rows if one.split == "test"], **more)
    validated = candidates(*[one for one in rows if one.split == "val"], nets=nets_of(
        frame(*rows)), split="val")
    return tested.join(results.selection_losses(tested, validated))


# Intervals


def test_five_folds_widen_an_interval_by_the_factor_of_nadeau_and_bengio():
    values = [0.5, 0.1, 0.4, 0.2, 0.9]
    mean, low, high = results.interval(values, "fold")[:3]
    _, plain, _ = results.t_interval(values)
    assert (mean - low) / (mean - plain) == pytest.approx(math.sqrt((1 / 5 + 1 / 3) / (1 / 5)))
    assert high - mean == pytest.approx(mean - low) and mean == pytest.approx(np.mean(values))
    assert mean - plain == pytest.approx(
        stats.t.ppf(0.975, 4) * np.std(values, ddof=1) / math.sqrt(5))


def test_an_interval_over_folds_that_share_examples_holds_the_truth_in_95_of_100():
    """Folds with a test/train ratio of 1/3 are correlated by 1/4; independent ones less."""
    draw = np.random.default_rng(0)
    shared = draw.normal(size=(2000, 1)) * math.sqrt(0.25)
    folds = 3 + shared + draw.normal(size=(2000, 5)) * math.sqrt(0.75)
    held = np.mean([low <= 3 <= high for _, low, high, _ in (
        results.interval(values, "fold") for values in folds)])
    plain = np.mean([low <= 3 <= high for _, low, high in map(results.t_interval, folds)])
    assert 0.935 < held < 0.965 and plain < 0.87
    alone = draw.normal(size=(2000, 5))
    assert 0.935 < np.mean([low <= 0 <= high for _, low, high in map(results.t_interval, alone)]
                          ) < 0.965


def test_p_and_interval_decide_alike_and_what_they_are_over_matters():
    draw = np.random.default_rng(1)
    for values in draw.normal(0.6, 1, size=(200, 5)):
        for over in ("fold", "seed"):
            _, low, high, p = results.interval(values, over)
            assert (low <= 0 <= high) == (p >= 0.05)
    over_folds, over_seeds = (results.interval([1.0, 2.0, 3.0], over) for over in ("fold", "seed"))
    assert over_folds[3] > over_seeds[3] and over_folds[0] == over_seeds[0]
    assert results.interval([2.0, 2.0, 2.0], "seed") == (2, 2, 2, 0)
    assert results.interval([0.0, 0.0], "seed")[3] == 1
    mean, low, high = results.t_interval([4.0])
    assert mean == 4 and math.isnan(low) and math.isnan(high)


def test_a_prediction_interval_holds_one_more_value():
    draw = np.random.default_rng(2)
    values = draw.normal(size=(1500, 6))
    held = [low <= one[-1] <= high for one in values
            for low, high in [results.prediction(one[:-1])]]
    assert 0.935 < np.mean(held) < 0.965


def closed(p):
    """Adjusted p by closed testing: the largest Bonferroni p of all intersections that hold one."""
    p = list(p)
    groups = [group for size in range(1, len(p) + 1)
              for group in itertools.combinations(range(len(p)), size)]
    return [min(1.0, max(len(group) * min(p[i] for i in group) for group in groups if i in group))
            for i, _ in enumerate(p)]


def test_holm_is_closed_testing_and_leaves_out_what_was_not_compared():
    assert list(results.holm(pd.Series([0.01, 0.04, 0.03]))) == pytest.approx([0.03, 0.06, 0.06])
    draw = np.random.default_rng(3)
    for size in (1, 4, 6):
        p = pd.Series(draw.uniform(0, 0.4, size), index=list("abcdef")[:size])
        assert list(results.holm(p)) == pytest.approx(closed(p))
    some = results.holm(pd.Series([0.02, np.nan, 0.01]))
    assert list(some.dropna()) == pytest.approx([0.02, 0.02]) and math.isnan(some[1])


def test_holm_claims_something_false_in_5_of_100_families_at_most():
    draw = np.random.default_rng(4)
    false = [(results.holm(pd.Series(p)) < 0.05).any() for p in draw.uniform(size=(700, 10))]
    assert 0.03 < np.mean(false) < 0.07


def test_a_summary_says_what_its_interval_is_over():
    table = results.summary(frame(*base(), *[row(score, seed=seed, task="churn") for seed, score in
                                             enumerate([70.0, 72.0])],
                                  row(90.0, task="digits", score_low=88.0, score_high=91.0)))
    lines = table.set_index("task")
    assert lines.over.to_dict() == {"telescope": "folds", "churn": "seeds", "digits": "examples"}
    told = lines.loc["telescope", ["score", "low", "high"]]
    assert list(told) == pytest.approx(results.interval(WHOLE, "fold")[:3])
    assert list(lines.loc["digits", ["low", "high"]]) == [88, 91]
    with pytest.raises(ValueError, match="several splits"):
        results.summary(frame(row(1.0), row(1.0, split="val")))


# The paired difference


def paired(new, old, scores=None):
    return results.difference(frame(*new), frame(*old), scores or {})


def test_a_planted_loss_is_found_pair_by_pair_over_folds():
    losses = [0.5, 0.7, 0.6, 0.4, 0.8]
    found = paired(lost(losses, **gptq(4)), base())
    assert found[:3] == pytest.approx(results.interval(losses, "fold")[:3])
    assert (found.over, found.runs, found.base) == ("fold", 5, 84) and found.p < 0.05
    assert {fold: one[0] for fold, one in found.by_fold.items()} == pytest.approx(
        dict(zip(FOLDS, losses, strict=True)))
    shuffled = paired(lost(losses, **gptq(4))[::-1], base())
    assert shuffled[:4] == pytest.approx(found[:4])


def test_seeds_are_paired_with_their_own_and_one_baseline_stands_for_all():
    new = [row(score, None, seed=seed, **gptq(4)) for seed, score in enumerate([79.0, 80, 83])]
    old = [row(score, None, seed=seed) for seed, score in enumerate([80.0, 82, 84])]
    found = paired(new, old)
    assert found[:3] == pytest.approx(results.t_interval([1, 2, 1])) and found.over == "seed"
    assert not found.by_fold
    alone = paired(new, old[:1])
    assert alone[:3] == pytest.approx(results.t_interval([1, 0, -3])) and alone.runs == 3


def hits(share, n, seed):
    return (np.random.default_rng(seed).uniform(size=n) < share).astype(np.uint8)


def test_one_training_is_compared_over_its_examples():
    old, new = row(0.0, None), row(0.0, None, **gptq(4))
    right = hits(0.9, 2000, 0)
    worse = right & hits(0.97, 2000, 1)
    old, new = (row(100 * float(one.mean()), None, n=2000, **asked)
                for one, asked in ((right, {}), (worse, gptq(4))))
    found = paired([new], [old], {old.id: right, new.id: worse})
    assert found.mean == pytest.approx(old.score - new.score) and found.over == "example"
    lost_by = METRICS["accuracy"].paired(right, worse, old.score)
    assert found[1:3] == METRICS["accuracy"].paired_interval(lost_by)
    assert found.low > 0 and found.p < 0.05
    same = paired([new], [old], {old.id: right, new.id: right})
    assert same.low < 0 < same.high and same.p > 0.5
    unknown = paired([new], [old])
    assert unknown.mean == found.mean and math.isnan(unknown.low) and math.isnan(unknown.p)
    assert paired([old], [old])[:4] == (0, 0, 0, 1)


def test_several_draws_count_their_own_spread_besides_that_of_examples():
    right = hits(0.9, 1000, 0)
    old = row(100 * float(right.mean()), None, n=1000)
    drawn = [right & hits(share, 1000, seed) for seed, share in enumerate([0.9, 0.95, 0.99])]
    new = [row(100 * float(one.mean()), None, n=1000, draw=draw, **gptq(4))
           for draw, one in enumerate(drawn)]
    scores = {one.id: values for one, values in zip([old, *new], [right, *drawn], strict=True)}
    found = paired(new, [old], scores)
    losses = [old.score - one.score for one in new]
    half = (found.high - found.low) / 2
    assert found.mean == pytest.approx(np.mean(losses)) and found.runs == 3
    assert half > Z * np.std(losses, ddof=1) / math.sqrt(3)
    assert half > Z * np.std([100.0 * (right - one).astype(float) for one in drawn], axis=1
                             ).min() / math.sqrt(1000)


def test_a_missing_fold_or_another_number_of_examples_is_no_pair():
    assert paired(lost(1.0, **gptq(4))[:4], base()) is None
    assert paired([row(79.0, fold, n=100, **gptq(4)) for fold in FOLDS], base()) is None
    assert paired(lost(1.0, **gptq(4)), base()[:4]).runs == 4       # a fold the baseline lacks


def test_squared_errors_are_compared_where_r2_hides_them():
    new = [row(0.999, fold, task="mv", metric="r2", **gptq(4)) for fold in FOLDS]
    old = [row(0.9999, fold, task="mv", metric="r2") for fold in FOLDS]
    assert paired(new, old).error_ratio == pytest.approx(10)
    assert math.isnan(paired(lost(1.0, **gptq(4)), base()).error_ratio)


# Gains


def test_a_gain_compares_rows_that_are_alike_in_all_else():
    qat = {"tuned": "lsq", "epochs": 6}
    rows = frame(*base(), *lost(3.0, **gptq(2)), *lost(1.0, **gptq(2, **qat)),
                 *lost(0.5, **gptq(4)), *lost(0.2, **gptq(4, a_bits=4, **qat)))
    found = results.gains(rows, {}, {"tuned": ""}, {"tuned": "lsq"})
    assert list(found.width) == ["2-bit"] and list(found.gain) == pytest.approx([2.0])
    assert list(found.before) == [81] and list(found.score) == [83]
    longer = frame(*lost(1.0, tuned="finetune", epochs=5), *lost(0.4, tuned="finetune+distill",
                                                                 teacher="mlp_simple", epochs=9))
    assert results.gains(longer, {}, {"tuned": "finetune"}, {"tuned": "finetune+distill"}).empty


def test_gains_are_decided_by_the_corrected_p_and_called_equal_only_within_the_tolerance():
    line = {"metric": "accuracy", "error_ratio": np.nan}
    table = pd.DataFrame([
        line | {"gain": 2.0, "low": 1.5, "high": 2.5, "p": 0.001},
        line | {"gain": 2.0, "low": 0.1, "high": 3.9, "p": 0.04},       # alone, not among four
        line | {"gain": -2.0, "low": -2.5, "high": -1.5, "p": 0.001},
        line | {"gain": 0.1, "low": -0.4, "high": 0.6, "p": 0.7}])
    assert list(results.decided(table).verdict) == [
        "significantly higher", "inconclusive", "significantly lower", "equivalent within 1 pp"]
    assert list(results.decided(table.iloc[[1]]).verdict) == ["significantly higher"]
    r2 = table.iloc[[3]].assign(metric="r2", error_ratio=[1.05])
    assert list(results.decided(r2).verdict) == ["equivalent within 0.01"]
    assert list(results.decided(r2.assign(error_ratio=3.0)).verdict) == ["inconclusive"]
    assert [results.unit(name) for name in ("accuracy", "r2")] == ["pp", "hundredths of R²"]


# Candidates


TUNED = {"tuned": "finetune", "epochs": 12}
MASKED = {"pruner": "magnitude_l1", "amount": 0.5}


def of(table, technique):
    """The one line of a technique."""
    lines = table[table.technique == technique]
    assert len(lines) == 1, list(table.technique)
    return lines.iloc[0]


def test_ptq_is_compared_with_the_very_network_it_was_made_from():
    """The baseline gains 1.3 when trained further; a quantizer does not pay for that."""
    table = candidates(*base(), *lost(-1.3, **TUNED), *lost(0.5, **gptq(4)))
    assert of(table, "GPTQ 4-bit").loss == pytest.approx(0.5)
    assert of(table, titles.BASELINE).loss == 0
    assert math.isnan(of(table, "GPTQ 4-bit").tuned_loss)


def test_what_was_trained_further_has_both_losses():
    pruned = candidates(*base(), *lost(-1.3, **TUNED), *lost(-0.3, **MASKED, **TUNED),
                        *lost(-0.2, **MASKED, tuned="finetune", epochs=30))
    line = of(pruned, "50 % magnitude pruning, fine-tuned, 12 epochs")
    assert (line.loss, line.tuned_loss) == pytest.approx((-0.3, 1.0))
    assert line.training == "fine-tuning"
    assert math.isnan(of(pruned, "50 % magnitude pruning, fine-tuned, 30 epochs").tuned_loss)


def test_as_long_is_told_by_the_epochs_that_ran():
    """One training names its epochs, the other leaves them to its recipe: both ran 12."""
    table = frame(*base(), *lost(-1.3, tuned="finetune"), *lost(-0.3, **MASKED, **TUNED),
                  *lost(0.0, **gptq(4, tuned="lsq")))
    ran = {"": 60, "finetune": 12, "lsq": 6}
    table["epochs_run"] = table.tuned.map(ran)
    costs = pd.DataFrame(columns=["id", "quantity", "kind", "source", "value"])
    found = results.candidates(table, {}, costs.astype({"source": str}), nets_of(table))
    assert found[found.pruner != ""].tuned_loss.tolist() == pytest.approx([1.0])
    assert found[found.tuned == "lsq"].tuned_loss.isna().all()


def test_smaller_networks_are_candidates_and_larger_ones_are_not():
    table = candidates(*base(), *lost(2.0, sizes="hidden=9", params=900, size_bytes=4096),
                       *lost(-2.0, sizes="hidden=99", params=90000),
                       *lost(2.2, sizes="hidden=9", params=900, **gptq(4)))
    assert set(table.sizes) == {"", "hidden=9"}
    small = table[table.sizes != ""]
    assert set(small.training) == {"from scratch"} and small.base_KiB.eq(16).all()
    assert sorted(small.loss) == pytest.approx([2.0, 2.2])


def test_controls_are_flagged_and_emulations_and_other_runtimes_left_out():
    table = candidates(
        *base(), *base(deploy="fp32"), *lost(0.1, **gptq(4, deploy="fp32")),
        *lost(0.2, **MASKED, deploy="fp32"),
        *lost(0.3, **MASKED, structure="channel", deploy="fp32"),
        *lost(0.4, deploy="static"),
        *lost(0.5, quantizer="edge_mid_rise", bits=4), *lost(0.6, deploy="openvino"))
    assert set(table.technique[table.control]) == {
        "GPTQ 4-bit, FP32 ONNX", "50 % magnitude pruning, FP32 ONNX"}
    assert not table.technique.str.contains("Edge|OpenVINO").any() and len(table) == 6


def test_each_kind_of_training_is_named():
    table = candidates(*base(), *lost(0.1, **gptq(4)), *lost(0.2, quantizer="brecq", bits=2),
                       *lost(0.3, **gptq(2, tuned="lsq")))
    assert table.training.tolist() == ["none", "none", "gradient calibration", "fine-tuning"]


STEP, NEW = "45 nm, Horowitz 2014", "45 nm, Horowitz 2014, interpolated memory"


def test_energies_of_two_models_are_never_divided():
    whole, small = base(), lost(0.5, **gptq(4))
    costs = [Cost(one.id, "energy_j", "modelled", STEP, 8e-6) for one in whole]
    quantized = [Cost(one.id, "energy_j", "modelled", NEW, 2e-6) for one in small]
    assert candidates(*whole, *small, costs=costs + quantized).energy_share.notna().sum() == 1
    remade = [Cost(one.id, "energy_j", "modelled", NEW, 4e-6) for one in whole]
    table = candidates(*whole, *small, costs=costs + quantized + remade)
    assert of(table, "GPTQ 4-bit").energy_share == pytest.approx(0.5)       # the new one counts
    assert not table.step_model.any()
    old = candidates(*whole, *small, costs=costs + [
        Cost(one.id, "energy_j", "modelled", STEP, 2e-6) for one in small])
    assert of(old, "GPTQ 4-bit").energy_share == pytest.approx(0.25) and old.step_model.all()


def test_a_smaller_network_with_the_same_score_is_not_the_baseline_of_energy():
    small = [row(90.0, fold, model="small", params=50) for fold in FOLDS]
    whole = [row(90.0, fold) for fold in FOLDS]
    quantized = [row(89.5, fold, **gptq(4)) for fold in FOLDS]
    costs = [Cost(one.id, "energy_j", "modelled", NEW, joules) for rows, joules in (
        (small, 1e-6), (whole, 8e-6), (quantized, 2e-6)) for one in rows]
    table = candidates(*small, *whole, *quantized, costs=costs)
    assert of(table, "GPTQ 4-bit").energy_share == pytest.approx(0.25)


@pytest.mark.parametrize(("low", "high", "p", "said"), [
    (-0.2, 0.9, 0.2, "equivalent within 1 pp"), (0.1, 0.9, 0.01, "equivalent within 1 pp"),
    (-1, 1, 1, "equivalent within 1 pp"), (-0.2, 1.1, 0.2, "inconclusive"),
    (0.1, 1.1, 0.01, "significantly higher"), (-2, -0.1, 0.01, "significantly lower"),
    (0.1, 1.1, 0.2, "inconclusive"), (0.1, 1.1, math.nan, "inconclusive"),
    (math.nan, math.nan, math.nan, "inconclusive"), (math.nan, 0.5, math.nan, "inconclusive")])
def test_a_verdict_is_that_of_interval_and_corrected_p(low, high, p, said):
    table = pd.DataFrame({"metric": ["accuracy"], "gain": [(low + high) / 2], "low": [low],
                          "high": [high], "p": [p], "error_ratio": [math.nan]})
    assert results.decided(table).verdict[0] == said
    assert results.decided(table.head(0)).verdict.empty


def test_the_verdict_on_a_selected_candidate_has_its_metrics_unit():
    r2 = {"task": "mv", "metric": "r2"}
    rows = [*[row(0.9, fold, **r2) for fold in FOLDS],
            *[row(0.897, fold, **r2, **gptq(4)) for fold in FOLDS]]
    assert list(results.judged(chosen(*rows)).verdict) == ["equivalent within 0.01"]
    assert results.judged(chosen(*rows).head(0)).verdict.empty


def test_the_unit_of_an_unknown_metric_is_not_guessed():
    assert [results.unit(metric) for metric in results.METRICS] == [
        "pp", "hundredths of R²", "hundredths of MCC", "pp"]
    with pytest.raises(KeyError, match="perplexity"):
        results.unit("perplexity")


def test_losses_of_r2_are_in_hundredths():
    r2 = {"task": "mv", "metric": "r2"}
    table = candidates(*[row(0.9, fold, **r2) for fold in FOLDS],
                       *[row(0.87, fold, **r2, **gptq(2)) for fold in FOLDS])
    line = of(table, "GPTQ 2-bit")
    assert line.loss == pytest.approx(3) and line.error_ratio == pytest.approx(1.3)
    assert line.by_fold[4] == pytest.approx((3, 1.3))


# The selection


LUCKY = [0.0, 0.0, 0.0, 0.0, 4.9]               # 0.98 over all folds, 1.225 without an early one


def chosen(*rows, objective="size", tolerance=1.0, training="from scratch", **more):
    return results.select(joined(*rows, **more), objective, tolerance, training)


def test_the_smallest_within_the_tolerance_is_selected_and_the_baseline_where_none_is():
    rows = [*base(), *lost(0.2, **gptq(4)), *lost(0.8, **gptq(3)), *lost(1.4, **gptq(2))]
    for tolerance, technique in ((0.5, "GPTQ 4-bit"), (1.0, "GPTQ 3-bit"), (2.0, "GPTQ 2-bit"),
                                 (0.1, titles.BASELINE)):
        line = chosen(*rows, tolerance=tolerance).iloc[0]
        assert line.technique == technique and line.kept and line.selected_on == "the other folds"
    assert (line.ratio, line.evaluated) == (1, 0)
    assert chosen(*rows, tolerance=0.2).iloc[0].technique == "GPTQ 4-bit"       # the end belongs


def test_columns_of_numbers_are_numbers_where_nothing_is_selected():
    found = results.select(joined(*base(), *lost(0.2, **gptq(4))).head(0))
    assert found.empty and found.nlargest(1, "ratio").empty and found.evaluated.dtype == float


def test_what_luck_selected_is_evaluated_on_the_fold_that_did_not_select_it():
    line = chosen(*base(), *lost(LUCKY, **gptq(2)), *lost(0.1, **gptq(4))).iloc[0]
    assert line.technique == "GPTQ 2-bit" and line.loss == pytest.approx(0.98)
    reads = [0.1, 0.1, 0.1, 0.1, 4.9]           # the last fold is the one that did not see its loss
    assert (line.evaluated, line.evaluated_low, line.evaluated_high) == pytest.approx(
        results.interval(reads, "fold")[:3])
    assert (line.same, line.folds, line.kept) == (1, 5, False)


def test_a_regression_whose_squared_error_grows_by_more_than_a_tenth_is_not_equal():
    r2 = {"task": "mv", "metric": "r2"}

    def at(score, **asked):
        return [row(score, fold, **r2, **asked) for fold in FOLDS]

    line = chosen(*at(0.999), *at(0.9985, **gptq(2)), *at(0.99895, **gptq(4))).iloc[0]
    assert line.technique == "GPTQ 4-bit" and line.kept             # 2 bits: 0.05 points, 1.5 times
    assert not results.within(0.05, 1.5, 1.0) and results.within(0.05, math.nan, 1.0)


def on_splits(validated, tested, **asked):
    """One split: a score on the validation set and one on the test set."""
    return [row(score, None, split=split, n=n, **asked) for split, score, n in
            (("val", validated, 300), ("test", tested, 400))]


def test_a_recipe_reads_what_was_selected_on_validation():
    rows = [row(score, 0, split=split, n=n, **asked)
            for validated, tested, asked in ((90.0, 88.0, {}), (89.5, 87.6, gptq(4)))
            for split, score, n in (("val", validated, 300), ("test", tested, 400))]
    table = joined(*rows)
    title, lines = results.recipe(table, table.task.unique(), "size", 1.0, "from scratch")
    assert "GPTQ 4-bit" in title and lines.evaluated.tolist() == pytest.approx([0.4])


def test_one_split_selects_on_validation_and_evaluates_on_test():
    rows = [*on_splits(90.0, 88.0), *on_splits(89.5, 85.0, **gptq(2)),
            *on_splits(88.0, 88.0, **gptq(3))]
    line = chosen(*rows).iloc[0]
    assert line.technique == "GPTQ 2-bit" and line.selected_on == "the validation set"
    assert line.selection_loss == pytest.approx(0.5) and line.evaluated == pytest.approx(3)
    assert not line.kept and math.isnan(line.folds)
    assert chosen(*[one for one in rows if one.split == "test"]).empty      # nothing to select on


def elsewhere(loss, tasks=("churn", "telescope", "breast_cancer"), **asked):
    return [one for task in tasks for one in [*base(task=task), *lost(loss, task=task, **asked)]]


def test_a_network_without_selection_data_takes_what_is_safe_on_three_others_of_its_kind():
    alone = [row(80.0, None, task="california"), row(79.9, None, task="california", **gptq(2)),
             row(79.9, None, task="california", **gptq(4))]
    line = chosen(*alone, *elsewhere(0.4, **gptq(4)))
    line = line[line.task == "california"].iloc[0]
    assert line.technique == "GPTQ 4-bit" and line.selected_on == "the other networks"
    assert line.evaluated == pytest.approx(0.1)
    few = chosen(*alone, *elsewhere(0.4, tasks=("churn", "telescope"), **gptq(4)))
    assert set(few.task) == {"churn", "telescope"}
    unsafe = chosen(*alone, *elsewhere(1.4, **gptq(4))).set_index("task")
    assert unsafe.technique["california"] == titles.BASELINE


def test_more_training_than_allowed_is_not_selected_and_controls_never_are():
    rows = [*base(), *lost(0.1, **gptq(4)), *lost(0.1, quantizer="brecq", bits=3, size_bytes=1500),
            *lost(0.1, **gptq(2, tuned="lsq")),
            *lost(0.1, sizes="hidden=5", params=500, size_bytes=500),
            *lost(0.1, **gptq(1), deploy="fp32")]
    found = [chosen(*rows, training=training).iloc[0].technique for training in results.TRAINING]
    assert found == ["GPTQ 4-bit", "BRECQ 3-bit", "LSQ QAT 2-bit (from GPTQ)", titles.BASELINE]
    assert chosen(*rows).iloc[0].sizes == "hidden=5"


def test_latency_is_that_of_files_and_energy_the_larger_share_of_both_processes():
    rows = [*base(), *base(deploy="fp32"), *lost(0.1, deploy="static"), *lost(0.1, **gptq(4))]
    table = joined(*rows)
    table["ms"] = table.deploy.map({"fp32": 1.0, "static": 0.25})
    line = results.select(table, "latency").iloc[0]
    assert line.deploy == "static" and line.ratio == pytest.approx(4)
    table["energy_share"] = np.where(table.quantizer == "gptq", 0.2, 1.0)
    table["energy_share_7nm"] = np.where(table.quantizer == "gptq", 0.5, 1.0)
    line = results.select(table, "energy").iloc[0]
    assert line.quantizer == "gptq" and line.value == 0.5 and line.ratio == pytest.approx(2)


# The recipe


def recipe(*rows, tasks=OTHERS, objective="size", tolerance=1.0, training="none"):
    return results.recipe(joined(*rows), tasks, objective, tolerance, training)


def test_a_recipe_is_the_best_technique_that_holds_on_every_network_that_tried_it():
    rows = [*elsewhere(0.2, **gptq(4)),
            *lost(0.3, task="churn", **gptq(2)), *lost(3.0, task="telescope", **gptq(2))]
    title, lines = recipe(*rows)
    assert title == "GPTQ 4-bit" and len(lines) == 3 and lines.evaluated.tolist() == pytest.approx(
        [0.2] * 3)
    safe = [*elsewhere(0.2, **gptq(4)), *lost(0.3, task="churn", **gptq(2)),
            *lost(0.3, task="telescope", **gptq(2))]
    title, lines = recipe(*safe)
    assert title == "GPTQ 2-bit" and set(lines.task) == {"churn", "telescope"}      # two of three


def test_a_technique_tried_on_half_of_the_networks_is_no_evidence():
    four = elsewhere(0.2, tasks=OTHERS, **gptq(4))
    half = [*lost(0.1, task="churn", **gptq(2)), *lost(0.1, task="telescope", **gptq(2))]
    assert recipe(*four, *half)[0] == "GPTQ 4-bit"
    more = [*half, *lost(0.1, task="digits", **gptq(2))]
    assert recipe(*four, *more)[0] == "GPTQ 2-bit"


def test_without_a_gain_the_baseline_is_the_recipe_and_without_networks_there_is_none():
    assert recipe(*elsewhere(5.0, **gptq(4)))[0] == titles.BASELINE
    title, lines = recipe(*elsewhere(0.1, **gptq(4)), tasks=("cifar10",))
    assert title == "" and lines.empty
    only = [row(80.0, None, task="churn"), row(79.9, None, task="churn", **gptq(4))]
    assert recipe(*only)[0] == ""                  # neither folds nor a validation set


def test_each_fold_of_a_recipe_is_evaluated_by_what_was_selected_without_it():
    rows = [*base(), *base(task="churn")]
    for task in ("telescope", "churn"):
        rows += [*lost(LUCKY, task=task, **gptq(2)), *lost(0.1, task=task, **gptq(4))]
    title, lines = recipe(*rows)
    assert title == "GPTQ 2-bit"
    assert lines.evaluated.tolist() == pytest.approx([np.mean([0.1, 0.1, 0.1, 0.1, 4.9])] * 2)
    assert lines.same.tolist() == [1, 1]
