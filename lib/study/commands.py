"""Runs a study: notebooks in order, from parameter files, in one process; `python -m lib.study.commands`.

Torch is never imported here and Papermill late: a wrong parameter is reported within a second.
"""

import argparse
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType

from lib.base import paths

# jsonschema, which Jupyter imports, compiles a grammar of web addresses here: 2.7 s for nothing.
sys.modules.setdefault("rfc3987_syntax", None)      # type: ignore[arg-type]

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
MESSAGE = 600               # characters of an exception's message that are shown


class Stopped(RuntimeError):
    """A command that cannot go on; the message is one sentence for the user."""


def main(arguments: list[str] | None = None) -> int:
    """One command of run_all.sh; returns the exit status."""
    asked = _parser().parse_args(arguments)
    sys.stdout.reconfigure(line_buffering=True)         # heard at once, in a pipe as well
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return asked.run(asked)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt as stop:
        print(f"\nInterrupted{stop}. What is finished is kept; the same command goes on from "
              "there.", file=sys.stderr)
        return INTERRUPTED


def study(plan) -> int:
    """Execute what has changed, render, and say where the report is and what took how long."""
    from lib.page import report
    from lib.study import parameters, stamps
    took: list[tuple[str, str]] = []
    folders = paths.RUNS / plan.profile, paths.FIGURES / plan.profile
    with _alone(plan.profile):
        for i, stem in enumerate(plan.given, 1):
            clock, source = time.time(), parameters.notebook(stem)
            head = f"[{i}/{len(plan.given)}] {stem} · {plan.profile} · "
            others = _others_rows(plan.profile, stem) if stem == parameters.REPORT else []
            now = stamps.wanted(source, plan.resolved(stem), stamps.fingerprints(others))
            stamp = folders[0] / f"{stem}.stamp.json"
            if done := stamps.valid(stamp, now):
                saved = f"unchanged ({duration(done['seconds'])} saved)"
                print(f"{head}{saved}", flush=True)
                took.append((stem, saved))
                continue
            print(f"{head}{datetime.now():%H:%M}", flush=True)
            before = stamps.snapshot(*folders)
            _execute(source, plan.given[stem], folders[0] / "notebooks")
            made = [p for p, was in stamps.snapshot(*folders).items() if before.get(p) != was]
            seconds = time.time() - clock
            stamps.write(stamp, now, _read(folders[0] / f"{stem}.json"), made, seconds)
            took.append((stem, duration(seconds)))
        clock = time.time()
        page = report.render(plan.profile)
        took.append(("report and chapters", duration(time.time() - clock)))
    width = max(len(name) for name, _ in took)
    print("\n" + "\n".join(f"  {name:<{width}}  {spent}" for name, spent in took))
    print(f"\nThe report: {page}")
    return DONE


def duration(seconds: float) -> str:
    """Seconds as a person says them: `12 s`, `3 min 20 s`, `2 h 05 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _execute(source: Path, parameters: dict, folder: Path) -> None:
    """Run one notebook; it appears in `folder` when it is whole, until then as *.running.ipynb."""
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from papermill.iorw import LocalHandler, papermill_io

    class Whole(LocalHandler):
        def write(self, buf: str, path: str) -> None:
            paths.write_atomic(Path(path), buf)

    papermill_io.register(str(folder), Whole())
    folder.mkdir(parents=True, exist_ok=True)
    running = folder / f"{source.stem}.running.ipynb"
    path = os.environ.get("PYTHONPATH")         # kernels use this folder's lib, wherever it stands
    os.environ["PYTHONPATH"] = os.pathsep.join([str(paths.ROOT), *([path] if path else [])])
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"          # or the kernel talks of it
    try:
        papermill.execute_notebook(
            source, running, parameters, language="python", kernel_name="python3",
            cwd=paths.NOTEBOOKS, progress_bar=False, stdout_file=sys.stdout, stderr_file=sys.stderr,
            shutdown_kernel="immediate", extra_arguments=[
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
    finally:
        os.environ["PYTHONPATH"] = path or ""
    os.replace(running, folder / source.name)


def _read(provenance: Path) -> list[Path]:
    """The files that a notebook says it read."""
    try:
        named = json.loads(provenance.read_text())["inputs"]
    except (OSError, KeyError):
        return []
    return [paths.ROOT / name for name in named]


def _others_rows(profile: str, stem: str) -> list[Path]:
    """The other notebooks' tables and the published ones: a new one is news for the report."""
    folder = paths.RESULTS if profile == "published" else paths.RUNS / profile
    tables = [*folder.glob("[0-9][0-9]_*.csv"), *paths.PUBLISHED.glob("*.csv")]
    return sorted(p for p in tables if not p.name.startswith(stem))


@contextmanager
def _alone(profile: str) -> Iterator[None]:
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


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # a second one must not spoil the clean-up
    raise KeyboardInterrupt


def _study(asked: argparse.Namespace) -> int:
    from lib.study import parameters
    try:
        plan = parameters.study_plan(Path(asked.argument).absolute()) if asked.command == "study" \
            else parameters.folder_plan(asked.command, asked.argument)
    except parameters.Mistakes as mistakes:
        print(mistakes, file=sys.stderr)
        return WRONG
    if asked.check:
        return DONE
    if asked.command == "full":
        from lib.study import publish
        print(publish.cost(list(plan.given)))
    return study(plan)


def _report(asked: argparse.Namespace) -> int:
    from lib.study import parameters
    if not any(paths.RESULTS.glob("*.csv")):
        raise Stopped("data/results has no rows yet: run ./run_all.sh full, then publish")
    return study(parameters.Plan("published", {parameters.REPORT: {"profile": "published"}}))


def _other(asked: argparse.Namespace) -> int:
    from lib.study import compare, publish
    return compare.compare(asked.argument) if asked.command == "compare" \
        else getattr(publish, asked.command)()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m lib.study.commands", description="See ./run_all.sh --help.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run, argument in (
            ("quick", _study, None), ("full", _study, "?"), ("study", _study, 1),
            ("report", _report, None), ("compare", _other, "?"), ("publish", _other, None),
            ("status", _other, None), ("clean", _other, None)):
        command = commands.add_parser(name)
        command.set_defaults(run=run, argument=None)
        if argument:
            command.add_argument("argument", nargs=None if argument == 1 else argument)
        if run is _study:
            command.add_argument("--check", action="store_true", help="only the parameter files")
    return parser


if __name__ == "__main__":
    sys.exit(main())
