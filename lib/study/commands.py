"""The commands of run_all.sh; `python -m lib.study.commands`. Nobody imports this file.

Each command imports what it needs: a wrong parameter is told within a second by any Python that
reads YAML, and any Python at all can say what is there, or delete it.
"""

import os
import signal


def _stopped(number: int, frame: object) -> None:
    """An interrupt before anything has begun: nothing is to be cleaned up."""
    os.write(2, b"\nInterrupted before anything began.\n")
    os._exit(INTERRUPTED)


DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130         # exit statuses
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
for _number in SIGNALS:                                 # before the imports, which take their time
    if _number != signal.SIGHUP or signal.getsignal(_number) is not signal.SIG_IGN:     # nohup
        signal.signal(_number, _stopped)

# ruff: noqa: E402
import argparse
import errno
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from lib.base import paths
from lib.base.said import bounded, duration

if TYPE_CHECKING:
    from lib.study.parameters import Plan

# jsonschema, which Jupyter imports, compiles a grammar of web addresses here: 2.7 s for nothing.
sys.modules.setdefault("rfc3987_syntax", None)      # type: ignore[arg-type]


def main(arguments: list[str] | None = None) -> int:
    """One command of run_all.sh; returns the exit status. The last word is one sentence."""
    asked = _parser().parse_args(arguments)
    # Heard at once, in a pipe as well; and a stream of ASCII gets what it can hold.
    sys.stdout.reconfigure(line_buffering=True, errors="replace")
    try:
        for number in SIGNALS:                          # in here: one may come at the next line
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _interrupt)
        return asked.run(asked)
    except KeyboardInterrupt as stop:
        _tell(f"\nInterrupted{stop}. What is finished is kept; the same command goes on from "
              "there.")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)    # or Python complains at its end
        _tell("Whoever read the output has gone. What is finished is kept.")
    except OSError as error:
        _tell(_of_the_disk(error))
    except Exception as error:      # noqa: BLE001  whatever it is, a traceback is no last word
        _tell(f"{asked.command} failed: {type(error).__name__}: {bounded(str(error))}{_trace()}")
    return FAILED


def _tell(sentence: str) -> None:
    with suppress(OSError):
        print(sentence, file=sys.stderr)


def _of_the_disk(error: OSError) -> str:
    """What a file or folder did not allow, and what to do."""
    what = bounded(f"{error.filename or 'a file'}: {error.strerror or error}")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{what}. Free some space; the same command goes on from there."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{what}. Give yourself the right to write there, or use a copy of the project."
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return f"{what}. Something else stands where the study keeps a file or folder; move it."
    return f"{what}. What is finished is kept; the same command goes on from there."


def _trace() -> str:
    """Keep the traceback of an error that nobody foresaw; where it is."""
    path = paths.RUNS / "traceback.txt"
    with suppress(OSError):
        paths.write_atomic(path, traceback.format_exc())
        return f"\nWhere in the code: {path}"
    return ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("lib.study.commands", description="See ./run_all.sh --help.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run, count in (
            ("quick", _study, 0), ("full", _study, "?"), ("study", _study, None),
            ("report", _report, 0), ("lab", _other, 0), ("compare", _other, "?"),
            ("publish", _other, 0), ("status", _other, 0), ("clean", _other, 0)):
        command = commands.add_parser(name)
        command.set_defaults(run=run, argument=None)
        if count != 0:
            command.add_argument("argument", nargs=count)
        if run is _study:
            command.add_argument("--check", action="store_true", help="only the parameter files")
    return parser


def _study(asked: argparse.Namespace) -> int:
    from lib.study import parameters
    try:
        if asked.command == "study":
            plan = parameters.study_plan(Path(asked.argument).absolute())
        else:
            plan = parameters.folder_plan(asked.command, asked.argument)
    except parameters.Mistakes as mistakes:
        print(mistakes, file=sys.stderr)
        return WRONG
    if asked.check:
        return DONE
    if asked.command == "full":
        from lib.study import publish
        print(publish.cost(list(plan.given)))
    return _run(plan)


def _report(asked: argparse.Namespace) -> int:
    """Render the committed rows: every page, a line each with its seconds."""
    if not any(paths.RESULTS.glob("*.csv")):
        print("data/results has no rows yet: run ./run_all.sh full, then publish", file=sys.stderr)
        return FAILED
    from lib.page import report
    from lib.study import execute, parameters, published
    failed: list[str] = []
    stems = parameters.notebooks()
    try:
        with execute.alone("published"):
            page = report.render("published", _shown(published.executed(stems), failed), stems)
    except execute.Stopped as stop:
        print(stop, file=sys.stderr)
        return FAILED
    print(f"\nThe report: {page}")
    return FAILED if failed else DONE


def _shown(executed: Iterable, failed: list[str]) -> Iterator[tuple]:
    """Notebooks for their pages, a line each when its page is written; the others are told."""
    for stem, found, seconds in executed:
        began = time.monotonic()
        if isinstance(found, Exception):
            failed.append(stem)
            print(found, file=sys.stderr)
            continue
        yield stem, found
        print(f"{stem} · {duration(seconds + time.monotonic() - began)}")


def _other(asked: argparse.Namespace) -> int:
    from lib.study import upkeep
    match asked.command:
        case "lab":
            from lib.study import copies
            for sentence in copies.refresh():
                print(sentence)
            return DONE
        case "compare":
            from lib.study import compare
            return compare.compare(asked.argument)
        case "publish":
            from lib.study import publish
            return publish.publish()
        case "status":
            return upkeep.status()
    return upkeep.clean()


def _run(plan: "Plan") -> int:
    """Execute what has changed, render, and say where the report is and what took how long."""
    from lib.page import report
    from lib.study import execute
    try:
        with execute.alone(plan.profile):
            took = execute.study(plan)
            began = time.monotonic()
            page = report.render(plan.profile)
    except execute.Stopped as stop:
        print(stop, file=sys.stderr)
        return FAILED
    took["report and chapters"] = duration(time.monotonic() - began)
    width = max(map(len, took))
    print()
    for name, spent in took.items():
        print(f"  {name:<{width}}  {spent}")
    print(f"\nThe report: {page}")
    return DONE


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # a second one must not spoil the clean-up
    raise KeyboardInterrupt


if __name__ == "__main__":
    # Python itself dies of an interrupt that came while a string was executed (as dataclasses and
    # named tuples do), caught or not, where a module is run by -m.
    if (status := main()) == INTERRUPTED:
        os._exit(status)
    sys.exit(status)
