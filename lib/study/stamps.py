"""Is what a notebook left behind still what it would make now? Then it is not run again.

A stamp holds all that its results depend on (source, parameters, lib, versions, files read) and
the files it made, with their hashes. It is written after everything else: no stamp, not done.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lib.base import paths
from lib.study import cache

BIG = 50 * 2**20            # bytes; above, size and time of change stand for the hash
PACKAGES = ("torch", "numpy", "pandas", "scikit-learn", "seaborn")
# Rooms that run and render the notebooks, and so cannot change what these compute.
OUTSIDE = {"study", "page"}

Fingerprints = dict[str, str]


def wanted(source: Path, parameters: dict[str, Any], extra: Fingerprints) -> dict[str, Any]:
    """All that a notebook's results depend on, as far as it is known before it runs."""
    cells = [(c["cell_type"], c["metadata"].get("tags", []), "".join(c["source"]))
             for c in json.loads(source.read_text(encoding="utf-8"))["cells"]]
    rooms = {p.stem for p in (paths.ROOT / "lib").iterdir()} - OUTSIDE - {"__pycache__"}
    return {"cells": cache.digest(cells), "parameters": cache.plain(parameters),
            "lib": cache.code(*sorted(rooms)), "extra": extra, "python": sys.version.split()[0],
            "versions": {package: version(package) for package in PACKAGES}}


def valid(path: Path, now: dict[str, Any]) -> dict[str, Any] | None:
    """The stamp at `path`, if all it says still holds; otherwise None."""
    try:
        stamp = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    files = {**stamp["read"], **stamp["made"]}
    same = fingerprints(paths.ROOT / name for name in files) == files   # absolute names stay so
    return stamp if same and stamp["wanted"] == now else None


def write(path: Path, now: dict[str, Any], read: list[Path], made: list[Path],
          seconds: float) -> None:
    """Say that a notebook is done. `longest` is the most it ever took: less is thanks to caches."""
    try:
        longest = json.loads(path.read_text())["longest"]
    except (OSError, ValueError, KeyError):
        longest = 0.0
    paths.write_atomic(path, json.dumps({
        "wanted": now, "seconds": seconds, "longest": max(seconds, longest),
        "read": fingerprints(read), "made": fingerprints(made)}, indent=1) + "\n")


def fingerprints(files) -> Fingerprints:
    """Path (within the project: relative) -> hash; a missing file has the hash "missing"."""
    found = {}
    for path in files:
        name = str(path.relative_to(paths.ROOT) if path.is_relative_to(paths.ROOT) else path)
        if not path.is_file():
            found[name] = "missing"
        elif path.stat().st_size > BIG:
            found[name] = f"{path.stat().st_size} bytes, changed {path.stat().st_mtime_ns}"
        else:
            found[name] = paths.sha256(path)
    return found


def snapshot(*folders: Path) -> dict[Path, tuple[int, int]]:
    """Every file in some folders with its time of change and size: what was there before."""
    return {p: (p.stat().st_mtime_ns, p.stat().st_size) for folder in folders
            for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")}
