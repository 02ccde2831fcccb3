"""What a notebook shows: figures as panels of text, tables and sentences without foreign markup."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from lib.base import paths
from lib.page import show, style
from lib.page.markup import CONTROL
from tests.toys import HOSTILE


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    monkeypatch.setattr(paths, "_profile", "toy")
    return tmp_path / "toy"


@pytest.fixture
def shown(monkeypatch):
    pages = []
    monkeypatch.setattr(show, "display", lambda what: pages.append(what.data))
    return pages


def draw(*names: str):
    figure, axes = style.panels(max(1, len(names)))
    for axis, name in zip(axes, names or ["one"], strict=True):
        axis.plot([1, 2], [3, 4], color=style.ACCENT)
        axis.set_title(name)
    return figure


def soup(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


def test_a_figure_is_kept_and_shown_with_its_finding(folder, shown):
    show.figure(draw(), "02_curves", 'a "falling" curve', "Loss & `time` < 1")
    assert (folder / "02_curves.svg").read_text().startswith("<?xml")
    figure = soup(shown[0]).figure
    assert figure["id"] == "02_curves" and figure.figcaption.text == "Loss & time < 1"
    assert figure.find(role="img")["aria-label"] == 'a "falling" curve'
    assert figure.find(class_="finding").text == 'a "falling" curve'
    assert figure.code.text == "time" and not plt.get_fignums()


def test_a_net_of_the_readers_own_goes_by_its_class_wherever_it_is_shown(shown):
    own = "module:mine/some net.py:Net:w.safetensors"
    drawn = draw(f"digits · {own}")
    show.figure(drawn, "02_curves", f"{own} leads", f"`{own}`")
    show.table(pd.DataFrame({"model": [own]}), f"rows of {own}")
    show.text(f"- {show.plain(own)} and {own}")
    page = "".join(map(str, shown))
    assert "module" not in page and "some net" not in page
    assert "digits · Net:w.safetensors" in page and "<code>Net:w.safetensors</code>" in page
    assert page.count("Net:w.safetensors") >= 6 and "Net&#58;w" in page


def test_each_axis_is_a_panel_whose_text_is_text_in_the_colours_of_the_page(shown):
    show.figure(draw("left", "right"), "02_curves", "c", "a")
    panels = soup(shown[0]).find_all("svg")
    assert [re.findall("left|right", panel.text) for panel in panels] == [["left"], ["right"]]
    assert "var(--accent, #0a6b4c)" in shown[0] and "var(--ink" in shown[0]
    assert "<style" not in shown[0] and "metadata" not in shown[0]
    widths = [float(panel["width"]) for panel in panels]
    assert max(widths) < 358 and max(widths) - min(widths) <= 1         # of a phone; in line


def test_panels_of_one_page_share_no_id(shown):
    show.figure(draw("a", "b"), "02_one", "c", "a")
    show.figure(draw("a", "b"), "02_two", "c", "a")
    ids = re.findall(r'\bid="([^"]+)"', "".join(shown))
    assert len(ids) > 4 and len(ids) == len(set(ids))
    wanted = set(re.findall(r'(?:url\(|href=")#([^")]+)', "".join(shown)))
    assert wanted and wanted <= set(ids)


def test_a_figure_opens_on_a_click_where_it_is_to(shown):
    show.figure(draw(), "10_policies", "it falls", "c", fold="every <network>")
    details = soup(shown[0]).find("details", open=False)
    assert details.summary.text == "every <network>" and details.figure["id"] == "10_policies"


def test_the_same_figure_is_the_same_file(folder, shown):
    kept = []
    for _ in range(2):
        show.figure(draw(), "02_curves", "c", "a")
        kept.append((folder / "02_curves.svg").read_bytes())
    assert kept[0] == kept[1] and shown[0] == shown[1]


@pytest.mark.parametrize("name, finding, said", [("curves", "it falls", "notebook's number"),
                                                 ("02_curves", " ", "no finding")])
def test_a_figure_belongs_to_a_notebook_and_has_a_finding(name, finding, said):
    with pytest.raises(ValueError, match=said):
        show.figure(draw(), name, finding, "c")


def test_figures_of_the_published_rows_are_those_of_the_full_study(folder, shown, monkeypatch):
    monkeypatch.setattr(paths, "_profile", "published")
    show.figure(draw(), "02_curves", "it falls", "c")
    assert (folder.parent / "full/02_curves.svg").exists()
    assert not (folder.parent / "published").exists()


def test_a_point_tells_its_name(shown):
    figure, (axis,) = style.panels(1)
    axis.plot([1], [2], "o", gid='tip:GPTQ <4-bit> & "co": 0.1 pp')
    axis.plot([2], [3], "o")
    show.figure(figure, "02_points", "it falls", "c")
    told = soup(shown[0]).select("[data-tip]")
    assert [point["data-tip"] for point in told] == ['GPTQ <4-bit> & "co": 0.1 pp']
    assert told[0].find(["use", "path"]) and "tip:" not in shown[0]


def test_numbers_in_a_table_are_always_formatted(shown):
    frame = pd.DataFrame({
        "a <b>": [1.23456, None, -0.0001], "mixed": [86.22999999999999, "text", None],
        "n": [1234567, 2, 3], "yes": [True, False, True], "far": [np.inf, 1.0, np.nan]})
    show.table(frame, "What `row` says")
    page = soup(shown[0])
    assert page.caption.decode_contents() == "What <code>row</code> says"
    assert [cell.text for cell in page.find_all("th")] == ["a <b>", "mixed", "n", "yes", "far"]
    assert [[cell.text for cell in row.find_all("td")] for row in page.tbody.find_all("tr")] == [
        ["1.23", "86.23", "1,234,567", "yes", "inf"], ["–", "text", "2", "no", "1.00"],
        ["0.00", "–", "3", "yes", "–"]]


def test_a_long_table_opens_on_a_click(shown):
    show.table(pd.DataFrame({"a": [1]}), "All", fold="every <row>")
    page = soup(shown[0]).find("details", class_="table", open=False)
    assert page.summary.text == "every <row>" and page.table.caption.text == "All"


@pytest.mark.parametrize("lines, folded", [(12, False), (13, True)])
def test_a_table_of_more_than_twelve_lines_is_folded_by_itself(shown, lines, folded):
    show.table(pd.DataFrame({"a": range(lines)}), "All networks: their loss. By width.")
    page = soup(shown[0])
    assert bool(page.find("details", class_="table", open=False)) is folded
    assert len(page.tbody.find_all("tr")) == lines
    assert not folded or page.summary.text == "All networks (13 lines)"


def test_findings_are_a_list_whose_names_are_text(shown):
    show.findings([f"**Four bits** are enough for {show.plain('<b>*a*</b>')}.", "`b` < 1 & *c*"])
    items = soup(shown[0]).select("ul.findings > li")
    assert [item.text for item in items] == ["Four bits are enough for <b>*a*</b>.", "b < 1 & *c*"]
    assert [tag.name for item in items for tag in item.find_all(True)] == ["strong", "code"]


def test_a_box_tells_the_experiment_and_the_machine_of_its_run(shown, monkeypatch):
    told = {"hardware": {"processor": "Some <CPU>", "cores": 2, "gpu": "none"},
            "ended": "2026-11-25T20:30:21+00:00", "work_seconds": 3725.0}
    monkeypatch.setattr(show, "provenance", {"03_ptq": told, "04_prune": {}}.get)
    for chapter in ("03_ptq", "04_prune"):
        show.box(chapter, varies="bits", held="data", measured="accuracy")
    known, unknown = [dict(zip([term.text for term in page.find_all("dt")],
                               [said.text for said in page.find_all("dd")], strict=True))
                      for page in map(soup, shown)]
    own = {"Varies": "bits", "Held constant": "data", "Measured": "accuracy"}
    assert unknown == own
    assert known == own | {"Hardware": "Some <CPU>, 2 cores", "Date": "2026-11-25",
                           "Computing time": "1 h 02 min"}


def test_a_missing_table_names_the_command_that_makes_it(shown):
    show.missing("The table of *layers*", "03_ptq")
    assert "`./run_all.sh full 03`" in shown[0] and "*layers*" not in shown[0]


def test_a_table_says_what_was_measured_and_what_was_modelled(shown):
    frame = pd.DataFrame({"ms": [1.0], "pJ": [2.0], "net": ["a"]})
    show.table(frame, "Costs.", kinds={"ms": "measured", "pJ": "modelled"})
    assert [cell.get_text("|") for cell in soup(shown[0]).find_all("th")] == [
        "ms |measured", "pJ |modelled", "net"]
    show.table(frame, "Costs.", kinds="measured")
    assert soup(shown[1]).caption.text == "Costs. All of it is measured."
    with pytest.raises(ValueError, match="measured, modelled, simulated"):
        show.table(frame, "Costs.", kinds={"ms": "guessed"})


@pytest.mark.parametrize("name", HOSTILE)
def test_names_from_data_are_text_in_every_place(shown, name):
    show.table(pd.DataFrame({name: [name]}), name, fold=name)
    show.figure(draw(name), "01_names", name, name)
    table, figure = map(soup, shown)
    for page in (table, figure):
        assert not page.find(["script", "img", "b", "a"]) and "javascript" not in str(page.attrs)
        assert not [key for tag in page.find_all(True) for key in tag.attrs if key.startswith("on")]
    written = CONTROL.sub("\ufffd", name)
    assert table.td.text == table.th.text == written
    in_words = re.sub("`(.+)`", r"\1", written)             # backticks are a caption's own markup
    assert table.summary.text == table.caption.text == figure.figcaption.text == in_words
    assert figure.find(role="img")["aria-label"] == name.replace("`", "")
    assert figure.find(class_="finding").text == in_words
    assert all(line in figure.svg.text for line in written.split("\n"))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_plain_name_is_letters_and_entities_alone(name):
    assert not re.search(r"[^\w&#; ]|(?<!&)#", show.plain(name).replace("_", "!"))


def test_sentences_are_markdown(shown):
    show.text(f"- **{show.plain('a*b')}** wins")
    assert shown == ["- **a&#42;b** wins"]


def test_a_page_places_to_hundredths_and_leaves_words_alone(folder, shown):
    figure, axes = style.panels(1)
    axes[0].plot([1 / 3, 2 / 3], [1 / 7, 2 / 7])
    axes[0].set_title("0.123456 of 7")
    show.figure(figure, "02_fine", "It climbs", "A line.")
    source = shown[-1]
    assert "0.123456 of 7" in source
    for places in re.findall(r' (?:d|x|y|transform)="([^"]*)"', source):
        assert not re.search(r"\.\d{3}", places), places
