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
    steps = [step(1, cache=own, alone=True, tell=True, seconds=0.1),
             step(2, "killed", cache=own, marks=str(tmp_path / "kill"), times=1, asks=0, tell=True),
             step(3, "unlucky")] + [step(n, cache=own, seconds=0.1, tell=True)
                                    for n in range(4, 9)]
    outcomes = list(engines.results(steps, loopback))
    assert told(outcomes) == [EXPECTED[1], EXPECTED[2], "ValueError: no luck with 3",
                              *(EXPECTED[n] for n in range(4, 9))]
    assert len(list(tmp_path.glob("kill-*"))) == 1
    assert os.getpid() not in processes(outcomes[3:])
    assert not any(0 in pair for pair in overlap(outcomes[:2] + outcomes[3:]))
    assert {path.name[:5] for path in paths.CACHE.glob("*")} == {"trial"}   # trainings stay there
    said = capsys.readouterr()
    assert "dask: 2 workers" in said.out and "/status" in said.out and "no luck" in said.err
    again = list(engines.results(steps[:2], loopback))
    assert told(again) == [EXPECTED[1], EXPECTED[2]] and again[0].used[-1]["cached"]


def test_a_trial_that_kills_every_worker_is_an_error(loopback, tmp_path):
    own = str(tmp_path / "of-workers")
    steps = [step(1, "killed", cache=own, marks=str(tmp_path / "kill"), times=9, asks=0),
             step(2, cache=own)]
    assert told(engines.results(steps, loopback)) == [
        "each worker that ran it died, as happens where memory runs out", EXPECTED[2]]


def test_a_worker_with_another_lib_is_refused(loopback, monkeypatch):
    from lib.study import cluster
    monkeypatch.setattr(cluster, "code_of_lib", lambda: "of another commit")
    [outcome] = engines.results([step(1)], loopback)
    assert outcome.error.startswith("ValueError: this worker runs another lib")
