"""Which trained weights are committed, and in which order they take their places."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from lib.base import paths
from lib.base.said import bounded, size
from lib.study import cache, execute, weights

LEAST_S = 60.0                      # of training, for weights to be committed
BROKEN = (*cache.UNREADABLE, EOFError, zipfile.BadZipFile, zlib.error)


@contextmanager
def readable(path: Path, remedy: str) -> Iterator[None]:
    """Stopped, with the file's path and what to do, where reading it fails."""
    try:
        yield
    except BROKEN as error:
        raise execute.Stopped(f"{paths.shown(path)} cannot be read ({bounded(str(error), 120)}); "
                              f"{remedy}") from None


def head_of(entry: Path) -> dict[str, Any]:
    """The header of an entry of the cache; Stopped where it cannot be read."""
    with readable(entry, "delete it"):
        return cache.header_of(entry)


def select(steps: list[dict], most: float) -> tuple[dict[Path, bytes], list[Path], list[Path]]:
    """The weights to be committed (where -> content), files to be deleted because they no longer
    fit, and unusable files, which stay as they are.

    Those of this study and those that lie there already, which a study that was run on another
    machine, or in part, may not know: as many as fit, the longest trained a byte first.
    """
    present = weights.usable()
    found = {path: (_worth(path, head), path.read_bytes()) for path, head in present.items()}
    found |= _lasting(steps, present)
    unusable = {*map(paths.WEIGHTS.joinpath, weights.listed()),
                *paths.WEIGHTS.glob("*.safetensors")} - present.keys()
    room = most - sum(path.stat().st_size for path in unusable - found.keys() if path.exists())
    kept: dict[Path, bytes] = {}
    for path, (_, content) in sorted(found.items(), key=lambda item: (-item[1][0], item[0])):
        line = weights.as_list({path.name: (sha256(content).hexdigest(),)})
        need = len(content) + len(line)
        if need <= room:
            kept[path], room = content, room - need
        else:
            print(f"{path.name} is left out: data/weights may hold {size(most)} and is full")
    return (kept, [path for path in present if path not in kept],
            sorted(unusable - kept.keys()))


def _worth(path: Path, head: dict[str, Any]) -> float:
    """Seconds of training a byte."""
    return sum(head["record"]["history"]["seconds"]) / path.stat().st_size


def _lasting(steps: list[dict], present: dict[Path, dict]) -> dict[Path, tuple[float, bytes]]:
    """Where -> (seconds of training a byte, content) of the weights whose key has a version; of a
    network's seeds the first, of its sizes the largest. A file under the same key stays as it is;
    what is trained within LEAST_S is sooner trained than looked for."""
    lasting: dict[Path, tuple[float, bytes]] = {}
    for step in {step["file"]: step for step in steps}.values():
        entry, path = paths.CACHE / step["file"], cache.committed(step["step"])
        if not step["step"].startswith("train ") or not entry.exists():
            continue
        head = head_of(entry)
        brief = sum(head["record"]["history"]["seconds"]) < LEAST_S
        if brief or "version" not in head["key"] or head["key"].get("seed", 0) != 0:
            continue
        with readable(entry, "delete it"):
            weights.whole(entry)
        there = present.get(path, {})
        same = (there.get("step"), there.get("key")) == (step["step"], head["key"])
        found = _worth(entry, head), (path if same else entry).read_bytes()
        lasting[path] = max(lasting.get(path, found), found, key=lambda one: len(one[1]))
    return lasting


def in_order(kept: dict[Path, bytes], unusable: list[Path]) -> Iterator[tuple[Path, bytes]]:
    """The weights and their list in the order in which they take their places.

    Files that are not listed yet come first: their own headers carry their hashes. Next comes a
    list with the old and the new hash of each file, then the files that replace listed ones, then
    the list with the new hashes only. So a listed file always has one of its listed hashes.
    """
    place, old = paths.WEIGHTS / weights.LIST, weights.listed()
    new = {path.name: (sha256(content).hexdigest(),) for path, content in kept.items()}
    new |= {path.name: old[path.name] for path in unusable if path.name in old}
    both = {name: tuple(dict.fromkeys((*old.get(name, ()), *new.get(name, ()))))
            for name in {**old, **new}}
    yield from ((path, content) for path, content in kept.items() if path.name not in old)
    yield place, weights.as_list(both).encode()
    yield from ((path, content) for path, content in kept.items() if path.name in old)
    yield place, weights.as_list(new).encode()
