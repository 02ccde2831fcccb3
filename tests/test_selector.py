"""The selector of the report, computed once more: its rule is written here again, from its words.

Nothing of lib.results is used; titles of techniques and networks are.
"""

import functools
import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib.base import names, paths, titles

CHAPTERS = ("03_ptq", "04_prune", "05_qat", "07_distill", "08_deploy")
PAIRS = ("03_ptq", "04_prune", "05_qat", "08_deploy")
NET = ["task", "net", "net_sizes"]
ONE_POINT = {"r2": 0.01, "mcc": 0.01}                   # of other metrics it is 1
EFFORT = ("none", "gradient calibration", "fine-tuning", "from scratch")
GROWN = 1.1
BASELINE, FP32_FILE, SMALLER = "baseline (FP32)", "FP32 ONNX", "smaller dense model"
REPORT = paths.FIGURES / "full" / "report.html"
CASES = [("images", "the smallest file", "1 pp", "none"),
         ("images", "the lowest energy per inference", "1 pp", "fine-tuning"),
         ("images", "the lowest latency", "1 pp", "none"),
         ("a table", "the smallest file", "0.5 pp", "fine-tuning"),
         ("a table", "the smallest file", "1 pp", "from scratch"),
         ("a table", "the lowest energy per inference", "1 pp", "none"),
         ("images", "the lowest energy per inference", "1 pp", "from scratch"),
         ("text", "the lowest latency", "1 pp", "none"),
         ("text", "the smallest file", "2 pp", "none"),
         ("a time series", "the smallest file", "1 pp", "none"),
         ("a time series", "the lowest energy per inference", "1 pp", "fine-tuning")]
KIND = {"images": "images", "a table": "table", "a time series": "series", "text": "text"}
COST = {"the smallest file": "KiB", "the lowest latency": "ms",
        "the lowest energy per inference": "share"}


@functools.cache
def tables() -> tuple[pd.DataFrame, list[str]]:
    """All rows that may be candidates, with a number a setting and mean energies; the fields of a
    setting."""
    read = [pd.read_csv(paths.RESULTS / f"{stem}.csv", low_memory=False) for stem in CHAPTERS]
    rows = pd.concat(read, ignore_index=True).drop_duplicates("id")
    columns = list(rows)
    fields = columns[columns.index("recipe"):columns.index("runtime")]
    numbers = {"bits", "levels", "a_bits", "steps", "amount", "epochs", "lr", "batch_size"}
    text = [name for name in fields if name not in numbers]
    rows[text] = rows[text].astype(object).where(rows[text].notna(), "")
    rows = rows[rows.score.notna() & (rows.policy == "") & rows.recipe.isin(["", "ours"])
                & rows.deploy.isin(["", "fp32", "static", "dynamic", "nbits"])
                & ~rows.quantizer.str.startswith("edge_")]
    rows = rows[(rows.tuned != "") | (rows.lr.isna() & rows.epochs.isna())]
    rows["setting"] = rows.groupby(["model", *fields], dropna=False).ngroup()
    rows = rows.join(energy(), on="id")
    return rows, fields


def energy() -> pd.DataFrame:
    """id -> modelled joules of both processes and whether their memory is interpolated."""
    files = [paths.RESULTS / f"{stem}_costs.csv.gz" for stem in CHAPTERS]
    lines = pd.concat([pd.read_csv(file) for file in [*files,
                                                      paths.RESULTS / "energy_remade.csv.gz"]])
    lines = lines[(lines.quantity == "energy_j") & (lines.kind == "modelled")]
    lines["node"] = np.where(lines.source.str.startswith("45 nm"), "j45", "j7")
    lines["new"] = lines.source.str.contains("interpolated").astype(float)
    lines = lines.sort_values("new").groupby(["id", "node"]).last()[["value", "new"]].unstack()
    found = lines["value"].copy()
    found["new"] = lines["new"].min(axis=1)
    return found


@functools.cache
def networks() -> tuple[tuple[str, str, str], ...]:
    """The networks that chapters were asked to make smaller, without those trained too shortly."""
    rows, _ = tables()
    printed = pd.read_csv(paths.PUBLISHED / "edge_fp32.csv").set_index(["task", "model"]).score
    asked = [pair for stem in PAIRS for pair in json.loads(
        (paths.RESULTS / f"{stem}.json").read_text())["parameters"]["pairs"]]
    found = []
    for pair in dict.fromkeys(asked):
        task, model, *sizes = pair.split("/")
        net = (task, model, *(sizes or [""]))
        base = baseline(rows[rows.split == "test"], net)
        short = base.epochs_run.max() < 10 and not model.startswith(("minilm", "bert"))
        if not short or base.score_high.max() >= printed.get((task, model), np.inf):
            found.append(net)
    return tuple(found)


def baseline(rows: pd.DataFrame, net: tuple[str, str, str]) -> pd.DataFrame:
    task, model, sizes = net
    own = rows[(rows.task == task) & (rows.model == model) & (rows.sizes == sizes)]
    plain = own[["quantizer", "pruner", "tuned", "deploy", "repairs", "budget"]].eq("").all(axis=1)
    return own[plain & own.a_bits.isna() & own.lr.isna() & own.epochs.isna()
               & own.batch_size.isna()]


def losses(own: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame | None:
    """fold (or one line) -> mean loss in points and growth of the squared error."""
    single = base.seed.nunique() <= 1 < own.seed.nunique()
    common = not single and bool(set(own.seed.dropna()) & set(base.seed.dropna()))
    on = ["seed", "fold", "n"] if common else ["fold", "n"]
    one = base.groupby(["seed", "fold", "n"], dropna=False).first().reset_index()
    pairs = own.merge(one[[*on, "score"]], on=on, suffixes=("", "_base"))
    if pairs.empty or not set(base.fold.dropna()) <= set(pairs.fold.dropna()):
        return None
    pairs["loss"] = (pairs.score_base - pairs.score) / ONE_POINT.get(pairs.metric.iloc[0], 1.0)
    pairs["error"] = ((1 - pairs.score) / (1 - pairs.score_base)
                      if pairs.metric.iloc[0] == "r2" else np.nan)
    by = "fold" if pairs.fold.notna().any() else "seed"
    means = pairs.groupby(by, dropna=False)[["loss", "error"]].mean()
    return means if by == "fold" else means.mean().to_frame().T


@functools.cache
def versions(net: tuple[str, str, str]) -> pd.DataFrame:
    """What a network can be replaced with, a line a setting."""
    rows, fields = tables()
    task, model, sizes = net
    sides = [rows[(rows.task == task) & (rows.split == split)] for split in ("test", "val")]
    bases = [baseline(side, net) for side in sides]
    size = bases[0].size_bytes.median()
    times = pd.read_csv(paths.RESULTS / "08_files.csv", dtype={"net_sizes": str})
    times = times[(times.task == task) & (times.net == model)
                  & (times.net_sizes.fillna("") == sizes)].drop_duplicates("id").set_index("id")
    joules = bases[0][["j45", "j7", "new"]].mean()
    lines = []
    for number, own in sides[0].groupby("setting"):
        first = own.iloc[0]
        itself = (first.model, first.sizes) == (model, sizes)
        lost = losses(own, bases[0])
        if lost is None or not (itself or own.params.iloc[0] < bases[0].params.median()):
            continue
        folds = lost if len(lost) >= 3 and lost.index.name == "fold" else None
        chosen = lost.mean()
        if folds is None:
            validated = sides[1][sides[1].setting == number]
            chosen = losses(validated, bases[1]) if len(validated) and len(bases[1]) else None
            chosen = pd.Series({"loss": np.nan, "error": np.nan}) if chosen is None else (
                chosen.mean())
        mine = own[["j45", "j7", "new"]].mean()
        share = (mine / joules)[["j45", "j7"]].max(skipna=False) if mine.new == joules.new else (
            np.nan)
        lines.append({
            **dict(zip(NET, net, strict=True)), "itself": itself, **first[["model", *fields]],
            "technique": titles.technique(first), "family": titles.family(first),
            "effort": effort(first, itself),
            "control": first.deploy == "fp32" and (first.quantizer != "" or (
                first.pruner != "" and not first.structure.startswith("channel"))),
            "folds": folds, "tested": lost.mean().loss, "tested_error": lost.mean().error,
            "loss": chosen.loss, "error": chosen.error, "KiB": own.size_bytes.median() / 1024,
            "share": share, "ms": times["ms at 1"].get(first.id, np.nan)})
    found = pd.DataFrame(lines)
    whole = found[found.itself & (found.technique == FP32_FILE)].ms.max()
    return found.assign(KiB_gain=size / 1024 / found.KiB, share_gain=1 / found.share,
                        ms_gain=whole / found.ms)


def effort(row: pd.Series, itself: bool) -> str:
    if not itself or row.tuned == "distill":
        return "from scratch"
    if row.tuned:
        return "fine-tuning"
    return "gradient calibration" if row.quantizer in ("brecq", "adaround") else "none"


def good(loss: float, error: float, most: float) -> bool:
    return loss <= most + 1e-9 and not error > GROWN


def without(line: pd.Series, fold: int | None) -> tuple[float, float]:
    """Loss and growth of the error on the selection data, one fold left out."""
    if fold is None or line.folds is None or fold not in line.folds.index:
        return line.loss, line.error
    rest = line.folds.drop(index=fold).mean()
    return rest.loss, rest.error


def best(lines: pd.DataFrame, gain: str, most: float, fold: int | None = None) -> str:
    """The technique within the tolerance, and a gain, wherever it was tried that gains most."""
    known = lines[lines.loss.notna()]
    if known.empty:
        return ""
    of_all = known.groupby(NET).ngroups
    gains, enough = {}, False
    for technique, part in known.groupby("technique"):
        tried = part.groupby(NET).ngroups
        asked = known[known.effort == part.effort.iloc[0]].groupby(NET).ngroups
        if tried <= asked / 2 or tried < min(2, of_all):
            continue
        enough = True
        if part[gain].min() > 1 and all(
                good(*without(line, fold), most) for _, line in part.iterrows()):
            gains[technique] = np.exp(np.log(part[gain]).mean())
    if not enough:
        return ""
    return max(gains, key=gains.get, default=BASELINE)


def smallest_dense(table: pd.DataFrame, cost: str, most: float) -> pd.DataFrame:
    """Of each network the least dense model by its selection data; itself, where there are none."""
    plain = table[(table.technique == BASELINE) | (table.itself & (table.technique == FP32_FILE))]
    lines = []
    for _, part in plain.sort_values([cost, "tested"], kind="stable").groupby(NET, sort=False):
        known = part[part.loss.notna()] if part.loss.notna().any() else part[part.itself]
        first = next(line for _, line in known.iterrows()
                     if good(line.loss, line.error, most) or np.isnan(line.loss))
        lines.append(first.to_dict() | {"technique": SMALLER, "effort": "from scratch"})
    return pd.DataFrame(lines)


def recommended(kind: str, goal: str, most: float, allowed: str) -> tuple[str, pd.DataFrame]:
    """The recipe for a choice, and a line a network with its gain, and its loss where it was not
    selected."""
    cost = COST[goal]
    table = pd.concat([versions(net) for net in networks() if names.kind(net[0]) == kind])
    table = table[table.effort.isin(EFFORT[:EFFORT.index(allowed) + 1]) & ~table.control
                  & table[cost].notna()]
    if cost == "ms":
        table = table[table.deploy != ""]
    own = table[table.itself].sort_values("loss")       # of a family what loses least
    own = own.assign(technique=own.family.replace(FP32_FILE, BASELINE))
    own = own.drop_duplicates([*NET, "technique"])
    if allowed == EFFORT[-1]:
        own = pd.concat([own, smallest_dense(table, cost, most)], ignore_index=True)
    gain = f"{cost}_gain"
    title = best(own, gain, most)
    places = sorted({fold for one in own.folds if one is not None for fold in one.index})
    rivals = {fold: best(own, gain, most, fold) for fold in places}
    lines = []
    for net, part in own.groupby(NET, sort=False):
        if not (part.technique == title).any():
            continue
        part = part.drop_duplicates("technique").set_index("technique")
        line = part.loc[title]
        loss, error, low, high = line.tested, line.tested_error, np.nan, np.nan
        if line.folds is not None:
            reads = np.array([part.loc[name if name in part.index else title].folds.loc[fold]
                              for fold, name in rivals.items()], float)
            loss, error = reads.mean(axis=0)
            half = stats.t.ppf(0.975, len(reads) - 1) * reads[:, 0].std(ddof=1) * np.sqrt(
                1 / len(reads) + 1 / 3)
            low, high = loss - half, loss + half
        lines.append({"network": titles.network(*net), "gain": line[gain], "loss": loss,
                      "low": low, "high": high, "kept": good(loss, error, most)})
    return title, pd.DataFrame(lines)


@functools.cache
def embedded() -> dict[tuple[str, ...], dict]:
    """The answers that the report holds, by their choices."""
    html = REPORT.read_text(encoding="utf-8")
    texts = re.findall(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', html, re.S)
    answers = [answer for text in texts for answer in json.loads(text) if "goal" in answer]
    return {(one["kind"], one["goal"], one["loss"], one["training"]): one for one in answers}


def numbers(text: str) -> list[tuple[float, float]]:
    """Numbers as a page shows them, each with half a unit of its last digit."""
    found = re.findall(r"−?\d[\d,]*(?:\.\d+)?", text)
    return [(float(one.replace("−", "-").replace(",", "")),
             0.5001 * 10.0 ** -len(one.partition(".")[2])) for one in found]


@pytest.mark.skipif(not REPORT.exists(), reason="no report is committed")
@pytest.mark.parametrize("case", CASES, ids=", ".join)
def test_an_answer_is_what_the_tables_say(case):
    kind, goal, loss, training = case
    shown = embedded()[case]
    title, lines = recommended(KIND[kind], goal, float(loss.split()[0]), training)
    if title in ("", BASELINE):
        assert shown["networks"] == []
        assert shown["technique"] == ("Keep the FP32 baseline" if title else "Not enough evidence")
        return
    assert shown["technique"] == title
    assert len(shown["networks"]) == len(lines) > 0
    networks_shown = {one["network"].partition(" → ")[0]: one for one in shown["networks"]}
    assert networks_shown.keys() == set(lines.network)
    for line in lines.itertuples():
        told = networks_shown[line.network]
        assert told["kept"] == line.kept
        (gain, half), = numbers(told["change"])
        assert gain == pytest.approx(line.gain, abs=half)
        values = numbers(told["loss"].partition("]")[0])
        for (value, half), mine in zip(values, (line.loss, line.low, line.high), strict=False):
            assert np.isnan(mine) or value == pytest.approx(mine, abs=half), told


@pytest.mark.skipif(not REPORT.exists(), reason="no report is committed")
def test_every_choice_has_one_answer_with_its_evidence():
    kinds, goals, tolerances, trainings = (
        {key[place] for key in embedded()} for place in range(4))
    assert len(embedded()) == len(kinds) * len(goals) * len(tolerances) * len(trainings)
    assert kinds >= set(KIND) and goals == set(COST)
    for case, answer in embedded().items():
        if answer["networks"]:
            kept = sum(line["kept"] for line in answer["networks"])
            assert f"{kept} of {len(answer['networks'])}" in answer["sentence"], case
            assert (paths.FIGURES / "full" / answer["evidence"]).exists(), case


def test_the_numbers_of_a_page_are_read():
    assert numbers("−0.02 [−0.27, 1,023] pp") == [
        (-0.02, 0.005001), (-0.27, 0.005001), (1023.0, 0.5001)]
