"""compare: what came back, what did not, and by which yardstick."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from scipy import stats

from lib import tables
from lib.base import paths
from lib.study import compare
from lib.tables import Row


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch):
    for name in ("RUNS", "RESULTS", "WEIGHTS", "CACHE"):
        monkeypatch.setattr(paths, name, tmp_path / name)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    yield tmp_path
    paths.profile("lab")


def row(score=90.0, seed=0, wrong=0, **more):
    scores = np.ones(1000, np.uint8)
    scores[:wrong] = 0
    return Row(**{"task": "churn", "model": "mlp_simple", "metric": "accuracy", "score": score,
                  "score_low": score - 1, "score_high": score + 1, "seed": seed, "fold": 1,
                  "scores": scores} | more)


def publish(*rows):
    keep(paths.RESULTS, rows)


def keep(folder, rows):
    runs, paths.RUNS = paths.RUNS, folder.parent
    paths.profile(folder.name)
    tables.save("02_train", list(rows), {})
    paths.RUNS = runs


def verdict(capsys, *rows):
    keep(paths.RUNS / "full", rows)
    status = compare.compare()
    said = capsys.readouterr().out
    verdicts = [line.split()[0] for line in said.splitlines() if line.startswith("  ")]
    assert status == int("OUT" in verdicts or "MISSING" in verdicts)
    return verdicts


def weights(folder, name, value):
    folder.mkdir(exist_ok=True)
    save_file({"w": np.full(3, value, np.float32)}, folder / name,
              {"json": '{"step": "train churn mlp_simple seed 0 fold 1"}'})


def test_the_same_rows_are_the_same(capsys):
    publish(row(), row(seed=1))
    assert verdict(capsys, row(90.1), row(89.9, seed=1, wrong=5)) == ["same", "same"]


def test_rows_from_committed_weights_have_a_tenth_of_a_point(capsys):
    publish(*(row(90 + seed, seed) for seed in range(5)))           # a wide interval
    weights(paths.WEIGHTS, "churn-mlp_simple-seed-0-fold-1.safetensors", 1)
    rest = [row(90 + seed, seed) for seed in range(1, 5)]
    assert verdict(capsys, row(90.5), *rest)[0] == "OUT"
    assert verdict(capsys, row(90.0, wrong=6), *rest)[0] == "OUT"   # the same score by luck
    slug = "train-churn-mlp-simple-seed-0-fold-1"
    weights(paths.CACHE, f"{slug}-ab.safetensors", 1)
    assert verdict(capsys, row(90.5), *rest)[0] == "OUT"
    weights(paths.CACHE, f"{slug}-ab.safetensors", 2)               # this machine trained its own
    assert verdict(capsys, row(90.5), *rest)[0] == "within"


def test_retrained_rows_lie_where_one_more_seed_would(capsys):
    scores = [90.0, 90.4, 89.8, 90.1, 90.2]
    publish(*(row(score, seed) for seed, score in enumerate(scores)))
    half = stats.t.ppf(0.975, 4) * np.std(scores, ddof=1) * np.sqrt(1 + 1 / 5)
    table = pd.DataFrame([vars(row(score, seed)) for seed, score in enumerate(scores)])
    low, high, over = compare.interval(table, table.iloc[0])
    assert (low, high) == pytest.approx((90.1 - half, 90.1 + half)) and over == "(5 seeds)"
    rest = [row(score, seed) for seed, score in enumerate(scores)][1:]
    assert verdict(capsys, row(90.1 + half - 0.01), *rest)[0] == "within"
    assert verdict(capsys, row(90.1 + half + 0.01), *rest)[0] == "OUT"


def test_folds_stand_in_for_seeds_where_there_is_one_seed():
    table = pd.DataFrame([vars(row(90 + fold, fold=fold)) for fold in range(3)])
    low, high, over = compare.interval(table, table.iloc[0])
    assert over == "(3 folds)" and low < 90 and high > 92


def test_a_missing_row_is_told_and_another_machine_is_not_another_row(capsys):
    publish(row(), row(seed=1))
    assert verdict(capsys, row(threads=8)) == ["same", "MISSING"]


def test_r2_is_compared_in_hundredths_of_points(capsys):
    parts = np.ones((100, 2), np.float32)
    publish(row(0.8, metric="r2", scores=parts))
    assert verdict(capsys, row(0.8009, metric="r2", scores=parts * [1.0005, 1])) == ["same"]


def test_nothing_to_compare_is_a_failure(capsys):
    assert compare.compare() == 1
    publish(row())
    assert compare.compare() == 1
    assert "run ./run_all.sh full first" in capsys.readouterr().err


def test_one_run_alone_must_come_back(capsys):
    publish(row(90.0))
    assert verdict(capsys, row(90.2)) == ["OUT"]
    assert verdict(capsys, row(90.05)) == ["same"]
