"""Pages as a browser shows them: readable for all, at every width, on paper, whatever names say.

Where no Chromium is found these tests are skipped; .ci/run installs Debian's.
"""

import os
import re
import shutil
from pathlib import Path

import html5lib
import numpy as np
import pandas as pd
import pytest

from lib.base import paths
from lib.page import figures, report, show
from tests import pages as made
from tests.test_figures import LADDER, PUBLISHED, SWEEP, losses, points, steps, summary
from tests.toys import HOSTILE, blobs

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = (390, 768, 1280)
A4 = 673                    # pixels between the margins of page.css
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")

# Tables and figures that are wider than their page, or than the box they stand in.
TOO_WIDE = """() => [...document.querySelectorAll("table, figure, svg, img, pre, summary, th, td")]
    .filter(part => part.getClientRects().length && !part.closest("thead, svg *"))
    .filter(part => part.getBoundingClientRect().right > document.documentElement.clientWidth + 1
                    || part.getBoundingClientRect().left < -1
                    || (part.clientWidth && !part.closest("svg")
                        && part.scrollWidth > part.clientWidth + 1))
    .map(part => part.outerHTML.slice(0, 200))"""


def wide_table() -> pd.DataFrame:
    numbers = {f"measured {i} of twelve": np.linspace(1000, 2e6, 9) for i in range(12)}
    return pd.DataFrame({"task": "fashion_mnist@edge", "model": "transformer_small", **numbers})


def chapter_cells(monkeypatch) -> list:
    """Every kind of output that a chapter has, with names that try to be more than names."""
    named = points().replace("gptq, 4 bits", HOSTILE[1])
    named_front = figures.ptq.front(named, named[named.technique == HOSTILE[1]])
    drawn = [("03_bits", figures.ptq.losses_by_bits(losses(SWEEP | {HOSTILE[0]: [3, 1, 0]}))),
             ("03_front", named_front),
             ("03_ladder", figures.ptq.ladder(steps(LADDER), pd.Series({"net": 92.0})))]
    shown = made.displayed(
        monkeypatch,
        *(lambda name=name, figure=figure: show.figure(figure, name, f"Of {HOSTILE[2]}", "It falls")
          for name, figure in drawn),
        lambda: show.figure(*figures.data.examples(blobs())),
        lambda: show.table(wide_table(), "All", kinds={"measured 1 of twelve": "measured"}),
        lambda: show.table(wide_table(), "Folded", fold="every row"),
        lambda: show.table(pd.DataFrame({name: [name] for name in HOSTILE}), "Names"),
        lambda: show.text("\n".join(f"- **{show.plain(name)}** stays" for name in HOSTILE)))
    long_log = "\n".join(f"[{i}/40] {HOSTILE[0]} resnet8 gptq, {i} bits" for i in range(40))
    formula = r"$$q(w) = \mathrm{clamp}(\mathrm{round}(w/s) + z, 0, 2^b - 1), \hat w = s (q - z)$$"
    return [made.text(f"# 03 · Few bits?\n\nWhat $x^2$ is.\n\n- **Varies:** bits.\n\n{formula}"),
            made.code("for x in range(3):  # a reason\n    print(f'{x}', 1.5, None)",
                      made.log(long_log), made.log("careful", "stderr"),
                      made.html('<div class="provenance"><table><tbody><tr><th>code</th>'
                                "<td>abc</td></tr></tbody></table></div>")),
            made.text("## Results\n\n| a | b |\n|---|---|\n| 1 | two |"),
            made.code("show()", *shown), made.text("## What we see"),
            made.code("show.text(lines)", *made.displayed(monkeypatch, lambda: show.text("All.")))]


def report_cells(monkeypatch) -> list:
    frame, shade = figures.report.matrix(losses(SWEEP).rename(columns={"quantizer": "technique"}))
    shown = made.displayed(
        monkeypatch, lambda: show.table(frame, "Worst", shade=shade, kinds="measured"),
        lambda: show.figure(figures.report.baselines(summary(), PUBLISHED), "10_all", "c", "It is"),
        lambda: show.table(figures.report.baseline_table(summary(), PUBLISHED), "Every baseline"))
    return [made.text("# How few?\n\nThis."), made.text("## The answer"), made.code("1", *shown)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A toy study's chapter and report, as files."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        made.move(monkeypatch, tmp_path_factory.mktemp("site"))
        made.written("03_few", *chapter_cells(monkeypatch))
        made.written("10_report", *report_cells(monkeypatch))
        report.render("toy")
        folder = paths.FIGURES / "toy"
    return {"chapter": folder / "chapters/03_few.html", "report": folder / "report.html"}


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        sandbox = [] if os.getuid() else ["--no-sandbox"]           # root may not have one
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield found
        found.close()


def opened(browser, page: Path, width: int, scheme: str = "light", unfold: bool = True):
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab.goto(page.as_uri())
    if unfold:
        tab.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    return tab


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["chapter", "report"])
def test_axe_finds_no_barrier(site, browser, name, width, scheme):
    from axe_playwright_python.sync_playwright import Axe
    tab = opened(browser, site[name], width, scheme)
    found = Axe().run(tab).response["violations"]
    tab.close()
    assert not [(rule["id"], rule["nodes"][0]["html"], rule["nodes"][0]["failureSummary"])
                for rule in found]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["chapter", "report"])
def test_nothing_is_wider_than_its_page(site, browser, name, width):
    tab = opened(browser, site[name], width)
    scrolled = tab.evaluate("document.documentElement.scrollWidth")
    too_wide = tab.evaluate(TOO_WIDE)
    tab.close()
    assert scrolled <= width and too_wide == []


@pytest.mark.parametrize("name", ["chapter", "report"])
def test_nothing_is_wider_than_paper_and_what_is_folded_stays_folded(site, browser, name):
    tab = opened(browser, site[name], A4, unfold=False)
    tab.emulate_media(media="print")
    too_wide = tab.evaluate(TOO_WIDE)
    logs = tab.locator("details").evaluate_all("all => all.filter(d => d.getClientRects().length)")
    pdf = tab.pdf(format="A4")
    tab.close()
    assert too_wide == [] and logs == []
    sheets = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert pdf.startswith(b"%PDF") and 1 <= sheets <= 8


def test_on_a_phone_the_letters_of_a_figure_are_as_large_as_a_captions(site, browser):
    tab = opened(browser, site["chapter"], 390)
    heights = tab.locator("figure svg text").evaluate_all(
        "all => all.map(text => text.getBoundingClientRect().height)")
    tab.close()
    assert len(heights) > 20 and np.median(heights) > 10                # pixels


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
    tab = browser.new_page()
    said, asked = [], []
    tab.on("dialog", lambda dialog: said.append(dialog.message))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(site["chapter"].as_uri())
    tab.wait_for_load_state("networkidle")
    words = tab.evaluate("document.body.textContent")
    assert tab.evaluate("window.harmed") is None and said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert tab.evaluate("""document.querySelectorAll("script, iframe, main a[href^=javascript]")
                           .length""") == 0
    tab.close()
    for name in HOSTILE[:4]:
        assert words.count(name) >= 3, name                             # head, cell, sentence


@pytest.mark.parametrize("name", ["chapter", "report"])
def test_a_page_is_html_without_an_error(site, name):
    parser = html5lib.HTMLParser()
    parser.parse(site[name].read_text(encoding="utf-8"))
    assert parser.errors == []
