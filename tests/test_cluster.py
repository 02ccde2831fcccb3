"""A dask cluster returns what one process would, whatever becomes of its workers."""

import os

import pytest

from lib.base import paths
from lib.study import engines

from .test_engines import EXPECTED, folder, overlap, processes, step, told  # noqa: F401

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    from lib.study import cluster
    monkeypatch.setattr(cluster, "PATIENCE_S", 0.3)
    with pytest.raises(ValueError, match="no dask scheduler answers at tcp://127.0.0.1:9;"):
        list(engines.results([step(1)], "tcp://127.0.0.1:9"))


@pytest.fixture(scope="module")
def loopback():
    """A cluster of two workers on this machine, each a process that is started again if it dies."""
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}), distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=":0",
            silence_logs=50) as cluster:
        yield cluster.scheduler_address


def test_a_cluster_returns_the_same_and_survives_a_killed_worker(loopback, tmp_path, capsys):
    own = str(tmp_path / "of-workers")
    todo = [step(1, cache=own, alone=True, tell=True, seconds=0.1),
            step(2, "killed", cache=own, marks=str(tmp_path / "kill"), times=1, asks=0, tell=True),
            step(3, "unlucky")] + [step(n, cache=own, alone=n == 8, seconds=0.1, tell=True)
                                   for n in range(4, 9)]
    outcomes = list(engines.results(todo, loopback))
    assert told(outcomes) == [EXPECTED[1], EXPECTED[2], "ValueError: no luck with 3",
                              *(EXPECTED[n] for n in range(4, 9))]
    assert len(list(tmp_path.glob("kill-*"))) == 1
    assert os.getpid() not in processes(outcomes[3:])
    assert not {0, 6} & {i for pair in overlap(outcomes[:2] + outcomes[3:]) for i in pair}
    assert len(set(processes([outcomes[0], outcomes[7]]))) == 1
    assert {path.name[:5] for path in paths.CACHE.glob("*")} == {"trial"}   # trainings stay there
    said = capsys.readouterr()
    assert "dask: 2 workers" in said.out and "/status" in said.out and "no luck" in said.err
    again = list(engines.results(todo[:2], loopback))
    assert told(again) == [EXPECTED[1], EXPECTED[2]] and again[0].used[-1]["cached"]


@pytest.mark.parametrize("times, outcome", [
    (9, "each worker that ran it died, as happens where memory runs out"), (2, EXPECTED[1])])
def test_a_trial_that_dask_gives_up_gets_one_more_try(loopback, tmp_path, times, outcome):
    own = str(tmp_path / "of-workers")
    todo = [step(1, "killed", cache=own, marks=str(tmp_path / "kill"), times=times, asks=0),
            step(2, cache=own)]
    assert told(engines.results(todo, loopback)) == [outcome, EXPECTED[2]]


@pytest.mark.parametrize("times, outcome", [
    (9, "each worker that ran it died, as happens where memory runs out"), (1, EXPECTED[1])])
def test_a_step_alone_whose_worker_dies_has_another(loopback, tmp_path, monkeypatch, times,
                                                    outcome):
    from lib.study import cluster
    monkeypatch.setattr(cluster, "PULSE_S", 0.05)
    todo = [step(1, "killed", cache=str(tmp_path / "of-workers"), marks=str(tmp_path / "kill"),
                 times=times, asks=0, alone=True), step(2, cache=str(tmp_path / "of-workers"))]
    assert told(engines.results(todo, loopback)) == [outcome, EXPECTED[2]]


def test_a_worker_with_another_lib_is_refused(loopback, monkeypatch):
    from lib.study import cluster
    monkeypatch.setattr(cluster, "code_of_lib", lambda: "of another commit")
    [outcome] = engines.results([step(1)], loopback)
    assert outcome.error.startswith("ValueError: this worker runs another lib")
