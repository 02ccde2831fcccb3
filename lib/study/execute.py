"""Runs a study's notebooks in order: each as a whole, and only where something has changed.

Torch is never imported here, Papermill and what reads stamps only once a notebook is to run.
"""

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from lib.base import paths
from lib.base.said import duration
from lib.study import parameters
from lib.study.parameters import Plan

MESSAGE = 600               # characters of an exception's message that are shown


class Stopped(RuntimeError):
    """A command that cannot go on; the message is one sentence for the user."""


def study(plan: Plan) -> dict[str, str]:
    """Execute the notebooks that have changed: notebook -> what it took, or saved.

    Stopped: a notebook failed; those before it are finished.
    """
    took = {}
    for place, stem in enumerate(plan.given, 1):
        head = f"[{place}/{len(plan.given)}] {stem} · {plan.profile}"
        took[stem] = _finished(plan, stem, head)
    return took


@contextmanager
def alone(profile: str) -> Iterator[None]:
    """No second study of this profile meanwhile. The system drops the lock of a dead process."""
    lock = paths.RUNS / profile / ".lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Stopped(f"the study {profile!r} is being run already, by process {file.read()}; "
                          "wait for it, or stop it") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _finished(plan: Plan, stem: str, head: str) -> str:
    """See that a notebook is executed as it stands; what that took, in words."""
    from lib.study import stamps
    began, source = time.monotonic(), parameters.notebook(stem)
    rows, figures = paths.RUNS / plan.profile, paths.FIGURES / plan.profile
    stamp = rows / f"{stem}.stamp.json"
    others = _others_rows(plan.profile) if stem == parameters.REPORT else []
    wanted = stamps.wanted(source, plan.resolved(stem), others)
    done = stamps.valid(stamp, wanted)
    if done:
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
    """The chapters' tables and the published ones: a new one is news for the report."""
    folder = paths.RESULTS if profile == "published" else paths.RUNS / profile
    tables = [*folder.glob("[0-9][0-9]_*.csv"), *paths.PUBLISHED.glob("*.csv")]
    return sorted(path for path in tables if not path.name.startswith(parameters.REPORT))


def _inputs(provenance: Path) -> dict[str, str]:
    """The files that a notebook says it read, with their hashes at that time."""
    try:
        return json.loads(provenance.read_text())["inputs"]
    except (OSError, KeyError):
        return {}


def _execute(source: Path, given: dict[str, Any], folder: Path) -> None:
    """Run one notebook; it appears in `folder` when it is whole, until then as *.running.ipynb."""
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    folder.mkdir(parents=True, exist_ok=True)
    running = folder / f"{source.stem}.running.ipynb"
    try:
        with _environment_of_kernels():
            papermill.execute_notebook(
                source, running, given, language="python", kernel_name="python3",
                cwd=paths.NOTEBOOKS, progress_bar=False, shutdown_kernel="immediate",
                stdout_file=sys.stdout, stderr_file=sys.stderr, extra_arguments=[
                    "--HistoryManager.enabled=False", "--IPKernelApp.log_level=40"])
    except PapermillExecutionError as error:
        message = " ".join(error.evalue.split())
        raise Stopped(f"{source.stem} failed in cell [{error.exec_count}] with {error.ename}: "
                      f"{message[:MESSAGE]}{'…' if len(message) > MESSAGE else ''}\n"
                      f"The half-run notebook: {running}") from None
    except DeadKernelError:
        raise Stopped(f"{source.stem} failed: its Python process died, for want of memory perhaps\n"
                      f"The half-run notebook: {running}") from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f" in {source.stem}, half-run: {running}") from None
    os.replace(running, folder / source.name)


@contextmanager
def _environment_of_kernels() -> Iterator[None]:
    """Kernels use this folder's lib, wherever it stands, and do not talk of their debugger."""
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(paths.ROOT), before]))
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    try:
        yield
    finally:
        os.environ["PYTHONPATH"] = before
