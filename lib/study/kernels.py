"""The Python processes that notebooks run in: this environment's, without a user's own settings.

JupyterLab is where a user's settings belong; rows and figures of a study must not depend on them.
"""

import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.base import paths

# A file that runs at every start, how pyplot draws, and asserts that are not checked.
DROPPED = ("PYTHONSTARTUP", "MPLBACKEND", "PYTHONOPTIMIZE")
OPTIONS = ("--HistoryManager.enabled=False", "--IPKernelApp.log_level=40")


@contextmanager
def environment(profile: str) -> Iterator[None]:
    """Meanwhile, kernels called python3 are this interpreter, use this folder's lib, and read
    neither a user's IPython startup files, nor matplotlibrc, nor kernelspecs."""
    before = dict(os.environ)
    folder = paths.CACHE / "jupyter" / profile
    _write_kernelspec(folder / "kernels" / "python3" / "kernel.json")
    for name in DROPPED:
        os.environ.pop(name, None)
    os.environ.update({
        "PYTHONPATH": os.pathsep.join(filter(None, [str(paths.ROOT), before.get("PYTHONPATH")])),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",      # kernels do not talk of their debugger
        "JUPYTER_PATH": str(folder), "IPYTHONDIR": str(folder / "ipython"),
        "MATPLOTLIBRC": str(_matplotlibrc())})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _write_kernelspec(path: Path) -> None:
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    paths.write_atomic(path, json.dumps({"argv": argv, "display_name": "Python 3 (GreenBits)",
                                         "language": "python"}))


def _matplotlibrc() -> Path:
    """What matplotlib itself brings; found without importing it."""
    found = importlib.util.find_spec("matplotlib")
    return Path(found.origin).parent / "mpl-data" / "matplotlibrc" if found else Path(os.devnull)
