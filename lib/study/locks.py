"""A lock: a file that one process at a time holds. The system drops that of a dead process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


class Taken(RuntimeError):
    """Another process holds the lock; `holder` is its id, as far as that is known."""

    def __init__(self, holder: str):
        super().__init__(f"process {holder} holds the lock")
        self.holder = holder or "of another start"


@contextmanager
def held(path: Path, waiting: str = "") -> Iterator[None]:
    """Hold the lock at `path` meanwhile. Taken if another process does; with `waiting`, which is
    printed then, it is waited for, and nothing is left at `path` afterwards."""
    with _locked(path, waiting) as file:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            if waiting:
                path.unlink(missing_ok=True)


def _locked(path: Path, waiting: str) -> TextIO:
    """The file at `path`, locked; opened anew where it was deleted meanwhile, as by clean."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not waiting:
                file.seek(0)
                with file:
                    raise Taken(file.read().strip()) from None
            print(waiting, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        file.close()
