"""Independent steps of a study, several at a time, each in a forked process of its own.

A step leaves a cache entry; what comes back is only what it used, so nothing has to be pickled
that a notebook defines. Forking shares the data that are loaded already.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait

from lib.base import paths
from lib.study import cache


def ahead(calls: list[Callable[[], object] | None], workers: int) -> Iterator[list[dict]]:
    """Make the calls, `workers` at a time; yield for each in turn, once it is done, the cache
    entries it used. [] where a call is None or failed: its error is for who makes it again.

    With fewer than two workers nothing is called.
    """
    fork = multiprocessing.get_context("fork") if workers > 1 else None
    todo = [i for i, call in enumerate(calls) if call and fork][::-1]
    told: dict[int, list[dict]] = dict.fromkeys(set(range(len(calls))) - set(todo), [])
    running: dict[Connection, tuple[int, multiprocessing.Process]] = {}
    try:
        for i in range(len(calls)):
            while i not in told:
                while todo and len(running) < workers:
                    n = todo.pop()
                    here, there = fork.Pipe(duplex=False)
                    process = fork.Process(target=_work, args=(calls[n], there), daemon=True)
                    process.start()
                    there.close()
                    running[here] = n, process
                for end in wait(list(running)):
                    n, process = running.pop(end)
                    try:
                        told[n], inputs = end.recv()
                        paths.inputs(inputs)
                    except EOFError:                            # it failed, or was killed
                        told[n] = []
                    process.join()
            yield told.pop(i)
    finally:
        for _, process in running.values():
            process.terminate()


def _work(call: Callable[[], object], end: Connection) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    before = len(cache.used)
    try:
        call()
        end.send((cache.used[before:], paths.inputs()))
    except Exception:       # noqa: BLE001  told by the process that tries again
        end.close()


def _end_with_parent() -> None:
    """A study that is killed leaves no process behind."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
