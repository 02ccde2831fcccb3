"""One run of one notebook: its provenance, its independent trials, its rows."""

import inspect
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import CodeType

import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import HTML, display

from lib import tables
from lib.base import paths
from lib.study import cache, workers
from lib.tables import Row

# What a row can depend on, as far as a notebook imports it; figures and report change no number.
ROOMS = ("data", "models", "train", "layers", "quant", "prune", "energy", "measure", "tables", "base")
PACKAGES = ("torch", "numpy", "pandas", "scikit-learn")

_run: dict = {}
_failures: list[str] = []


def start(notebook: str, names: dict, show: bool = True) -> None:
    """Begin a notebook: `run.start("02_train", globals())`, right after its parameter cell.

    Parameters are the plain values among `names`; `profile` says where results go, `fresh=True`
    redoes every cached step. Shows a small table of what this run depends on, unless told not to.
    """
    plain = (bool, int, float, str, list, type(None))
    parameters = {k: v for k, v in names.items()
                  if isinstance(v, plain) and not k.startswith("_") and k not in {"In", "Out"}}
    paths.profile(parameters.get("profile", "lab"))
    cache.fresh(bool(parameters.get("fresh", False)))
    cache.used.clear()
    _failures.clear()
    _run.clear()
    _run.update(notebook=notebook, parameters=parameters, started=_now(), git=_git(),
                python=platform.python_version(), versions={p: version(p) for p in PACKAGES},
                hardware=hardware(), seconds_per_cell=[])
    if shell := get_ipython():
        if clock := getattr(shell, "_greenbits_clock", None):   # started twice in one kernel
            shell.events.unregister("pre_run_cell", clock.begin)
            shell.events.unregister("post_run_cell", clock.end)
        shell._greenbits_clock = clock = _Clock(_run["seconds_per_cell"])
        shell.events.register("pre_run_cell", clock.begin)
        shell.events.register("post_run_cell", clock.end)
    if not show:
        return
    shown = {"notebook": notebook, "profile": paths.profile(), "started": _run["started"],
             "code": _run["git"], "python": _run["python"], **_run["versions"],
             **_run["hardware"]}
    html = pd.Series(shown, name="").astype(str).to_frame().to_html(header=False, border=0)
    display(HTML(f'<div class="provenance">{html}</div>'))


def hardware() -> dict[str, str | int]:
    """Processor, cores, memory and accelerator of this machine."""
    import psutil
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        name = next((line.split(":", 1)[1].strip() for line in info.read_text().splitlines()
                     if line.startswith("model name")), name)
    torch = sys.modules.get("torch")         # the report runs without torch
    gpu = torch.cuda.get_device_name() if torch and torch.cuda.is_available() else "none"
    return {"processor": name, "cores": os.cpu_count() or 1, "gpu": gpu,
            "memory_gib": round(psutil.virtual_memory().total / 2**30), "system": platform.system()}


def each(trial: Callable[[dict], Row | list[Row]], specs: list[dict]) -> list[Row]:
    """Run independent trials, print each finished row, and return all rows.

    trial: spec -> Row or rows; spec: plain values, `threads` (1 if absent) among them. A trial's
    rows are one atomic cache entry under its spec, its source, the parameters it mentions, the
    rooms of lib in use and the recipes of the models that spec or parameters name: a trial may
    train no other. One that raises is reported, the others go on, and `save` ends non-zero.
    Of the notebook's `workers` (1) each is a process of its own; with CUDA, outside of Linux, and
    where a trial takes several threads, trials run here, one after the other.
    """
    constants = {n: trial.__globals__[n] for n in sorted(_mentioned(trial.__code__))
                 if isinstance(trial.__globals__.get(n), bool | int | float | str | list)}
    recipes = sys.modules.get("lib.recipes")
    rooms = [r for r in ROOMS if f"lib.{r}" in sys.modules] + ["recipes/__init__"] * bool(recipes)
    base = {"trial": cache.tree(inspect.getsource(trial)), "constants": constants,
            "rooms": cache.code(*rooms)}
    work = []
    for spec in specs:
        words = {str(v) for v in [*spec.values(), *constants.values()]}
        key = {**base, "spec": spec, "files": _files(spec),
               "recipes": recipes.named(words) if recipes else {}}
        label = " ".join(f"{v}" for v in spec.values())
        work.append((f"trial {label}", key, partial(_built, trial, spec, words)))
    rows: list[Row] = []
    print(LINE.format("task", "model", "setting", "seed", "fold", "score", "95 % interval",
                      "params", "seconds"))
    # CUDA does not survive a fork, nor does an OpenMP that had its threads; macOS is not safe.
    alone = sys.platform != "linux" or hardware()["gpu"] != "none" or any(
        spec.get("threads", 1) > 1 for spec in specs)
    count = 1 if alone else min(_run["parameters"].get("workers", 1), os.cpu_count() or 1)
    ahead = workers.ahead([partial(cache.cached, *step, quiet=True) if cache.find(*step[:2]) is None
                           else None for step in work], count)
    for (step, key, build), steps in zip(work, ahead, strict=True):
        cache.join(steps)
        try:
            entry = cache.cached(step, key, build, quiet=True)
        except Exception as error:          # noqa: BLE001  the others go on
            label = step.removeprefix("trial ")
            _failures.append(f"{label}: {type(error).__name__}: {error}")
            print(f"FAILED  {_failures[-1]}")
            traceback.print_exc(limit=-2)
            continue
        if steps:
            cache.used.pop()                # told already, with what it rests on
        for i, record in enumerate(entry.record):
            rows.append(Row(**record, scores=entry.arrays.get(str(i))))
            print(line(rows[-1], entry.seconds if i == 0 else None, cache.used[-1]["cached"]))
    return rows


LINE = "{:<20} {:<16} {:<30} {:>4} {:>4} {:>9} {:>20} {:>8} {:>8}"


def line(row: Row, seconds: float | None = None, cached: bool = False) -> str:
    """One aligned line of the growing table."""
    digits = 2 if row.metric == "accuracy" else 4
    show = lambda value, form="": "" if value is None else format(value, form)   # noqa: E731
    interval = f"[{row.score_low:.{digits}f}, {row.score_high:.{digits}f}]" \
        if row.score_low is not None else ""
    took = show(seconds, ".1f") + ("·" if cached else " ")
    return LINE.format(row.task[:20], row.model[:16], row.setting[:30], show(row.seed),
                       show(row.fold), show(row.score, f".{digits}f"), interval,
                       show(row.params), took)


def save(rows: list[Row]) -> pd.DataFrame:
    """Write this notebook's rows and provenance; then fail if any trial did, with the list."""
    done = _run | {"ended": _now(), "inputs": paths.inputs(),
                   "steps": [s for s in cache.used if not s["step"].startswith("trial ")],
                   "trials": sum(s["step"].startswith("trial ") for s in cache.used),
                   "seconds": sum(c["seconds"] for c in _run["seconds_per_cell"]),
                   "failures": _failures}
    if paths.profile() == "published":      # only the report runs on committed rows; it has none
        return tables.table(rows)
    frame = tables.save(_run["notebook"], rows, done)
    if _failures:
        raise RuntimeError(f"{len(_failures)} of this notebook's trials failed, its other rows "
                           "are saved: " + "; ".join(_failures))
    return frame


def _mentioned(code: CodeType) -> set[str]:
    """Names that code mentions, in its lambdas and comprehensions too."""
    inner = [_mentioned(c) for c in code.co_consts if isinstance(c, CodeType)]
    return set(code.co_names).union(*inner)


def _built(trial, spec: dict, words: set[str]) -> cache.Built:
    import torch
    threads, before = torch.get_num_threads(), len(cache.used)
    torch.set_num_threads(spec.get("threads", 1))
    try:
        rows = trial(spec)
    finally:
        torch.set_num_threads(threads)
    for step in cache.used[before:]:
        model = step["step"].partition(" seed ")[0].split()[-1]
        if step["step"].startswith("train ") and model not in words:
            raise ValueError(f"the trial trained {model}, which neither its spec nor a parameter "
                             "names: rows would not notice its recipe change; name it there")
    rows = [rows] if isinstance(rows, Row) else rows
    arrays = {str(i): np.asarray(row.scores) for i, row in enumerate(rows)
              if row.scores is not None}
    return arrays, [{c: getattr(row, c) for c in tables.COLUMNS} for row in rows]


def _files(spec: dict) -> dict[str, str]:
    """Hashes of user files that a spec names (csv:PATH#column, npz:PATH)."""
    named = [v.split(":", 1)[1].split("#")[0] for v in spec.values()
             if isinstance(v, str) and ":" in v]
    return {p: paths.sha256(paths.ROOT / p) for p in named if (paths.ROOT / p).is_file()}


class _Clock:
    """Notes the seconds of each cell, however the notebook is run."""

    def __init__(self, seconds: list):
        self.seconds, self.began = seconds, None

    def begin(self, info) -> None:
        self.began = time.perf_counter()

    def end(self, result) -> None:
        if self.began is not None:
            first = result.info.raw_cell.strip().splitlines()[:1]
            self.seconds.append({"cell": first[0][:60] if first else "",
                                 "seconds": round(time.perf_counter() - self.began, 3)})


def _git() -> str:
    """Commit of the code, with `-dirty` where code differs from it; `unknown` outside git."""
    def git(*words: str) -> str:
        call = ["git", "-C", str(paths.ROOT), *words]
        return subprocess.run(call, capture_output=True, text=True, check=False).stdout.strip()

    commit = git("rev-parse", "HEAD")
    code = ("lib", "notebooks", "params", "pyproject.toml")     # a run's own results do not count
    return commit + "-dirty" * bool(git("status", "--porcelain", "--", *code)) or "unknown"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
