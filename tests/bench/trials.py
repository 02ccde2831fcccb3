"""What engines cost and gain: overhead a trial, memory over many trials, two workers against one.

Run it as a program: python tests/bench/trials.py [address of a dask scheduler]. The goals for two
forked workers: at most 5 ms a trial beside the trial's own time, memory that is as large after
2 000 trials as after 200, and at least 1.7 times the speed of one worker. One worker and two take
turns, and each pair of turns gives a ratio, so that a machine whose speed drifts is no matter;
beside it stands what two bare processes gain that share the same work, which is all that a machine
with other programs on it has to give.
"""

import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from lib.base import paths
from lib.study import engines
from lib.study.engines import Step

TRIVIAL, MANY, EARLY = 500, 2000, 200
LOOPS, BUSY, TURNS = 2_000_000, 16, 5


def trivial(trial: dict) -> tuple[dict, dict]:
    """A row as a trial leaves it: forty columns, and scores of 1 000 examples."""
    return ({"0": np.zeros(1000, np.uint8)},
            {"seconds": 0.0, "row": {f"column {i}": i + trial["n"] for i in range(40)}})


def busy(trial: dict) -> tuple[dict, dict]:
    """Keeps one core busy; its record tells how long."""
    start, total = time.perf_counter(), 0
    for i in range(LOOPS):
        total += i * trial["n"]
    return {}, {"seconds": time.perf_counter() - start, "total": total}


def steps(function: str, count: int, turn: str) -> list[Step]:
    return [Step(f"trial {n}", {"n": n, "turn": turn}, f"tests.bench.trials:{function}", {"n": n})
            for n in range(count)]


def overhead(engine: str) -> float:
    """Milliseconds a trivial trial takes."""
    start = time.perf_counter()
    for outcome in engines.results(steps("trivial", TRIVIAL, engine), engine):
        assert outcome.error is None, outcome.error
    return (time.perf_counter() - start) * 1000 / TRIVIAL


def memory() -> dict[int, list[float]]:
    """MiB of this process and of its workers after so many trials."""
    found = {}
    for count, _ in enumerate(engines.results(steps("trivial", MANY, "memory")), 1):
        if count in (EARLY, MANY - 2):                  # the workers end with the last trial
            own = psutil.Process()
            found[count] = [process.memory_info().rss / 2**20
                            for process in [own, *sorted(own.children(), key=lambda p: p.pid)]]
    return found


def seconds(workers: int, turn: str) -> float:
    """Seconds that trials which keep a core busy take."""
    start = time.perf_counter()
    engine = "fork" if workers > 1 else "here"
    for outcome in engines.results(steps("busy", BUSY, f"{turn} {workers}"), engine, workers):
        assert outcome.error is None, outcome.error
    return time.perf_counter() - start


def bare() -> float:
    """Seconds that two processes take which share the same work, without any engine."""
    context = multiprocessing.get_context("fork")
    halves = [context.Process(target=_half, args=(first,)) for first in (0, 1)]
    start = time.perf_counter()
    for half in halves:
        half.start()
    for half in halves:
        half.join()
    return time.perf_counter() - start


def _half(first: int) -> None:
    for n in range(first, BUSY, 2):
        busy({"n": n})


def main(address: str = "") -> None:
    print(f"{TRIVIAL} trivial trials, ms a trial")
    for engine in ["here", "fork", *([address] if address else [])]:
        print(f"  {engine:30} {overhead(engine):6.2f}")
    print("memory, MiB: this process, its workers")
    for count, sizes in memory().items():
        print(f"  after {count:5} trials " + "".join(f"{size:9.1f}" for size in sizes))
    print(f"{BUSY} busy trials, s: one worker, two workers, two bare processes, gain, bare gain")
    gains = []
    for turn in range(TURNS):
        one, two, least = seconds(1, f"turn {turn}"), seconds(2, f"turn {turn}"), bare()
        gains.append((one / two, one / least))
        print(f"  {one:6.2f} {two:6.2f} {least:6.2f} {one / two:6.2f} {one / least:6.2f}")
    print("  median gains " + " ".join(f"{statistics.median(g):.2f}"
                                       for g in zip(*gains, strict=True)))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        paths.CACHE = Path(folder)
        main(*sys.argv[1:])
