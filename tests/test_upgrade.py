"""Tables of the first format become rows of today: every word of a setting, exactly."""

import numpy as np
import pandas as pd
import pytest

from lib import tables
from lib.base import Setting, paths

# As 02 and 03 saved them: model | method | setting.
SETTINGS = {
    "majority|baseline|baseline majority": Setting(),
    "mlp_simple|baseline|baseline": Setting(recipe="ours"),
    "resnet20-akamaster|baseline|baseline": Setting(),
    "mlp_complex hidden=(72, 44) dropout=0.0 logs=True|search|search lr=0.003 batch_size=128 "
    "epochs=20": Setting(recipe="ours", lr=0.003, batch_size=128, epochs=20),
    "mlp_complex dropout=0.0 hidden=(10, 20, 30, 15)|baseline|baseline dense":
        Setting(recipe="ours", sizes="hidden=10,20,30,15"),
    "transformer_small dropout=0.0 d=16 ff=128 patch=6|baseline|baseline dense":
        Setting(recipe="ours", sizes="d=16"),
    "resnet8 width=8|ptq|gptq b=3": Setting(recipe="ours", quantizer="gptq", bits=3),
    "resnet20-akamaster|ptq|brecq b=2 levels=3": Setting(quantizer="brecq", levels=3, steps=3000),
    "resnet20-akamaster|ptq|brecq mixed=2 greedy":
        Setting(quantizer="brecq", budget="mean 2 bits, greedy", steps=3000),
    "resnet8 width=8|ptq|gptq mixed=2 allocate":
        Setting(recipe="ours", quantizer="gptq", budget="mean 2 bits, exact"),
    "transformer_small d=64|ptq|gptq b=4 a=8 smooth":
        Setting(recipe="ours", quantizer="gptq", bits=4, a_bits=8, repairs="smooth"),
    "resnet9|ptq|affine b=4 folded equalized corrected":
        Setting(recipe="ours", quantizer="affine", bits=4, repairs="folded equalized corrected"),
    "resnet9 width=16|baseline|baseline recipe=edge": Setting(recipe="edge", sizes="width=16"),
    "cnn_edge|ptq|multipoint b=8 per-tensor recipe=edge":
        Setting(recipe="edge", epochs=3, batch_size=64, quantizer="multipoint", bits=8,
                granularity="tensor"),
    "mlp_complex|ptq|edge_nearest_uniform b=4 recipe=edge":
        Setting(recipe="edge", quantizer="edge_nearest_uniform", bits=4),
    # Edge's net, though the setting does not say so; its model's name does.
    "resnet9 width=16|ptq|affine b=8 quantize-first edge=0.2":
        Setting(recipe="edge", sizes="width=16", quantizer="affine", bits=8, pruner="edge",
                amount=0.2, order="quantize prune"),
    "resnet9 width=16|ptq|affine b=4 prune-first l1=0.0":
        Setting(recipe="edge", sizes="width=16", quantizer="affine", bits=4, pruner="magnitude_l1",
                amount=0.0, order="prune quantize"),
}


def line(name, **more):
    model, method, setting = name.split("|")
    return {"task": "cifar10", "model": model, "method": method, "setting": setting,
            "w_bits": "4.5", "a_bits": "32.0", "sparsity": "0.25", "arithmetic": "simulated",
            "runtime": "torch", "device": "cpu", "threads": "1", "batch": "", "seed": "0",
            "fold": "1.0", "draw": "", "split": "test", "n": "10000", "metric": "accuracy",
            "score": "91.43", "score_low": "91", "score_high": "92", "metric2": "macro_f1",
            "score2": "91.3", "loss": "0.5",
            "params": "100", "nonzero": "75", "size_bytes": "80", "macs": "900", "spent_s": "2.5",
            } | more


def upgraded(*lines, steps=3000):
    return tables.upgrade(pd.DataFrame(lines), steps)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_text_becomes_the_setting_that_it_meant(name):
    rows, costs, _ = upgraded(line(name))
    assert tables.setting_of(rows.iloc[0]) == SETTINGS[name]
    assert rows.model[0] == name.split("|")[0].split(" ")[0]
    assert (rows.fold[0], rows.n[0], rows.score[0]) == (1, 10000, 91.43)
    assert [(cost.id, cost.quantity, cost.kind, cost.value) for cost in costs] == [
        (rows["id"][0], "spent_s", "measured", 2.5)]


def test_what_the_first_format_did_not_know_is_missing():
    plain, rounded = (upgraded(line(name, w_bits="32.0", **more))[0].iloc[0] for name, more in (
        ("mlp_simple|baseline|baseline", {"nonzero": "100"}), ("mlp_simple|ptq|gptq b=4", {})))
    assert (plain.bits_per_weight, plain.sparsity, plain.macs_nonzero) == (32, 0, 900)
    assert rounded[["bits_per_weight", "sparsity", "macs_nonzero"]].isna().all()


def test_scores_find_their_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    monkeypatch.setattr(paths, "_profile", "old")
    folder = tmp_path / "old"
    folder.mkdir()
    names = ["transformer_t1 dropout=0.0 position_dropout=0.0|baseline|baseline",
             "mlp_simple|ptq|gptq b=4"]
    lines = [line(names[0]), line(names[1], fold="", draw="2.0", metric="r2")]
    pd.DataFrame(lines).to_csv(folder / "02_train.csv", index=False)
    np.savez(folder / "02_train.npz", **{
        f"cifar10|{names[0]}|0|1|None|test|torch|cpu|1|None": np.array([1, 0], np.uint8),
        f"cifar10|{names[1]}|0|None|2|test|torch|cpu|1|None": np.array([[0.5, 9], [0.25, 9]])})
    rows, scores = tables.load("02_train"), tables.load_scores("02_train")
    assert [list(scores[name]) for name in rows["id"]] == [[1, 0], [0.5, 0.25]]


def test_a_table_that_lacks_a_column_or_has_an_unknown_one_is_upgraded():
    first = line("mlp_simple|ptq|gptq b=4", weather="fine")
    del first["spent_s"], first["draw"], first["macs"]
    rows, costs, _ = upgraded(first)
    assert list(rows) == list(tables.COLUMNS) and costs == []
    assert rows.draw.isna().all() and rows.macs.isna().all() and rows.score[0] == 91.43


def test_a_net_measured_twice_is_one_row_and_a_contradiction_is_refused():
    twice = [line("mlp_simple|baseline|baseline"), line("mlp_simple|search|search")]
    rows, _, names = upgraded(*twice)
    assert len(rows) == 1 and set(names.values()) == {rows["id"][0]} and len(names) == 2
    with pytest.raises(ValueError, match="two rows have the same key"):
        upgraded(twice[0], twice[1] | {"score": "90.0"})
