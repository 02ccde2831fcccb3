"""What lies on disk: what a full study costs, its publication, what is there, tidying up."""

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from safetensors import safe_open

from lib.base import paths
from lib.study import cache

COST = paths.RESULTS / "cost.json"
MOST_MB = {"data/results": 12, "data/weights": 25}


def cost(stems: list[str]) -> str:
    """How long these notebooks of the full study took when published, how much disk, how much
    download is still to come."""
    from lib.study.commands import duration
    if not COST.exists():
        return (f"The full study: {len(stems)} notebooks. No full study was published yet, so its "
                "time, disk space and downloads are not known.")
    known = json.loads(COST.read_text())
    seconds = sum(known["seconds"].get(stem, 0.0) for stem in stems)
    mirror = Path(os.environ.get("GREENBITS_MIRROR", paths.RAW))
    missing = sum(size for name, size in known["downloads"].items()
                  if not (paths.RAW / name).exists() and not (mirror / name).exists())
    return (f"The full study: {len(stems)} notebooks; they took {duration(seconds)} on "
            f"{known['machine']}, less where trained weights are at hand. Disk: "
            f"{size(known['disk_bytes'])}. Still to download: {size(missing)}.")


def publish() -> int:
    """Copy the full study's rows, tables and lasting weights to where they are committed."""
    from lib.data.sources import FILES
    rows, stamps = paths.RUNS / "full", {}
    kept = [p for p in sorted(rows.glob("*.*")) if p.suffix in {".csv", ".npz", ".json"}
            and not p.name.startswith(".") and not p.name.endswith(".stamp.json")]
    if not any(p.suffix == ".csv" for p in kept):
        print("There is no full study to publish: run ./run_all.sh full", file=sys.stderr)
        return 1
    for path in rows.glob("*.stamp.json"):
        stem = path.name.removesuffix(".stamp.json")
        stamps[stem] = json.loads(path.read_text())
        stamps[stem]["longest"] = max(stamps[stem]["longest"], _trained(rows / f"{stem}.json"))
    for path in kept:
        paths.write_atomic(paths.RESULTS / path.name,
                           _portable(path.read_text()) if path.suffix == ".json"
                           else path.read_bytes())
    _weights([step for path in kept if path.suffix == ".json"
              for step in json.loads(path.read_text()).get("steps", [])])
    read = {Path(name) for stamp in stamps.values() for name in stamp["read"]}
    raw = {p.name: (paths.ROOT / p).stat().st_size for p in read
           if p.name in FILES and (paths.ROOT / p).is_file()}
    used = [paths.RAW, paths.CACHE, rows, paths.FIGURES / "full"]
    paths.write_atomic(COST, json.dumps({
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "seconds": {stem: round(stamp["longest"], 1) for stem, stamp in sorted(stamps.items())},
        "disk_bytes": sum(weight(p) for p in used), "downloads": dict(sorted(raw.items()))},
        indent=1) + "\n")
    print(f"Published {len(kept)} files of {len(stamps)} notebooks in data/results; with "
          "figures/full and data/weights they are now yours to commit.")
    for sentence in _doubts(kept):
        print(f"Mind: {sentence}")
    return 0


def status() -> int:
    """Say what is there: environment, studies, published rows, caches, weights."""
    from importlib.metadata import PackageNotFoundError, version
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "not installed; ./run_all.sh sets everything up"
    print(f"environment  Python {platform.python_version()} in {sys.prefix}; torch {torch}")
    for folder in sorted(p for p in paths.RUNS.glob("*") if p.is_dir()):
        stamps = sorted(folder.glob("*.stamp.json"))
        last = max((p.stat().st_mtime for p in stamps), default=folder.stat().st_mtime)
        half = [p.name.split(".")[0] for p in folder.glob("notebooks/*.running.ipynb")]
        print(f"study        {folder.name}: {len(stamps)} notebooks, {_rows(folder)} rows, "
              f"{datetime.fromtimestamp(last):%Y-%m-%d %H:%M}"
              + (f"; half-run: {', '.join(half)}" if half else ""))
    print(f"published    {_rows(paths.RESULTS)} rows in data/results, "
          f"{size(weight(paths.RESULTS))}")
    for name in ("data/raw", "data/cache", "data/runs", "data/weights", "figures"):
        count = sum(p.is_file() for p in (paths.ROOT / name).rglob("*"))
        print(f"{name:<12} {size(weight(paths.ROOT / name))} in {count} files")
    return 0


def clean() -> int:
    """Delete caches, runs and their figures, after saying so; what is committed or downloaded
    stays. Asks first on a terminal."""
    figures = [p for p in paths.FIGURES.glob("*") if p.name != "full"]
    doomed = [p for p in (paths.CACHE, paths.RUNS, *figures) if p.exists()]
    for path in doomed:
        print(f"delete {path.relative_to(paths.ROOT)}  {size(weight(path))}")
    if not doomed:
        print("There is nothing to clean.")
    elif sys.stdin.isatty() and input("Trained models in the cache go as well. Delete? [y/N] "
                                      ).strip().lower() not in {"y", "yes"}:
        print("Nothing was deleted.")
        return 1
    for path in doomed:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return 0


def weight(path: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def size(count: float) -> str:
    """Bytes as a person says them: `12.3 MB` (10⁶)."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _trained(provenance: Path) -> float:
    """Seconds of all trainings that a notebook rests on, done in this run or found in the cache."""
    steps = json.loads(provenance.read_text()).get("steps", []) if provenance.exists() else []
    return sum({s["file"]: s["seconds"] for s in steps if s["step"].startswith("train ")}.values())


def _portable(provenance: str) -> str:
    """Provenance without this machine's folders: a file from outside goes by its name."""
    told = json.loads(provenance)
    told["inputs"] = {Path(name).name if Path(name).is_absolute() else name: sha
                      for name, sha in told.get("inputs", {}).items()}
    return json.dumps(told, indent=1) + "\n"


def _weights(steps: list[dict]) -> None:
    """Copy the trained weights that outlive a change of code, those whose key has a version, of a
    net's seeds the first, of its sizes the largest: as many as may be committed, the longest
    trained a byte first. A file under the same key stays as it is."""
    lasting = {}
    for step in steps:
        entry, path = paths.CACHE / step["file"], cache.committed(step["step"])
        if step["step"].startswith("train ") and entry.exists():
            head = _head(entry)
            if "version" in head["key"] and head["key"].get("seed", 0) == 0:
                worth = sum(head["record"]["history"]["seconds"]) / entry.stat().st_size
                same = path.exists() and _head(path)["key"] == head["key"]
                found = worth, (path if same else entry).read_bytes()
                lasting[path] = max(lasting.get(path, found), found, key=lambda it: len(it[1]))
    for path in lasting:
        path.unlink(missing_ok=True)
    for path, (_, content) in sorted(lasting.items(), key=lambda item: -item[1][0]):
        if weight(paths.WEIGHTS) + len(content) <= MOST_MB["data/weights"] * 1e6:
            paths.write_atomic(path, content)
        else:
            print(f"{path.name} stays out of data/weights: it is full")


def _head(path: Path) -> dict:
    with safe_open(path, framework="numpy") as file:
        return cache.header(file)


def _rows(folder: Path) -> int:
    """Lines of the notebooks' own tables, headings not counted."""
    tables = [p for p in folder.glob("[0-9][0-9]_*.csv") if p.with_suffix(".npz").exists()]
    return sum(max(0, len(p.read_text().splitlines()) - 1) for p in tables)


def _doubts(kept: list[Path]) -> Iterable[str]:
    """Why what was published might not be reproducible, or too much."""
    for path in kept:
        if path.suffix == ".json" and "-dirty" in json.loads(path.read_text()).get("git", ""):
            yield f"{path.stem}'s rows were made by code that was not committed"
    for name, most in MOST_MB.items():
        held = weight(paths.ROOT / name)
        if held > most * 1e6:
            yield f"{name} holds {size(held)}, more than {most} MB"
