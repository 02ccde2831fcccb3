"""One run of one notebook: its provenance, its independent trials, its rows."""

import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML, display

from lib.base import machine, names, paths
from lib.base.pairs import parsed
from lib.base.said import count
from lib.data.pairs import nets_of, of_kind, on_tasks, with_classes
from lib.study import cache, engines, keys, progress, work
from lib.study.trials import Trial, code_of, grid, made, measured, of_nets, on_validation, recipe_of
from lib.tables import store
from lib.tables.rows import Cost, Row, frame

__all__ = ["Trial", "add_costs", "commit", "costs", "each", "grid", "left_out", "made", "nets_of",
           "of_kind", "of_nets", "on_tasks", "on_validation", "parsed", "replayed", "save",
           "scores", "start", "timed", "with_classes"]

PACKAGES = ("torch", "numpy", "pandas", "scikit-learn")
PLAIN = (bool, int, float, str, list, type(None))

_run: dict = {}
_failures: dict[Trial, str] = {}
_left_out: dict[Trial, str] = {}
_rows: dict[str, Row] = {}
_costs: dict[tuple[str, str, str], Cost] = {}


def start(notebook: str, names: dict, show: bool = True) -> None:
    """Begin a notebook: `run.start("02_train", globals())`, right after its parameter cell.

    Parameters are the plain values among `names`; `profile` says where results go, `fresh=True`
    redoes every cached step; `engine`, `workers` and `threads` say who runs the trials. Shows a
    small table of what this run depends on, unless told not to.
    """
    parameters = {name: value for name, value in names.items()
                  if isinstance(value, PLAIN) and not name.startswith("_")
                  and name not in {"In", "Out"}}
    if torch := sys.modules.get("torch"):       # a net trained here is as one of a trial
        torch.set_num_threads(parameters.get("threads", 1))
    paths.profile(parameters.get("profile", "lab"))
    cache.fresh(bool(parameters.get("fresh", False)))
    for kept in (cache.used, _failures, _left_out, _rows, _costs, _run):
        kept.clear()
    _run.update(notebook=notebook, parameters=parameters, started=_now(), git=_git(),
                python=platform.python_version(), versions={p: _version(p) for p in PACKAGES},
                hardware=machine.hardware())
    # Committed rows are only read: what they depend on is what their run depended on.
    told = store.provenance(notebook) if paths.profile() == "published" else _run
    if show and told:
        shown = {"notebook": notebook, "profile": paths.profile(), "started": told["started"],
                 "code": told["git"], "python": told["python"], **told["versions"],
                 **told["hardware"]}
        html = pd.Series(shown, name="").astype(str).to_frame().to_html(header=False, border=0)
        display(HTML(f'<div class="provenance">{html}</div>'))


def each(trials: list[Trial], by: Callable = measured, optional: bool = False) -> pd.DataFrame:
    """Run independent trials, print a line for each finished row, and return all their rows.

    by: the public function of lib that makes a trial a row (and its costs), or a list of them. What
    a trial leaves is one cache entry under its values, the content of its data, its recipe and the
    code that it can reach; only what is missing is run, by the run's `engine`. A trial that raises
    is reported, the others go on, and `save` ends non-zero; an optional one is `left_out` instead.
    """
    from lib.data import catalogue
    parameters = _run["parameters"]
    threads = parameters.get("threads", 1)
    for task in dict.fromkeys(trial.task for trial in trials):  # inputs, even if all are cached
        paths.inputs(catalogue.inputs(task))
    todo = [_step(trial, keys.name_of(by), threads) for trial in trials]
    lines = progress.Lines(trials)
    found: list[Row] = []
    outcomes = engines.results(todo, parameters.get("engine", "fork"),
                               parameters.get("workers", 1), threads)
    with closing(outcomes):             # an interrupt leaves no worker behind
        for trial, outcome in zip(trials, outcomes, strict=True):
            if outcome.error:
                said = f"{progress.named(trial)}: {outcome.error}"
                (_left_out if optional else _failures)[trial] = said
                lines.failed(trial, outcome.error)
                continue
            rows = _read(outcome.entry)
            found += rows
            cached = all(step["cached"] for step in outcome.used[-1:])
            lines.finished(trial, rows, outcome.entry.seconds, cached)
    return frame(list({row.id: row for row in found}.values()))


def left_out() -> list[str]:
    """The optional trials that raised in this run, each with why, in a line."""
    return [said.splitlines()[0] for said in _left_out.values()]


def scores() -> dict[str, np.ndarray]:
    """Scores per example of this run's rows, by their ids."""
    return {name: row.scores for name, row in _rows.items() if row.scores is not None}


def timed(trials: list[Trial], windows: int, batch: int = 1) -> pd.DataFrame:
    """Time the trials' nets side by side, `batch` examples at a time, with nothing beside them.

    Returns what `measure.latency` gives, a line a trial, with the ids of the rows that `each` makes
    of them; each latency becomes a cost of its row. A trial that raised before has no line, unless
    it is the first, against which the others are timed.
    """
    raised = _failures | _left_out
    trials = trials[:1] + [trial for trial in trials[1:] if trial not in raised]
    entry = _alone("time", trials, "lib.measure.timed:recorded", windows=windows, batch=batch)
    table = pd.DataFrame(entry.record["table"])
    table.insert(0, "id", each(trials).id.to_numpy())
    add_costs(_latencies(table, windows, batch, entry.record["processor"]))
    return table


def replayed(trials: list[Trial], **said: Any) -> pd.DataFrame:
    """The rows of policies that choose among the trials' nets, in real time, with nothing beside.

    said: as `measure.replayed` takes it: policies, traces, seeds, loads, objective, seconds.
    """
    return frame(_read(_alone("replay", trials, "lib.measure.replays:recorded", **said)))


def _latencies(table: pd.DataFrame, windows: int, batch: int, processor: str) -> list[Cost]:
    """The measured latencies of nets timed side by side as costs of their rows; seconds."""
    examples = "one example" if batch == 1 else f"{batch} examples"
    return [Cost(line.id, "latency_s", "measured", f"{windows} windows of {examples}, {processor}, "
                 f"{count(line.threads, 'thread')}{', noisy' if line.noisy else ''}",
                 line.latency_s, line.latency_low, line.latency_high)
            for line in table.itertuples()]


def _alone(verb: str, trials: list[Trial], by: str, **said: Any) -> cache.Entry:
    """The entry of a step that takes several trials' nets at once, run with nothing beside it."""
    threads = _run["parameters"].get("threads", 1)
    key = {"nets": [key_of(trial, by, threads) for trial in trials], **said,
           "processor": machine.processor()}
    step = engines.Step(f"{verb} {count(len(trials), 'net')}", key, by,
                        {"trials": [trial.values for trial in trials], **said}, alone=True)
    outcome = next(engines.results([step], _run["parameters"].get("engine", "fork")))
    if outcome.error:
        raise RuntimeError(f"could not {verb} these nets: {outcome.error}")
    return outcome.entry


def costs() -> pd.DataFrame:
    """The costs of this run's rows so far: id, quantity, kind, source, value, low, high."""
    return store.cost_frame(list(_costs.values()))


def add_costs(costs: list[Cost]) -> None:
    """Keep further costs of this run's rows, such as measured latencies."""
    for cost in costs:
        _costs[cost.id, cost.quantity, cost.source] = cost


def save() -> pd.DataFrame:
    """Write all rows of this run, their costs and provenance; then fail if any trial did."""
    steps = work.rested_on()
    done = _run | {"ended": _now(), "inputs": paths.inputs(),
                   "steps": [step for step in steps if not step["step"].startswith("trial ")],
                   "trials": sum(s["step"].startswith("trial ") for s in cache.used),
                   "work_seconds": sum(step["seconds"] for step in steps),
                   "failures": list(_failures.values())}
    if paths.profile() == "published":      # committed rows are only read; nothing is new
        return frame([])
    table = store.save(_run["notebook"], list(_rows.values()), list(_costs.values()), done,
                        {row.id: effective(row) for row in _rows.values()})
    if _failures:
        raise RuntimeError(f"{len(_failures)} of this notebook's trials failed, its other rows "
                           "are saved: " + "; ".join(done["failures"]))
    return table


def effective(row: Row) -> tuple[int | None, str]:
    """What was effective for a row's model: the epochs of its last training (None where it was not
    trained here), and the arguments of its network, the recipe's included, spelled as `sizes`."""
    if row.policy or not names.trained_here(row.model):     # a policy's row is of several networks
        return None, row.sizes
    plan = recipe_of(Trial(row.task, row.model, row.setting))
    net, last = (plan["net"], plan["tuning"]) if row.setting.trains else (plan, plan)
    return (last["epochs"] if row.epochs is None else row.epochs,
            spelled(net.get("sizes", {}) | row.setting.build_arguments))


def spelled(arguments: dict[str, Any]) -> str:
    """Arguments of `models.build` as `sizes` spells them: "hidden=72,44 dropout=0 logs=1"."""
    def value(of: Any) -> str:
        several = of if isinstance(of, tuple | list) else (of,)
        return ",".join(one if isinstance(one, str) else f"{one:g}" for one in several)

    return " ".join(f"{name}={value(of)}" for name, of in arguments.items())


def key_of(trial: Trial, by: str = "lib.study.trials:measured", threads: int = 1) -> dict:
    """All that a trial's result depends on: its values, data, recipe and code."""
    from lib.data import catalogue
    return {"by": by, "trial": trial.values, "threads": threads,
            "data": catalogue.content(trial.task), "recipe": recipe_of(trial),
            "code": keys.code(by.partition(":")[0], *code_of(trial))}


def _step(trial: Trial, by: str, threads: int) -> engines.Step:
    label = f"{trial.task} {trial.model} {trial.setting} seed {trial.seed} fold {trial.fold}"
    return engines.Step(f"trial {label}", key_of(trial, by, threads), "lib.study.trials:recorded",
                        {"by": by, "trial": trial.values})


def _read(entry: cache.Entry) -> list[Row]:
    """The rows of an entry, with their scores; they and their costs are kept for `save`."""
    rows = []
    for i, record in enumerate(entry.record):
        row = Row(**record["row"], scores=entry.arrays.get(str(i)))
        rows.append(row)
        _rows[row.id] = row
        add_costs([Cost(**cost) for cost in record["costs"]])
    return rows


def commit() -> str:
    """The commit of the code of this run; with `-dirty` where the code differs from it."""
    return _run["git"]


def _git() -> str:
    """Commit of the code, with `-dirty` where code differs from it; `unknown` without git."""
    def git(*words: str) -> str:
        call = ["git", "-C", str(paths.ROOT), *words]
        try:
            return subprocess.run(call, capture_output=True, text=True, check=False).stdout.strip()
        except OSError:
            return ""

    commit = git("rev-parse", "HEAD")
    code = ("lib", "notebooks", "params", "pyproject.toml")     # a run's own results do not count
    return commit + "-dirty" * bool(git("status", "--porcelain", "--", *code)) or "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:        # a reader of saved tables needs no torch
        return "not installed"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
