"""A study of data whose names try to be more than names, from its files to the pages in a browser.
"""

import csv
import os
import random
import shutil

import pytest
from PIL import Image

from lib.base import paths
from lib.page import side
from tests.conftest import copy

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SCRIPT, HANDLER = "<script>window.harmed=1<\u2215script>", '"><img src=x onerror="window.harmed=1">'
LINK, FORMULA, LINES = "[x](javascript:window.harmed=1)", r"$\frac$ and $$x$$", "two\nlines"
PRIVATE, CODE = "\ue0000\ue001", "`code` *b* _u_ | 1. # -"
FOLDER = f"<b onclick=window.harmed=1> {LINK}"
STUDY = """\
notebooks: [01_data, 02_train]
tasks: [{table}, {images}]
pairs: [{table_pair}, {image_pair}]
classical: [majority]
folds: [0]
examples: 2
search_task: breast_cancer
search_model: mlp_simple
search_lrs: [0.01]
search_batches: [64]
search_epochs: [1]
windows: 1
"""


def table(path) -> None:
    """Classes and columns of hostile names; the class can be told."""
    draw = random.Random(0)
    with open(path, "w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow([SCRIPT, HANDLER, LINES, FORMULA, LINK])
        for i in range(90):
            name = (SCRIPT, CODE, PRIVATE)[i % 3]
            lines.writerow([i % 3 + draw.random(), draw.random(), draw.random(),
                            (LINK, HANDLER)[i % 2], name])


def images(folder) -> None:
    draw = random.Random(0)
    for place, name in enumerate((SCRIPT, FORMULA)):
        (folder / name).mkdir(parents=True)
        for i in range(30):
            color = tuple(min(255, 120 * place + draw.randrange(120)) for _ in range(3))
            Image.new("RGB", (16, 16), color).save(folder / name / f"{i} {CODE}.png")


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    project = copy(paths.ROOT, tmp_path_factory.mktemp("hostile") / "greenbits")
    mine = project.root.parent / "mine"                     # outside of the project
    data = mine / FOLDER
    data.mkdir(parents=True)
    table(data / f"{SCRIPT} {CODE}.csv")
    images(data / HANDLER)
    named = {"table": f"csv:{FOLDER}/{SCRIPT} {CODE}.csv#{LINK}",
             "images": f"imagefolder:{FOLDER}/{HANDLER}"}
    pairs = {"table_pair": named["table"] + "/mlp_simple/epochs=1",
             "image_pair": named["images"] + "/resnet8/width=2 epochs=1"}
    study = mine / "hostile.yaml"
    study.write_text(STUDY.format(**{name: quoted(text) for name, text in (named | pairs).items()}))
    finished = project.run("study", str(study))
    assert finished.status == 0, finished.said
    return project.root / "figures/hostile"


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
def test_a_hostile_study_runs_nothing_and_shows_its_names(site):
    from playwright.sync_api import sync_playwright
    pages = [site / "report.html", *sorted(site.glob("chapters/*.html"))]
    words, own = "", side.assets()["script"]
    with sync_playwright() as playwright:
        sandbox = [] if os.getuid() else ["--no-sandbox"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        for page in pages:
            tab, asked = browser.new_page(), []
            tab.on("request", lambda request, asked=asked: asked.append(request.url))
            tab.goto(page.as_uri())
            tab.wait_for_load_state("networkidle")
            assert tab.evaluate("window.harmed") is None, page
            assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
            assert tab.evaluate("[...document.scripts].map(s => s.textContent)") == [own], page
            assert tab.evaluate("document.querySelectorAll('[onclick], [onerror], "
                                "a[href^=javascript]').length") == 0, page
            words += tab.evaluate("document.body.textContent")
        browser.close()
    assert len(pages) == 3
    for name in (SCRIPT, LINK, CODE, HANDLER, f"csv:hostile/{SCRIPT} {CODE}.csv#{LINK}"):
        assert name in words, name


def test_no_page_or_table_shows_where_a_users_files_lie(site):
    project = site.parents[1]
    made = [*site.rglob("*.html"), *(project / "data/runs/hostile").glob("*.csv")]
    for path in made:
        assert str(project.parent) not in path.read_text(encoding="utf-8"), path
