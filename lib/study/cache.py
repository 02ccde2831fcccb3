"""A step that exists is not redone, and says so.

One entry is one safetensors file: named arrays, and a JSON record in its header. It appears whole
or not at all, so a study killed at any moment goes on from its last finished step. It carries a
hash of all it holds: what a disk has spoilt, or another step left, is built again.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lib.base import paths
from lib.study import locks

Built = tuple[dict[str, np.ndarray], Any]


FIELDS = ("record", "step", "key", "seconds", "made", "parents")   # of a header
UNREADABLE = (SafetensorError, OSError, AttributeError, KeyError, TypeError, ValueError)


@dataclass(frozen=True)
class Entry:
    """What a step left: arrays and a JSON-able record; `seconds` is what building it took."""

    arrays: dict[str, np.ndarray]
    record: Any
    seconds: float
    path: Path


@dataclass(frozen=True)
class Made:
    """A step just built; parents: file -> hash of each entry that building it used."""

    arrays: dict[str, np.ndarray]
    record: Any
    seconds: float
    parents: dict[str, str]


used: list[dict] = []               # every entry this process built or read: for provenance
_open: list[list[str]] = []         # files that the steps now being built have read, innermost last
fresh_since: float | None = None    # entries written before are redone; seconds since 1970
_redone: set[str] = set()           # files that need not be redone any more


def fresh(on: bool, since: float | None = None) -> None:
    """From now on redo every step once, whether it exists or not; since: the `fresh_since` of
    the process for which this one works, if it is another."""
    global fresh_since
    fresh_since = (since or time.time()) if on else None
    _redone.clear()


def digest(value: Any) -> str:
    """Hash of a JSON-able value, independent of the order of keys. ValueError for another, which
    could only be guessed at."""
    try:
        text = json.dumps(value, sort_keys=True)
    except TypeError as error:
        raise ValueError(f"a key of the cache takes plain values only ({error})") from None
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """A value as JSON gives it back: tuples become lists."""
    return json.loads(json.dumps(value, default=str))


def committed(step: str) -> Path:
    """Where the published copy of a step's entry lies: data/weights/<step>.safetensors."""
    return paths.WEIGHTS / (re.sub(r"\W+", "-", step.removeprefix("train ")) + ".safetensors")


def header(file: safe_open) -> dict:
    """What an entry's file says of itself: record, step, key, seconds, made, parents."""
    return json.loads(file.metadata()["json"])


def header_of(path: Path) -> dict:
    """`header` of the entry at a path."""
    with safe_open(path, framework="numpy") as file:
        return header(file)


def cached(step: str, key: dict, build: Callable[[], Built], quiet: bool = False) -> Entry:
    """The entry of `step` under `key`, built only if there is none.

    step: what a reader calls it ("train resnet20 seed 0"); key: everything the result depends on,
    JSON-able; build: () -> (arrays, record). An entry that cannot be read, is not what was written,
    or whose parents have changed since, is built again, which is said; of several processes one
    builds, the others wait for it.
    """
    entry = find(step, key)
    if entry is None:
        lock = _path(step, key).with_suffix(".lock")
        with locks.held(lock, f"waiting: another process is building {lock.stem}"):
            entry = find(step, key, say=True)           # another process may just have built it
            if entry is None:
                return keep(step, key, make(build))
    elif not quiet:
        print(f"cached: {step} ({entry.seconds:.0f} s saved)")
    return _noted(step, entry, cached=True)


def find(step: str, key: dict, say: bool = False) -> Entry | None:
    """The entry of `step` under `key`; None where `cached` would build it. say: why, if there is
    one that cannot be used."""
    path = _path(step, key)
    if _due(path):
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            head = _checked(file, step, key)
            arrays = {name: file.get_tensor(name) for name in file.keys()}
            if content_hash(file.metadata()["json"], arrays) != file.metadata()["sha256"]:
                raise ValueError("its content is not what was written")
    except UNREADABLE as error:
        if say:
            print(f"{path.name} cannot be used ({error}); it is built again")
        return None
    return Entry(arrays, head["record"], head["seconds"], path)


def make(build: Callable[[], Built]) -> Made:
    """Build a step, and note how long it took and which entries it used."""
    _open.append([])
    start = time.perf_counter()
    try:
        arrays, record = build()
    finally:
        seconds, used_here = time.perf_counter() - start, _open.pop()
    return Made({name: np.asarray(array, order="C") for name, array in arrays.items()},
                plain(record), seconds,
                {name: _stored_hash(paths.CACHE / name) for name in used_here})


def keep(step: str, key: dict, made: Made) -> Entry:
    """Write the entry of a step that was built, here or elsewhere. Of its parents those count that
    lie here too: the others are the concern of the machine that has them."""
    path = _path(step, key)
    parents = {name: known for name, known in made.parents.items()
               if (paths.CACHE / name).exists() and _stored_hash(paths.CACHE / name) == known}
    head = {"record": made.record, "step": step, "key": key, "seconds": made.seconds,
            "made": datetime.now(UTC).isoformat(timespec="seconds"), "parents": parents}
    text = json.dumps(head, default=str)
    told = {"json": text, "sha256": content_hash(text, made.arrays)}
    paths.write_atomic(path, save(made.arrays, told))
    _redone.add(path.name)
    return _noted(step, Entry(made.arrays, made.record, made.seconds, path), cached=False)


def join(steps: list[dict]) -> None:
    """Count what another process built or read (its `used`) among this one's."""
    used.extend(steps)
    _redone.update(step["file"] for step in steps)


def _noted(step: str, entry: Entry, cached: bool) -> Entry:
    if _open:
        _open[-1].append(entry.path.name)
    used.append({"step": step, "file": entry.path.name, "seconds": round(entry.seconds, 2),
                 "cached": cached})
    return entry


def _path(step: str, key: dict) -> Path:
    slug = re.sub(r"[^A-Za-z0-9]+", "-", step)[:80].strip("-")
    return paths.CACHE / f"{slug}-{digest([step, key])[:16]}.safetensors"


def _due(path: Path) -> bool:
    """Is there nothing to read, or only what `fresh` wants redone?"""
    return not path.exists() or (
        fresh_since is not None and path.name not in _redone
        and path.stat().st_mtime < fresh_since)             # else another process redid it


def _checked(file: safe_open, step: str, key: dict) -> dict:
    """The header of an entry of `step` under `key`; a ValueError says why it is none."""
    head = header(file)
    lacking = [name for name in FIELDS if name not in head]
    if lacking or "sha256" not in file.metadata():
        raise ValueError(f"its header lacks {', '.join(lacking or ['sha256'])}")
    if digest([head["step"], head["key"]]) != digest(plain([step, key])):
        raise ValueError(f"it is of another step, {head['step']}")
    _unchanged(head["parents"])
    return head


def _unchanged(parents: dict[str, str]) -> None:
    """A ValueError names the first entry that has changed of those that one rests on, however far
    up."""
    for name, known in parents.items():
        path = paths.CACHE / name
        if path.exists():
            with safe_open(path, framework="numpy") as file:
                if file.metadata()["sha256"] != known:
                    raise ValueError(f"{name}, on which it rests, has changed")
                _unchanged(header(file)["parents"])


def _stored_hash(path: Path) -> str:
    """The hash that an entry carries: it stands for the whole entry, and is read at once."""
    with safe_open(path, framework="numpy") as file:
        return file.metadata()["sha256"]


def content_hash(text: str, arrays: dict[str, np.ndarray]) -> str:
    """Hash of an entry: its header's JSON, and each array's name, type, shape and bytes."""
    content = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        content.update(f"{name} {array.dtype} {array.shape}".encode())
        content.update(array)
    return content.hexdigest()
