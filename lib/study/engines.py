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
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait

from lib.base import names, paths
from lib.study import cache, steps
from lib.study.steps import Answer, Answers, Step

ENGINES = ("here", "fork", "tcp://host:port of a dask scheduler")


@dataclass(frozen=True)
class Outcome:
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
    before = len(cache.used)
    entry, error, trace = None, None, ""
    if answer is not None:
        cache.join(answer.used)
        paths.inputs(answer.inputs)
        error, trace = answer.error, answer.trace
        entry = None if error else cache.find(step.label, step.key)
    if entry is None and error is None:
        build = partial(steps.build, step.by, step.trial, threads)
        try:
            entry = cache.cached(step.label, step.key, build, quiet=True)
        except Exception as problem:        # noqa: BLE001  the others go on
            error, trace = steps.reason(problem)
    if trace:
        print(trace, file=sys.stderr)
    return Outcome(entry, error, cache.used[before:])


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


@dataclass(frozen=True)
class _Worker:
    process: multiprocessing.Process
    pipe: Connection


def _forked(todo: list[Step], sent: list[int], workers: int, threads: int,
            again: bool = False) -> Answers:
    """Have forked processes run the steps at the positions `sent`; their answers as they come.

    again: what is killed now was killed before.
    """
    waiting = sent[::-1]
    idle: list[_Worker] = []
    running: dict[_Worker, int] = {}
    killed: list[int] = []
    arrived: list[tuple[int, Answer]] = []
    try:
        while waiting or running or arrived:
            while waiting and len(running) < workers:       # before anyone looks at the answers
                worker = idle.pop() if idle else _start(todo, threads)
                running[worker] = waiting.pop()
                with suppress(OSError):                     # it died meanwhile, as is noticed below
                    worker.pipe.send(running[worker])
            yield from arrived
            arrived = []
            for worker in _ready(running):
                i, answer = running.pop(worker), _received(worker)
                if answer is not None:
                    idle.append(worker)
                    arrived.append((i, answer))
                    continue
                code = _end(worker)
                if again:
                    arrived.append((i, Answer(error=KILLED.format(code))))
                else:
                    killed.append(i)
    finally:
        for worker in [*idle, *running]:                    # which gives back their memory
            _end(worker)
    for i in killed:
        yield from _forked(todo, [i], 1, threads, again=True)


KILLED = ("its process was killed twice (exit code {}), the second time with nothing beside it, as "
          "happens where memory runs out; a machine that has more may run it")


def _start(todo: list[Step], threads: int) -> _Worker:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, todo, threads), daemon=True)
    process.start()
    there.close()
    return _Worker(process, here)


def _ready(running: dict[_Worker, int]) -> list[_Worker]:
    """Those workers that answered or died, once there is one."""
    if not running:
        return []
    ready = wait([end for worker in running for end in (worker.pipe, worker.process.sentinel)])
    return [worker for worker in running
            if worker.pipe in ready or worker.process.sentinel in ready]


def _received(worker: _Worker) -> Answer | None:
    """The worker's answer, None where it died without one."""
    try:
        return worker.pipe.recv() if worker.pipe.poll() else None
    except (EOFError, OSError):
        return None


def _end(worker: _Worker) -> int:
    """End a worker, if it has not ended, and return its exit code."""
    worker.process.kill()
    worker.process.join()
    code = worker.process.exitcode
    worker.process.close()
    worker.pipe.close()
    return code


def _serve(pipe: Connection, todo: list[Step], threads: int) -> None:
    """A worker's life: receive a step's position, run the step, answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # the process that asks ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        step = todo[pipe.recv()]
        build = partial(steps.build, step.by, step.trial, threads)
        _, answer = steps.answer(partial(cache.cached, step.label, step.key, build, quiet=True))
        pipe.send(answer)


def _end_with_parent() -> None:
    """A study that is killed leaves no process behind."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
