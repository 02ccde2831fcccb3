"""Rows and costs: kept and read again as they are; means, intervals and people."""

import numpy as np
import pandas as pd
import pytest
import torch

from lib import tables
from lib.base import paths
from lib.base.setting import FIELDS
from lib.page import findings
from lib.tables import Cost, Row, store


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    monkeypatch.setattr(paths, "_profile", "toy")
    return tmp_path / "toy"


def row(**more):
    """A row as 03 saves them: telescope's MLP, by GPTQ in 4 bits, on fold 0."""
    return Row(**({
        "task": "telescope", "model": "mlp_complex", "seed": 0, "fold": 0, "n": 3, "recipe": "ours",
        "quantizer": "gptq", "bits": 4, "metric": "accuracy", "score": 66.66666666,
        "score_low": 0.0, "score_high": 100.0, "metric2": "macro_f1", "score2": 60.0, "loss": 0.5,
        "bits_per_weight": 4.25, "a_bits_mean": 32.0, "sparsity": 0.25, "arithmetic": "simulated",
        "params": 4642, "nonzero": 3500, "size_bytes": 3324, "macs": 4560,
        "scores": np.array([1, 0, 1], np.uint8)} | more))


def test_rows_come_back_as_they_were_saved(folder):
    rows = [row(fold=fold, score=80 + fold / 3) for fold in (2, 0, 1)]
    costs = [Cost(rows[0].id, "spent_s", "measured", "clock", 0.125, 0.1, 0.2),
             Cost(rows[1].id, "latency_s", "measured", "30 windows", 1e-5)]
    tables.save("03_ptq", rows, costs, {"git": "abc"})
    table = tables.load("03_ptq")
    assert list(table.fold) == [0, 1, 2]                            # by their key
    assert list(table.score) == [80, 80.3333, 80.6667]              # six digits
    assert list(table["id"]) == [rows[i].id for i in (1, 2, 0)]
    assert tables.provenance("03_ptq") == {"git": "abc"}
    scores = tables.load_scores("03_ptq")
    assert scores.keys() == set(table["id"]) and all(list(v) == [1, 0, 1] for v in scores.values())
    kept = tables.load_costs("03_ptq").set_index("quantity")
    assert list(kept.loc["spent_s"])[1:] == ["measured", "clock", 0.125, 0.1, 0.2]
    assert kept["id"].to_dict() == {"spent_s": rows[0].id, "latency_s": rows[1].id}
    first = (folder / "03_ptq.csv").read_text().splitlines()[1]
    assert ",4642,3500,3324,4560," in first                         # whole numbers stay whole


def test_what_is_modelled_of_a_row_on_the_validation_part_is_left_out(folder):
    rows = [row(split=split) for split in ("test", "val")]
    costs = [Cost(rows[side].id, quantity, kind, "source", 1.0) for side in (0, 1)
             for quantity, kind in (("spent_s", "measured"), ("energy_j", "modelled"))]
    tables.save("03_ptq", rows, costs, {})
    kept = tables.load_costs("03_ptq")
    assert set(zip(kept["id"], kept.quantity, strict=True)) == {
        (rows[0].id, "spent_s"), (rows[0].id, "energy_j"), (rows[1].id, "spent_s")}


def test_every_column_keeps_its_own_type():
    """Text that is asked for nowhere is "", not NaN; a number that is missing is NaN, not ""."""
    tables.save("02_train", [row(quantizer="", bits=None, recipe="")], [], {})
    table = tables.load("02_train")
    assert list(table) == [*tables.COLUMNS, *store.EFFECTIVE]
    assert (table.recipe[0], table.quantizer[0], table.repairs[0], table.policy[0]) == ("",) * 4
    assert np.isnan(table.bits[0]) and np.isnan(table.amount[0]) and np.isnan(table.draw[0])
    assert table.seed.dtype == table.levels.dtype == table.n.dtype == float
    assert tables.setting_of(table.iloc[0]) == row(quantizer="", bits=None, recipe="").setting


def test_numbers_that_are_names_stay_text():
    digits = Row(task="0123", model="7", recipe="ours", tuned="distill",
                 teacher="20", metric="accuracy")
    tables.save("02_train", [digits], [], {})
    table = tables.load("02_train")
    assert (table.task[0], table.model[0], table.teacher[0]) == ("0123", "7", "20")
    assert table["id"][0] == digits.id


def test_an_id_is_the_keys_own_however_its_numbers_are_held():
    line = tables.frame([row()]).iloc[0]                            # all floats
    assert tables.identify(tuple(line[name] for name in tables.KEY)) == row().id
    for name, value in (("n", 4), ("seed", 1), ("bits", 3), ("repairs", "folded"), ("batch", 1)):
        assert row(**{name: value}).id != row().id, name
    assert row(score=1.0, params=1).id == row().id                  # what came out is no key


def test_a_duplicate_key_is_refused():
    with pytest.raises(ValueError, match="same key: telescope mlp_complex seed 0 fold 0 .*gptq, 4"):
        tables.frame([row(), row(score=1.0)])


@pytest.mark.parametrize("wrong", [{"arithmetic": "fast"}, {"split": "dev"}, {"bits": None}])
def test_a_row_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="fast|dev|without bits"):
        row(**wrong)


@pytest.mark.parametrize("kind, source, said", [
    ("guessed", "by eye", "measured or modelled"), ("measured", "", "by what")])
def test_a_cost_says_how_it_is_known(kind, source, said):
    with pytest.raises(ValueError, match=said):
        Cost("ab", "energy_j", kind, source, 1.0)


def test_costs_belong_to_rows_that_are_there():
    with pytest.raises(ValueError, match="costs of 1 rows that are not there"):
        tables.save("03_ptq", [row()], [Cost("ab", "spent_s", "measured", "clock", 1.0)], {})


def test_the_published_rows_are_not_written_by_a_run(monkeypatch):
    monkeypatch.setattr(paths, "_profile", "published")
    with pytest.raises(ValueError, match="publish"):
        tables.save("02_train", [row()], [], {})


def test_nothing_run_is_an_empty_table():
    nothing = tables.load("09_nothing")
    assert len(nothing) == 0 and list(nothing) == [*tables.COLUMNS, *store.EFFECTIVE]
    assert tables.provenance("09_nothing") == {} and len(tables.load_costs("09_nothing")) == 0


def test_a_table_without_a_column_of_today_or_with_one_of_tomorrow_loads(folder):
    tables.save("02_train", [row()], [], {})
    path = folder / "02_train.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.drop(columns=["policy", "macs_nonzero"]).assign(humidity="3").to_csv(path, index=False)
    old = tables.load("02_train")
    assert list(old) == [*tables.COLUMNS, *store.EFFECTIVE]
    assert old.policy[0] == "" and old.score[0] == 66.6667
    assert np.isnan(old.macs_nonzero[0])


def test_what_was_effective_stands_behind_the_rows_and_in_no_key(folder):
    rows = [row(fold=fold) for fold in (0, 1)]
    made = tables.save("02_train", rows, [], {}, {rows[1].id: (6, "hidden=72,44 logs=1")})
    table = tables.load("02_train")
    pd.testing.assert_frame_equal(made[[*store.EFFECTIVE]], table[[*store.EFFECTIVE]])
    assert np.isnan(table.epochs_run[0]) and table.build_args[0] == ""
    assert (table.epochs_run[1], table.build_args[1]) == (6.0, "hidden=72,44 logs=1")
    text = (folder / "02_train.csv").read_text().splitlines()
    assert text[0].endswith(",left_float,epochs_run,build_args")
    assert text[2].endswith(',6,"hidden=72,44 logs=1"')                  # whole numbers stay whole
    assert list(table.id) == [one.id for one in rows]
    assert not set(store.EFFECTIVE) & set(tables.KEY)
    old = pd.read_csv(folder / "02_train.csv", dtype=str).drop(columns=[*store.EFFECTIVE])
    old.to_csv(folder / "02_train.csv", index=False)
    table = tables.load("02_train")
    assert table.epochs_run.isna().all() and (table.build_args == "").all()


def test_energy_of_the_step_model_is_told_apart_by_its_source():
    from lib import energy
    assert store.INTERPOLATED == energy.INTERPOLATED
    counted = energy.layers(torch.nn.Linear(8, 4), torch.rand(1, 8))
    source = energy.modelled(counted).attrs["source"]
    costs = tables.cost_frame([
        Cost("a", "energy_j", "modelled", energy.PROCESSES["45nm"].source, 1.0),
        Cost("b", "energy_j", "modelled", source, 1.0),
        Cost("c", "spent_energy_j", "modelled", "7 nm, Jouppi 2021, 64 at once, sgd", 1.0),
        Cost("d", "energy_j", "measured", "nvml A", 1.0),
        Cost("e", "spent_s", "measured", "clock", 1.0)])
    assert store.of_step_model(costs).tolist() == [True, False, True, False, False]


def test_settings_in_other_tables_stay_text():
    kept = tables.frame([row(tuned="distill", teacher="20")])[["model", *FIELDS]]
    tables.save_table("03_losses", kept)
    line = tables.load_table("03_losses").iloc[0]
    assert tables.setting_of(line) == row(tuned="distill", teacher="20").setting
    assert len(tables.load_table("03_nothing")) == 0


def test_bits_asked_are_bits_or_the_logarithm_of_levels():
    table = tables.frame([row(), row(bits=None, levels=3), row(bits=None, quantizer="")])
    assert list(tables.bits_asked(table)[:2]) == [4, np.log2(3)]
    assert np.isnan(tables.bits_asked(table)[2])


def test_t_interval_is_the_textbook_one():
    mean, low, high = tables.t_interval([1, 2, 3, 4, 5])
    assert mean == 3 and high - 3 == pytest.approx(2.776445 * np.sqrt(2.5 / 5), rel=1e-5)
    assert low == pytest.approx(6 - high)
    assert np.isnan(tables.t_interval([1.0])[1])


def test_summary_averages_seeds_within_folds():
    rows = [row(fold=fold, seed=seed, score=80.0 + fold + seed, score2=70.0 + fold, size_bytes=size)
            for fold, size in ((0, 100), (1, 200), (2, 900)) for seed in (0, 2)]
    line = tables.summary(tables.frame(rows)).iloc[0]
    mean, low, high = tables.t_interval([81, 82, 83])
    assert (line.score, line.low, line.high, line.over) == (mean, low, high, "folds")
    assert (line.runs, line.score2, line.size_bytes, line.metric) == (6, 71, 200, "accuracy")


def test_summary_is_over_draws_where_nothing_else_varies():
    rows = [row(draw=draw, score=80.0 + draw, score_low=0.0, score_high=1.0) for draw in range(3)]
    line = tables.summary(tables.frame(rows)).iloc[0]
    assert (line.score, line.low, line.high) == tables.t_interval([80, 81, 82])
    assert line.over == "draws"


def test_summary_of_one_row_has_its_own_interval_over_examples():
    line = tables.summary(tables.frame([row(score_low=50.0, score_high=70.0)])).iloc[0]
    assert (line.low, line.high, line.over, line.runs) == (50, 70, "examples", 1)


def test_summary_keeps_numbers_of_examples_apart_and_folds_of_unlike_sizes_together():
    two = [row(score=80.0, n=2000), row(score=90.0, n=10000)]
    table = tables.summary(tables.frame(two))
    assert list(table.score) == [80, 90] and list(table.n) == [2000, 10000]
    folds = [row(score=80.0 + fold, fold=fold, n=100 + fold) for fold in range(3)]
    assert list(tables.summary(tables.frame(folds)).score) == [81]


def test_summary_keeps_settings_apart():
    rows = [row(), row(repairs="folded"), row(bits=3), row(granularity="tensor")]
    assert len(tables.summary(tables.frame(rows))) == 4


def test_a_summary_of_nothing_has_its_columns():
    nothing, full = (tables.summary(tables.frame(rows)) for rows in ([], [row()]))
    assert list(nothing) == list(full) and len(nothing) == 0 and "score2" in nothing


def test_people_are_scored_alone_and_leads_are_on_the_same_people():
    rows = tables.frame([row(model="net"), row(model="knn"), row(model="svm")])
    group = np.array([7, 7, 3, 3])
    right = {"net": [1, 1, 1, 0], "knn": [1, 0, 0, 0], "svm": [0, 0, 0, 0]}
    people = [tables.by_subject(line, np.array(right[line.model], np.uint8), group)
              for line in rows.itertuples()]
    assert people[0].set_index("subject").score.to_dict() == {3: 50, 7: 100}
    table = tables.leads(people, ["svm", "knn", "hgb"]).set_index("model")
    assert tuple(table.loc["net", ["lead", "lead_low", "lead_high"]]) == tables.t_interval([50, 50])
    assert tuple(table.loc["net", ["score", "low", "high"]]) == tables.t_interval([50, 100])
    assert table.lead["knn"] == 0 and table.lead["svm"] == -25 and set(table.subjects) == {2}
    assert len(tables.leads([], ["knn"])) == 0
    with pytest.raises(ValueError, match="4 scores, but the subjects of 3"):
        tables.by_subject(next(rows.itertuples()), np.ones(4), group[:3])


def test_trainings_with_epochs_that_took_twice_as_long_as_others_are_named():
    epochs = [{"task": "cifar10", "model": model, "seed": 0, "epoch": i, "lr": 0.1 / (i + 1),
               "seconds": seconds}
              for model, times in (("even", [10, 12, 19]), ("slept", [10, 10, 31]),
                                   ("beside", [5, 10, 5]))
              for i, seconds in enumerate(times)]
    found = tables.uneven(pd.DataFrame(epochs))
    assert list(found.model) == ["slept", "beside"] and list(found.ratio) == [3.1, 2]
    assert (found.fastest[0], found.slowest[0], found.measured[0]) == (10, 31, 3)
    assert tables.uneven(pd.DataFrame(epochs[:3])).empty
    told = findings.uneven(pd.DataFrame(epochs))
    assert told.startswith("In 2 of 3 trainings") and "slept on cifar10, 10 to 31 s" in told
    assert "In none of 1 trainings" in findings.uneven(pd.DataFrame(epochs[:3]))


def ladder():
    """Of 1000 examples the net has 500 right; 100 more by the second step, 1 more by the third."""
    names = ("as Edge rounds", "a range per channel", "control: new statistics", "folded")
    repairs = ("", "folded", "reestimated", "corrected")
    rows, scores = [], {}
    for repair, right in zip(repairs, (500, 600, 900, 601), strict=True):
        values = (np.arange(1000) < right).astype(np.uint8)
        line = row(repairs=repair, score=right / 10, n=1000, scores=values)
        rows.append(line)
        scores[line.id] = values
    table = tables.frame(rows)
    steps = tables.summary(table).assign(rung=names, net="mlp_complex")
    return steps, table, scores


def test_a_step_gains_on_the_one_above_pair_by_pair_and_controls_are_passed_over():
    steps = tables.climb(*ladder())
    assert np.isnan(steps.gain[0]) and list(steps.gain[1:]) == pytest.approx([10, 30, 0.1])
    assert steps.gain_low[1] > 8 and steps.gain_high[1] < 12 and steps.gain_over[1] == "examples"
    assert steps.gain_low[3] < 0 < steps.gain_high[3]               # one example is no finding
    told, = findings.ladder(steps)
    assert told.startswith("mlp_complex at 4 bits: 50.00 by “as Edge rounds”, on 1,000 examples")
    assert "10.00 [" in told and told.endswith("is by “a range per channel”")
    told, = findings.ladder(steps.drop(index=1))
    assert told.endswith("no repair gains more than its paired interval leaves open")


def test_rows_as_saved_are_those_that_anyone_reads(folder):
    rows = [row(seed=1, score=88.66932871), row(seed=0, score=88.12345678)]
    tables.save("02_train", rows, [], {})
    pd.testing.assert_frame_equal(tables.as_saved(tables.frame(rows)), tables.load("02_train"))
    assert tables.as_saved(tables.frame(rows)).score.tolist() == [88.1235, 88.6693]


def test_scores_are_kept_in_one_array_a_dtype_and_tables_of_before_are_read(tmp_path):
    """An array a row takes three times the bytes: of names."""
    draw = np.random.default_rng(0)
    scores = {f"{i:010x}": (draw.uniform(size=300 + i) < 0.9).astype(np.uint8) for i in range(40)}
    scores |= {"ffffffffff": draw.normal(size=50).astype(np.float32)}
    path, before = tmp_path / "new.npz", tmp_path / "old.npz"
    path.write_bytes(tables.packed(scores))
    np.savez_compressed(before, **scores)
    for file in (path, before):
        found = tables.unpacked(file)
        assert found.keys() == scores.keys()
        for name, values in scores.items():
            assert found[name].dtype == values.dtype and (found[name] == values).all()
    assert path.stat().st_size < before.stat().st_size / 2
    path.write_bytes(tables.packed({}))
    assert tables.unpacked(path) == {}
