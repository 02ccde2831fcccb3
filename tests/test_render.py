"""Pages of committed rows: cells that only read are executed, the others stay as code."""

import subprocess
import sys

import nbformat
import pytest

from lib.base import paths
from lib.page import report
from lib.study import copies, published
from tests import pages as made

PARAMETERS = 'profile: str = "lab"\nbits: int = 4'
SETUP = "import sys\nfrom lib.base import paths\npaths.profile(profile);"


def cell(tag: str, source: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(source, metadata={"tags": [tag]})


def notebook(stem: str, *cells: nbformat.NotebookNode) -> None:
    paths.NOTEBOOKS.mkdir(exist_ok=True)
    start = [made.text(f"# {stem}"), cell("parameters", PARAMETERS), cell("setup", SETUP)]
    nbformat.write(nbformat.v4.new_notebook(cells=[*start, *cells]),
                   paths.NOTEBOOKS / f"{stem}.ipynb")


@pytest.fixture
def project(tmp_path, monkeypatch):
    made.move(monkeypatch, tmp_path)
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    return tmp_path


def shown(*stems: str) -> dict[str, nbformat.NotebookNode | published.Failed]:
    return {stem: found for stem, found, _ in published.executed(list(stems))}


def printed(found: nbformat.NotebookNode) -> list[str]:
    return ["".join(output.get("text", "") for output in one.outputs)
            for one in found.cells if one.cell_type == "code"]


def test_compute_cells_are_not_run_and_a_failure_names_notebook_and_cell(project):
    (project / "results").mkdir()
    (project / "results/01_one.json").write_text('{"parameters": {"bits": 3, "gone": 1}}')
    notebook("01_one", cell("compute", "import torch\nprint('computed')"),
             cell("show", "print(profile, bits, 'torch' in sys.modules, 'gone' in globals())"))
    notebook("02_two", cell("show", "x = 1"), cell("show", "missing[x]"), cell("show", "print(2)"))
    notebook("03_three", cell("other", "print(3)"))
    found = shown("01_one", "02_two", "03_three")
    assert printed(found["01_one"]) == ["", "", "", "", "published 3 False False\n"]
    assert "02_two" in str(found["02_two"]) and "NameError" in str(found["02_two"])
    assert "'missing[x]'" in str(found["02_two"])
    assert isinstance(found["03_three"], published.Failed) and "print(3)" in str(found["03_three"])

    page = report.render("published", [("01_one", found["01_one"])], ["01_one", "02_two"])
    one = made.BeautifulSoup((page / "01_one.html").read_text(), "html.parser")
    assert page == paths.FIGURES / "full/chapters"
    assert "computed" in one.select_one("details.code .highlight:-soup-contains('torch')").text
    assert [log.text for log in one.select("pre.stream")] == ["published 3 False False\n"]
    assert one.select_one("nav span[title^='02_two']") and not one.select('a[href*="02_two"]')


def test_figures_that_no_page_shows_any_more_are_deleted(project):
    folder = paths.FIGURES / "full"
    folder.mkdir(parents=True)
    for name in ("01_kept.svg", "01_gone.svg", "01_gone.png", "02_other.svg"):
        (folder / name).touch()
    made.written("01_one", made.text("# One"), made.code("1", made.html(
        '<figure id="01_kept"><figcaption>c</figcaption></figure>')))
    one = nbformat.read(paths.NOTEBOOKS / "01_one.ipynb", as_version=4)
    report.render("published", [("01_one", one)], ["01_one"])
    assert {file.name for file in folder.glob("*.[ps][nv]g")} == {"01_kept.svg", "02_other.svg"}


def test_a_notebook_is_started_and_shown_without_torch():
    code = ("import sys, lib.study.run as run, lib.results, lib.page.show, lib.page.plots\n"
            "run.start('03_ptq', {'profile': 'published'})\nprint('torch' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          cwd=paths.ROOT, check=True)
    assert done.stdout.endswith("False\n")


def test_copies_follow_the_project_but_never_lose_a_readers_changes(project):
    folder = project / "lab"
    for stem in ("01_one", "02_two", "03_three"):
        notebook(stem, cell("show", "1"))
    assert copies.refresh(folder) == []
    run, edited = folder / "01_one.ipynb", folder / "02_two.ipynb"
    executed = run.read_text().replace('"outputs": []', '"outputs": [], "ran": 1', 1)
    run.write_text(executed)
    edited.write_text(edited.read_text().replace('"1"', '"my own"'))
    assert copies.refresh(folder) == [] and run.read_text() == executed
    for stem in ("01_one", "02_two", "03_three"):
        notebook(stem, cell("show", "2"))
    (kept,) = copies.refresh(folder)
    assert "02_two" in kept and "my own" in edited.read_text()
    for stem in ("01_one", "03_three"):
        assert copies.cells(folder / f"{stem}.ipynb") == copies.cells(
            paths.NOTEBOOKS / f"{stem}.ipynb")
    edited.unlink()
    assert copies.refresh(folder) == [] and "my own" not in edited.read_text()
