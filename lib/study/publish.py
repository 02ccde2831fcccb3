"""The full study as it is committed: its rows, its lasting weights, and what it costs to rerun."""

import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib import tables
from lib.base import paths
from lib.base.said import duration, size
from lib.study import cache, stamps, weights

COST = paths.RESULTS / "cost.json"
MOST_MB = {"data/results": 16, "data/weights": 32}      # data/results with figures/full
LEAST_S = 60.0                      # of training, for weights to be committed
MARKS = ("<!-- The answer: written by ./run_all.sh publish -->", "<!-- The end of the answer -->")


def answer() -> str:
    """The report's sentences of advice, from the committed losses: what README says first."""
    before = paths.profile()
    paths.profile("published")
    try:
        return "\n\n".join(tables.answer())
    finally:
        paths.profile(before)


def _tell(readme: Path) -> None:
    """Put the answer between README's two marks, if it has them."""
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    before, mark, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    if mark:
        paths.write_atomic(readme, f"{before}{MARKS[0]}\n{answer()}\n{MARKS[1]}{after}")


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
    """Copy the full study's rows, tables and lasting weights to where they are committed."""
    rows = paths.RUNS / "full"
    made = [*rows.glob("*.csv"), *rows.glob("*.npz")]
    if not made:
        print("There is no full study to publish: run ./run_all.sh full", file=sys.stderr)
        return 1
    provenance = {path: json.loads(path.read_text()) for path in sorted(rows.glob("*.json"))
                  if not path.name.endswith(".stamp.json")}
    for path in made:
        name, content = tables.as_published(path)
        paths.write_atomic(paths.RESULTS / name, content)
        if name != path.name:
            (paths.RESULTS / path.name).unlink(missing_ok=True)
    for path, told in provenance.items():
        paths.write_atomic(paths.RESULTS / path.name, _portable(told))
    _publish_weights([step for told in provenance.values() for step in told.get("steps", [])])
    count = _publish_cost(rows)
    _tell(paths.ROOT / "README.md")
    print(f"Published {len(made) + len(provenance)} files of {count} notebooks in data/results; "
          "with figures/full and data/weights they are now yours to commit.")
    for sentence in _doubts(provenance):
        print(f"Mind: {sentence}")
    return 0


def _portable(told: dict[str, Any]) -> str:
    """Provenance without this machine's folders: a file from outside goes by its name."""
    inputs = {Path(name).name if Path(name).is_absolute() else name: sha
              for name, sha in told.get("inputs", {}).items()}
    return json.dumps(told | {"inputs": inputs}, indent=1) + "\n"


def _publish_cost(rows: Path) -> int:
    """Write what the study took, by stamps and provenance; returns how many stamps there are. A
    notebook that ran on another machine keeps what is known of it."""
    from lib.data.sources import FILES
    known = json.loads(COST.read_text()) if COST.exists() else {}
    seconds, downloads = {}, known.get("downloads", {})
    counted: set[str] = set()
    for path in sorted(rows.glob("*.stamp.json")):
        stem, stamp = path.name.removesuffix(".stamp.json"), stamps.read(path)
        if stamp is None:
            continue                    # damaged: this notebook's next run takes its place
        seconds[stem] = round(max(stamp["longest"], _work(rows / f"{stem}.json", counted)), 1)
        read = [paths.ROOT / name for name in stamp["read"]]
        downloads |= {file.name: file.stat().st_size for file in read
                      if file.name in FILES and file.is_file()}
    used = [paths.RAW, paths.CACHE, rows, paths.FIGURES / "full"]
    paths.write_atomic(COST, json.dumps({
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "seconds": known.get("seconds", {}) | seconds,
        "disk_bytes": max(known.get("disk_bytes", 0), sum(map(paths.weight, used))),
        "downloads": dict(sorted(downloads.items()))}, indent=1) + "\n")
    return len(seconds)


def _work(provenance: Path, counted: set[str]) -> float:
    """Seconds of everything that a notebook rests on, whenever it was done, shared among its
    workers: a run that was resumed took less than that. A training counts for the first notebook
    that has it, with what it once took; counted: those that had their turn."""
    told = json.loads(provenance.read_text()) if provenance.exists() else {}
    trainings = {step["file"]: step for step in told.get("steps", [])
                 if step["step"].startswith("train ")}
    other = told.get("work_seconds", 0.0) - sum(step["seconds"] for step in trainings.values())
    new = [step for file, step in trainings.items() if file not in counted]
    counted.update(trainings)
    workers = told.get("parameters", {}).get("workers", 1)
    return (max(other, 0.0) + sum(map(_training, new))) / workers


def _training(step: dict[str, Any]) -> float:
    """Seconds of a training: those of its epochs, even where its weights came from a file."""
    entry = paths.CACHE / step["file"]
    history = cache.header_of(entry)["record"].get("history", {}) if entry.exists() else {}
    return max(step["seconds"], sum(history.get("seconds", [])))


def _publish_weights(steps: list[dict]) -> None:
    """Commit the trained weights that outlive a change of code, those of this study and those that
    lie there already: as many as may be, the longest trained a byte first."""
    lasting = _committed() | _lasting(steps)
    for path in lasting:
        path.unlink(missing_ok=True)
    for path, (_, content) in sorted(lasting.items(), key=lambda item: -item[1][0]):
        if paths.weight(paths.WEIGHTS) + len(content) <= MOST_MB["data/weights"] * 1e6:
            paths.write_atomic(path, content)
        else:
            print(f"{path.name} stays out of data/weights: it is full")
    weights.write_list()


def _committed() -> dict[Path, tuple[float, bytes]]:
    """Where -> (seconds of training a byte, content) of the weights that lie there. Of these a
    study that was run on another machine, or begins with a later notebook, may know nothing."""
    listed = weights.listed()
    return {path: (_worth(path), path.read_bytes())
            for path in sorted(paths.WEIGHTS.glob("*.safetensors"))
            if listed.get(path.name) == paths.sha256(path)}


def _worth(path: Path) -> float:
    """Seconds of training a byte."""
    return sum(cache.header_of(path)["record"]["history"]["seconds"]) / path.stat().st_size


def _lasting(steps: list[dict]) -> dict[Path, tuple[float, bytes]]:
    """Where -> (seconds of training a byte, content) of the weights whose key has a version; of a
    net's seeds the first, of its sizes the largest. A file under the same key stays as it is; what
    is trained within LEAST_S is sooner trained than looked for."""
    lasting: dict[Path, tuple[float, bytes]] = {}
    for step in steps:
        entry, path = paths.CACHE / step["file"], cache.committed(step["step"])
        if not step["step"].startswith("train ") or not entry.exists():
            continue
        head = cache.header_of(entry)
        brief = sum(head["record"]["history"]["seconds"]) < LEAST_S
        if brief or "version" not in head["key"] or head["key"].get("seed", 0) != 0:
            continue
        same = weights.published(step["step"], head["key"]) is not None
        found = _worth(entry), (path if same else entry).read_bytes()
        lasting[path] = max(lasting.get(path, found), found, key=lambda one: len(one[1]))
    return lasting


def _doubts(provenance: dict[Path, dict]) -> Iterator[str]:
    """Why what was published might not be reproducible, or too much."""
    for path, told in provenance.items():
        if "-dirty" in told.get("git", ""):
            yield f"{path.stem}'s rows were made by code that was not committed"
    for name, most in MOST_MB.items():
        held = paths.weight(paths.ROOT / name)
        # Of figures all whose ending does not begin with a p: git ignores the pictures as PNG.
        held += paths.weight(paths.FIGURES / "full", "*.[!p]*") if name == "data/results" else 0
        if held > most * 1e6:
            yield f"{name} holds {size(held)}, with its figures, more than {most} MB"
