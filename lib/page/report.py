"""Executed notebooks become pages that read offline: chapters with their code, the report without.

Formulas become MathML here, figures bring their own bytes along (lib.figures), code is coloured by
style sheets in the page: nothing is fetched and no script runs.
"""

import base64
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup

from lib.base import paths

TEMPLATE = Path(__file__).parent / "template"
REPORT = "10_report"
# Code is kept as it is (first group); $$…$$ is a displayed formula, $…$ one in the text.
TEX = re.compile(r"(```.*?```|~~~.*?~~~|(`+).+?\2|\\\$)|\$\$(.+?)\$\$"
                 r"|\$(?!\s)((?:[^$\\\n]|\\.|\n(?!\s*\n))+?)(?<!\s)\$(?!\d)", re.DOTALL)
SCALE = 0.66                # of a figure's pixels: its letters become as large as the text's
NUMBER = re.compile(r"[-+−±–<>~≈×%\s\d.,:eE\[\]()/]*")


def render(profile: str) -> Path:
    """Write figures/<profile>/report.html and chapters/*.html, where they have changed."""
    folder, made = paths.FIGURES / profile, paths.RUNS / profile / "notebooks"
    sources = {p.stem: p for p in sorted(made.glob("[0-9][0-9]_*.ipynb"))
               if (paths.NOTEBOOKS / p.name).exists()}     # a half-run or a dropped one is not
    pages = {stem: folder / "report.html" if stem == REPORT else folder / f"chapters/{stem}.html"
             for stem in sources}
    if profile in ("full", "published"):    # the full study's chapters, run here or elsewhere
        pages = {p.stem: p for p in (paths.FIGURES / "full/chapters").glob("*.html")} | pages
    gone = {p for p in folder.glob("chapters/*.html")} - set(pages.values())
    for page in gone:
        page.unlink()
    ours = max(p.stat().st_mtime for p in [*TEMPLATE.iterdir(), Path(__file__)])
    all_there = not gone and all(page.exists() for page in pages.values())
    titles = {stem: title(sources[stem]) if stem in sources else
              BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").title.text
              for stem, page in pages.items()}
    for stem, source in sources.items():
        page = pages[stem]
        if not all_there or page.stat().st_mtime < max(source.stat().st_mtime, ours):
            paths.write_atomic(page, _html(source, page, pages, titles))
    return pages.get(REPORT, folder / "chapters")


def title(source: Path) -> str:
    """A notebook's first heading, without markup."""
    for cell in nbformat.read(source, as_version=4).cells:
        if cell.cell_type == "markdown" and (found := re.search(r"^#+\s+(.+)$", cell.source, re.M)):
            return re.sub(r"[*`]", "", found[1]).strip()
    return source.stem


def mathml(markdown: str, keep: Callable[[str], str]) -> str:
    """Markdown with every formula replaced by what `keep` gives for its MathML; code is left alone.

    >>> mathml("`$a$` and $x^2$", lambda m: "<math…" if m.startswith("<math") else m)
    '`$a$` and <math…'
    """
    from latex2mathml.converter import convert

    def formula(match: re.Match) -> str:
        code, _, displayed, inline = match.groups()
        if code:
            return code
        return keep(convert((displayed or inline).strip(), display="block" if displayed
                            else "inline").replace(' xmlns="http://www.w3.org/1998/Math/MathML"',
                                                   ""))
    return TEX.sub(formula, markdown)


def _html(source: Path, page: Path, pages: dict[str, Path], titles: dict[str, str]) -> str:
    from nbconvert import HTMLExporter
    notebook = nbformat.read(source, as_version=4)
    formulas: list[str] = []

    def keep(formula: str) -> str:              # Markdown must not see what stands in a formula
        formulas.append(formula)
        return f"\ue000{len(formulas) - 1}\ue001"

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = mathml(cell.source, keep)
        for output in cell.get("outputs", []):
            if "text/markdown" in output.get("data", {}):
                output.data["text/markdown"] = mathml(output.data["text/markdown"], keep)
    exporter = HTMLExporter(template_name=TEMPLATE.name,
                            extra_template_basedirs=[str(TEMPLATE.parent)])
    exporter.register_preprocessor("nbconvert.preprocessors.CoalesceStreamsPreprocessor", True)
    body, _ = exporter.from_notebook_node(notebook, {"page": _page(source, page, pages, titles)})
    soup = BeautifulSoup(body, "html.parser")
    for style in soup.find_all("style", scoped=True):
        style.decompose()                       # pandas' own, which no browser scopes any more
    for table in soup.find_all("table"):
        _align(table)
    for caption in soup.find_all("caption"):    # stays in sight while its table is scrolled
        inner = soup.new_tag("span")
        inner.extend(list(caption.contents))
        caption.append(inner)
    for image in soup.select("figure img[src^='data:image/png;base64,']"):
        head = base64.b64decode(image["src"][22:62])
        image["width"] = round(struct.unpack(">I", head[16:20])[0] * SCALE)
    links = {stem: _href(other, page) for stem, other in pages.items()}
    for link in soup.find_all("a", href=re.compile(r"^(\.\./notebooks/)?\d\d_\w+\.ipynb$")):
        stem = Path(link["href"]).stem
        if stem in links:
            link["href"] = links[stem]
        else:
            link.unwrap()                       # a chapter that this study left out
    return re.sub("\ue000(\\d+)\ue001", lambda m: formulas[int(m[1])], str(soup))


def _page(source: Path, page: Path, pages: dict[str, Path], titles: dict[str, str]) -> dict:
    """What the template needs to know beside the notebook."""
    chapters = [{"stem": stem, "title": titles[stem], "href": _href(other, page),
                 "label": stem.replace("_", " ")}
                for stem, other in sorted(pages.items()) if stem != REPORT]
    home = _href(pages.get(REPORT, page), page)
    stems = [c["stem"] for c in chapters]
    i = stems.index(source.stem) if source.stem in stems else None
    before = None if not i else chapters[i - 1]
    after = chapters[i + 1] if i is not None and i + 1 < len(chapters) else {
        "title": titles[REPORT], "href": home} if REPORT in titles else None
    return {"title": titles[source.stem], "stem": source.stem, "code": source.stem != REPORT,
            "home": home, "chapters": chapters, "before": before, "after": after, "css": _css()}


def _css() -> str:
    from pygments.formatters import HtmlFormatter
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight")
                   for style in ("friendly", "github-dark"))
    return "\n".join([(TEMPLATE / "page.css").read_text(encoding="utf-8"), light,
                      "@media screen and (prefers-color-scheme: dark) {", dark, "}"])


def _href(target: Path, page: Path) -> str:
    return Path(os.path.relpath(target, page.parent)).as_posix()


def _align(table) -> None:
    """Numbers to the right, words to the left, column by column."""
    for row in table.find_all("tr"):
        row.attrs.pop("style", None)
    table.attrs.pop("border", None)
    rows = [row.find_all(["th", "td"], recursive=False) for row in table.find_all("tr")]
    body = [cells for cells in rows if any(cell.name == "td" for cell in cells)]
    for i in range(max(map(len, body), default=0)):
        column = [cells[i] for cells in body if i < len(cells)]
        if all(cell.name == "td" and NUMBER.fullmatch(cell.get_text()) for cell in column):
            for cells in rows:
                if i < len(cells):
                    cells[i]["class"] = [*cells[i].get("class", []), "number"]
