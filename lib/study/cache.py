"""A step that exists is not redone, and says so.

One entry is one safetensors file: named arrays, and a JSON record in its header. It appears whole
or not at all, so a study killed at any moment goes on from its last finished step.
"""

import ast
import fcntl
import functools
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lib.base import paths

Built = tuple[dict[str, np.ndarray], Any]


@dataclass(frozen=True)
class Entry:
    """What a step left: arrays and a JSON-able record; `seconds` is what building it took."""

    arrays: dict[str, np.ndarray]
    record: Any
    seconds: float
    path: Path


used: list[dict] = []               # every entry this process built or read: for provenance
_open: list[list[str]] = []         # files that the steps now being built have read, innermost last
_fresh = False
_redone: set[Path] = set()


def fresh(on: bool) -> None:
    """From now on redo every step once, whether it exists or not."""
    global _fresh
    _fresh = on
    _redone.clear()


def digest(value: Any) -> str:
    """Hash of a JSON-able value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def plain(value: Any) -> Any:
    """A value as JSON gives it back: tuples become lists."""
    return json.loads(json.dumps(value, default=str))


def committed(step: str) -> Path:
    """Where the published copy of a step's entry lies: data/weights/<step>.safetensors."""
    return paths.WEIGHTS / (re.sub(r"\W+", "-", step.removeprefix("train ")) + ".safetensors")


def header(file: safe_open) -> dict:
    """What an entry's file says of itself: record, step, key, seconds, made, parents."""
    return json.loads(file.metadata()["json"])


@functools.cache
def code(*rooms: str) -> str:
    """Hash of the syntax trees of rooms of lib, without docstrings: a comment redoes nothing."""
    trees = []
    for room in rooms:
        path = paths.ROOT / "lib" / room
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        trees += [tree(file.read_text()) for file in files if file.exists()]
    return digest(trees)


def tree(source: str) -> str:
    """A program's syntax tree as text, without docstrings.

    >>> tree("def f():\\n    'doc'\\n    return 1") == tree("def f(): return 1  # one")
    True
    """
    parsed = ast.parse(source)
    for node in ast.walk(parsed):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(
                body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
            del body[0]
    return ast.dump(parsed)


def cached(step: str, key: dict, build: Callable[[], Built], quiet: bool = False) -> Entry:
    """The entry of `step` under `key`, built only if there is none.

    step: what a reader calls it ("train resnet20 seed 0"); key: everything the result depends on,
    JSON-able; build: () -> (arrays, record). An unreadable entry, or one whose parents have
    changed since, is built again; of several processes one builds, the others wait for it.
    """
    path, made = _path(step, key), False
    redo = _fresh and path not in _redone
    entry = None if redo else _read(path)
    if entry and not quiet:
        print(f"cached: {step} ({entry.seconds:.0f} s saved)")
    if entry is None:
        with _alone(path):
            entry = None if redo else _read(path)       # another process may just have built it
            if made := entry is None:
                entry = _build(step, key, build, path)
    if _open:
        _open[-1].append(path.name)
    used.append({"step": step, "file": path.name, "seconds": round(entry.seconds, 2),
                 "cached": not made})
    return entry


def missing(step: str, key: dict) -> bool:
    """Would `cached` have to build this entry?"""
    path = _path(step, key)
    return not path.exists() or _fresh and path not in _redone


def join(steps: list[dict]) -> None:
    """Count what another process built or read (its `used`) among this one's."""
    used.extend(steps)
    _redone.update(paths.CACHE / step["file"] for step in steps)


def _path(step: str, key: dict) -> Path:
    slug = re.sub(r"[^A-Za-z0-9]+", "-", step)[:80].strip("-")
    return paths.CACHE / f"{slug}-{digest([step, key])[:16]}.safetensors"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    lock = path.with_suffix(".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:            # who waited holds the file still; who comes later finds the entry
            lock.unlink(missing_ok=True)


def _build(step: str, key: dict, build: Callable[[], Built], path: Path) -> Entry:
    _open.append([])
    start = time.perf_counter()
    try:
        arrays, record = build()
    finally:
        parents = _open.pop()
    entry = Entry(arrays, record, time.perf_counter() - start, path)
    head = {"record": record, "step": step, "key": key, "seconds": entry.seconds,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "parents": {p: paths.sha256(Path(paths.CACHE / p)) for p in parents}}
    paths.write_atomic(path, save({name: np.ascontiguousarray(a) for name, a in arrays.items()},
                                  {"json": json.dumps(head, default=str)}))
    _redone.add(path)
    return entry


def _read(path: Path) -> Entry | None:
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            head = header(file)
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        print(f"{path.name} cannot be read ({error}); it is built again")
        return None
    for name, sha in head["parents"].items():
        parent = paths.CACHE / name
        if parent.exists() and paths.sha256(parent) != sha:
            return None
    return Entry(arrays, head["record"], head["seconds"], path)
