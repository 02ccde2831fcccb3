"""Independent steps of a study, run one after the other, by several processes, or by a cluster.

Whatever the engine, and whatever becomes of its processes, the same entries come in the same order.
`here` runs each step in this process; `fork` has a few processes forked from this one, which share
the data and modules that are loaded, and take one step after the other; an address, "tcp://host:port",
is that of a dask scheduler, whose workers may be other machines.
"""

import importlib.util
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from lib.base import names, paths
from lib.study import cache, steps
from lib.study.steps import Answer, Answers, Step

ENGINES = ("here", "fork", "tcp://host:port of a dask scheduler")
KILLED = ("its process was killed twice (exit code {}), the second time with nothing beside it, as "
          "happens where memory runs out; a machine that has more may run it")

Worker = tuple[Connection, multiprocessing.Process]


class Outcome(NamedTuple):
    """A step's entry, or why there is none; used: the entries it rests on, as `cache.used` lists
    them, its own last."""

    entry: cache.Entry | None
    error: str | None
    used: list[dict]


def results(todo: list[Step], engine: str = "fork", workers: int = 2,
            threads: int = 1) -> Iterator[Outcome]:
    """Run the steps; yield the outcome of each in turn, as soon as it is there.

    A step whose entry exists is not run. One that raises is an outcome with an error. One whose
    process is killed, as happens where memory runs out, runs again when the others have, with
    nothing beside it; killed again, it is an outcome with an error. workers: processes of `fork`;
    threads: torch's, a step. Steps that are `alone` run after all others, one at a time.
    """
    if "://" not in engine:
        names.choose(engine, ENGINES, "engine")
    elif importlib.util.find_spec("distributed") is None:
        raise ValueError(f"the engine {engine} needs a package that is not installed; install it "
                         "by `pip install -e .[dask]`, or choose the engine fork")
    return _in_turn(todo, engine, workers, threads)


def _in_turn(todo: list[Step], engine: str, workers: int, threads: int) -> Iterator[Outcome]:
    unbuilt = [i for i, step in enumerate(todo) if cache.find(step.label, step.key) is None]
    sent: list[int] = []
    if unbuilt and "://" in engine:
        from lib.study import cluster  # here, for it imports distributed, an optional package
        sent = unbuilt
        answers = cluster.answers(todo, sent, engine, threads)
    else:
        if unbuilt and engine == "fork" and _may_fork(workers, threads):
            sent = [i for i in unbuilt if not todo[i].alone]
        answers = _forked(todo, sent, workers, threads)
    told: dict[int, Answer] = {}
    try:
        for i, step in enumerate(todo):
            if step.alone and i in unbuilt and i not in sent:
                told.update(answers)                    # it runs here, so all others come first
            while i in sent and i not in told:
                told.update([next(answers)])
            yield _outcome(step, told.pop(i, None), threads)
    finally:
        answers.close()


def _outcome(step: Step, answer: Answer | None, threads: int) -> Outcome:
    """A step's entry, as another process left it or as it is found or built here."""
    entry = cache.find(step.label, step.key) if answer and not answer.error else None
    if answer is None or not (entry or answer.error):
        entry, answer = _run(step, threads)
    cache.join(answer.used)
    paths.inputs(answer.inputs)
    if answer.trace:
        print(answer.trace, file=sys.stderr)
    return Outcome(entry, answer.error, answer.used)


def _run(step: Step, threads: int) -> tuple[cache.Entry | None, Answer]:
    build = partial(steps.build, step.by, step.trial, threads)
    return steps.answer(partial(cache.cached, step.label, step.key, build, quiet=True))


def _may_fork(workers: int, threads: int) -> bool:
    """May steps run in forked processes? If they may not, a line says why."""
    torch = sys.modules.get("torch")
    why = ""
    if sys.platform != "linux":
        why = "only Linux forks safely"
    elif torch and torch.cuda.is_initialized():     # a GPU that is not yet in use does no harm
        why = "this process uses CUDA, which does not survive a fork"
    elif threads > 1:
        why = "several threads do not survive a fork"
    if why and workers > 1:
        print(f"Steps run in this process, one after the other: {why}.")
    return workers > 1 and not why


def _forked(todo: list[Step], sent: list[int], workers: int, threads: int,
            again: bool = False) -> Answers:
    """Have forked processes run the steps at the positions `sent`; their answers as they come.

    again: what is killed now was killed before.
    """
    waiting, killed = sent[::-1], []
    idle: list[Worker] = []
    running: dict[Connection, tuple[Worker, int]] = {}
    arrived: list[tuple[int, Answer]] = []
    try:
        while waiting or running or arrived:
            while waiting and len(running) < workers:       # before anyone looks at the answers
                worker, i = idle.pop() if idle else _start(todo, threads), waiting.pop()
                running[worker[0]] = worker, i
                with suppress(OSError):                     # it died meanwhile, as is noticed below
                    worker[0].send(i)
            yield from arrived
            arrived = []
            for pipe in wait(list(running)) if running else ():     # it answered or died
                worker, i = running.pop(pipe)
                try:
                    arrived.append((i, pipe.recv()))
                    idle.append(worker)
                except (EOFError, OSError):
                    code = _end(worker)
                    if again:
                        arrived.append((i, Answer(error=KILLED.format(code))))
                    else:
                        killed.append(i)
    finally:
        for worker in [*idle, *(worker for worker, _ in running.values())]:
            _end(worker)                                    # which gives back its memory
    for i in killed:
        yield from _forked(todo, [i], 1, threads, again=True)


def _start(todo: list[Step], threads: int) -> Worker:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, todo, threads), daemon=True)
    process.start()
    there.close()                       # so that the end of the process is the end of the pipe
    return here, process


def _end(worker: Worker) -> int:
    """End a worker, if it has not ended, and return its exit code."""
    pipe, process = worker
    process.kill()
    process.join()
    code = process.exitcode
    process.close()
    pipe.close()
    return code


def _serve(pipe: Connection, todo: list[Step], threads: int) -> None:
    """A worker's life: receive a step's position, run the step, answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # the process that asks ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        pipe.send(_run(todo[pipe.recv()], threads)[1])


def _end_with_parent() -> None:
    """A study that is killed leaves no process behind."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
