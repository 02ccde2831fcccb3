"""Pages made in a moment: notebooks whose outputs are made here, without a kernel."""

from collections.abc import Callable
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from IPython.display import Markdown

from lib.base import paths
from lib.page import report, show


def text(source: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(source)


def code(source: str, *outputs: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(source, outputs=list(outputs))


def log(lines: str, stream: str = "stdout") -> nbformat.NotebookNode:
    return nbformat.v4.new_output("stream", name=stream, text=lines)


def html(source: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_output("display_data", data={"text/html": source})


def displayed(monkeypatch, *calls: Callable[[], None]) -> list[nbformat.NotebookNode]:
    """The outputs of calls of `show`."""
    found = []

    def display(what) -> None:
        kind = "text/markdown" if isinstance(what, Markdown) else "text/html"
        found.append(nbformat.v4.new_output("display_data", data={kind: what.data}))

    monkeypatch.setattr(show, "display", display)
    for call in calls:
        call()
    return found


def move(monkeypatch, folder: Path) -> None:
    """A project of its own: figures, runs and notebooks under `folder`, in the profile toy."""
    for name in ("FIGURES", "RUNS", "NOTEBOOKS"):
        monkeypatch.setattr(paths, name, folder / name.lower())
    monkeypatch.setattr(paths, "_profile", "toy")


def written(stem: str, *cells: nbformat.NotebookNode, profile: str = "toy") -> None:
    """A notebook as the driver leaves it: its source, and the executed copy."""
    for folder in (paths.NOTEBOOKS, paths.RUNS / profile / "notebooks"):
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), folder / f"{stem}.ipynb")


def rendered(profile: str = "toy") -> dict[str, BeautifulSoup]:
    """Every page of a study, by its stem."""
    report.render(profile)
    folder = paths.FIGURES / profile
    return {page.stem: BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
            for page in [*folder.glob("*.html"), *folder.glob("chapters/*.html")]}
