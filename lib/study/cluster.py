"""Steps of a study on the workers of a dask cluster, which may be other machines.

A worker is told a step's function and trial, and answers with arrays and a record: plain values. It
keeps a cache of its own for trainings; the entries of steps are written by the process that asks.
"""

import functools
import threading
from collections.abc import Callable
from contextlib import suppress

from distributed import Client, Future, KilledWorker, as_completed
from distributed.client import FutureCancelledError

from lib.base import paths
from lib.study import cache, steps
from lib.study.steps import Answer, Answers, Step

PATIENCE_S = 10         # for a scheduler to answer
PULSE_S = 2             # between two looks at whether a worker lives
DIED = "each worker that ran it died, as happens where memory runs out"

# A worker of several threads runs one step at a time too: the number of torch's threads, and what
# the cache notes, are its process's.
_one = threading.Lock()


def answers(todo: list[Step], sent: list[int], address: str, threads: int) -> Answers:
    """Have the cluster run the steps at the positions `sent`; their answers as they come.

    dask runs again, on another worker, what a worker that died was running; at last it blames all
    that ran there, so these are tried once more, one at a time. Steps that are alone follow in
    the same way, on one worker as long as that lives.
    """
    try:
        client = Client(address, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError) as problem:
        raise ValueError(f"no dask scheduler answers at {address}; start one by `dask scheduler`, "
                         "and workers for it, or choose the engine fork") from problem
    print(f"dask: {len(client.nthreads())} workers at {address}, to be watched at "
          f"{client.dashboard_link}")
    ask = functools.partial(client.submit, remote, threads=threads, code=code_of_lib(),
                            fresh_since=cache.fresh_since, pure=False)
    try:
        together = {ask(todo[i].by, todo[i].trial): i for i in sent if not todo[i].alone}
        apart = []
        for future in as_completed(list(together), loop=client.loop):
            i = together.pop(future)
            answer = _settled(todo[i], future)
            if answer.error == DIED:
                apart.append(i)
            else:
                yield i, answer
        worker = ""
        for i in [*apart, *(i for i in sent if todo[i].alone)]:
            answer, worker = _exclusive(client, ask, todo[i], worker)
            yield i, answer
    finally:
        client.close()


def remote(by: str, trial: dict, threads: int, code: str, fresh_since: float | None
           ) -> tuple[dict, dict | None]:
    """Run a step on this worker: the fields of its Answer, and those of what it built."""
    def work() -> cache.Made:
        if code != code_of_lib():
            raise ValueError("this worker runs another lib than the process that asks; bring both "
                             "to the same commit and start the worker again")
        return cache.make(functools.partial(steps.build, by, trial, threads))

    with _one:
        if fresh_since != cache.fresh_since:
            cache.fresh(fresh_since is not None, fresh_since)
        made, answer = steps.answer(work)
    return vars(answer), made and vars(made)


@functools.cache
def code_of_lib() -> str:
    """Hash of the files of lib as this process first found them."""
    files = sorted((paths.ROOT / "lib").rglob("*.py"))
    return cache.digest([[str(file.relative_to(paths.ROOT)), paths.sha256(file)] for file in files])


def _exclusive(client: Client, ask: Callable[..., Future], step: Step, worker: str
               ) -> tuple[Answer, str]:
    """Run a step on that worker alone; where there is none of that address, or it dies, on another.
    Twice at most; also says which worker it was.

    dask itself would wait for ever for a worker that it was told to use and that is gone.
    """
    for _ in range(2):
        client.wait_for_workers(1)
        if worker not in client.nthreads():
            worker = min(client.nthreads())
        future = ask(step.by, step.trial, workers=[worker])
        while not future.done() and worker in client.nthreads():
            with suppress(TimeoutError, FutureCancelledError):
                future.exception(PULSE_S)               # waits so long at most
        if future.done():
            return _settled(step, future), worker
    return Answer(error=DIED), worker


def _settled(step: Step, future: Future) -> Answer:
    """Write the entry of a step that a worker ran, or say why there is none."""
    try:
        answer, made = future.result()
    except KilledWorker:
        return Answer(error=DIED)
    except FutureCancelledError:
        return Answer(error="the connection to the dask scheduler was lost")
    except Exception as problem:            # noqa: BLE001  the others go on
        return Answer([], {}, *steps.reason(problem))
    if made is not None:
        cache.keep(step.label, step.key, cache.Made(**made))
        answer["used"].append(cache.used.pop())             # it is noted in its turn, with these
    return Answer(**answer)
