"""Pages: every section there, every figure described, nothing fetched, formulas readable."""

import re

import nbformat
import pytest
from bs4 import BeautifulSoup

from lib.base import paths
from lib.page import markup, show, side
from lib.study import parameters
from tests import pages as made
from tests.toys import HOSTILE


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
    assert {h.text for h in pages["report"].select(".contents a")} >= {
        h.get_text().rstrip("¶") for h in pages["report"].main.find_all("h2")}
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
            picture = figure.find(["svg", "img"])
            assert picture and float(picture["width"] if picture.name == "svg" else 100) > 50, stem
            finding = figure.find(role="img")["aria-label"] if figure.svg else figure.img["alt"]
            assert len(finding) >= 20, stem
    assert pages["report"].find("figure") and len(pages) == len(parameters.notebooks())


def test_pages_read_offline(pages):
    for stem, page in pages.items():
        assert not page.find_all(["iframe", "object", "embed"]), stem
        scripts = [script for script in page.find_all("script") if not script.get("type")]
        policy = page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
        assert scripts and not any(script.get("src") for script in scripts), stem
        assert all(f"'{side.policy_hash(script.string)}'" in policy for script in scripts), stem
        assert all(script.get("type", "") in ("", "application/json")
                   for script in page.find_all("script")), stem
        fetched = [tag[name] for name in ("src", "srcset", "poster", "background")
                   for tag in page.find_all(attrs={name: True})]
        fetched += [tag["href"] for tag in page.find_all("link", href=True)]
        assert all(f.startswith(("data:", "#")) for tag in page.find_all("image")
                   for f in [tag["href"]]), stem
        styles = " ".join([t.get_text() for t in page.find_all("style")]
                          + [t["style"] for t in page.find_all(style=True)])
        fetched += re.findall(r"url\(([^)]*)\)|@import\s+\S+", styles)
        assert all(str(f).startswith(("data:", "#")) for f in fetched), stem


def test_nothing_is_left_of_a_formula_and_no_page_tells_of_a_failure(pages):
    for stem, page in pages.items():
        for code in page(["code", "pre", "math", "style"]):
            code.extract()
        assert not re.search(r"\$\S|\\frac|\ue000|Traceback", page.get_text()), stem


def test_formulas_of_all_notebooks_become_mathml():
    for path in paths.NOTEBOOKS.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                assert "$" not in re.sub(r"`[^`]*`", "", markup.mathml(cell.source, lambda m: ""))


@pytest.mark.parametrize("markdown, formulas", [
    ("costs $5 or $6", 0), ("`$a$` and ``$b$``", 0), ("```\n$x$\n```", 0), (r"\$x$", 0),
    ("$x$", 1), ("$$\nx\n$$", 1), ("$a_1$ and $b_1$", 2), ("between $a$,$b$", 2), ("$a$ 5$", 1),
])
def test_what_is_a_formula(markdown, formulas):
    found = []
    markup.mathml(markdown, lambda formula: found.append(formula) or "")
    assert len(found) == formulas and all(f.startswith("<math") for f in found)


@pytest.fixture
def project(tmp_path, monkeypatch):
    made.move(monkeypatch, tmp_path)


def chapter():
    """A chapter with all that DESIGN asks of one, in a few cells."""
    return [made.text("# 03 · Few bits?\n\nWhat this asks."),
            made.code("run.start()", made.html('<div class="provenance"><table><tbody><tr>'
                                               "<th>code</th><td>abc</td></tr></tbody></table></div>")),
            made.text("## The experiment\n\n$$x^2$$"),
            made.code("run.each()", made.log("\n".join(f"line {i}" for i in range(12)))),
            made.code("short()", made.log("one line")),
            made.text("## Findings"), made.code("lines = 1"),
            made.code("show.findings(lines)", made.html('<ul class="findings"><li>GPTQ</li></ul>')),
            made.text("**Limits.** One sample.")]


def test_a_chapter_opens_with_its_findings_and_their_code_stays_where_it_was(project):
    made.written("03_few", *chapter())
    page = made.rendered()["03_few"]
    heads = [head.text for head in page.main.find_all(["h1", "h2"])]
    assert heads == ["03 · Few bits?", "Findings", "The experiment"]
    words = page.main.get_text()
    order = [words.index(part) for part in ("What this asks", "GPTQ", "short()",
                                            "show.findings(lines)", "One sample")]
    assert order == sorted(order)
    assert words.count("GPTQ") == words.count("show.findings(lines)") == 1


def test_the_report_and_a_chapter_without_findings_keep_their_order(project):
    made.written("10_report", made.text("# Report"), made.text("## First"),
                 made.text("## Findings"), made.code("1", made.log("seen")))
    made.written("01_plain", made.text("# Plain"), made.text("## End"))
    pages = made.rendered()
    assert [h.text for h in pages["report"].main.find_all("h2")] == ["First", "Findings"]
    assert [h.text for h in pages["01_plain"].main.find_all("h2")] == ["End"]
    assert pages["report"].select('footer a[href="chapters/01_plain.html"]')


def test_a_page_lists_its_parts(project):
    made.written("03_few", *chapter(), made.text("## The experiment"))
    page = made.rendered()["03_few"]
    listed = [(link["href"], link.text) for link in page.select(".contents a")]
    assert listed == [("#Findings", "Findings"), ("#The-experiment", "The experiment"),
                      ("#The-experiment-2", "The experiment")]
    assert all(page.find(id=href[1:]).name == "h2" for href, _ in listed)


def test_every_page_links_every_notebook_and_says_which_were_not_run(project):
    for stem in ("01_one", "02_two", "10_report"):
        made.written(stem, made.text(f"# Title of {stem}"))
    (paths.RUNS / "toy/notebooks/02_two.ipynb").unlink()
    pages = made.rendered()
    stems = ["10_report", "01_one", "02_two", "rows", "claims", "glossary"]
    assert set(pages) == {"report", "01_one", "rows", "claims", "glossary"}
    for stem, page in pages.items():
        folder = paths.FIGURES / "toy" / ("chapters" if stem == "01_one" else "")
        links = {link["title"]: link["href"] for link in page.select("header nav a")}
        assert list(links) == ["Title of 10_report", "Title of 01_one", "Rows", "Claims",
                               "Glossary"]
        assert all((folder / href).exists() for href in links.values())
        assert [span["title"] for span in page.select("header nav span[title]")] == [
            "Title of 02_two: not run here"]
        assert len(page.select("header nav > *")) == len(stems)


def test_links_to_pages_lead_there_from_every_page(project):
    source = ("# T\n\n[a](03_few.ipynb#x) [b](../figures/full/glossary.html#gptq) [c](rows.html) "
              "[d](../notebooks/10_report.ipynb)")
    for stem in ("03_few", "10_report"):
        made.written(stem, made.text(source))
    pages = made.rendered()
    found = {stem: [link["href"] for link in pages[stem].main.select("section.text p a")]
             for stem in ("03_few", "report")}
    assert found["report"] == ["chapters/03_few.html#x", "glossary.html#gptq", "rows.html",
                               "report.html"]
    assert found["03_few"] == ["03_few.html#x", "../glossary.html#gptq", "../rows.html",
                               "../report.html"]


def test_code_logs_and_provenance_are_folded(project):
    made.written("03_few", *chapter())
    page = made.rendered()["03_few"]
    assert not page.select("details[open]")
    assert all(code.find_parent("details", class_="code") for code in page.select(".highlight"))
    folded = page.select_one("details.log")
    assert folded.summary.text == "log of 12 lines; the last: line 11"
    assert folded.pre.text.startswith("line 0")
    assert [log.text for log in page.select("pre.stream") if not log.find_parent("details")] == [
        "one line"]
    assert page.select_one(".provenance").find_parent("details")


def test_what_a_librarys_console_displays_is_a_log_as_well(project):
    """As rich does in Jupyter: a display in HTML for each line."""
    start = '<pre style="white-space:pre;overflow-x:auto">'
    lines = [nbformat.v4.new_output("display_data", data={
        "text/html": f"{start}<span>step {i}</span>\n</pre>\n",
        "text/plain": f"step {i}\n"}) for i in range(12)]
    shown = made.html("<table><tr><td>1</td></tr></table>")
    made.written("03_few", made.text("# Few"), made.code("1", made.log("first\n"), *lines, shown))
    page = made.rendered()["03_few"]
    folded = page.select_one("details.log")
    assert folded.summary.text == "log of 13 lines; the last: step 11"
    assert not page.select("pre[style]") and page.select_one("table")


def test_a_log_of_thousands_of_lines_is_cut_in_the_middle_but_no_warning_is(project):
    lines = "\n".join(f"line {i}" for i in range(5000))
    made.written("03_many", made.text("# Many"), made.code("1", made.log(lines)),
                 made.code("2", made.log(lines, "stderr")))
    log, warning = made.rendered()["03_many"].select("details.log")
    assert log.summary.text == "log of 5000 lines; the last: line 4999"
    kept = log.pre.text.splitlines()
    assert kept[0] == "line 0" and kept[-1] == "line 4999" and len(kept) == 401
    assert kept[200] == "… 4600 lines more in the executed notebook …"
    assert warning.pre.text == lines


def test_formulas_and_links_in_text_beside_markdowns_own_signs(project):
    made.written("02_two", made.text("# Two"))
    made.written("03_page", made.text(
        "# Sum\n\nA *word*, $a_1 * b_1$ and a [neighbour](02_two.ipynb), not [this](09_none.ipynb)."
        "\n\n$$\\frac{a}{b}$$"))
    page = made.rendered()["03_page"]
    assert page.title.text == "Sum" and page.find("em").text == "word"
    assert len(page.find_all("math")) == 2 and page.find("math", display="block")["tabindex"] == "0"
    assert page.select('section a[href="02_two.html"]') and not page.select('a[href*="09_none"]')


def test_a_formula_is_only_what_a_notebooks_own_text_wrote(project, monkeypatch):
    """And a column that is named like the place of a formula stays a name."""
    made.written("03_few", made.text("# Few\n\n$x^2$"), made.code("1", *made.displayed(
        monkeypatch, lambda: show.text(f"Loss of {show.plain('$y^2$')} and \ue0000\ue001 "
                                       "formula0n"))))
    page = made.rendered()["03_few"]
    assert len(page.find_all("math")) == 1
    assert "Loss of $y^2$ and \ue0000\ue001 formula0n" in page.main.get_text()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_in_a_sentence_is_read_as_it_is(project, monkeypatch, name):
    made.written("03_few", made.text("# Few"), made.code("1", *made.displayed(
        monkeypatch, lambda: show.text(f"- **{show.plain(name)}** wins\n- so"))), made.code(
            "2", made.log(f"printed {name}")))
    page = made.rendered()["03_few"]
    said = markup.CONTROL.sub("\ufffd", name)
    assert page.main.li.strong.get_text() == said and len(page.main.find_all("li")) == 2
    assert "wins" in page.main.li.get_text() and not page.main.find(["script", "img", "math"])
    assert not page.main.find_all("a") and page.select_one("pre.stream").text == f"printed {said}"


def test_a_page_forbids_every_script_but_its_own_and_every_fetch(project):
    made.written("03_few", made.text("# Few\n\n<script>alert(1)</script>"))
    page = made.rendered()["03_few"]
    policy = page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    *_, own = page.find_all("script")
    allowed = re.search(r"script-src ([^;]*)", policy)[1].split()
    assert allowed == [f"'{side.policy_hash(own.string)}'"] and "http" not in policy


@pytest.mark.parametrize("columns, letters, kind", [
    (2, 5, "narrow"), (6, 9, "middle"), (8, 9, "paper"), (11, 9, "wide"), (20, 9, "widest")])
def test_a_tables_class_says_how_wide_it_is(columns, letters, kind):
    head = "".join(f"<th>c{i}</th>" for i in range(columns))
    body = "".join(f"<td>{'8' * letters}</td>" for _ in range(columns))
    page = BeautifulSoup(f"<table><tr>{head}</tr><tr>{body}</tr></table>", "html.parser")
    markup.finish(page)
    assert page.table["class"] == [kind] and page.table.parent["class"] == ["table"]


def test_cells_know_their_column_and_numbers_stand_to_the_right():
    page = BeautifulSoup("<table><thead><tr><th>name</th><th>n<small>measured</small></th></tr>"
                         "</thead><tbody><tr><td>one</td><td>1.5</td></tr><tr><td>two</td><td>–</td>"
                         "</tr></tbody></table>", "html.parser")
    markup.finish(page)
    assert [cell["data-label"] for cell in page.find_all("td")] == ["name", "n, measured"] * 2
    assert [cell.text for cell in page.select(".number")] == ["nmeasured", "1.5", "–"]


def test_an_empty_corner_heads_nothing():
    page = BeautifulSoup("<table><tr><th></th><th>n</th></tr>"
                         "<tr><th>one</th><td>1</td></tr></table>", "html.parser")
    markup.finish(page)
    assert [cell.name for cell in page.find_all(["th", "td"])] == ["td", "th", "th", "td"]
    assert page.find_all("td")[1]["data-label"] == "n"


def test_headings_alike_have_ids_of_their_own(project):
    made.written("03_few", made.text("# Few\n\n## Again"), made.text("## Again"))
    ids = [head["id"] for head in made.rendered()["03_few"].find_all("h2")]
    assert ids == ["Again", "Again-2"]


def test_a_page_that_was_edited_by_hand_is_made_again_whatever_the_clock_says(project):
    made.written("03_few", made.text("# Few"))
    made.rendered()
    page = paths.FIGURES / "toy/chapters/03_few.html"
    was = page.read_text()
    page.write_text("edited")
    made.rendered()
    assert page.read_text() == was


def test_the_full_study_keeps_chapters_that_were_run_elsewhere(project):
    there = paths.FIGURES / "full/chapters/03_there.html"
    there.parent.mkdir(parents=True)
    there.write_text("<title>There</title>")
    made.written("03_there", made.text("# There"))
    made.written("02_here", made.text("# Here"), profile="full")
    page = made.rendered("full")["02_here"]
    assert there.read_text() == "<title>There</title>" and page.select('a[href="03_there.html"]')


def test_a_chapter_that_is_gone_leaves_no_page(project):
    made.written("02_here", made.text("# Here"))
    made.written("03_gone", made.text("# Gone"))
    made.rendered()
    (paths.NOTEBOOKS / "03_gone.ipynb").unlink()
    assert set(made.rendered()) == {"02_here", "rows", "claims", "glossary"}
