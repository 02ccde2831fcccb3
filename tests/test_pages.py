"""Pages beside the report: rows as they are published, claims, glossary; the selector's answers."""

import gzip
import json
import random
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from lib import replication, results
from lib.base import names, paths, titles
from lib.page import selector, side
from tests.toys import HOSTILE

NAVIGATION = [{"stem": "10_report", "label": "GreenBits", "title": "How few?", "href": ""},
              {"stem": "03_ptq", "label": "03 ptq", "title": "Bits",
               "href": "chapters/03_ptq.html"},
              *({"stem": stem, "label": stem, "title": stem, "href": f"{stem}.html"}
                for stem in ("rows", "claims", "glossary"))]


def soup(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def unpacked(page) -> pd.DataFrame:
    """The long table of a page, from the JSON that its script reads."""
    columns = json.loads(page.select_one('.long script[type="application/json"]').string)
    return pd.DataFrame({column["name"]: [column["values"][code] for code in column["codes"]]
                         if "codes" in column else column["values"] for column in columns})


@pytest.fixture
def profile(monkeypatch):
    monkeypatch.setattr(paths, "_profile", "published")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("side")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "_profile", "published")
        side.write(folder, NAVIGATION)
    return folder


def test_every_published_row_is_on_its_page_as_its_csv_says(published):
    page = soup(published / "rows.html")
    shown = unpacked(page)
    assert (published / "rows.html").stat().st_size <= 4e6
    files = {path.stem: pd.read_csv(path) for path in paths.RESULTS.glob("[0-9][0-9]_*.csv")}
    files = {stem: table for stem, table in files.items()
             if {"id", "task", "split", "size_bytes"} <= set(table.columns) and len(table)}
    assert len(shown) == sum(map(len, files.values())) > 14_000
    draw = random.Random(0)
    for stem, table in files.items():
        mine = shown[shown.chapter == stem].set_index("id")
        assert set(mine.index) == set(table.id), stem
        for line in draw.sample(list(table.itertuples()), min(30, len(table))):
            there = mine.loc[line.id]
            for column, value in (
                    ("score", line.score), ("CI low", line.score_low), ("seed", line.seed),
                    ("CI high", line.score_high), ("fold", line.fold), ("draw", line.draw),
                    ("bits per weight", line.bits_per_weight), ("sparsity", line.sparsity),
                    ("size, KiB", line.size_bytes / 1024), ("MACs", line.macs)):
                assert there[column] == pytest.approx(value, rel=1e-5, nan_ok=True), (stem, column)
            text = [line.split, line.metric, titles.task(line.task)]
            assert [there.split, there.metric, there.task] == text


def test_energies_and_latencies_are_those_of_the_costs(published):
    shown = unpacked(soup(published / "rows.html"))
    for chapter, quantity, column, factor, source in (
            ("05_qat", "energy_j", "energy 45 nm, µJ", 1e6, "45 nm"),
            ("06_resnet_energy", "energy_j", "energy 7 nm, µJ", 1e6, "7 nm"),
            ("08_deploy", "latency_s", "latency, ms", 1e3, "of one example")):
        with gzip.open(paths.RESULTS / f"{chapter}_costs.csv.gz") as file:
            costs = pd.read_csv(file)
        own = costs[(costs.quantity == quantity) & costs.source.str.contains(source)]
        mine = shown[shown.chapter == chapter].set_index("id")[column]
        remade = results.load_table("energy_remade", paths.RESULTS)
        kept = own[~own.id.isin(remade.id)] if len(remade) and quantity == "energy_j" else own
        last = factor * kept.drop_duplicates("id", keep="first").set_index("id").value
        assert mine.reindex(last.index).to_numpy() == pytest.approx(last, rel=1e-4), chapter
        assert mine.notna().sum() >= len(last)


def test_a_step_energy_is_marked(profile):
    table = side.rows()
    energy = table["energy 45 nm, µJ"].notna()
    assert set(table["energy model"][energy]) <= {"step", "interpolated"}
    assert (table["energy model"][~energy] == "").all() and energy.any()


def test_claims_have_a_line_each_with_counts_and_rates_by_chance(tmp_path, monkeypatch):
    line = dict.fromkeys(replication.COLUMNS, "") | {"rows": 5, "random": 0.25, "permuted": 0.5}
    kinds = [("main", "Green", "statement", "holds", ""), ("cell", "Edge", "cell", "reproduced",
             "own weights"), ("cell", "Edge", "cell", "not reproduced", "own weights")]
    judged = pd.DataFrame([line | {"study": study, "kind": kind, "verdict": verdict, "set": nets,
                                   "claim": HOSTILE[i], "value": 1.0, "measured": 2.0, "low": 1.0,
                                   "high": 3.0, "chapter": "03_ptq"}
                           for i, (_, study, kind, verdict, nets) in enumerate(kinds)])
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    monkeypatch.setattr(paths, "_profile", "toy")
    results.save_table("claims", judged)
    side.write(tmp_path, NAVIGATION)
    page = soup(tmp_path / "claims.html")
    assert list(unpacked(page).claim) == list(HOSTILE[:3]) and not page.select("img, b")
    counts, chance = page.select("div.table table")
    totals = [int(row.find_all("td")[-1].text) for row in counts.tbody.find_all("tr")]
    assert sorted(totals) == [1, 2]
    by_chance = chance.tbody.get_text(" ", strip=True)
    assert "50" in by_chance and "25" in by_chance              # half of the cells reproduced
    assert {option.text for option in page.select("select[data-column] option")} >= {
        "Edge", "Green", "holds", "reproduced", "not reproduced"}
    assert [dt.text for dt in page.select(".meanings dt")] == list(replication.MEANINGS)


def test_a_profile_without_rows_and_claims_has_its_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    monkeypatch.setattr(paths, "_profile", "toy")
    side.write(tmp_path, NAVIGATION)
    assert len(unpacked(soup(tmp_path / "rows.html"))) == 0
    assert "not judged" in soup(tmp_path / "claims.html").main.text


def test_the_glossary_explains_every_technique_with_its_source():
    parts = side.terms()["parts"]
    entries = [entry for part in parts.values() for entry in part]
    explained = {name for entry in entries for name in (entry["id"], *entry.get("names", []))}
    techniques = {*titles.QUANTIZERS, *titles.PRUNERS, *titles.REPAIRS, *titles.SCHEDULES,
                  *titles.RUNNING, *titles.POLICIES, "ste", "nested", "kure", "finetune", "rewind",
                  "distill", "2:4", "channel"}
    assert techniques - explained == set()
    assert set(names.methods("quant")) - explained <= {
        name for name in names.methods("quant") if name.startswith("edge_") or "_iqr" in name
        or name.startswith("mid_tread")}
    assert len({entry["id"] for entry in entries}) == len(entries)
    for entry in entries:
        assert len(entry["text"]) > 60 and entry["text"].endswith("."), entry["id"]
        assert re.fullmatch(r"\d{4}\.\d{4,5}", entry.get("arxiv", "0000.0000")), entry["id"]
        for sentence in re.split(r"(?<=[.])\s", entry["text"]):
            assert len(sentence.split()) <= 32, sentence
    sourced = [entry for entry in parts["techniques"] if entry.get("source")]
    assert len(sourced) >= len(parts["techniques"]) - 3


def test_links_to_the_glossary_lead_to_an_entry(published):
    ids = {tag["id"] for tag in soup(published / "glossary.html").find_all(id=True)}
    found = [link["href"].partition("#")[2] for page in published.glob("*.html")
             for link in soup(page).select('a[href^="glossary.html#"]')]
    assert found and set(found) <= ids


def test_a_page_allows_its_own_scripts_and_no_other(published):
    for path in published.glob("*.html"):
        page = soup(path)
        policy = page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
        run = [tag.string for tag in page.find_all("script") if tag.get("type") is None]
        allowed = re.findall(r"'(sha256-[^']+)'", policy)
        assert [side.policy_hash(text) for text in run] == allowed and run, path.name
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy.partition("script-src")[2]
        kinds = {tag["type"] for tag in page.find_all("script") if tag.get("type")}
        assert kinds <= {"application/json"}


def test_a_page_that_was_not_run_is_named_without_a_link(published):
    links = soup(published / "rows.html").header
    assert links.span and not links.find("a", string="GreenBits")
    assert links.find("a", string="rows")["aria-current"] == "page"


def answers() -> list[dict]:
    """Two kinds of data, two goals, two losses, two trainings; one without enough evidence."""
    made = []
    for kind in ("images", "tables"):
        for goal in ("the smallest file", "the lowest latency"):
            for loss in ("0.5 pp", "1 pp"):
                for training in ("none", "fine-tuning"):
                    name = f"{kind}, {goal}, {loss}, {training}"
                    enough = (kind, goal, training) != ("tables", "the lowest latency", "none")
                    networks = [{"network": f"{HOSTILE[1]} {name}", "change": "7.3× smaller",
                                 "loss": "0.12 [−0.10, 0.34] pp", "kept": i == 0}
                                for i in range(2 if enough else 0)]
                    made.append({
                        "kind": kind, "goal": goal, "loss": loss, "training": training,
                        "technique": f"GPTQ 4-bit {name}" if enough else "Not enough evidence",
                        "sentence": f"Within {loss} on one of two networks ({HOSTILE[0]}).",
                        "networks": networks, "cost": "3 s, no training." if enough else "",
                        "python": f'compress(model, "{name}")' if enough else "",
                        "yaml": "pairs: [digits/resnet8]" if enough else "",
                        "evidence": "chapters/03_ptq.html" if enough else ""})
    return made


def test_the_selector_shows_its_default_and_holds_every_answer():
    given = answers()
    default = {"kind": "tables", "goal": "the smallest file", "loss": "1 pp",
               "training": "fine-tuning"}
    page = BeautifulSoup(selector.html(given, default), "html.parser")
    wanted = next(answer for answer in given if default.items() <= answer.items())
    assert page.select_one('[data-slot="technique"]').text == wanted["technique"]
    assert [option.text for option in page.select("option[selected]")] == list(default.values())
    assert [len(choice.find_all("option")) for choice in page.find_all("select")] == [2, 2, 2, 2]
    lines = page.select_one('[data-slot="networks"]').find_all("tr")
    assert [cell.text for cell in lines[0].find_all("td")] == [
        *(wanted["networks"][0][name] for name in ("network", "change", "loss")), "yes"]
    assert json.loads(page.script.string) == given
    table = page.select("details.answers tbody tr")
    assert [row.find_all("td")[4].text for row in table] == [a["technique"] for a in given]
    assert not page.select("img, script:not([type])")


@pytest.mark.parametrize("harm, message", [
    (lambda given: given + given[:1], "two answers"),
    (lambda given: given[1:], "no answer to the default")])
def test_the_selector_refuses_answers_that_contradict_or_miss(harm, message):
    given = answers()
    default = {name: given[0][name] for name in ("kind", "goal", "loss", "training")}
    with pytest.raises(ValueError, match=message):
        selector.html(harm(given), default)


def test_the_opening_holds_sentences_and_key_figures():
    page = BeautifulSoup(selector.opening(["**Below 4 bits**, train. <b>"], [("7×", "smaller")]),
                         "html.parser")
    assert page.select_one(".findings li").text == "Below 4 bits, train. <b>"
    assert page.strong.text == "Below 4 bits" and page.select_one(".key b").text == "7×"


def test_each_term_of_the_opening_is_linked_once_to_an_entry_of_the_glossary():
    page = BeautifulSoup(selector.opening(["GPTQ, GPTQ and FP32"], [("7×", "GPTQ")]),
                         "html.parser")
    assert [link["href"] for link in page.find_all("a")] == ["glossary.html#gptq",
                                                             "glossary.html#baseline"]


def test_what_has_no_number_is_nothing_in_the_data():
    assert [side._plain(value) for value in (np.nan, 2.0, 0.1234567)] == [None, 2, 0.123457]


def test_a_policy_is_part_of_a_rows_technique():
    line = SimpleNamespace(policy="slack", trace="bursty, load 0.8", deploy="static")
    assert side._technique(line) == "INT8 (static) policy: slack, bursty, load 0.8"
