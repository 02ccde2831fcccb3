"""What lies on disk: telling what is there, tidying up. Any Python can, without the environment."""

import platform
import shutil
import sys
from contextlib import ExitStack
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lib.base import paths
from lib.base.said import size
from lib.study import locks


def status() -> int:
    """Say what is there: environment, studies, published rows, caches, weights."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "not installed; ./run_all.sh sets everything up"
    print(f"environment  Python {platform.python_version()} in {sys.prefix}; torch {torch}")
    for folder in sorted(path for path in paths.RUNS.glob("*") if path.is_dir()):
        stamps = list(folder.glob("*.stamp.json"))
        last = max(path.stat().st_mtime for path in stamps or [folder])
        half = [path.name.split(".")[0] for path in folder.glob("notebooks/*.running.ipynb")]
        print(f"study        {folder.name}: {len(stamps)} notebooks, {_rows(folder)} rows, "
              f"{datetime.fromtimestamp(last):%Y-%m-%d %H:%M}"
              + (f"; half-run: {', '.join(half)}" if half else ""))
    print(f"published    {_rows(paths.RESULTS)} rows in data/results, "
          f"{size(paths.weight(paths.RESULTS))}")
    for folder in (paths.RAW, paths.CACHE, paths.RUNS, paths.WEIGHTS, paths.FIGURES):
        files = sum(path.is_file() for path in folder.rglob("*"))
        print(f"{paths.shown(folder):<12} {size(paths.weight(folder))} in {files} files")
    return 0


def clean() -> int:
    """Delete caches, runs and their figures, after saying so; what is committed or downloaded
    stays. Asks first on a terminal."""
    figures = [path for path in paths.FIGURES.glob("*") if path.name != "full"]
    doomed = [path for path in (paths.CACHE, paths.RUNS, *figures) if path.exists()]
    for path in doomed:
        print(f"delete {paths.shown(path)}  {size(paths.weight(path))}")
    if not doomed:
        print("There is nothing to clean.")
    elif sys.stdin.isatty() and input("Trained models in the cache go as well. Delete? [y/N] "
                                      ).strip().lower() not in {"y", "yes"}:
        print("Nothing was deleted.")
        return 1
    try:
        with ExitStack() as stack:
            for lock in [*paths.RUNS.glob("*/.lock"), *paths.CACHE.glob("*.lock")]:
                stack.enter_context(locks.held(lock))
            for path in doomed:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    except locks.Taken as taken:
        print(f"Nothing was deleted: a study is running, process {taken.holder}. Wait for it, or "
              "stop it.", file=sys.stderr)
        return 1
    return 0


def _rows(folder: Path) -> int:
    """Lines of the notebooks' own tables, headings not counted."""
    tables = [path for path in folder.glob("[0-9][0-9]_*.csv") if path.with_suffix(".npz").exists()]
    return sum(max(0, len(path.read_text().splitlines()) - 1) for path in tables)
