"""Is what a notebook left behind still what it would make now? Then it is not run again.

A stamp holds all that its results depend on (its cells and parameters, the code that these can
reach, versions, files read) and the files it made, with their hashes. It is written after
everything else: no stamp, not done.
"""

import ast
import json
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lib.base import paths
from lib.study import cache, keys

PACKAGES = ("torch", "numpy", "pandas", "scikit-learn", "seaborn")
# Rooms whose files are imported by the names of methods and nets, which no import statement tells.
BY_NAME = ("quant", "prune", "models")

# Of a stamp.
FIELDS = {"wanted": dict, "seconds": float, "longest": float, "read": dict, "made": dict}

Fingerprints = dict[str, str]           # path, within the project a relative one -> hash


def wanted(source: Path, parameters: dict[str, Any], tables: list[Path]) -> dict[str, Any]:
    """All that a notebook's results depend on, as far as it is known before it runs.

    tables: those it may look at, so that a new one counts as well.
    """
    cells = json.loads(source.read_text(encoding="utf-8"))["cells"]
    told = [(cell["cell_type"], cell["metadata"].get("tags", []), "".join(cell["source"]))
            for cell in cells]
    lists = sorted((paths.ROOT / "lib").rglob("*.toml"))        # of sources: code, in a way
    return {"cells": cache.digest(told), "parameters": cache.plain(parameters),
            "code": code("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"),
            "tables": fingerprints([*lists, *tables]), "python": sys.version.split()[0],
            "versions": {package: version(package) for package in PACKAGES}}


def code(cells: Iterable[str]) -> str:
    """Hash of the files of lib that some cells can reach; of all, where one is no plain Python."""
    room = paths.ROOT / "lib"
    modules: set[str] = set()
    for cell in cells:
        try:
            modules |= keys.imported(ast.parse(cell))
        except SyntaxError:             # a magic, which may do anything
            return keys.code(*_modules(room), without=())
    for name in BY_NAME:
        if f"{name}/__init__.py" in keys.reached(modules, without=()):
            modules |= _modules(room / name)
    return keys.code(*modules, without=())


def valid(path: Path, now: dict[str, Any]) -> dict[str, Any] | None:
    """The stamp at `path`, if all it says still holds; otherwise None."""
    if (stamp := read(path)) is None or stamp["wanted"] != now:
        return None
    files = stamp["read"] | stamp["made"]               # below: absolute names stay so
    return stamp if fingerprints(paths.ROOT / name for name in files) == files else None


def read(path: Path) -> dict[str, Any] | None:
    """The stamp at `path`; None if there is none, or a damaged one."""
    try:
        stamp = json.loads(path.read_text(encoding="utf-8"))
        fits = all(isinstance(stamp[name], kind) for name, kind in FIELDS.items())
        return stamp if fits else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write(path: Path, now: dict[str, Any], used: Fingerprints, made: list[Path],
          seconds: float) -> None:
    """Say that a notebook is done. `longest` is the most it ever took: less is thanks to caches.

    used: the files it read, as they were then; those that it made itself count as they are now.
    """
    longest, left = max(seconds, (read(path) or {"longest": 0.0})["longest"]), fingerprints(made)
    paths.write_atomic(path, json.dumps({
        "wanted": now, "seconds": seconds, "longest": longest,
        "read": {name: sha for name, sha in used.items() if name not in left},
        "made": left}, indent=1) + "\n")


def fingerprints(files: Iterable[Path]) -> Fingerprints:
    """Each file with the hash of its content; a missing one has the hash "missing"."""
    return {paths.shown(path): paths.sha256(path) if path.is_file() else "missing"
            for path in files}


def snapshot(*folders: Path) -> dict[Path, tuple[int, int]]:
    """Every file in some folders with its time of change and size: what was there before."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for folder in folders
            for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")}


def _modules(folder: Path) -> set[str]:
    """The modules in a folder of lib and those below it, by their full names."""
    files = [path.relative_to(paths.ROOT).with_suffix("") for path in folder.rglob("*.py")]
    return {".".join(path.parts).removesuffix(".__init__") for path in files}
