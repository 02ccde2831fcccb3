"""Rows and costs: kept and read again as they are."""

import numpy as np
import pandas as pd
import pytest
import torch

from lib import energy
from lib.base import paths
from lib.base.setting import FIELDS
from lib.tables import rows as columns
from lib.tables import store
from lib.tables.rows import Cost, Row, bits_asked, frame, identify, setting_of


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
    store.save("03_ptq", rows, costs, {"git": "abc"})
    table = store.load("03_ptq")
    assert list(table.fold) == [0, 1, 2]                            # by their key
    assert list(table.score) == [80, 80.3333, 80.6667]              # six digits
    assert list(table["id"]) == [rows[i].id for i in (1, 2, 0)]
    assert store.provenance("03_ptq") == {"git": "abc"}
    scores = store.load_scores("03_ptq")
    assert scores.keys() == set(table["id"]) and all(list(v) == [1, 0, 1] for v in scores.values())
    kept = store.load_costs("03_ptq").set_index("quantity")
    assert list(kept.loc["spent_s"])[1:] == ["measured", "clock", 0.125, 0.1, 0.2]
    assert kept["id"].to_dict() == {"spent_s": rows[0].id, "latency_s": rows[1].id}
    first = (folder / "03_ptq.csv").read_text().splitlines()[1]
    assert ",4642,3500,3324,4560," in first                         # whole numbers stay whole


def test_what_is_modelled_of_a_row_on_the_validation_part_is_left_out(folder):
    rows = [row(split=split) for split in ("test", "val")]
    costs = [Cost(rows[side].id, quantity, kind, "source", 1.0) for side in (0, 1)
             for quantity, kind in (("spent_s", "measured"), ("energy_j", "modelled"))]
    store.save("03_ptq", rows, costs, {})
    kept = store.load_costs("03_ptq")
    assert set(zip(kept["id"], kept.quantity, strict=True)) == {
        (rows[0].id, "spent_s"), (rows[0].id, "energy_j"), (rows[1].id, "spent_s")}


def test_every_column_keeps_its_own_type():
    """Text that is asked for nowhere is "", not NaN; a number that is missing is NaN, not ""."""
    store.save("02_train", [row(quantizer="", bits=None, recipe="")], [], {})
    table = store.load("02_train")
    assert list(table) == [*columns.COLUMNS, *store.EFFECTIVE]
    assert (table.recipe[0], table.quantizer[0], table.repairs[0], table.policy[0]) == ("",) * 4
    assert np.isnan(table.bits[0]) and np.isnan(table.amount[0]) and np.isnan(table.draw[0])
    assert table.seed.dtype == table.levels.dtype == table.n.dtype == float
    assert setting_of(table.iloc[0]) == row(quantizer="", bits=None, recipe="").setting


def test_numbers_that_are_names_stay_text():
    digits = Row(task="0123", model="7", recipe="ours", tuned="distill",
                 teacher="20", metric="accuracy")
    store.save("02_train", [digits], [], {})
    table = store.load("02_train")
    assert (table.task[0], table.model[0], table.teacher[0]) == ("0123", "7", "20")
    assert table["id"][0] == digits.id


def test_an_id_is_the_keys_own_however_its_numbers_are_held():
    line = frame([row()]).iloc[0]                            # all floats
    assert identify(tuple(line[name] for name in columns.KEY)) == row().id
    for name, value in (("n", 4), ("seed", 1), ("bits", 3), ("repairs", "folded"), ("batch", 1)):
        assert row(**{name: value}).id != row().id, name
    assert row(score=1.0, params=1).id == row().id                  # what came out is no key


def test_a_duplicate_key_is_refused():
    with pytest.raises(ValueError, match="same key: telescope mlp_complex seed 0 fold 0 .*gptq, 4"):
        frame([row(), row(score=1.0)])


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
        store.save("03_ptq", [row()], [Cost("ab", "spent_s", "measured", "clock", 1.0)], {})


def test_the_published_rows_are_not_written_by_a_run(monkeypatch):
    monkeypatch.setattr(paths, "_profile", "published")
    with pytest.raises(ValueError, match="publish"):
        store.save("02_train", [row()], [], {})


def test_nothing_run_is_an_empty_table():
    nothing = store.load("09_nothing")
    assert len(nothing) == 0 and list(nothing) == [*columns.COLUMNS, *store.EFFECTIVE]
    assert store.provenance("09_nothing") == {} and len(store.load_costs("09_nothing")) == 0


def test_a_table_without_a_column_of_today_or_with_one_of_tomorrow_loads(folder):
    store.save("02_train", [row()], [], {})
    path = folder / "02_train.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.drop(columns=["policy", "macs_nonzero"]).assign(humidity="3").to_csv(path, index=False)
    old = store.load("02_train")
    assert list(old) == [*columns.COLUMNS, *store.EFFECTIVE]
    assert old.policy[0] == "" and old.score[0] == 66.6667
    assert np.isnan(old.macs_nonzero[0])


def test_what_was_effective_stands_behind_the_rows_and_in_no_key(folder):
    rows = [row(fold=fold) for fold in (0, 1)]
    made = store.save("02_train", rows, [], {}, {rows[1].id: (6, "hidden=72,44 logs=1")})
    table = store.load("02_train")
    pd.testing.assert_frame_equal(made[[*store.EFFECTIVE]], table[[*store.EFFECTIVE]])
    assert np.isnan(table.epochs_run[0]) and table.build_args[0] == ""
    assert (table.epochs_run[1], table.build_args[1]) == (6.0, "hidden=72,44 logs=1")
    text = (folder / "02_train.csv").read_text().splitlines()
    assert text[0].endswith(",left_float,epochs_run,build_args")
    assert text[2].endswith(',6,"hidden=72,44 logs=1"')                  # whole numbers stay whole
    assert list(table.id) == [one.id for one in rows]
    assert not set(store.EFFECTIVE) & set(columns.KEY)
    old = pd.read_csv(folder / "02_train.csv", dtype=str).drop(columns=[*store.EFFECTIVE])
    old.to_csv(folder / "02_train.csv", index=False)
    table = store.load("02_train")
    assert table.epochs_run.isna().all() and (table.build_args == "").all()


def test_energy_of_the_step_model_is_told_apart_by_its_source():
    assert store.INTERPOLATED == energy.INTERPOLATED
    counted = energy.layers(torch.nn.Linear(8, 4), torch.rand(1, 8))
    source = energy.modelled(counted).attrs["source"]
    costs = store.cost_frame([
        Cost("a", "energy_j", "modelled", energy.PROCESSES["45nm"].source, 1.0),
        Cost("b", "energy_j", "modelled", source, 1.0),
        Cost("c", "spent_energy_j", "modelled", "7 nm, Jouppi 2021, 64 at once, sgd", 1.0),
        Cost("d", "energy_j", "measured", "nvml A", 1.0),
        Cost("e", "spent_s", "measured", "clock", 1.0)])
    assert store.of_step_model(costs).tolist() == [True, False, True, False, False]


def test_settings_in_other_tables_stay_text():
    kept = frame([row(tuned="distill", teacher="20")])[["model", *FIELDS]]
    store.save_table("03_losses", kept)
    line = store.load_table("03_losses").iloc[0]
    assert setting_of(line) == row(tuned="distill", teacher="20").setting
    assert len(store.load_table("03_nothing")) == 0


def test_bits_asked_are_bits_or_the_logarithm_of_levels():
    table = frame([row(), row(bits=None, levels=3), row(bits=None, quantizer="")])
    assert list(bits_asked(table)[:2]) == [4, np.log2(3)]
    assert np.isnan(bits_asked(table)[2])


def test_rows_as_saved_are_those_that_anyone_reads(folder):
    rows = [row(seed=1, score=88.66932871), row(seed=0, score=88.12345678)]
    store.save("02_train", rows, [], {})
    pd.testing.assert_frame_equal(store.as_saved(frame(rows)), store.load("02_train"))
    assert store.as_saved(frame(rows)).score.tolist() == [88.1235, 88.6693]


def test_scores_are_kept_in_one_array_a_dtype(tmp_path):
    """An array a row takes three times the bytes: of names."""
    draw = np.random.default_rng(0)
    scores = {f"{i:010x}": (draw.uniform(size=300 + i) < 0.9).astype(np.uint8) for i in range(40)}
    scores |= {"ffffffffff": draw.normal(size=50).astype(np.float32)}
    path, plain = tmp_path / "packed.npz", tmp_path / "plain.npz"
    path.write_bytes(store.packed(scores))
    np.savez_compressed(plain, **scores)
    found = store.unpacked(path)
    assert found.keys() == scores.keys()
    for name, values in scores.items():
        assert found[name].dtype == values.dtype and (found[name] == values).all()
    assert path.stat().st_size < plain.stat().st_size / 2
    path.write_bytes(store.packed({}))
    assert store.unpacked(path) == {}
