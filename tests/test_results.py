import dataclasses

import numpy as np
import pandas as pd
import pytest

from lib import tables
from lib.base import paths
from lib.tables import Row


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    monkeypatch.setattr(paths, "_profile", "toy")
    return tmp_path / "toy"


def row(**more):
    return Row(**({"task": "t", "model": "m", "metric": "accuracy", "score": 90.0} | more))


def test_rows_come_back_as_they_were_saved():
    rows = [row(seed=s, fold=None, spent_s=0.1 + s, scores=np.array([1, 0, 1], np.uint8))
            for s in (2, 0, 1)]
    tables.save("02_train", rows, {"git": "abc"})
    frame = tables.load("02_train")
    assert list(frame.seed) == [0, 1, 2] and frame.fold.isna().all()
    assert list(frame.spent_s) == [0.1, 1.1, 2.1]       # written in full
    assert tables.provenance("02_train") == {"git": "abc"}
    scores = tables.load_scores("02_train")
    assert len(scores) == 3 and all(list(v) == [1, 0, 1] for v in scores.values())


def test_a_duplicate_key_is_refused():
    with pytest.raises(ValueError, match="same key: task=t, model=m"):
        tables.table([row(), row(score=1.0)])


@pytest.mark.parametrize("wrong", [{"setting": ""}, {"arithmetic": "fast"}, {"split": "dev"}])
def test_a_row_with_impossible_words_is_refused(wrong):
    with pytest.raises(ValueError):
        row(**wrong)


def test_every_number_of_a_row_is_a_scalar():
    for f in dataclasses.fields(Row):
        assert f.name == "scores" or any(kind in str(f.type) for kind in ("str", "int", "float"))


def test_the_published_rows_are_not_written_by_a_run(monkeypatch):
    monkeypatch.setattr(paths, "_profile", "published")
    with pytest.raises(ValueError, match="publish"):
        tables.save("02_train", [row()], {})


def test_nothing_run_is_an_empty_table():
    assert len(tables.load("09_nothing")) == 0 and tables.provenance("09_nothing") == {}


def test_the_bootstrap_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        low, high = tables.bootstrap(rng.random(400) < 0.8, "accuracy")
        hits += low <= 80 <= high
    assert 180 <= hits <= 199           # 95 % of 200, give or take


def test_the_bootstrap_of_r2_surrounds_it():
    rng = np.random.default_rng(0)
    y = rng.normal(size=500)
    error = rng.normal(size=500) * 0.5
    parts = np.stack([error**2, (y - y.mean())**2], 1)
    low, high = tables.bootstrap(parts, "r2")
    assert low < 1 - parts[:, 0].sum() / parts[:, 1].sum() < high and high - low < 0.2


def test_t_interval_is_the_textbook_one():
    mean, low, high = tables.t_interval([1, 2, 3, 4, 5])
    assert mean == 3 and high - 3 == pytest.approx(2.776445 * np.sqrt(2.5 / 5), rel=1e-5)
    assert low == pytest.approx(6 - high)
    assert np.isnan(tables.t_interval([1.0])[1])


def test_summary_averages_seeds_within_folds():
    frame = tables.table([row(fold=f, seed=s, score=80.0 + f + s, score_low=0.0, score_high=1.0)
                           for f in (0, 1, 2) for s in (0, 2)])
    line = tables.summary(frame).iloc[0]
    mean, low, high = tables.t_interval([81, 82, 83])
    assert (line.score, line.low, line.high, line.over) == (mean, low, high, "folds")
    assert line.runs == 6


def test_summary_is_over_draws_where_nothing_else_varies():
    frame = tables.table([row(draw=d, score=80.0 + d, score_low=0.0, score_high=1.0)
                           for d in range(3)])
    line = tables.summary(frame).iloc[0]
    assert (line.score, line.low, line.high) == tables.t_interval([80, 81, 82])
    assert line.over == "draws"


def test_a_summary_of_nothing_has_its_columns():
    nothing = tables.summary(tables.table([]))
    full = tables.summary(tables.table([row()]))
    assert list(nothing) == list(full) and len(nothing) == 0


def test_text_columns_stay_text():
    tables.save("02_train", [row(setting="baseline", measured_by="unavailable: none")], {})
    frame = tables.load("02_train")
    assert frame.measured_by[0] == "unavailable: none" and isinstance(frame, pd.DataFrame)
