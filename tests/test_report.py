"""Pages: every section there, every figure described, nothing fetched, formulas readable."""

import base64
import re
import struct

import nbformat
import pytest
from bs4 import BeautifulSoup

from lib.base import paths
from lib.page import report
from lib.study import parameters


def soup(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@pytest.fixture(scope="module")
def pages(quick):
    folder = quick[0].root / "figures/quick"
    return {p.stem: soup(p) for p in [folder / "report.html", *folder.glob("chapters/*.html")]}


def test_the_report_holds_every_section(quick, pages):
    source = nbformat.read(quick[0].root / "notebooks/10_report.ipynb", as_version=4)
    wanted = [line.lstrip("# ").strip() for cell in source.cells if cell.cell_type == "markdown"
              for line in cell.source.splitlines() if line.startswith("#")]
    found = [h.get_text().rstrip("¶") for h in pages["report"].find_all(re.compile("h[1-4]"))]
    assert len(wanted) >= 3 and set(wanted) <= set(found)
    assert not pages["report"].select("div.highlight")              # the report has no code …
    for stem in parameters.notebooks():
        if stem != parameters.REPORT:
            assert pages[stem].select("div.highlight")              # … its chapters have,
            assert pages["report"].select(f'a[href="chapters/{stem}.html"]')    # and are linked
            assert pages[stem].select('a[href="../report.html"]')


def test_links_between_pages_lead_somewhere(quick):
    folder = quick[0].root / "figures/quick"
    for page in [folder / "report.html", *folder.glob("chapters/*.html")]:
        ids = {tag["id"] for tag in soup(page).find_all(id=True)}
        for link in soup(page).find_all("a", href=True):
            if link["href"].startswith("#"):
                assert link["href"][1:] in ids, link
            elif not link["href"].startswith(("http:", "https:")):
                assert (page.parent / link["href"].split("#")[0]).exists(), link


def test_every_figure_is_whole_and_described(pages):
    for stem, page in pages.items():
        for figure in page.find_all("figure"):
            assert figure.figcaption.get_text(strip=True), stem
        for image in page.find_all("img"):
            assert image.find_parent("figure"), stem
            assert len(image["alt"]) > 10 and "No description" not in image["alt"], stem
            kind, _, data = image["src"].partition(";base64,")
            assert kind == "data:image/png", stem
            data = base64.b64decode(data, validate=True)
            assert data.startswith(b"\x89PNG") and data.rstrip().endswith(b"IEND\xaeB`\x82"), stem
            assert min(struct.unpack(">II", data[16:24])) > 50, stem
    assert pages["report"].find("figure") and len(pages) == len(parameters.notebooks())


def test_pages_read_offline(pages):
    for stem, page in pages.items():
        assert not page.find_all(["script", "iframe", "object", "embed"]), stem
        fetched = [tag[name] for name in ("src", "srcset", "poster", "background")
                   for tag in page.find_all(attrs={name: True})]
        fetched += [tag["href"] for tag in page.find_all("link", href=True)]
        styles = " ".join([t.get_text() for t in page.find_all("style")]
                          + [t["style"] for t in page.find_all(style=True)])
        fetched += re.findall(r"url\(([^)]*)\)|@import\s+(\S+)", styles)
        assert all(str(f).startswith("data:") for f in fetched), stem


def test_nothing_is_left_of_a_formula_and_no_page_tells_of_a_failure(pages):
    for stem, page in pages.items():
        for code in page(["code", "pre", "math", "style"]):
            code.extract()
        assert not re.search(r"\$\S|\\frac|\ue000|Traceback", page.get_text()), stem


def test_formulas_of_all_notebooks_become_mathml():
    for path in paths.NOTEBOOKS.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                assert "$" not in re.sub(r"`[^`]*`", "", report.mathml(cell.source, lambda m: ""))


@pytest.mark.parametrize("markdown, formulas", [
    ("costs $5 or $6", 0), ("`$a$` and ``$b$``", 0), ("```\n$x$\n```", 0), (r"\$x$", 0),
    ("$x$", 1), ("$$\nx\n$$", 1), ("$a_1$ and $b_1$", 2), ("between $a$,$b$", 2), ("$a$ 5$", 1),
])
def test_what_is_a_formula(markdown, formulas):
    found = []
    report.mathml(markdown, lambda formula: found.append(formula) or "")
    assert len(found) == formulas and all(f.startswith("<math") for f in found)


def test_a_page_is_made_of_any_notebook(toy):
    """Formulas beside Markdown's own signs, tables, links between notebooks, and no stray parts."""
    toy.notebook("03_page", "# Sum\n\nA *word*, $a_1 * b_1$ and a [neighbour](02_two.ipynb), "
                 "not [this](09_none.ipynb).", "from IPython.display import HTML, Markdown\n"
                 "Markdown('**bold** $y^2$')", "HTML('<table><tr><th>name</th><th>n</th></tr>"
                 "<tr><td>one</td><td>1.5</td></tr></table>')", "1 / 3")
    assert toy.run("quick").status == 0
    page = soup(toy.root / "figures/quick/chapters/03_page.html")
    assert page.title.text == "What does 03_page say?"
    assert len(page.find_all("math")) == 2 and page.find("em").text == "word"
    assert page.find("strong").text == "bold"
    assert page.select('section a[href="02_two.html"]') and not page.select('a[href*="09_none"]')
    assert [t.text for t in page.select(".number")] == ["n", "1.5"]
    assert "0.3333" in page.select("pre.stream")[-1].text
    home = soup(toy.root / "figures/quick/report.html")
    assert [a["href"] for a in home.select("footer li a")] == [
        f"chapters/{stem}.html" for stem in ("01_one", "02_two", "03_page")]
    assert "x" in home.find("math").text


def test_the_full_study_keeps_chapters_that_were_run_elsewhere(tmp_path, monkeypatch):
    for name in ("FIGURES", "RUNS", "NOTEBOOKS"):
        monkeypatch.setattr(paths, name, tmp_path / name)
    there = tmp_path / "FIGURES/full/chapters/03_there.html"
    there.parent.mkdir(parents=True)
    there.write_text("<title>There</title>")
    here = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Here")])
    for folder in (tmp_path / "NOTEBOOKS", tmp_path / "RUNS/full/notebooks"):
        folder.mkdir(parents=True)
        nbformat.write(here, folder / "02_here.ipynb")
    report.render("full")
    page = soup(there.with_name("02_here.html"))
    assert there.exists() and page.select('a[href="03_there.html"]')
