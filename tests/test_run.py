import os
import sys
from collections import deque

import numpy as np
import pytest

from lib import recipes, tables
from lib.base import paths
from lib.study import cache, run
from lib.tables import Row

factor = 2


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(paths, "_profile", "lab")
    run.start("02_train", {"profile": "toy", "seeds": [0, 1], "In": ["x"], "_hidden": 1, "f": run})
    return tmp_path


calls = deque()         # no list: `each` takes those that a trial mentions for constants


def trial(spec):
    calls.append(spec["seed"])
    if spec["seed"] == 13:
        raise ValueError("unlucky")
    return Row(task="t", model="m", metric="accuracy", score=factor * 40.0, seed=spec["seed"],
               scores=np.ones(3, np.uint8))


def test_parameters_are_the_plain_values():
    run.save([])
    assert tables.provenance("02_train")["parameters"] == {"profile": "toy", "seeds": [0, 1]}
    assert paths.profile() == "toy"


def test_trials_are_kept_one_by_one(capsys):
    calls.clear()
    first = run.each(trial, [{"seed": 0}, {"seed": 1}])
    again = run.each(trial, [{"seed": 0}, {"seed": 1}, {"seed": 2}])
    assert list(calls) == [0, 1, 2] and again[:2] == first and list(again[0].scores) == [1, 1, 1]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("t ")]
    assert len(lines) == 5 and len({len(line.rstrip("· ")) for line in lines}) <= 2


def test_a_constant_that_a_trial_mentions_is_part_of_its_key(monkeypatch):
    calls.clear()
    run.each(trial, [{"seed": 0}])
    monkeypatch.setitem(globals(), "factor", 1)
    assert run.each(trial, [{"seed": 0}])[0].score == 40 and list(calls) == [0, 0]


def hidden(spec):
    calls.append(spec["seed"])
    return [Row(task="t", model="m", metric="accuracy", score=s) for s in (
        (lambda: factor * 40.0)() for _ in range(1))]


def test_so_is_one_in_a_lambda_or_a_comprehension(monkeypatch):
    run.each(hidden, [{"seed": 0}])
    monkeypatch.setitem(globals(), "factor", 1)
    assert run.each(hidden, [{"seed": 0}])[0].score == 40


def test_rows_rest_on_the_recipes_of_the_nets_they_name_alone(monkeypatch):
    calls.clear()
    specs = [{"seed": 0, "task": task, "model": "mlp_simple"} for task in ("mv", "diabetes")]
    run.each(trial, specs)
    changed = recipes.RECIPES["mv", "mlp_simple"] | {"epochs": 1}
    monkeypatch.setitem(recipes.RECIPES, ("mv", "mlp_simple"), changed)
    run.each(trial, specs)
    assert list(calls) == [0, 0, 0]                                     # mv alone again


def student(spec):
    recipes.trained("breast_cancer", "mlp_simple" if spec["seed"] else spec["model"], epochs=1)
    return trial(spec)


def test_a_trial_may_not_train_what_nothing_names(capsys):
    spec = {"task": "breast_cancer", "model": "mlp_complex"}
    assert len(run.each(student, [spec | {"seed": 0}, spec | {"seed": 1}])) == 1
    assert "the trial trained mlp_simple, which neither" in capsys.readouterr().out
    assert len(run.each(student, [spec | {"seed": 1, "teacher": "mlp_simple"}])) == 1


def test_one_failure_stops_nothing_but_is_told_at_the_end(capsys):
    rows = run.each(trial, [{"seed": 0}, {"seed": 13}, {"seed": 1}])
    assert [r.seed for r in rows] == [0, 1] and "FAILED  13: ValueError" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="1 of this notebook's trials failed.*unlucky"):
        run.save(rows)
    assert list(tables.load("02_train").seed) == [0, 1]         # finished work is not lost


def test_a_changed_file_of_the_user_redoes_its_trials(tmp_path):
    own = tmp_path / "own.csv"
    own.write_text("a,b\n1,2\n")
    spec = {"seed": 0, "task": f"csv:{own}#b"}
    calls.clear()
    run.each(trial, [spec])
    run.each(trial, [spec])
    own.write_text("a,b\n1,3\n")
    run.each(trial, [spec])
    assert list(calls) == [0, 0]


def test_provenance_lies_beside_the_rows():
    run.save(run.each(trial, [{"seed": 0}]))
    told = tables.provenance("02_train")
    assert {"git", "versions", "hardware", "parameters", "inputs", "steps", "started", "ended",
            "seconds_per_cell"} <= set(told)
    assert told["trials"] == 1 and told["steps"] == [] and told["failures"] == []


def test_fresh_redoes_trials():
    calls.clear()
    run.each(trial, [{"seed": 0}])
    run.start("02_train", {"profile": "toy", "fresh": True})
    run.each(trial, [{"seed": 0}])
    assert list(calls) == [0, 0]
    cache.fresh(False)


def apart(spec):
    """Leaves its process's number as the score, and trains what its spec names."""
    if spec["seed"] == 13 and spec["where"] != os.getpid():
        os._exit(9)
    if "model" in spec:
        recipes.trained("breast_cancer", spec["model"], epochs=1)
    return Row(task="t", model="m", metric="accuracy", score=float(os.getpid()), seed=spec["seed"])


@pytest.mark.skipif(sys.platform != "linux", reason="only there processes are forked")
def test_trials_run_in_processes_of_their_own_and_are_told_as_if_here(capfd):
    run.start("02_train", {"profile": "toy", "workers": 3})
    specs = [{"seed": seed, "model": "mlp_simple"} for seed in range(6)]
    rows = run.each(apart, specs)
    assert [row.seed for row in rows] == list(range(6))
    assert len({row.score for row in rows} - {os.getpid()}) == 6
    trainings = [step for step in cache.used if step["step"].startswith("train ")]
    assert sum(not step["cached"] for step in trainings) == 1       # once, others waited for it
    assert len(trainings) == 6 and len(cache.used) == 12
    assert not list(paths.CACHE.glob("*.lock"))
    assert [row.score for row in run.each(apart, specs)] == [r.score for r in rows]
    out = capfd.readouterr().out
    assert out.count("·") == 6 and "FAILED" not in out


@pytest.mark.skipif(sys.platform != "linux", reason="only there processes are forked")
def test_a_trial_that_dies_apart_is_tried_again_here(capsys):
    run.start("02_train", {"profile": "toy", "workers": 2})
    specs = [{"seed": 13, "where": os.getpid(), "model": "mlp_simple"},
             {"seed": 1, "model": "mlp_simple"}]
    rows = run.each(apart, specs)
    assert [row.seed for row in rows] == [13, 1] and rows[1].score != os.getpid()
    assert "FAILED" not in capsys.readouterr().out


def test_no_process_is_forked_where_a_trial_takes_several_threads():
    run.start("02_train", {"profile": "toy", "workers": 2})
    rows = run.each(apart, [{"seed": seed, "threads": 2} for seed in range(2)])
    assert {row.score for row in rows} == {os.getpid()}
