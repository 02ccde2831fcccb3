"""Runs a study's notebooks in order: each as a whole, and only where something has changed.

Torch is never imported here, Papermill and what reads stamps only once a notebook is to run.
"""

import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from lib.base import paths
from lib.base.said import bounded, duration
from lib.study import kernels, locks, parameters
from lib.study.parameters import Plan

MESSAGE = 600               # characters of an exception's message that are shown


class Stopped(RuntimeError):
    """A command that cannot go on; the message is one sentence for the user."""


def study(plan: Plan) -> dict[str, str]:
    """Execute the notebooks that have changed: notebook -> what it took, or saved.

    Stopped: a notebook failed; those before it are finished.
    """
    _link(plan.own)
    took = {}
    for place, stem in enumerate(plan.given, 1):
        head = f"[{place}/{len(plan.given)}] {stem} · {plan.profile}"
        took[stem] = _finished(plan, stem, head)
    return took


def _link(own: dict[str, Path]) -> None:
    """Put a user's data where `lib.data` finds them by their names."""
    for name, place in own.items():
        link = paths.CACHE / "own" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink() or link.readlink() != place:
            link.unlink(missing_ok=True)
            link.symlink_to(place)


@contextmanager
def alone(profile: str) -> Iterator[None]:
    """No second study of this profile meanwhile."""
    try:
        with locks.held(paths.RUNS / profile / ".lock"):
            yield
    except locks.Taken as taken:
        raise Stopped(f"the study {profile!r} is being run already, by process {taken.holder}; "
                      "wait for it, or stop it") from None


def _finished(plan: Plan, stem: str, head: str) -> str:
    """See that a notebook is executed as it stands; what that took, in words."""
    from lib.study import stamps
    began, source = time.monotonic(), parameters.notebook(stem)
    rows, figures = paths.RUNS / plan.profile, paths.FIGURES / plan.profile
    stamp = rows / f"{stem}.stamp.json"
    others = _others_rows(plan.profile) if stem == parameters.REPORT else []
    wanted = stamps.wanted(source, plan.resolved(stem), others)
    if done := stamps.valid(stamp, wanted):
        saved = f"unchanged ({duration(done['seconds'])} saved)"
        print(f"{head} · {saved}", flush=True)
        return saved
    print(f"{head} · {datetime.now():%H:%M}", flush=True)
    before = stamps.snapshot(rows, figures)
    _execute(source, plan.given[stem], rows / "notebooks")
    after = stamps.snapshot(rows, figures)
    made = [path for path, state in after.items() if before.get(path) != state]
    seconds = time.monotonic() - began
    stamps.write(stamp, wanted, _inputs(rows / f"{stem}.json"), made, seconds)
    return duration(seconds)


def _others_rows(profile: str) -> list[Path]:
    """The chapters' tables and the published ones: a new one is news for the report, but for those
    that the report itself saves."""
    tables = [*(paths.RUNS / profile).glob("[0-9][0-9]_*.csv*"), *paths.PUBLISHED.glob("*.csv")]
    return sorted(path for path in tables if path.name[:3] != parameters.REPORT[:3])


def _inputs(provenance: Path) -> dict[str, str]:
    """The files that a notebook says it read, with their hashes at that time."""
    try:
        return dict(json.loads(provenance.read_text())["inputs"])
    except (OSError, KeyError, TypeError, ValueError):
        return {}


def _execute(source: Path, given: dict[str, Any], folder: Path) -> None:
    """Run one notebook; it appears in `folder` when it is whole, until then as *.running.ipynb."""
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    folder.mkdir(parents=True, exist_ok=True)
    running = folder / f"{source.stem}.running.ipynb"
    half = f"\nThe half-run notebook: {running}"
    try:
        with kernels.environment(given["profile"]):
            _papermill(source, running, given)
        os.replace(running, folder / source.name)
    except PapermillExecutionError as error:
        raise Stopped(f"{source.stem} failed in cell [{error.exec_count}] with {error.ename}: "
                      f"{bounded(error.evalue, MESSAGE)}{half}{_cause(running)}") from None
    except DeadKernelError:
        raise Stopped(f"{source.stem} failed: its Python process died, for want of memory perhaps"
                      f"{half}") from None
    except RuntimeError as error:               # of jupyter_client, before the first cell
        raise Stopped(f"{source.stem} was not run: its Python process did not start "
                      f"({bounded(str(error), MESSAGE)})") from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f" in {source.stem}, half-run: {running}") from None


def _papermill(source: Path, running: Path, given: dict[str, Any]) -> None:
    """Papermill, to which braces in a notebook's path are parameters unless they are doubled."""
    import papermill
    # It reads no `int | None`, nor a list with `=` in it, and warns of what it passes all the same;
    # names and types are checked by `parameters` before.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    plain = [str(path).replace("{", "{{").replace("}", "}}") for path in (source, running)]
    papermill.execute_notebook(
        *plain, given, language="python", kernel_name="python3", cwd=paths.NOTEBOOKS,
        progress_bar=False, shutdown_kernel="immediate", stdout_file=sys.stdout,
        stderr_file=sys.stderr, extra_arguments=list(kernels.OPTIONS))


def _cause(running: Path) -> str:
    """The first trial that failed before a cell did, as the half-run notebook shows it: a cell that
    misses its row only says which."""
    try:
        cells = json.loads(running.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError):
        return ""
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    text = "\n".join("".join(output.get("text", "")) for output in outputs)
    failed = re.search(r" FAILED\n  (.+)", text)
    return f"\nA trial had failed before: {bounded(failed[1], MESSAGE)}" if failed else ""
