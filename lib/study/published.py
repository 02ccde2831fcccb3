"""The cells of notebooks that only read saved tables, executed on the committed rows.

Neither data, models nor torch are needed: cells that need them stay in the page as code.
"""

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

import nbformat

from lib.base import paths
from lib.base.said import bounded
from lib.study import kernels, parameters

if TYPE_CHECKING:
    from nbformat import NotebookNode

RUN = ("parameters", "setup", "show")       # tags of cells that are executed
TAGS = (*RUN, "compute")
MOST_SECONDS = 300                          # of one cell
MOST_AT_ONCE = 4                            # kernels


class Failed(RuntimeError):
    """A notebook whose cells cannot be shown; the message names it and the cell."""


def executed(stems: list[str]) -> Iterator[tuple[str, "NotebookNode | Failed", float]]:
    """Each notebook with the outputs of its RUN cells, or why not, and its seconds, as they come.

    The slowest one, the report, begins first.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pool = ThreadPoolExecutor(min(MOST_AT_ONCE, os.cpu_count() or 1))
    try:
        with kernels.environment("published"):
            waiting = {pool.submit(_timed, stem): stem for stem in reversed(stems)}
            for done in as_completed(waiting):
                found, seconds = done.result()
                yield waiting[done], found, seconds
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _timed(stem: str) -> tuple["NotebookNode | Failed", float]:
    began = time.monotonic()
    try:
        return _execute(stem), time.monotonic() - began
    except Failed as failed:
        return failed, time.monotonic() - began


def _execute(stem: str) -> "NotebookNode":
    """One notebook, whole, with the outputs of what was executed of it."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    whole = nbformat.read(parameters.notebook(stem), as_version=4)
    cells = []
    for cell in whole.cells:
        if cell.cell_type == "code" and not _tag(cell):
            raise Failed(f"{stem}: a cell is tagged none of {', '.join(TAGS)}: {_line(cell)}")
        cells += [cell, _given(stem)] if _tag(cell) == "parameters" else [cell]
    run = [cell for cell in cells if cell.cell_type == "code" and _tag(cell) != "compute"]
    light = nbformat.v4.new_notebook(cells=run, metadata=whole.metadata)
    client = NotebookClient(
        light, timeout=MOST_SECONDS, kernel_name="python3", shutdown_kernel="immediate",
        extra_arguments=list(kernels.OPTIONS), resources={"metadata": {"path": paths.NOTEBOOKS}})
    try:
        client.execute()
    except CellExecutionError as error:
        raise Failed(f"{_where(stem, light)} failed with {error.ename}: "
                     f"{bounded(error.evalue)}") from None
    except (CellTimeoutError, DeadKernelError) as error:
        raise Failed(f"{_where(stem, light)} failed: {bounded(str(error))}") from None
    whole.cells = cells                     # client.execute filled those that it was given
    return whole


def _given(stem: str) -> "NotebookNode":
    """The parameters of the published run, as far as the notebook has them, in a cell."""
    try:
        told = json.loads((paths.RESULTS / f"{stem}.json").read_text())["parameters"]
    except (OSError, ValueError, KeyError):
        told = {}
    known = parameters.cell(parameters.notebook(stem))
    given = {name: told[name] for name in known if name in told} | {"profile": "published"}
    lines = "\n".join(f"{name} = {value!r}" for name, value in given.items())
    return nbformat.v4.new_code_cell(lines, metadata={"tags": ["injected-parameters"]})


def _tag(cell: "NotebookNode") -> str:
    return next((tag for tag in cell.metadata.get("tags", []) if tag in TAGS), "")


def _where(stem: str, light: "NotebookNode") -> str:
    """The cell that failed: the last with outputs or a number of its execution."""
    begun = [i for i, cell in enumerate(light.cells) if cell.execution_count or cell.outputs]
    cell = light.cells[begun[-1]] if begun else light.cells[0]
    return f"{stem}: the {_tag(cell)} cell {cell.id} ({_line(cell)!r})"


def _line(cell: "NotebookNode") -> str:
    return bounded(cell.source.strip().split("\n")[0], 80)
