"""Executed notebooks become pages that read offline: chapters with their code, the report without.

Formulas become MathML, figures bring their own bytes along (lib.page.show): nothing is fetched, and
the one script of a page is known to its Content-Security-Policy by its hash.
"""

import copy
import json
import os
import re
from collections.abc import Iterable
from html import escape
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from nbformat import NotebookNode

from lib.base import paths
from lib.page import markup, side

TEMPLATE = Path(__file__).parent / "template"
REPORT = "10_report"
SIDE = {"rows": "Rows", "claims": "Claims", "glossary": "Glossary"}
FINDINGS = re.compile(r"##\s+Findings\b")
NOTEBOOK = re.compile(r"(?:\.\./notebooks/)?(\d\d_\w+)\.ipynb(#.*)?$")
PAGE = re.compile(rf"(?:\.\./figures/full/)?(report|{'|'.join(SIDE)})\.html(#.*)?$")


def render(profile: str, notebooks: Iterable[tuple[str, NotebookNode]] | None = None,
           expected: Iterable[str] = ()) -> Path:
    """Write report, chapters and side pages of a profile under figures/, and give the report's path
    (the chapters' folder, where there is none).

    notebooks: stems and executed notebooks, as they come, of the stems expected; those of the
    profile's last run if not given. The published rows are the full study's: so are their pages.
    """
    made = {} if notebooks else _executed(profile)
    folder = paths.FIGURES / ("full" if profile == "published" else profile)
    paths.profile(profile)
    for page in folder.glob("chapters/*.html"):
        if page.stem not in (made if folder.name != "full" else _stems()):
            page.unlink()
    before = {stem for stem in _stems() if _place(folder, stem).exists()}
    hoped = {*before, *made, *expected}
    side.write(folder, navigation(folder / "rows.html", folder, hoped))
    for stem, notebook in notebooks or made.items():
        made[stem] = notebook
        _write(folder, stem, notebook, hoped)
    there = {*before, *made}
    if there != hoped:                          # one that failed is linked by no page
        side.write(folder, navigation(folder / "rows.html", folder, there))
        for stem, notebook in made.items():
            _write(folder, stem, notebook, there)
    if profile == "published":
        _drop_figures(folder, made)
    return _place(folder, REPORT) if REPORT in there else folder / "chapters"


def _write(folder: Path, stem: str, notebook: NotebookNode, there: Iterable[str]) -> None:
    page = _place(folder, stem)
    paths.write_atomic(page, _html(notebook, stem, navigation(page, folder, there)))


def navigation(page: Path, folder: Path, there: Iterable[str]) -> list[dict[str, str]]:
    """The links of a page: the report, every notebook of the project, the side pages. Each is stem,
    label, title and href, "" where the notebook has no page (there: stems of those that have)."""
    chapters = [stem for stem in _stems() if stem != REPORT]
    entries = [(REPORT, "GreenBits"), *((stem, stem.replace("_", " ")) for stem in chapters)]
    found = [{"stem": stem, "label": label, "title": title(_source(stem), stem),
              "href": _href(_place(folder, stem), page) if stem in there else ""}
             for stem, label in entries]
    return found + [{"stem": stem, "label": label, "title": label,
                     "href": _href(folder / f"{stem}.html", page)} for stem, label in SIDE.items()]


def title(cells: Iterable[dict], stem: str) -> str:
    """The first heading of a notebook's cells, without markup."""
    for cell in cells:
        if cell["cell_type"] == "markdown" and (
                found := re.search(r"^#+\s+(.+)$", "".join(cell["source"]), re.M)):
            return re.sub(r"[*`]", "", found[1]).strip()
    return stem


def with_findings_first(cells: list[NotebookNode]) -> list[NotebookNode]:
    """A chapter's cells with its findings right below the title; their code stays where it was."""
    texts = [i for i, cell in enumerate(cells) if cell.cell_type == "markdown"]
    start = next((i for i in texts if FINDINGS.match(cells[i].source)), 0)
    if not start:
        return cells
    end = next((i for i in texts if i > start), len(cells))
    shown = [nbformat.from_dict({**cell, "id": f"{cell.id}-shown",
                                 "metadata": {**cell.metadata, "seen": True}})
             for cell in cells[start + 1:end]]
    code = [nbformat.from_dict({**cell, "outputs": []}) for cell in cells[start + 1:end]]
    return [cells[0], cells[start], *shown, *cells[1:start], *code, *cells[end:]]


def _executed(profile: str) -> dict[str, NotebookNode]:
    """The notebooks that a profile's last run executed as a whole."""
    folder = paths.RUNS / profile / "notebooks"
    there = [stem for stem in _stems() if (folder / f"{stem}.ipynb").exists()]
    return {stem: nbformat.read(folder / f"{stem}.ipynb", as_version=4) for stem in there}


def _stems() -> list[str]:
    return sorted(path.stem for path in paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def _source(stem: str) -> list[dict]:
    """A notebook's cells as they stand in the project."""
    path = paths.NOTEBOOKS / f"{stem}.ipynb"
    return json.loads(path.read_text(encoding="utf-8"))["cells"] if path.exists() else []


def _place(folder: Path, stem: str) -> Path:
    return folder / "report.html" if stem == REPORT else folder / f"chapters/{stem}.html"


def _html(notebook: NotebookNode, stem: str, links: list[dict[str, str]]) -> str:
    """One page. A formula is what a notebook's own text writes; in an output, a name is a name."""
    formulas = markup.Formulas(nbformat.writes(notebook))
    notebook = copy.deepcopy(notebook)
    if stem != REPORT:
        notebook.cells = with_findings_first(notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = markup.mathml(cell.source, formulas.keep)
        elif cell.cell_type == "code":
            cell.outputs = [nbformat.from_dict(markup.as_log(output)) for output in cell.outputs]
    page = {"title": title(notebook.cells, stem), "stem": stem, "code": stem != REPORT,
            "contents": [], "navigation": links, **side.assets()}
    soup = _soup(notebook, page)
    page["contents"] = [(head["id"], head.get_text().rstrip("¶"))
                        for head in soup.main.find_all("h2", id=True)]
    soup = _soup(notebook, page)                # the contents are known when the page has been made
    _link(soup, {entry["stem"]: entry["href"] for entry in links})
    # A warning says which file of lib it comes from, but not where on this machine that lies.
    html = formulas.back(str(soup)).replace(escape(f"{paths.ROOT}/", quote=False), "")
    return markup.CONTROL.sub("\ufffd", html)


def _soup(notebook: NotebookNode, page: dict) -> BeautifulSoup:
    from nbconvert import HTMLExporter
    exporter = HTMLExporter(template_name=TEMPLATE.name,
                            extra_template_basedirs=[str(TEMPLATE.parent)])
    exporter.register_preprocessor("nbconvert.preprocessors.CoalesceStreamsPreprocessor", True)
    body, _ = exporter.from_notebook_node(notebook, {"page": page})
    soup = BeautifulSoup(body, "html.parser")
    markup.finish(soup)
    return soup


def _link(soup: BeautifulSoup, links: dict[str, str]) -> None:
    """Links to notebooks and pages lead to this study's pages; to one that it left out, nowhere."""
    for link in soup.main.find_all("a", href=True):
        if found := NOTEBOOK.match(link["href"]) or PAGE.match(link["href"]):
            href = links.get(REPORT if found[1] == "report" else found[1], "")
            link["href"] = href + (found[2] or "")
            if not href:
                link.unwrap()


def _drop_figures(folder: Path, made: dict[str, NotebookNode]) -> None:
    """Delete the figures of chapters whose page shows them no more."""
    for stem in made:
        shown = set(re.findall(r'<figure id="(\w+)"', _place(folder, stem).read_text("utf-8")))
        for file in folder.glob(f"{stem[:2]}_*.[ps][nv]g"):
            if file.stem not in shown:
                file.unlink()


def _href(target: Path, page: Path) -> str:
    return Path(os.path.relpath(target, page.parent)).as_posix()
