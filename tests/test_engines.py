"""The same entries in the same order, whatever runs the steps and whatever becomes of it."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lib.base import paths
from lib.study import cache, engines, steps
from lib.study.engines import Step

linux = pytest.mark.skipif(sys.platform != "linux", reason="only there processes are forked")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(paths, "_inputs", {})
    monkeypatch.setattr(cache, "_redone", set())
    monkeypatch.setattr(cache, "used", [])
    cache.fresh(False)
    yield tmp_path
    cache.fresh(False)


# What the steps below name; a worker of a cluster imports this file for it.

def squares(trial: dict) -> cache.Built:
    """Squares, after a training that all trials share; the record tells who made them, and when."""
    if "cache" in trial:                                    # on a worker that this file's fixture
        paths.CACHE = Path(trial["cache"])                  # does not reach
    began = time.monotonic()
    cache.cached("train net", {}, lambda: ({"w": np.ones(2)}, None), quiet=True)
    if "file" in trial:
        paths.reads(Path(trial["file"]))
    time.sleep(trial.get("seconds", 0.0))
    record = [{"score": trial["n"] / 4, "size": (trial["n"], None)}]
    told = {"process": np.array(os.getpid()), "span": np.array([began, time.monotonic()])}
    return {"x": np.arange(trial["n"]) ** 2, **(told if trial.get("tell") else {})}, record


def killed(trial: dict) -> cache.Built:
    """Kills its process the first `times` times; never the one that asks."""
    marks = Path(trial["marks"])
    count = len(list(marks.parent.glob(f"{marks.name}-*")))
    if count < trial["times"] and os.getpid() != trial["asks"]:
        marks.with_name(f"{marks.name}-{count}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return squares(trial)


def unlucky(trial: dict) -> cache.Built:
    raise ValueError(f"no luck with {trial['n']}")


def threads(trial: dict) -> cache.Built:
    import torch
    return {}, torch.get_num_threads()


def step(n: int, by: str = "squares", alone: bool = False, **more) -> Step:
    trial = {"n": n, **more}
    return Step(f"trial {by} {n}", trial, f"tests.test_engines:{by}", trial, alone)


def told(outcomes) -> list:
    """What came out, as far as it may not depend on the engine."""
    return [(o.entry.arrays["x"].tolist(), o.entry.record) if o.entry else o.error
            for o in outcomes]


def processes(outcomes) -> list[int]:
    return [int(outcome.entry.arrays["process"]) for outcome in outcomes]


EXPECTED = {n: ([i * i for i in range(n)], [{"score": n / 4, "size": [n, None]}])
            for n in range(1, 9)}


@pytest.mark.parametrize("engine", ["here", pytest.param("fork", marks=linux)])
@pytest.mark.parametrize("numbers", [[1, 2, 3, 4, 5], [5, 3, 1, 4, 2]])
def test_the_same_entries_come_in_the_order_of_the_steps(engine, numbers):
    outcomes = list(engines.results([step(n) for n in numbers], engine))
    assert told(outcomes) == [EXPECTED[n] for n in numbers]
    for outcome, n in zip(outcomes, numbers, strict=True):
        assert [used["step"] for used in outcome.used] == ["train net", f"trial squares {n}"]
        assert not outcome.used[-1]["cached"]
    assert [used for outcome in outcomes for used in outcome.used] == cache.used
    assert sum(not used["cached"] for used in cache.used if used["step"] == "train net") == 1
    assert not list(paths.CACHE.glob("*.lock"))


@linux
def test_workers_are_few_and_last():
    todo = [step(n, seconds=0.05, tell=True) for n in range(1, 9)]
    found = processes(engines.results(todo, "fork", 2))
    assert len(set(found)) == 2 and os.getpid() not in found


@linux
def test_what_exists_is_not_run_again():
    first = processes(engines.results([step(n, tell=True) for n in (1, 3)], "fork"))
    outcomes = list(engines.results([step(n, tell=True) for n in (1, 2, 3)], "fork"))
    again = processes(outcomes)
    assert again[::2] == first and again[1] not in first
    assert [outcome.used[-1]["cached"] for outcome in outcomes] == [True, False, True]


@linux
def test_files_that_a_worker_reads_are_noted_here(folder):
    (folder / "data.txt").write_text("1")
    list(engines.results([step(1, file=str(folder / "data.txt"))], "fork"))
    assert paths.inputs() == {str(folder / "data.txt"): paths.sha256(folder / "data.txt")}


@linux
def test_fresh_redoes_what_workers_share_once():
    todo = [step(n) for n in range(1, 7)]
    list(engines.results(todo, "fork"))
    time.sleep(0.02)                            # a file's time is coarser than the clock's
    cache.fresh(True)
    cache.used.clear()
    time.sleep(0.02)
    list(engines.results(todo, "fork"))
    redone = [used["step"] for used in cache.used if not used["cached"]]
    assert sorted(redone) == ["train net"] + [step.label for step in todo]


@linux
@pytest.mark.parametrize("times, outcome", [(1, EXPECTED[2]), (9, (
    "its process was killed twice (exit code -9), the second time with nothing beside it, as "
    "happens where memory runs out; a machine that has more may run it"))])
def test_a_killed_worker_costs_its_trial_s_time_alone(folder, times, outcome):
    todo = [step(1), step(2, "killed", marks=str(folder / "kill"), times=times,
                          asks=os.getpid()), step(3), step(4), step(5)]
    found = told(engines.results(todo, "fork"))
    assert found == [EXPECTED[1], outcome, EXPECTED[3], EXPECTED[4], EXPECTED[5]]
    assert len(list(folder.glob("kill-*"))) == min(times, 2)
    assert multiprocessing.active_children() == []


@linux
def test_a_step_whose_process_was_killed_runs_again_with_nothing_beside_it(folder):
    dies = {"by": "killed", "times": 1, "asks": os.getpid(), "seconds": 0.1, "tell": True}
    todo = [step(1, marks=str(folder / "one"), **dies), step(2, marks=str(folder / "two"), **dies)]
    todo += [step(n, seconds=0.1, tell=True) for n in (3, 4, 5)]
    outcomes = list(engines.results(todo, "fork"))
    assert told(outcomes) == [EXPECTED[n] for n in range(1, 6)]
    assert overlap(outcomes) and not {0, 1} & {i for pair in overlap(outcomes) for i in pair}


@pytest.mark.parametrize("engine", ["here", pytest.param("fork", marks=linux)])
def test_a_trial_that_raises_is_an_error_and_the_others_go_on(engine, capsys):
    found = told(engines.results([step(1), step(2, "unlucky"), step(3)], engine))
    assert found == [EXPECTED[1], "ValueError: no luck with 2", EXPECTED[3]]
    assert "raise ValueError(f\"no luck" in capsys.readouterr().err
    assert not list(paths.CACHE.glob("*unlucky*"))


@pytest.mark.parametrize("by, error", [
    ("tests.test_engines:nothing", "ValueError: tests.test_engines has no function nothing"),
    ("tests.test_engines:_private", "ValueError: 'tests.test_engines:_private' names no public"),
    ("tests.test_engines", "ValueError: 'tests.test_engines' names no public function"),
    ("lib.nowhere:build", "ModuleNotFoundError: No module named 'lib.nowhere'")])
def test_a_step_names_a_public_function(by, error):
    [outcome] = engines.results([Step("trial", {}, by, {})], "here")
    assert outcome.error.startswith(error)


def overlap(outcomes) -> list[tuple[int, int]]:
    """Pairs of positions whose times overlap."""
    spans = [outcome.entry.arrays["span"] for outcome in outcomes]
    return [(i, j) for j in range(len(spans)) for i in range(j)
            if spans[i][0] < spans[j][1] and spans[j][0] < spans[i][1]]


@linux
def test_a_step_that_is_alone_overlaps_no_other():
    todo = [step(n, alone=n in (2, 4), seconds=0.1, tell=True) for n in range(1, 7)]
    outcomes = list(engines.results(todo, "fork"))
    assert told(outcomes) == [EXPECTED[n] for n in range(1, 7)]
    assert [process == os.getpid() for process in processes(outcomes)] == [
        False, True, False, True, False, False]
    assert overlap(outcomes) and not {1, 3} & {i for pair in overlap(outcomes) for i in pair}


@linux
def test_workers_end_when_nobody_waits_for_them():
    outcomes = engines.results([step(1)] + [step(n, seconds=60.0) for n in (2, 3, 4)], "fork")
    assert next(outcomes).error is None
    assert len(multiprocessing.active_children()) == 2
    outcomes.close()
    assert multiprocessing.active_children() == []


@linux
def test_workers_end_when_the_study_is_interrupted(monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt
    monkeypatch.setattr(engines, "_outcome", interrupted)
    outcomes = engines.results([step(1), step(2, seconds=60.0)], "fork")
    with pytest.raises(KeyboardInterrupt) as caught:
        next(outcomes)
    assert caught.tb is not None                        # a notebook keeps it, and all it refers to
    assert multiprocessing.active_children() == []


def test_what_a_worker_notes_is_told_and_forgotten():
    cache.cached("before", {}, lambda: ({}, None))
    kept = list(cache.used)
    (_, record), answer = steps.answer(lambda: squares({"n": 2}))
    assert record == [{"score": 0.5, "size": (2, None)}] and answer.error is None
    assert [used["step"] for used in answer.used] == ["train net"] and cache.used == kept


@linux
def test_workers_end_with_a_study_that_is_killed(folder):
    program = ("import os; from pathlib import Path; from lib.base import paths\n"
               "from tests.test_engines import engines, step\n"
               f"paths.CACHE = Path({str(folder)!r})\n"
               "for outcome in engines.results([step(1, tell=True), step(2, tell=True),"
               " step(3, seconds=60.0), step(4, seconds=60.0)]):\n"
               "    print(int(outcome.entry.arrays['process']), flush=True)\n")
    study = subprocess.Popen([sys.executable, "-c", program], cwd=paths.ROOT, text=True,
                             env={**os.environ, "PYTHONPATH": str(paths.ROOT)},
                             stdout=subprocess.PIPE)
    # A worker that waits for the other's net says so between the numbers.
    numbers = (int(line) for line in study.stdout if line.strip().isdigit())
    workers = {next(numbers), next(numbers)}
    assert study.pid not in workers and all(Path(f"/proc/{worker}").exists() for worker in workers)
    study.kill()
    study.wait()
    deadline = time.monotonic() + 10
    while any(map(_runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(_runs, workers))
    study.stdout.close()


def _runs(process: int) -> bool:
    """Does the process run? One that ended may stay in the list until someone asks how."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@linux
@pytest.mark.parametrize("used, apart", [(False, True), (True, False)])
def test_only_a_gpu_in_use_keeps_trials_here(monkeypatch, capsys, used, apart):
    cuda = SimpleNamespace(is_available=lambda: True, is_initialized=lambda: used)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(
        cuda=cuda, get_num_threads=lambda: 1, set_num_threads=lambda count: None))
    found = processes(engines.results([step(n, tell=True) for n in (1, 2)], "fork"))
    assert (os.getpid() not in found) is apart
    assert ("this process uses CUDA" in capsys.readouterr().out) is not apart


@pytest.mark.parametrize("count", [1, 2])
def test_a_trial_has_the_threads_it_is_given(count):
    import torch
    before = torch.get_num_threads()
    outcomes = engines.results([step(n, "threads") for n in (1, 2)], "fork", threads=count)
    assert [outcome.entry.record for outcome in outcomes] == [count, count]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("workers, threads", [(1, 1), (2, 2)])
def test_one_worker_or_several_threads_keep_trials_here(workers, threads):
    found = processes(engines.results([step(n, tell=True) for n in (1, 2)], "fork", workers,
                                      threads))
    assert found == [os.getpid()] * 2


def test_an_engine_that_is_not_there_is_named(monkeypatch):
    with pytest.raises(ValueError, match="no engine 'spark'; choose one of: here, fork, tcp://"):
        engines.results([], "spark")
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install -e \.\[dask\]"):
        engines.results([], "tcp://127.0.0.1:8786")
