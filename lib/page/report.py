"""Executed notebooks become pages that read offline: chapters with their code, the report without.

Formulas become MathML here, figures bring their own bytes along (lib.page.show), colours are the
page's own: nothing is fetched and no script runs, whatever a notebook printed.
"""

import os
import re
from html import escape
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup

from lib.base import paths
from lib.page import markup
from lib.page.colors import COLORS

TEMPLATE = Path(__file__).parent / "template"
REPORT = "10_report"
SEEN = re.compile(r"#+\s+What we see\b", re.IGNORECASE)
# A title, and the paragraph below it; what follows is how things were measured.
OPENING = re.compile(r"\s*#[^\n]*\n*(?:(?!\s*(?:[-*+>|#]|\d+\.)\s)[^\n]*\S[^\n]*(?:\n|$))*")
# Where lines of a table become cards: the tables, and the widths of a page that are too narrow.
CARDS = (("middle", "screen and (max-width: 47.99rem)"),
         ("paper", "screen and (max-width: 63.99rem)"),
         ("wide", "print, (max-width: 79.99rem)"), ("widest", "all"))


def render(profile: str) -> Path:
    """Write figures/<profile>/report.html and chapters/*.html, and give the report's path.

    All of them, each time: that takes two seconds, and no clock has to be trusted. Chapters of the
    full study that were run elsewhere stay as they are.
    """
    folder, made = paths.FIGURES / profile, paths.RUNS / profile / "notebooks"
    sources = {p.stem: p for p in sorted(made.glob("[0-9][0-9]_*.ipynb"))
               if (paths.NOTEBOOKS / p.name).exists()}     # a half-run or a dropped one is not
    pages = {stem: folder / "report.html" if stem == REPORT else folder / f"chapters/{stem}.html"
             for stem in sources}
    if profile in ("full", "published"):    # the full study's chapters, run here or elsewhere
        pages = {p.stem: p for p in (paths.FIGURES / "full/chapters").glob("*.html")} | pages
    for page in set(folder.glob("chapters/*.html")) - set(pages.values()):
        page.unlink()
    notebooks = {stem: nbformat.read(path, as_version=4) for stem, path in sources.items()}
    titles = {stem: title(notebooks[stem], stem) if stem in notebooks else
              BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").title.text
              for stem, page in pages.items()}
    for stem, notebook in notebooks.items():
        paths.write_atomic(pages[stem], _html(notebook, stem, pages, titles))
    return pages.get(REPORT, folder / "chapters")


def title(notebook: nbformat.NotebookNode, stem: str) -> str:
    """A notebook's first heading, without markup."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (found := re.search(r"^#+\s+(.+)$", cell.source, re.M)):
            return re.sub(r"[*`]", "", found[1]).strip()
    return stem


def opened(cells: list) -> list:
    """A chapter's cells with what “What we see” shows right below the title; its code stays where
    it was. A chapter without that section stays as it is."""
    start = next((i for i, cell in enumerate(cells)
                  if cell.cell_type == "markdown" and SEEN.match(cell.source)), None)
    if not start:
        return cells
    end = next((i for i in range(start + 1, len(cells)) if cells[i].cell_type == "markdown"),
               len(cells))
    seen, code = [cells[start]], []
    for cell in cells[start + 1:end]:
        shown = {"metadata": {**cell.metadata, "seen": True}, "id": f"{cell.id}-seen"}
        seen.append(nbformat.from_dict({**cell, **shown}))
        code.append(nbformat.from_dict({**cell, "outputs": []}))
    first = OPENING.match(cells[0].source)
    head, rest = cells[0].source[:first.end()], cells[0].source[first.end():].strip()
    said = nbformat.v4.new_markdown_cell
    how = [said(f"## How it was measured\n\n{rest}")] if rest else []
    pointer = said("## How that was found\n\nWhat we see [stands at the top](#What-we-see); this "
                   "is the code that says it.")
    return [said(head), *seen, *how, *cells[1:start], pointer, *code, *cells[end:]]


def _html(notebook: nbformat.NotebookNode, stem: str, pages: dict[str, Path],
          titles: dict[str, str]) -> str:
    """One page. A formula is what a notebook's own text writes; in an output, a name is a name."""
    from nbconvert import HTMLExporter
    formulas = markup.Formulas(nbformat.writes(notebook))
    if stem != REPORT:
        notebook.cells = opened(notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = markup.mathml(cell.source, formulas.keep)
        elif cell.cell_type == "code":
            logged = [markup.as_log(output) for output in cell.outputs]
            cell.outputs = [nbformat.from_dict(output) for output in logged]
    exporter = HTMLExporter(template_name=TEMPLATE.name,
                            extra_template_basedirs=[str(TEMPLATE.parent)])
    exporter.register_preprocessor("nbconvert.preprocessors.CoalesceStreamsPreprocessor", True)
    body, _ = exporter.from_notebook_node(notebook, {"page": _page(stem, pages, titles)})
    soup = BeautifulSoup(body, "html.parser")
    markup.finish(soup)
    links = {other: _href(page, pages[stem]) for other, page in pages.items()}
    for link in soup.find_all("a", href=re.compile(r"^(\.\./notebooks/)?\d\d_\w+\.ipynb$")):
        if (other := Path(link["href"]).stem) in links:
            link["href"] = links[other]
        else:
            link.unwrap()                       # a chapter that this study left out
    # A warning says which file of lib it comes from, but not where on this machine that lies.
    page = formulas.back(str(soup)).replace(escape(f"{paths.ROOT}/", quote=False), "")
    return markup.CONTROL.sub("\ufffd", page)


def _page(stem: str, pages: dict[str, Path], titles: dict[str, str]) -> dict:
    """What the template needs to know beside the notebook."""
    page = pages[stem]
    chapters = [{"stem": other, "title": titles[other], "href": _href(pages[other], page),
                 "label": other.replace("_", " ")} for other in sorted(pages) if other != REPORT]
    home = _href(pages.get(REPORT, page), page)
    stems = [chapter["stem"] for chapter in chapters]
    i = stems.index(stem) if stem in stems else None
    before = None if not i else chapters[i - 1]
    after = chapters[i + 1] if i is not None and i + 1 < len(chapters) else {
        "title": titles[REPORT], "href": home} if REPORT in titles else None
    return {"title": titles[stem], "stem": stem, "code": stem != REPORT, "home": home,
            "chapters": chapters, "before": before, "after": after, "css": _css()}


def _css() -> str:
    """The page's style sheet: its colours on light and dark ground, and tables as cards."""
    light, dark = ("; ".join(f"--{name}: {values[i]}" for name, values in COLORS.items())
                   for i in (0, 1))
    page, cards = ((TEMPLATE / name).read_text(encoding="utf-8")
                   for name in ("page.css", "cards.css"))
    return "\n".join([
        f":root {{ {light} }}",
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}", page,
        *(f"@media {media} {{\n{cards.replace('table.cards', f'table.{kind}')}}}"
          for kind, media in CARDS)])


def _href(target: Path, page: Path) -> str:
    return Path(os.path.relpath(target, page.parent)).as_posix()
