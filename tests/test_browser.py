"""Pages as a browser shows them: readable for all, at every width, on paper, whatever names say.

Pages of a toy study with hostile names, and the published ones. Where no Chromium is found these
tests are skipped; .ci/run installs Debian's.
"""

import csv
import itertools
import json
import os
import re
import shutil
from pathlib import Path

import html5lib
import numpy as np
import pandas as pd
import pytest

from lib.base import paths
from lib.page import report, selector, show, style
from tests import pages as made
from tests.test_pages import answers
from tests.toys import HOSTILE

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = (390, 768, 1280)
A4 = 673                    # pixels between the margins of page.css
SCREEN = 900                # pixels, of 1280 x 900
PUBLISHED = paths.FIGURES / "full"
TOY = ("chapter", "report", "rows", "claims", "glossary")
PAGES = (*TOY, *(str(page.relative_to(PUBLISHED)) for page in sorted(PUBLISHED.rglob("*.html"))))
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")

# Tables and figures that are wider than their page, or than the box they stand in; a long table
# scrolls in its own frame.
TOO_WIDE = """() => [...document.querySelectorAll("table, figure, svg, img, pre, summary, th, td")]
    .filter(part => part.getClientRects().length && !part.closest("thead, svg *, .scroll"))
    .filter(part => part.getBoundingClientRect().right > document.documentElement.clientWidth + 1
                    || part.getBoundingClientRect().left < -1
                    || (part.clientWidth && !part.closest("svg")
                        && part.scrollWidth > part.clientWidth + 1))
    .map(part => part.outerHTML.slice(0, 200))"""
# Pairs of texts in one figure whose letters overlap by more than a pixel: of a line box of 1.2 em
# the letters take the middle 0.8.
OVERLAPS = """() => [...document.querySelectorAll("figure")].flatMap(figure => {
    const boxes = [...figure.querySelectorAll("svg text")]
        .filter(text => text.textContent.trim() && text.getClientRects().length)
        .map(text => { const box = text.getBoundingClientRect(), flat = box.width >= box.height;
            const [x, y] = flat ? [0, box.height / 6] : [box.width / 6, 0];
            return [text.textContent, box.left + x, box.right - x, box.top + y, box.bottom - y]; });
    const found = [];
    boxes.forEach((a, i) => boxes.slice(i + 1).forEach(b => {
        if (Math.min(a[2], b[2]) - Math.max(a[1], b[1]) > 1
            && Math.min(a[4], b[4]) - Math.max(a[3], b[3]) > 1) {
            found.push([figure.id, a[0], b[0]]); } }));
    return found; })"""
# Texts of figures as they are drawn: pixels of a letter's height, and what they say.
LETTERS = """() => [...document.querySelectorAll("figure svg text")]
    .filter(text => text.textContent.trim() && text.getClientRects().length)
    .map(text => { const matrix = text.getScreenCTM();
        return [parseFloat(getComputedStyle(text).fontSize) * Math.hypot(matrix.a, matrix.b),
                `${text.closest("figure").id}: ${text.textContent}`]; })"""


def wide_table() -> pd.DataFrame:
    numbers = {f"measured {i} of twelve": np.linspace(1000, 2e6, 9) for i in range(12)}
    return pd.DataFrame({"task": "fashion_mnist@edge", "model": "transformer_small", **numbers})


def drawing():
    """Two panels with points that tell their names."""
    figure, axes = style.panels(2)
    for axis, title in zip(axes, ("CIFAR-10 · ResNet-20", HOSTILE[1][:24]), strict=True):
        axis.plot([1, 2, 3], [3, 2, 1], color=style.ACCENT)
        for x in (1, 2, 3):
            axis.plot(x, 4 - x, "o", color=style.ACCENT, gid=f"tip:{HOSTILE[0]} {x} bits")
        axis.set(title=title, xlabel="bits per weight", ylabel="loss, pp")
    style.label(axes[0], 2.1, 2.3, HOSTILE[2], style.INK)
    return figure


def chapter_cells(monkeypatch) -> list:
    """Every kind of output that a chapter has, with names that try to be more than names."""
    shown = made.displayed(
        monkeypatch,
        lambda: show.figure(drawing(), "03_bits", f"Four bits suffice: {HOSTILE[2]}", "It falls"),
        lambda: show.table(wide_table(), "All", kinds={"measured 1 of twelve": "measured"}),
        lambda: show.table(wide_table(), "Folded", fold="every row"),
        lambda: show.table(pd.DataFrame({name: [name] for name in HOSTILE}), "Names"),
        lambda: show.box("03_few", varies="bits", held="the networks", measured="accuracy"),
        lambda: show.text("\n".join(f"- **{show.plain(name)}** stays" for name in HOSTILE)))
    long_log = "\n".join(f"[{i}/40] {HOSTILE[0]} ResNet-8 GPTQ {i}-bit" for i in range(40))
    formula = r"$$q(w) = \mathrm{clamp}(\mathrm{round}(w/s) + z, 0, 2^b - 1), \hat w = s (q - z)$$"
    return [made.text(f"# 03 · Few bits?\n\nWhat $x^2$ is.\n\n- **Varies:** bits.\n\n{formula}"),
            made.code("for x in range(3):  # a reason\n    print(f'{x}', 1.5, None)",
                      made.log(long_log), made.log("careful", "stderr"),
                      made.html('<div class="provenance"><table><tbody><tr><th>code</th>'
                                "<td>abc</td></tr></tbody></table></div>")),
            made.text("## Results\n\n| a | b |\n|---|---|\n| 1 | two |"),
            made.code("show()", *shown), made.text("## Findings"),
            made.code("show.findings(…)", *made.displayed(
                monkeypatch, lambda: show.findings(["**Four bits** suffice."])))]


def report_cells(monkeypatch) -> list:
    frame = pd.DataFrame({"technique": ["GPTQ 4-bit", "LSQ QAT ternary"], "loss, pp": [0.1, 2.0]})
    opening = selector.opening(["**4-bit weights** cost nothing.", "Below 4 bits, train."],
                               [("5–7×", "smaller files at 4 bits"), ("1/20", "of the energy")])
    shown = made.displayed(
        monkeypatch, lambda: show.table(frame, "Worst", kinds="measured"),
        lambda: show.figure(drawing(), "10_front", "Smaller files lose more", "c"))
    return [made.text("# How few?\n\nThis."), made.text("## The answer"),
            made.code("1", made.html(opening)), made.text("## Which technique should I use?"),
            made.code("2", made.html(selector.html(answers()))),
            made.text("## The trade-off"), made.code("3", *shown)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Name of a page -> its file: of a toy study's, and of the published ones."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        made.move(monkeypatch, tmp_path_factory.mktemp("site"))
        made.written("03_few", *chapter_cells(monkeypatch))
        made.written("10_report", *report_cells(monkeypatch))
        report.render("toy")
        folder = paths.FIGURES / "toy"
    toy = {"chapter": folder / "chapters/03_few.html"} | {
        name: folder / f"{name}.html" for name in TOY[1:]}
    return toy | {name: PUBLISHED / name for name in PAGES[len(TOY):]}


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        sandbox = [] if os.getuid() else ["--no-sandbox"]           # root may not have one
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield found
        found.close()


def opened(browser, page: Path, width: int, scheme: str = "light", unfold: bool = True, **more):
    tab = browser.new_page(viewport={"width": width, "height": SCREEN}, color_scheme=scheme, **more)
    tab.goto(page.as_uri())
    if unfold:
        tab.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    return tab


# Of long published pages each width and each scheme once: a page takes axe some seconds.
@pytest.mark.parametrize("name, width, scheme", [
    *itertools.product(TOY, (390, 1280), ("light", "dark")),
    *((name, *look) for name in PAGES[len(TOY):] for look in ((390, "dark"), (1280, "light")))])
def test_axe_finds_no_barrier(site, browser, name, width, scheme):
    from axe_playwright_python.sync_playwright import Axe
    tab = opened(browser, site[name], width, scheme)
    found = Axe().run(tab).response["violations"]
    tab.close()
    assert not [(rule["id"], rule["nodes"][0]["html"], rule["nodes"][0]["failureSummary"])
                for rule in found]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_its_page(site, browser, name, width):
    tab = opened(browser, site[name], width)
    scrolled = tab.evaluate("document.documentElement.scrollWidth")
    too_wide = tab.evaluate(TOO_WIDE)
    tab.close()
    assert scrolled <= width and too_wide == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_no_text_of_a_figure_overlaps_another(site, browser, name, width):
    tab = opened(browser, site[name], width)
    overlaps = tab.evaluate(OVERLAPS)
    tab.close()
    assert overlaps == []


@pytest.mark.parametrize("name", PAGES)
def test_on_a_phone_the_letters_of_a_figure_are_large_enough(site, browser, name):
    tab = opened(browser, site[name], 390)
    letters = tab.evaluate(LETTERS)
    tab.close()
    assert [said for size, said in letters if size < 10 - 0.05] == []       # pixels
    assert len(letters) > 20 or name not in ("chapter", "report")


def test_texts_that_overlap_are_found(site, browser):
    tab = opened(browser, site["chapter"], 1280)
    tab.evaluate("""() => { const text = document.querySelector("figure svg text");
                            text.after(text.cloneNode(true)); }""")
    assert len(tab.evaluate(OVERLAPS)) == 1
    tab.close()


@pytest.mark.parametrize("name", ["chapter", "report", "glossary"])
def test_nothing_is_wider_than_paper_and_what_is_folded_stays_folded(site, browser, name):
    tab = opened(browser, site[name], A4, unfold=False)
    tab.emulate_media(media="print")
    too_wide = tab.evaluate(TOO_WIDE)
    kept = tab.locator("details").evaluate_all(
        "all => all.filter(d => d.getClientRects().length).map(d => d.className)")
    if name == "report":                                # the answers stand there without a click
        assert tab.locator("details.answers tbody tr").last.bounding_box()["height"] > 5
        assert not tab.locator(".choices").is_visible()
    pdf = tab.pdf(format="A4")
    tab.close()
    assert too_wide == [] and kept == (["table answers"] if name == "report" else [])
    sheets = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert pdf.startswith(b"%PDF") and 1 <= sheets <= 12


def test_figures_are_drawn_in_the_colours_of_the_page(site, browser):
    inks = {}
    for scheme in ("light", "dark"):
        tab = opened(browser, site["chapter"], 1280, scheme)
        inks[scheme] = tab.evaluate("""() => [
            getComputedStyle(document.querySelector("figure svg text")).fill,
            getComputedStyle(document.querySelector("figure svg")).backgroundColor]""")
        tab.close()
    assert inks["light"][1] == "rgb(253, 253, 251)" and inks["dark"][1] == "rgb(19, 23, 22)"
    assert inks["light"][0] != inks["dark"][0]


def test_names_from_data_stay_names_and_run_nothing(site, browser):
    for page in ("chapter", "report"):
        tab = browser.new_page()
        said, asked = [], []
        tab.on("dialog", lambda dialog, said=said: said.append(dialog.message))
        tab.on("request", lambda request, asked=asked: asked.append(request.url))
        tab.goto(site[page].as_uri())
        tab.wait_for_load_state("networkidle")
        words = tab.evaluate("document.body.textContent")
        assert tab.evaluate("window.harmed") is None and said == []
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        harm = "iframe, main a[href^=javascript], [onerror]"
        assert tab.locator(harm).count() == 0
        tab.close()
        for name in HOSTILE[:4] if page == "chapter" else HOSTILE[:2]:
            assert words.count(name) >= 2, name                     # head, cell, sentence


def test_a_script_that_the_page_does_not_know_is_not_run(site, browser, tmp_path):
    page = site["chapter"].read_text(encoding="utf-8")
    harmed = tmp_path / "harmed.html"
    harmed.write_text(page.replace("</main>", "<script>window.harmed = 1</script></main>", 1),
                      encoding="utf-8")
    tab = opened(browser, harmed, 1280)
    assert tab.evaluate("window.harmed") is None
    assert tab.evaluate("document.documentElement.className") == "js"       # page.js was run
    tab.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_html_without_an_error(site, name):
    parser = html5lib.HTMLParser()
    parser.parse(site[name].read_text(encoding="utf-8"))
    assert parser.errors == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens(site, browser, name):
    tab, failed = browser.new_page(viewport={"width": 1280, "height": SCREEN}), []
    tab.on("pageerror", lambda error: failed.append(str(error)))
    tab.goto(site[name].as_uri())
    seconds = tab.evaluate("performance.timing.loadEventEnd - performance.timing.navigationStart")
    tab.close()
    print(f"{name}: {seconds / 1000:.2f} s, {site[name].stat().st_size / 1e6:.2f} MB")
    assert failed == []


@pytest.mark.skipif("report.html" not in PAGES, reason="nothing is published")
def test_the_published_report_is_ten_screens_and_its_files_are_small(site, browser):
    tab = opened(browser, site["report.html"], 1280, unfold=False)
    height = tab.evaluate("document.documentElement.scrollHeight")
    tab.close()
    print(f"report: {height / SCREEN:.1f} screens")
    assert height <= 10 * SCREEN
    assert site["report.html"].stat().st_size <= 1.5e6
    assert (PUBLISHED / "rows.html").stat().st_size <= 4e6


def embedded(tab) -> list[dict]:
    return json.loads(tab.locator('.selector script[type="application/json"]').text_content())


def shown(tab) -> dict:
    """What the selector shows."""
    slots = {name: tab.locator(f'[data-slot="{name}"]') for name in
             ("technique", "sentence", "cost", "python", "yaml")}
    lines = tab.locator('[data-slot="networks"] tr').evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))")
    return {name: slot.text_content() for name, slot in slots.items()} | {"lines": lines}


def wanted(answer: dict) -> dict:
    lines = [[line["network"], line["change"], line["loss"], "yes" if line["kept"] else "no"]
             for line in answer["networks"]]
    return {name: answer[name] for name in
            ("technique", "sentence", "cost", "python", "yaml")} | {"lines": lines}


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", [name for name in ("report", "report.html") if name in PAGES])
def test_the_selector_gives_each_embedded_answer_by_mouse(site, browser, name, width):
    tab = opened(browser, site[name], width, unfold=False)
    if not tab.locator(".selector").count():
        pytest.skip("a report without the selector")
    for answer in embedded(tab):
        for part in ("kind", "goal", "loss", "training"):
            tab.select_option(f'.selector select[name="{part}"]', answer[part])
        assert shown(tab) == wanted(answer)
        asked = tab.locator('[data-slot="asked"]').text_content()
        assert all(answer[part] in asked for part in ("kind", "goal", "loss", "training"))
        evidence = tab.locator('[data-slot="evidence"]')
        assert evidence.is_visible() == bool(answer["evidence"])
        assert evidence.get_attribute("href") == (answer["evidence"] or "#")
        assert tab.locator(".networks").is_visible() == bool(answer["networks"])
    tab.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_selector_is_used_by_keyboard_alone(site, browser, width):
    tab = opened(browser, site["report"], width, unfold=False)
    given = embedded(tab)
    parts = ("kind", "goal", "loss", "training")
    options = {part: list(dict.fromkeys(answer[part] for answer in given)) for part in parts}
    for _ in range(60):                                             # from the top of the page
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.name") == "kind":
            break
    for step, part in enumerate(parts):
        assert tab.evaluate("document.activeElement.name") == part
        if step != 2:
            tab.keyboard.press("ArrowDown")
        tab.keyboard.press("Tab")
    chosen = {part: options[part][0 if part == "loss" else 1] for part in parts}
    answer = next(answer for answer in given if chosen.items() <= answer.items())
    assert shown(tab) == wanted(answer) and tab.locator('[aria-live="polite"] .recipe').count()
    tab.close()


def test_without_a_script_the_default_answer_and_the_whole_table_stand_there(site, browser):
    tab = opened(browser, site["report"], 1280, unfold=False, java_script_enabled=False)
    assert not tab.locator(".choices").is_visible() and tab.locator(".recipe").is_visible()
    tab.locator("details.answers > summary").click()
    assert tab.locator("details.answers tbody tr").count() == len(answers())
    assert tab.locator("details.answers tbody tr").last.is_visible()
    tab.close()


def test_a_point_of_a_figure_tells_its_name_on_hover_tap_and_focus(site, browser):
    tab = opened(browser, site["chapter"], 1280, unfold=False)
    tip, points = tab.locator("#tip"), tab.locator("figure [data-tip]")
    assert points.count() == 6 and not tip.is_visible()
    points.nth(1).scroll_into_view_if_needed()
    for act in ("hover", "click"):
        box = points.nth(1).bounding_box()
        at = (box["x"] + box["width"] / 2 + 6, box["y"] + box["height"] / 2)    # near is enough
        tab.mouse.move(*at) if act == "hover" else tab.mouse.click(*at)
        tip.wait_for(state="visible", timeout=10_000)
        assert tip.text_content() == f"{HOSTILE[0]} 2 bits"
        tab.mouse.move(2, 2)
        tip.wait_for(state="hidden", timeout=10_000)
    assert tab.locator('figure [data-tip][tabindex="0"]').count() == 2          # one a panel
    points.nth(0).focus()
    tab.keyboard.press("ArrowRight")
    assert tip.text_content() == f"{HOSTILE[0]} 2 bits" and tip.is_visible()
    tab.keyboard.press("Escape")
    assert not tip.is_visible()
    box = tip.bounding_box()
    assert box is None
    tab.close()


def test_the_contents_stand_beside_a_wide_page_and_are_folded_on_a_phone(site, browser):
    tab = opened(browser, site["report"], 1280, unfold=False)
    links = tab.locator(".contents a")
    assert links.all_text_contents() == ["The answer", "Which technique should I use?",
                                         "The trade-off"]
    assert links.first.is_visible()
    assert tab.locator(".contents").bounding_box()["x"] < tab.locator("main").bounding_box()["x"]
    tab.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    assert 0 <= tab.locator(".contents").bounding_box()["y"] < 200              # sticky
    tab.set_viewport_size({"width": 390, "height": SCREEN})
    tab.wait_for_timeout(200)
    assert tab.locator(".contents").get_attribute("open") is None and not links.first.is_visible()
    tab.close()


@pytest.mark.skipif("rows.html" not in PAGES, reason="nothing is published")
def test_rows_are_searched_filtered_sorted_and_saved(site, browser):
    tab = opened(browser, site["rows.html"], 1280, unfold=False)
    lines, status = tab.locator(".long tbody tr"), tab.locator('[data-part="status"]')
    count = int(re.match(r"([\d,]+) of", status.text_content())[1].replace(",", ""))
    assert lines.count() == 200 and count > 14_000
    tab.click('[data-part="more"]')
    assert lines.count() == 400
    heads = [head.strip() for head in tab.locator(".long thead th").all_text_contents()]

    def column(name: str) -> list[str]:
        place = heads.index(name)
        return lines.evaluate_all(f"rows => rows.map(row => row.cells[{place}].textContent)")

    tab.fill('[data-part="search"]', "cifar-10 gptq")
    tab.wait_for_timeout(400)                           # it waits for the end of typing
    assert set(column("task")) == {"CIFAR-10"} and all("GPTQ" in t for t in column("technique"))
    tab.select_option(f'select[data-column="{heads.index("chapter")}"]', "03_ptq")
    tab.locator(".long details summary").click()
    tab.fill(f'input[data-column="{heads.index("bits per weight")}"]', "2..4.5")
    tab.wait_for_timeout(400)
    bits = [float(value) for value in column("bits per weight")]
    assert set(column("chapter")) == {"03_ptq"} and bits and 2 <= min(bits) <= max(bits) <= 4.5
    for direction in (1, -1):
        tab.locator(".long thead th").nth(heads.index("score")).locator("button").click()
        scores = [direction * float(value.replace(",", "").replace("−", "-"))
                  for value in column("score")]
        assert scores == sorted(scores) and len(scores) == len(bits)
    with tab.expect_download() as download:
        tab.click('[data-part="save"]')
    with open(download.value.path(), encoding="utf-8") as file:
        saved = list(csv.reader(file))
    tab.close()
    assert saved[0] == heads and len(saved) - 1 >= len(bits)
    published = pd.read_csv(paths.RESULTS / "03_ptq.csv").set_index("id")
    for line in itertools.islice(saved[1:], 20):
        row = dict(zip(heads, line, strict=True))
        assert float(row["score"]) == pytest.approx(published.score[row["id"]])
