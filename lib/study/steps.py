"""One step of a study as plain values, so that any process can run it, here or elsewhere."""

import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from lib.base import paths
from lib.study import cache, keys


@dataclass(frozen=True)
class Step:
    """What is to be done; its result is the cache entry of `label` under `key`.

    by: a public function, "lib.module:function", trial -> (arrays, record); trial: plain values;
    alone: it measures time, so nothing else may run beside it.
    """

    label: str
    key: dict
    by: str
    trial: dict
    alone: bool = False


@dataclass(frozen=True)
class Answer:
    """What a process tells of a step that it ran: entries it used, files it read (path -> sha256),
    and, where it came to nothing, why, and where in the code."""

    used: list[dict] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    trace: str = ""


Answers = Iterator[tuple[int, Answer]]      # with the step's position, as they come


def build(by: str, trial: dict, threads: int) -> cache.Built:
    """Call the function that `by` names with the trial, torch on that many threads."""
    function = keys.function(by)
    torch = sys.modules.get("torch")        # where the function's module needs it, it is there now
    if torch is None:
        return function(trial)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return function(trial)
    finally:
        torch.set_num_threads(before)


def answer(work: Callable[[], Any]) -> tuple[Any, Answer]:
    """Do a step's work in a process that serves another; its result, and what that one must know.
    """
    before, known = len(cache.used), paths.inputs()
    result, failure = None, (None, "")
    try:
        result = work()
    except Exception as problem:            # noqa: BLE001  the next step may be better
        failure = reason(problem)
    read = {path: sha for path, sha in paths.inputs().items() if known.get(path) != sha}
    used = cache.used[before:]
    del cache.used[before:]                 # they are for the other process to note
    return result, Answer(used, read, *failure)


def reason(problem: Exception) -> tuple[str, str]:
    """Type and message of an exception, and the last two calls that led to it: of the disk's
    troubles no call is the cause."""
    trace = [] if isinstance(problem, OSError) else traceback.format_exception(problem, limit=-2)
    return f"{type(problem).__name__}: {problem}", "".join(trace)
