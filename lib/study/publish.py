"""Publish the full study: copy its rows, tables and lasting weights to where they are committed.

All of it is first written to a staging folder in data/ and checked there. Then each file is moved
into place, and what is no longer wanted is deleted last (`_swap`). Stopped at any moment, every
file is whole and every listed weight usable; the next publish finishes the work.
"""

import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from lib.base import paths
from lib.base.said import bounded, duration, size
from lib.study import execute, lasting, stamps, weights
from lib.tables.store import as_published, load_table

COST = paths.RESULTS / "cost.json"
MOST_MB = {"data/results": 24, "data/weights": 64}      # data/results with figures/full
MARKS = ("<!-- The answer: written by ./run_all.sh publish -->", "<!-- The end of the answer -->")
AGAIN, RESTORE = "./run_all.sh full makes it again", "git checkout restores it"


def readme_answer() -> str:
    """README's answer as Markdown: the sentences that the committed report has saved.
    ValueError where there is none yet."""
    saved = load_table("10_answer", paths.RESULTS)
    if saved.empty:
        raise ValueError("no report has saved an answer yet; run ./run_all.sh report first")
    return "\n".join(f"- {sentence}" for sentence in saved.sentence)


def cost(stems: list[str]) -> str:
    """How long these notebooks of the full study took when published, and of which that is not
    known; how much disk; how much download is still to come."""
    if not COST.exists():
        return (f"The full study: {len(stems)} notebooks. No full study was published yet, so its "
                "time, disk space and downloads are not known.")
    known = json.loads(COST.read_text())
    seconds = sum(known["seconds"].get(stem, 0.0) for stem in stems)
    unknown = ", ".join(stem for stem in stems if stem not in known["seconds"])
    mirror = Path(os.environ.get("GREENBITS_MIRROR", paths.RAW))
    missing = sum(count for name, count in known["downloads"].items()
                  if not (paths.RAW / name).exists() and not (mirror / name).exists())
    return (f"The full study: {len(stems)} notebooks; about {duration(seconds)}"
            f"{unknown and f', and what {unknown} take, never published yet,'} on "
            f"{known['machine']}, less where trained weights are at hand. Disk: "
            f"{size(known['disk_bytes'])}. Still to download: {size(missing)}.")


def publish() -> int:
    """Copy the full study's rows, tables and lasting weights to where they are committed; exit
    status 1 if nothing was published, or README's answer could not be written."""
    if not _made():
        print("There is no full study to publish: run ./run_all.sh full", file=sys.stderr)
        return 1
    try:
        with execute.alone("full"), _staging() as folder:
            provenance = _provenance(paths.RUNS / "full", AGAIN)
            others = _provenance(paths.RESULTS, RESTORE, {COST.name, *provenance})
            results, count = _results(provenance), len(list(_stamps()))
            steps = [step for told in provenance.values() for step in told.get("steps", [])]
            kept, doomed, unusable = lasting.select(steps, MOST_MB["data/weights"] * 1e6)
            _swap(Path(folder), [*results.items(), *lasting.in_order(kept, unusable)], doomed)
            status = _tell(paths.ROOT / "README.md")
    except execute.Stopped as stop:
        print(f"Nothing was published: {stop}.", file=sys.stderr)
        return 1
    print(f"Published {len(results)} files of {count} notebooks in data/results; with figures/full "
          "and data/weights they are now yours to commit.")
    for path in unusable:
        print(f"Warning: {paths.shown(path)} is missing, damaged or not listed in "
              f"{weights.LIST}, and is left as it is; {RESTORE}, or delete it")
    for sentence in _doubts(others | provenance):
        print(f"Warning: {sentence}")
    return status


def _made() -> list[Path]:
    """The tables of the full study."""
    rows = paths.RUNS / "full"
    return sorted([*rows.glob("*.csv"), *rows.glob("*.npz")])


def _staging() -> tempfile.TemporaryDirectory:
    """A folder on the file system of data/results and data/weights; those that a killed publish
    left are deleted."""
    data = paths.RESULTS.parent
    for left in data.glob(".publish-*"):
        shutil.rmtree(left)
    data.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(".tmp", ".publish-", data, ignore_cleanup_errors=True)


def _object(path: Path, remedy: str) -> dict[str, Any]:
    """The JSON object in a file."""
    with lasting.readable(path, remedy):
        return dict(json.loads(path.read_text(encoding="utf-8")))


def _provenance(folder: Path, remedy: str, without: Collection[str] = ()) -> dict[str, dict]:
    """File name -> provenance of each notebook in a folder."""
    return {path.name: _object(path, remedy) for path in sorted(folder.glob("*.json"))
            if path.name not in without and not path.name.endswith(".stamp.json")}


def _stamps() -> Iterator[tuple[str, dict[str, Any]]]:
    """Notebook, stamp. A damaged stamp is passed over: its notebook's next run replaces it."""
    for path in sorted((paths.RUNS / "full").glob("*.stamp.json")):
        if (stamp := stamps.read(path)) is not None:
            yield path.name.removesuffix(".stamp.json"), stamp


def _results(provenance: dict[str, dict]) -> dict[Path, bytes]:
    """Where -> content of what is committed in data/results. Stopped names a table that cannot be
    read, or is not what its notebook made."""
    for _, stamp in _stamps():
        for name, sha in stamp["made"].items():
            path = paths.ROOT / name
            if path.parent == paths.RUNS / "full" and stamps.fingerprints([path]) != {name: sha}:
                raise execute.Stopped(f"{name} is not what its notebook made; {AGAIN}")
    files = {}
    for path in _made():
        with lasting.readable(path, AGAIN):
            if path.suffix == ".csv":
                pd.read_csv(path, dtype=str)
            name, content = as_published(path)
        files[paths.RESULTS / name] = content
    for name, told in provenance.items():
        inputs = {Path(file).name if Path(file).is_absolute() else file: sha    # tells no folder
                  for file, sha in told.get("inputs", {}).items()}
        text = json.dumps(told | {"inputs": inputs}, indent=1) + "\n"
        files[paths.RESULTS / name] = text.encode()
    return files | {COST: _cost(provenance).encode()}


def _cost(provenance: dict[str, dict]) -> str:
    """What the study took, by stamps and provenance, as JSON. A notebook that ran on another
    machine keeps what is known of it."""
    from lib.data.sources import FILES
    known = _object(COST, RESTORE) if COST.exists() else {}
    seconds, downloads = {}, known.get("downloads", {})
    counted: set[str] = set()
    for stem, stamp in _stamps():
        work = _work(provenance.get(f"{stem}.json", {}), counted)
        seconds[stem] = round(max(stamp["longest"], work), 1)
        read = [paths.ROOT / name for name in stamp["read"]]
        downloads |= {file.name: file.stat().st_size for file in read
                      if file.name in FILES and file.is_file()}
    used = [paths.RAW, paths.CACHE, paths.RUNS / "full", paths.FIGURES / "full"]
    return json.dumps({
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "seconds": known.get("seconds", {}) | seconds,
        "disk_bytes": max(known.get("disk_bytes", 0),
                          sum(paths.weight(folder, "[!.]*") for folder in used)),  # no lock's
        "downloads": dict(sorted(downloads.items()))}, indent=1) + "\n"


def _work(told: dict[str, Any], counted: set[str]) -> float:
    """Seconds of everything that a notebook rests on, whenever it was done, shared among its
    workers: a run that was resumed took less than that. A training counts for the first notebook
    that has it, with what it once took; counted: those that had their turn."""
    trainings = {step["file"]: step for step in told.get("steps", [])
                 if step["step"].startswith("train ")}
    other = told.get("work_seconds", 0.0) - sum(step["seconds"] for step in trainings.values())
    new = sum(_training(step) for file, step in trainings.items() if file not in counted)
    counted.update(trainings)
    return (max(other, 0.0) + new) / told.get("parameters", {}).get("workers", 1)


def _training(step: dict[str, Any]) -> float:
    """Seconds of a training: those of its epochs, even where its weights came from a file."""
    entry = paths.CACHE / step["file"]
    history = lasting.head_of(entry)["record"].get("history", {}) if entry.exists() else {}
    return max(step["seconds"], sum(history.get("seconds", [])))


def _swap(folder: Path, files: list[tuple[Path, bytes]], doomed: list[Path]) -> None:
    """Write what differs from what lies there to the staging folder, check it, move it into place
    in this order, then delete: until the first move nothing has changed, afterwards nothing is
    written. Stopped names a staged file that is not what was written."""
    staged = []
    for number, (target, content) in enumerate(files):
        if target.is_file() and target.read_bytes() == content:
            continue
        path = folder / f"{number}-{target.name}"
        paths.write_atomic(path, content)
        if path.read_bytes() != content:
            raise execute.Stopped(f"{paths.shown(path)} is not what was written; check the disk")
        staged.append((path, target))
    for place in (paths.RESULTS, paths.WEIGHTS):
        place.mkdir(parents=True, exist_ok=True)
    for path, target in staged:
        os.replace(path, target)
    packed = (target.with_suffix("") for target, _ in files if target.suffix == ".gz")
    for path in (*packed, *doomed):
        path.unlink(missing_ok=True)


def _tell(readme: Path) -> int:
    """Put the answer between README's two marks, if it has them; 1 and a sentence if that fails."""
    try:
        text = readme.read_text(encoding="utf-8") if readme.exists() else ""
        before, mark, rest = text.partition(MARKS[0])
        _, end, after = rest.partition(MARKS[1])
        if mark and end:
            paths.write_atomic(readme,
                               f"{before}{MARKS[0]}\n{readme_answer()}\n{MARKS[1]}{after}")
    except Exception as error:      # noqa: BLE001  rows and weights are in place, whatever it is
        print(f"README.md keeps its old answer ({type(error).__name__}: {bounded(str(error))}); "
              "rows and weights are published.", file=sys.stderr)
        return 1
    return 0


def _doubts(provenance: dict[str, dict]) -> Iterator[str]:
    """Why what is committed might not be reproducible, or too much."""
    made_by: dict[str, str] = {}
    for name, told in sorted(provenance.items()):
        commit, stem = told.get("git", "unknown"), name.removesuffix(".json")
        made_by[commit] = f"{made_by[commit]}, {stem}" if commit in made_by else stem
    yield from (f"the rows of {stems} were made by code that was not committed"
                for commit, stems in made_by.items() if "-dirty" in commit)
    if len(made_by) > 1:
        yield f"the rows were made by {len(made_by)} versions of the code: " + "; ".join(
            f"{commit[:7]} ({stems})" for commit, stems in made_by.items())
    for name, most in MOST_MB.items():
        held = paths.weight(paths.ROOT / name)
        # Of figures all whose ending does not begin with a p: git ignores the pictures as PNG.
        held += paths.weight(paths.FIGURES / "full", "*.[!p]*") if name == "data/results" else 0
        if held > most * 1e6:
            yield f"{name} holds {size(held)}, with its figures, more than {most} MB"
