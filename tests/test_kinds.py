"""Twelve kinds of faults, looked for in the committed rows, tables and pages."""

import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from lib import energy, results
from lib.base import names, paths, titles
from lib.base.metric import METRICS
from lib.base.setting import FIELDS
from lib.replication.verdicts import Estimate, Evidence, statement
from lib.results import policies
from lib.results.family import family
from tests.conftest import profile

NET = ["task", "net", "net_sizes"]
RESNET = ("cifar10", "resnet20", "")
PAGES = sorted((paths.FIGURES / "full").rglob("*.html"))
OBJECTIVES = ("size", "latency", "energy")


@pytest.fixture(scope="module")
def chosen(committed):
    """What is selected for every network by each objective, within 1 pp."""
    return pd.concat([results.select(committed.candidates, one) for one in OBJECTIVES])


def saved(name: str) -> pd.DataFrame:
    return results.load_table(name, paths.RESULTS)


def of(table: pd.DataFrame, net: tuple[str, str, str]) -> pd.DataFrame:
    return table[(table[NET] == list(net)).all(axis=1)]


def corrected(p: pd.Series) -> pd.Series:
    """Holm's p, step by step: the least of k is multiplied by k, the next by k − 1, …"""
    found, most, left = pd.Series(np.nan, p.index), 0.0, p.notna().sum()
    for name, value in p.dropna().sort_values(kind="stable").items():
        most = max(most, min(1.0, value * left))
        found[name], left = most, left - 1
    return found


def prose(stem: str) -> str:
    """A notebook's text in one line."""
    cells = json.loads((paths.NOTEBOOKS / f"{stem}.ipynb").read_text("utf-8"))["cells"]
    return " ".join(" ".join("".join(cell["source"]) for cell in cells
                             if cell["cell_type"] == "markdown").split())


# 1. What was only quantized or pruned is compared with the very network it was made from.

def test_the_baseline_of_ptq_is_the_network_that_was_quantized(committed):
    """Its score on the same fold, from the same training, less the candidate's."""
    tested, compared = committed.rows[committed.rows.split == "test"], 0
    table = results.of_network(committed.candidates)
    table = table[table.training.isin(["none", "gradient calibration"])]
    for net, part in table.groupby(NET):
        base = results.baseline(tested, *net).drop_duplicates(["seed", "fold", "n"])
        on = ["seed", "fold", "n"] if base.seed.nunique() > 1 else ["fold", "n"]
        own = tested[(tested.task == net[0]) & (tested.model == net[1])]
        own = own.merge(base[[*on, "score"]], on=on, suffixes=("", "_base"))
        own["lost"] = (own.score_base - own.score) / METRICS[base.metric.iloc[0]].tolerance
        by = own.groupby([*FIELDS, "fold"], dropna=False)
        means = by.agg(lost=("lost", "mean"), ids=("id", list)).reset_index()
        means = means.groupby(list(FIELDS), dropna=False).agg(lost=("lost", "mean"),
                                                              ids=("ids", "sum"))
        lost = {name: line.lost for line in means.itertuples() for name in line.ids}
        known = part[part.id.isin(lost)]
        assert known.loss.to_numpy() == pytest.approx(known.id.map(lost).to_numpy(), abs=1e-4), net
        compared += len(known)
    assert compared > 0.95 * len(table)


def test_four_bits_lose_little_on_every_network(committed):
    """Compared with a network that was trained on and had got lucky, they lost 1.23 points."""
    lines = results.quantized_alone(committed.candidates)
    lines = lines[(lines.quantizer == "gptq") & (lines.bits == 4) & (lines.tuned == "")]
    assert len(lines) >= 10 and lines.loss.max() < 0.5


def test_chapters_agree_on_the_loss_of_a_row_they_share():
    tables = [saved(f"{stem}_losses").fillna({"net_sizes": ""}).set_index([*NET, "id"])
              for stem in ("03", "04", "05")]
    shared = 0
    for one, other in itertools.combinations(tables, 2):
        both = one.index.intersection(other.index)
        assert one.loss[both].to_numpy() == pytest.approx(other.loss[both].to_numpy(), abs=1e-4)
        shared += len(both)
    assert shared > 20


def test_a_fine_tuned_baseline_is_a_candidate_and_never_the_baseline(committed):
    table = results.of_network(committed.candidates)
    tuned = table[(table.tuned == "finetune") & (table.pruner == "") & (table.quantizer == "")
                  & (table.deploy == "")]
    better = tuned[tuned.loss < -0.5]
    assert len(tuned) >= 5 and len(better)              # some scored higher: they got lucky
    for line in better.itertuples():
        own = of(table, (line.task, line.net, line.net_sizes))
        base = own[own.technique == titles.BASELINE]
        assert (base.loss == 0).all() and base.score.iloc[0] != line.score


# 2. Who asks for few joules gets the candidate with the fewest.

def test_energy_is_selected_by_energy(committed, chosen):
    of_size, of_energy = (of(chosen[chosen.objective == one], RESNET).iloc[0]
                          for one in ("size", "energy"))
    assert of_energy.energy_share < 0.1 < of_size.energy_share
    shares = results.eligible(committed.candidates, "energy")
    for line in chosen[chosen.objective == "energy"].itertuples():
        own = of(shares, (line.task, line.net, line.net_sizes))
        fewer = own[(own.value < line.value - 1e-12) & (own.selected_on == line.selected_on)]
        assert not results.within(fewer.selection_loss, fewer.selection_ratio, 1.0).any()


@pytest.mark.parametrize("chip", energy.PROCESSES.values(), ids=energy.PROCESSES)
def test_energy_has_no_step_at_the_size_of_a_memory(chip):
    sizes = 2.0 ** np.linspace(10, 24, 500)
    assert (np.diff([chip.access(size)[1] for size in sizes]) >= 0).all()
    for size in (held for held, _ in chip.sram):
        below, above = (chip.access(size * (1 + end))[1] for end in (-1e-6, 1e-6))
        assert above == pytest.approx(below, rel=1e-3)


# 3. A table on the test set holds no score on the validation set.

def test_a_summary_of_several_splits_is_refused(committed):
    both = committed.rows[committed.rows.task == "telescope"]
    assert both.split.nunique() > 1
    with pytest.raises(ValueError, match="several splits"):
        results.summary(both)


def test_baselines_are_scored_on_the_test_set(committed):
    table = committed.candidates
    for net, part in table[table.technique == titles.BASELINE].groupby(NET):
        own = part[(part.model == net[1]) & (part.sizes == net[2])]
        rows = results.baseline(committed.rows[committed.rows.split == "test"], *net)
        assert own.score.to_numpy() == pytest.approx([rows.score.mean()]), net
    mlp = of(table, ("telescope", "mlp_complex", ""))
    validated = results.baseline(committed.rows[committed.rows.split == "val"], "telescope",
                                 "mlp_complex")
    score = mlp[mlp.technique == titles.BASELINE].score.max()
    assert abs(score - validated.score.mean()) > 0.02


# 4. What had not converged is no baseline.

def test_networks_that_had_not_converged_are_left_out_with_the_reason(committed):
    left = committed.nets[committed.nets.why_not != ""]
    assert set(zip(left.task, left.net, strict=True)) >= {
        ("cifar10", "mobilenetv2"), ("cifar10", "resnet50")}
    for line in left.itertuples():
        assert f"{line.epochs_run:.0f} epochs" in line.why_not and line.epochs_run < 10
        assert of(committed.candidates, (line.task, line.net, line.net_sizes)).empty


@pytest.mark.parametrize("stem", ["02_train", *results.CHAPTERS])
def test_rows_say_how_long_and_how_large(stem):
    header = list(pd.read_csv(paths.RESULTS / f"{stem}.csv", nrows=0))
    assert header[-2:] == ["epochs_run", "build_args"]


# 5. Choices that saw the test set are disclosed.

@pytest.mark.parametrize("stem", ["02_train", "10_report"])
def test_recipes_that_were_chosen_with_the_test_set_in_view_are_disclosed(stem):
    sentences = [one for one in re.split(r"(?<=[.:])\s", prose(stem)) if "recipe" in one.lower()]
    assert any("validation" in one and "folds" in one and "test set" in one for one in sentences)
    if stem == "02_train":
        assert any("series" in one and "test set" in one for one in sentences)


# 6. A rule is judged by its own criterion.

def test_kept_is_the_tolerance_of_the_rule_where_nothing_was_selected(chosen):
    for line in chosen.itertuples():
        grown = line.evaluated_ratio > 1.1
        assert bool(line.kept) == (line.evaluated <= line.tolerance + 1e-9 and not grown)
    assert chosen.kept.any() and not chosen.kept.all()


@pytest.mark.parametrize("tolerance", [1.0, 2.0])
def test_a_smaller_model_is_evaluated_on_folds_that_did_not_select_it(committed, tolerance):
    """Also where one technique is recommended for all tables."""
    table = committed.candidates
    tasks = [task for task in table.task.unique() if names.kind(task) == "table"]
    title, lines = results.recipe(table, tasks, "size", tolerance, "from scratch")
    assert title == "smaller dense model"
    dense = table[table.technique.isin([titles.BASELINE, titles.RUNNING["fp32"]])]
    alone = results.select(dense, "size", tolerance).set_index("task").evaluated
    for line in lines.itertuples():
        assert line.evaluated == pytest.approx(alone[line.task])


def test_the_report_counts_what_was_kept_so():
    html = (paths.FIGURES / "full" / "report.html").read_text("utf-8")
    text, = re.findall(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', html, re.S)
    lines = [(float(answer["loss"].split()[0]), line)
             for answer in json.loads(text) for line in answer["networks"]]
    assert len(lines) > 100
    for most, line in lines:
        value, = re.findall(r"^−?[\d.]+", line["loss"])
        loss, half = float(value.replace("−", "-")), 0.5 * 10.0 ** -len(value.partition(".")[2])
        if abs(loss - most) > half and "squared error" not in line["loss"]:
            assert line["kept"] == (loss <= most), line


def test_exported_models_that_lose_more_than_was_asked_are_marked():
    taken = saved("08_taken")
    grown = taken.evaluated_ratio > 1.1
    assert (taken.kept == ((taken.evaluated <= taken.within + 1e-4) & ~grown)).all()
    assert not taken.kept.all()


# 7. What is not known decides nothing.

def test_a_result_without_an_interval_decides_nothing():
    sure = Estimate("net", 5.0, 4.5, 5.5, 5)
    unknown = Estimate("net", np.nan, np.nan, np.nan, 5)
    without = Estimate("net", 9.0, np.nan, np.nan, 1)
    assert statement(Evidence([unknown, without]), -np.inf, 6.0)["verdict"] == "not testable"
    for other in (unknown, without):
        assert statement(Evidence([sure, other]), -np.inf, 6.0)["verdict"] == "holds"
    on_it = Estimate("net", 5.9, 5.5, 6.3, 5)
    assert statement(Evidence([on_it]), -np.inf, 6.0)["verdict"] == "undecided"


# 8. Adaptive precision has its price beside its gain.

def test_every_policy_and_single_model_has_its_energy():
    replay = saved("replay")
    assert replay.energy_mj.gt(0).all() and replay.on_time_accuracy.notna().all()
    for _, part in replay.groupby(["task", "model", "trace"]):
        assert set(part.single) == {True, False}
    gains = saved("09_gains")
    assert gains.energy_ratio.gt(0).all()
    slack = gains[(gains.policy == "slack") & gains.best]
    assert slack.energy_ratio.max() > 2                 # it is not free: a table must show it


def test_what_is_called_a_bound_is_not_beaten():
    replay = saved("replay")
    for policy in replay.policy.unique():
        ahead = replay[replay.policy == policy].set_index(policies.TRACE).on_time_accuracy
        best = replay.groupby(policies.TRACE).on_time_accuracy.max().reindex(ahead.index)
        if (best > ahead).any():
            assert not re.search("oracle|bound|clairvoyant", titles.policy(policy), re.I)


# 9. A family of comparisons is corrected, and so are intervals over folds.

def families(committed) -> dict[str, pd.DataFrame]:
    with profile("published"):
        ours = results.load("05_qat")
        of_05 = results.gains(ours[ours.recipe != "edge"], results.load_scores("05_qat"),
                              {"tuned": ""}, {"tuned": "lsq"})
        of_07 = results.gains(results.load("07_distill"), results.load_scores("07_distill"),
                              {"tuned": ""}, {"tuned": "distill"})
        plan, scores = results.load("06_resnet_energy"), results.load_scores("06_resnet_energy")
    plan = plan[(plan.split == "test") & plan.task.str.endswith("@small")]      # no setting
    pairs = []
    for _, part in plan.groupby("task"):
        usual = (part.model == "resnet8") & (part.sizes == "width=8") & (part.recipe == "plan")
        usual &= (part.epochs == 20) & part.lr.isna() & (part.pruner == "")
        changed = part[~usual].groupby(["model", *FIELDS], dropna=False)
        pairs += [({"pair": key}, own, part[usual]) for key, own in changed]
    return {"05": results.decided(of_05), "06": family(pairs, scores), "07": results.decided(of_07),
            "09": saved("09_gains").rename(columns={"on_time_accuracy_gain": "gain"})}


def test_decisions_follow_the_corrected_p(committed):
    lost = 0
    for name, table in families(committed).items():
        again = corrected(table.p)
        assert table.holm.to_numpy() == pytest.approx(again.to_numpy(), rel=1e-4, nan_ok=True), name
        wins, alone = (((p < 0.05) & (table.gain > 0)).sum() for p in (table.holm, table.p))
        assert wins <= alone and len(table) > 5, name
        lost += alone - wins
        if "verdict" in table:
            told = table.verdict.str.startswith("significantly")
            assert (table.holm[told] < 0.05).all()
    assert lost > 5


def test_intervals_over_folds_are_wider_than_those_over_seeds(committed):
    values = [90.1, 90.4, 89.8, 90.0, 90.7]
    _, low, high, _ = results.interval(values, "fold")
    _, least, most = results.t_interval(values)
    assert (high - low) / (most - least) == pytest.approx(np.sqrt((1 / 5 + 1 / 3) / (1 / 5)))
    table = committed.candidates[committed.candidates.by_fold.map(len) == 5]
    lines = table[table.loss != 0].sample(200, random_state=0)
    for line in lines.itertuples():
        mean, low, high = results.interval([loss for loss, _ in line.by_fold.values()], "fold")[:3]
        assert (line.loss, line.low, line.high) == pytest.approx((mean, low, high), abs=1e-6)


# 10. A statistic over networks is over the same networks in every column.

def test_the_worst_of_networks_is_over_as_many_as_it_names(committed):
    lines = results.quantized_alone(committed.candidates)
    lines = lines[lines.tuned == ""]
    table = results.worst(lines, ["quantizer", "bits_asked"])
    for line in table.itertuples():
        part = lines[(lines.quantizer == line.quantizer) & (lines.bits_asked == line.bits_asked)]
        nets = part.groupby(NET)
        assert line.networks == nets.ngroups
        assert line.loss <= nets.loss.max().max() and line.loss >= nets.loss.min().max()
        assert line.least >= (part.base_KiB / part.KiB).min()
    assert table.networks.nunique() > 1                 # the sets do differ


def test_with_and_without_training_are_of_the_same_networks(committed):
    table = results.with_and_without_training(committed.candidates)
    lines = results.quantized_alone(committed.candidates, inputs=True)
    lines = lines.assign(inputs=lines.a_bits.fillna(32))
    for line in table.itertuples():
        own = lines[(lines.bits_asked == line.bits) & (lines.inputs == line.inputs)]
        sets = [set(map(tuple, part[NET].to_numpy())) for part in (
            own[own.tuned == ""], own[own.tuned.str.startswith("lsq")])]
        assert line.networks <= len(sets[0] & sets[1])
    assert len(table) >= 3 and table[["ptq_loss", "qat_loss"]].notna().all(axis=None)


def test_an_interval_is_over_folds_seeds_or_examples_and_says_so(committed, chosen):
    assert set(committed.candidates.over) <= {"fold", "seed", "example"}
    one_split = committed.candidates[committed.candidates.by_fold.map(len) == 0]
    assert not one_split.over.eq("fold").any()
    assert chosen.over.isin(["fold", "seed", "example"]).all()


def test_a_regression_whose_squared_error_grows_by_more_than_a_tenth_is_not_kept(committed, chosen):
    mv = of(committed.candidates, ("mv", "mlp_complex", ""))
    small = mv[(mv.loss < 0.5) & (mv.error_ratio > 2)]
    assert len(small) > 3                                # R² hides them
    assert not results.within(small.loss, small.error_ratio, 1.0).any()
    assert not (chosen.kept & (chosen.evaluated_ratio > 1.1)).any()
    assert not (chosen.selection_ratio > 1.1).any()


# 11. Controls are never recommended or exported.

def test_no_control_is_selected(committed, chosen):
    assert committed.candidates.control.any() and not chosen.control.any()
    masked = (chosen.deploy == "fp32") & ((chosen.quantizer != "") | (
        (chosen.pruner != "") & ~chosen.structure.str.startswith("channel")))
    assert not masked.any()
    for name in ("08_fastest", "08_taken"):
        table = saved(name)
        assert len(table) and not table.control.any(), name
        assert not ((table.deploy == "fp32") & (table.quantizer != "")).any(), name


# 12. All pages are of one version of the code, and lead to each other.

@pytest.mark.skipif(not PAGES, reason="no pages are committed")
def test_pages_have_one_navigation_and_one_look():
    expected = {path.stem for path in paths.NOTEBOOKS.glob("[0-9]*.ipynb")} - {"10_report"}
    found = {}
    for page in PAGES:
        soup = BeautifulSoup(page.read_text("utf-8"), "html.parser")
        links = soup.find("nav").find_all("a")
        targets = tuple((page.parent / link["href"]).resolve() for link in links)
        assert all(target.exists() for target in targets), page.name
        assert {target.stem for target in targets} >= expected | {"report", "rows", "claims",
                                                                  "glossary"}
        found[page.name] = (targets, soup.find("style").get_text())
    assert len(set(found.values())) == 1, sorted(found)


@pytest.mark.skipif(not PAGES, reason="no pages are committed")
@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "chapters"],
                         ids=lambda page: page.stem)
def test_a_chapter_shows_the_code_of_its_notebook(page):
    text = "".join(BeautifulSoup(page.read_text("utf-8"), "html.parser").get_text().split())
    cells = json.loads((paths.NOTEBOOKS / f"{page.stem}.ipynb").read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert code and all("".join(source.split()) in text for source in code)


def test_kinds_of_data_of_published_networks_are_known(committed):
    assert {names.kind(task) for task in committed.candidates.task} == {"images", "series", "table",
                                                                        "text"}
