import base64
import re

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from lib import tables
from lib.base import paths
from lib.page import figures
from lib.tables import Row
from tests.toys import blobs


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    monkeypatch.setattr(paths, "_profile", "toy")
    return tmp_path / "toy"


@pytest.fixture
def shown(monkeypatch):
    pages = []
    monkeypatch.setattr(figures, "display", lambda html: pages.append(html.data))
    return pages


def draw():
    figure, axis = plt.subplots()
    axis.plot([1, 2], [3, 4])
    return figure


def test_a_figure_is_kept_twice_and_shown_whole(folder, shown):
    figures.show(draw(), "02_curves", "Loss & time < 1", 'a "falling" curve')
    png = (folder / "02_curves.png").read_bytes()
    assert (folder / "02_curves.svg").read_text().startswith("<?xml")
    image, alt = re.search(r'src="data:image/png;base64,([^"]+)" alt="([^"]*)"', shown[0]).groups()
    assert base64.b64decode(image) == png and alt == "a &quot;falling&quot; curve"
    assert "<figcaption>Loss &amp; time &lt; 1</figcaption>" in shown[0]
    assert not plt.get_fignums()


def test_the_same_figure_is_the_same_file(folder, shown):
    kept = []
    for _ in range(2):
        figures.show(draw(), "02_curves", "c", "a")
        kept.append([(folder / f"02_curves.{kind}").read_bytes() for kind in ("png", "svg")])
    assert kept[0] == kept[1]


def test_a_figure_belongs_to_a_notebook():
    with pytest.raises(ValueError, match="notebook's number"):
        figures.show(draw(), "curves", "c", "a")


def test_a_table_shows_gaps_and_escapes(shown):
    figures.show_table(pd.DataFrame({"a <b>": [1.23456, None]}), "What `row` says")
    assert "<caption>What <code>row</code> says</caption>" in shown[0] and "a &lt;b&gt;" in shown[0]
    assert "1.23<" in shown[0] and ">–<" in shown[0]


def test_a_long_table_opens_on_a_click(shown):
    figures.show_table(pd.DataFrame({"a": [1]}), "All", fold="every <row>")
    page = BeautifulSoup(shown[0], "html.parser").find("details", class_="table", open=False)
    assert page.summary.text == "every <row>" and page.table.caption.text == "All"
    assert page.find("td").text == "1"


def summary():
    rows = [Row(task=t, model=m, metric=metric, score=s, score_low=s - w, score_high=s + w, seed=0)
            for t, metric, w in (("one", "accuracy", 2), ("two", "r2", 0.1))
            for m, s in (("net", 0.5), ("svm", 0.25))]
    table = tables.summary(tables.table(rows))
    return table.assign(kind=table.model.map({"net": "net", "svm": "rival"}))


PUBLISHED = pd.DataFrame({"task": ["one"], "model": ["net"], "metric": ["accuracy"],
                          "score": [0.4]})


def test_the_table_of_baselines_says_what_the_rows_say():
    table = figures.baseline_table(summary(), PUBLISHED).set_index(["task", "model"])
    assert table.score["one", "net"] == "0.50" and table.score["two", "svm"] == "0.2500"
    assert table.published["one", "net"] == "0.40" and table.published.isna().sum() == 3
    assert list(table.index) == [("one", "net"), ("one", "svm"), ("two", "net"), ("two", "svm")]
    assert table.recipe["one", "net"] == "ours" and pd.isna(table.recipe["one", "svm"])


def test_a_column_without_any_value_is_dashes(shown):
    figures.show_table(figures.baseline_table(summary(), PUBLISHED.head(0)), "None published")
    assert "<td>None</td>" not in shown[0] and shown[0].count("<td>–</td>") >= 4


def test_accuracy_and_r2_never_share_an_axis():
    figure = figures.baselines(summary(), PUBLISHED)
    assert [axis.get_xlabel() for axis in figure.axes] == ["test accuracy, %", "test R²"]
    plt.close(figure)


def test_examples_are_drawn_for_a_task():
    figure, name, caption, alt = figures.examples(blobs(), 5)
    assert name == "01_examples_blobs"
    assert caption == "Test examples of blobs: columns, each value standardised."
    assert alt == "What test examples of blobs look like: columns, each value standardised"
    plt.close(figure)


def test_ternary_weights_stand_between_one_bit_and_two():
    table = figures.by_bits(pd.DataFrame({
        "model": "resnet8 width=4", "size_bytes": 2048,
        "setting": ["brecq b=2 levels=3", "brecq b=2", "baseline", "gptq mixed=2 greedy"]}))
    assert table.bits.round(3).fillna(0).tolist() == [1.585, 2, 0, 0] and set(table.KiB) == {2}


def test_a_ladder_has_a_panel_a_net_and_its_rungs_from_top_to_bottom():
    steps = pd.DataFrame([
        {"net": net, "rung": rung, "bits": bits, "score": score + bits, "low": score, "high": 95,
         "metric": "accuracy"}
        for net in ("few steps", "all steps") for bits in (4, 8)
        for rung, score in (("as published", 10), ("zero is a level", 85))])
    figure = figures.ladder(steps, pd.Series({"few steps": 92.3, "all steps": 91.0}))
    left, right = figure.axes
    assert [left.get_title(loc="left"), right.get_title(loc="left")] == [
        "few steps\n92.3 as trained", "all steps\n91.0 as trained"]
    assert [t.get_text() for t in left.get_yticklabels()] == ["as published", "zero is a level"]
    first = left.lines[0]
    assert list(first.get_xdata()) == [14, 89] and first.get_ydata()[0] > first.get_ydata()[1]
    assert left.get_xlabel() == "test accuracy, %"
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "4 bits", "8 bits", "as trained"]
