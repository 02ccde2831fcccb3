"""The contract over the committed tables: what any reader of data/results may rely on."""

import functools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors import safe_open

from lib import replication, results
from lib.base import names, paths
from lib.base.metric import METRICS
from lib.study import cache, compare, publish
from lib.tables import rows, store

STEMS = sorted(path.stem for path in paths.RESULTS.glob("[0-9]*.json"))     # of what is published
MOST_BYTES = 24e6               # of data/results and figures/full together
ROUNDED = 5e-6                  # of a number with six digits
NUMBER = re.compile(r"-?\d+\.?\d*(e[-+]\d+)?")


@pytest.fixture(autouse=True)
def published(monkeypatch):
    monkeypatch.setattr(paths, "_profile", "published")


@functools.cache
def table(stem: str) -> pd.DataFrame:
    return results.load(stem)


@functools.cache
def scores(stem: str) -> dict[str, np.ndarray]:
    return results.load_scores(stem)


def of_nets(stem: str) -> pd.DataFrame:
    """The rows that are of a net scored example by example: all but those of replays."""
    found = table(stem)
    return found[found.policy == ""]


def raw(stem: str) -> pd.DataFrame:
    return pd.read_csv(paths.RESULTS / f"{stem}.csv", dtype=str, keep_default_na=False)


@pytest.mark.parametrize("stem", STEMS)
def test_columns_ids_keys_and_order(stem):
    written, found = raw(stem), table(stem)
    # What trains no network may lack the columns of what was effective.
    assert list(written) in ([*rows.COLUMNS, *store.EFFECTIVE], list(rows.COLUMNS))
    keys = [tuple(line[1:]) for line in found[["id", *rows.KEY]].itertuples(index=False)]
    assert [rows.identify(key) for key in keys] == list(written["id"])
    assert written["id"].is_unique
    assert not written.duplicated(list(rows.KEY)).any()
    assert store.ordered(found)["id"].tolist() == written["id"].tolist()


@pytest.mark.parametrize("stem", STEMS)
def test_every_row_is_one_that_can_be(stem):
    for line in table(stem).to_dict("records"):
        values = {name: value for name, value in line.items()
                  if name not in ("id", *store.EFFECTIVE) and value != "" and pd.notna(value)}
        whole = {name: int(value) for name, value in values.items() if name in rows.WHOLE}
        assert rows.Row(**(values | whole)).id == line["id"]      # raises for what cannot be


@pytest.mark.parametrize("stem", [stem for stem in STEMS if "02" <= stem[:2] < "10"])
def test_what_was_effective_is_known_of_every_network_trained_here(stem):
    found = table(stem)
    here = found.model.map(names.trained_here) & (found.policy == "")
    assert (found.epochs_run[here] >= 1).all() and found.epochs_run[~here].isna().all()
    asked = here & found.epochs.notna()
    assert (found.epochs_run == found.epochs)[asked].all()
    for row in found[here].drop_duplicates(["sizes", "build_args"]).itertuples():
        assert set(row.sizes.split()) <= set(row.build_args.split())


@pytest.mark.parametrize("stem", ["02_train", "06_resnet_energy"])
def test_epochs_are_those_of_the_history(stem):
    by = ["task", "model", "recipe", "sizes", "seed", "fold"]
    by += ["epochs", "schedule", "amount"] if stem.startswith("06") else []
    history = results.load_table(f"{stem[:2]}_history")
    ran = history.groupby(by, dropna=False).epoch.max().rename("ran").reset_index()
    found = table(stem)
    plain = found[found.epochs.isna()] if stem.startswith("02") else found
    joined = plain.merge(ran.astype(dict.fromkeys(("seed", "fold"), float)), on=by)
    assert len(joined) > 100 and (joined.epochs_run == joined.ran).all()


@pytest.mark.parametrize("stem", STEMS)
def test_scores_lie_within_their_intervals_and_metrics_are_known(stem):
    found = of_nets(stem)
    assert (found.score_low <= found.score).all() and (found.score <= found.score_high).all()
    assert (found.score <= found.metric.map(lambda name: METRICS[name].best)).all()
    assert (found.n > 0).all() and found.loss.notna().all()


@pytest.mark.parametrize("stem", STEMS)
def test_scores_per_example_are_of_their_rows(stem):
    found = of_nets(stem).set_index("id")
    assert scores(stem).keys() <= set(found.index)
    accurate = found[found.metric == "accuracy"]
    assert set(accurate.index) <= scores(stem).keys()
    for name, values in scores(stem).items():
        assert values.shape == (found.n[name],)
    for row in accurate.itertuples():
        total = METRICS["accuracy"].total(scores(stem)[row.Index])
        assert float(f"{total:.6g}") == row.score


def test_macro_f1_of_a_constant_answer_is_what_its_accuracy_makes_it():
    """One class of k is answered: its precision is the accuracy p, its recall 1, its F1 therefore
    2p / (1 + p), and that of every other class 0."""
    classes = results.load_table("01_parts").set_index("task").classes
    majority = table("01_data")[lambda found: (found.model == "majority")
                                & (found.metric2 == "macro_f1")]
    assert len(majority) > 20
    share = majority.score / 100
    expected = 100 * 2 * share / (1 + share) / majority.task.map(classes)
    assert majority.score2.to_numpy() == pytest.approx(expected.to_numpy(), rel=2 * ROUNDED)


@pytest.mark.parametrize("stem", STEMS)
def test_macro_f1_keeps_close_to_accuracy_where_a_net_has_learned(stem):
    found = table(stem)
    good = found[(found.metric2 == "macro_f1") & (found.score > 90)]
    assert ((good.score2 - good.score).abs() < 10).all()


@pytest.mark.parametrize("stem", STEMS)
def test_bytes_hold_the_bits_that_were_asked(stem):
    found = of_nets(stem)
    found = found[found.params.notna() & (found.deploy == "")]      # files have a test below
    assert (found.nonzero <= found.params).all() and (found.nonzero >= 0).all()
    plain = found[results.unmodified(found)]
    assert (plain.bits_per_weight == 32).all() and (plain.size_bytes >= 4 * plain.params).all()
    small = found[~results.unmodified(found)]
    # Codes that mean 0 are not stored where it takes less to say where the others lie.
    share = small.nonzero / small.params
    asked = rows.bits_asked(small) * share
    stored = 8 * small.size_bytes / small.params
    # Edge rounds biases too; others keep them. Ternary codes go five to a byte: 1.6 for log₂ 3.
    assert (stored[asked.notna()] >= asked[asked.notna()]).all()
    known = small[small.bits_per_weight.notna()]
    assert len(known) >= 0.9 * len(small)
    known_asked = rows.bits_asked(known) * (1 - known.sparsity)
    assert (known.bits_per_weight >= known_asked - ROUNDED)[known_asked.notna()].all()
    rounded = (small.quantizer != "") | small.a_bits.notna()
    assert (small.arithmetic[rounded] == "simulated").all()
    assert (small.arithmetic[~rounded] == "float").all() and (plain.arithmetic == "float").all()


@pytest.mark.parametrize("stem", STEMS)
def test_a_file_computes_as_its_way_says_and_holds_the_bits_of_it(stem):
    files = of_nets(stem)
    files = files[files.deploy != ""]
    assert files.empty == (stem not in ("08_deploy", "09_realtime"))        # models elsewhere
    floats = files.deploy.isin(["fp32", "openvino", "litert"])
    assert (files.arithmetic[floats] == "float").all()
    assert files.arithmetic[~floats].isin(["integer", "partly integer"]).all()
    assert (files.nonzero <= files.params).all() and (files.nonzero >= 0).all()
    stored = 8 * files.size_bytes / files.params
    # 32, but norms become part of layers, and LiteRT leaves out places that no text reaches.
    least = files.deploy.map({"litert": 31.7}).fillna(31.9)
    assert (stored[floats] >= least[floats]).all()
    codes = files.deploy.map({"nbits": 4}).fillna(8)
    assert (stored[~floats] >= codes[~floats]).all()


@pytest.mark.parametrize("stem", STEMS)
def test_a_file_of_codes_is_smaller_than_that_of_floats(stem):
    files = of_nets(stem)
    files = files[files.deploy != ""]
    net = ["task", "model", *rows.FIELDS, "seed", "fold", "split", "n"]
    net.remove("deploy")
    of_floats = files[files.deploy == "fp32"]
    of_codes = files[files.deploy.isin(["static", "nbits", "openvino-static", "litert-static"])]
    pairs = of_codes.merge(of_floats, on=net, suffixes=("", "_floats"), validate="many_to_one")
    assert len(pairs) == len(of_codes)
    large = pairs[pairs.size_bytes_floats > 1e5]            # of a small one scales take the rest
    assert (large.size_bytes < large.size_bytes_floats).all()
    assert len(large) >= {"08_deploy": 100, "09_realtime": 3}.get(stem, 0)


@pytest.mark.parametrize("stem", STEMS)
def test_replays_are_of_all_seeds_and_what_they_came_to_agrees(stem):
    found = table(stem)
    replays = found[found.policy != ""]
    if stem != "09_realtime":
        assert replays.empty
        return
    repeats = replays.groupby(["task", "trace", "policy"]).seed.nunique()
    assert len(repeats) >= 100 and (repeats == 5).all()
    answered = replays[replays.score.notna()]
    assert (answered.score_low <= answered.score).all()
    assert (answered.score <= answered.score_high).all() and (answered.score_high <= 100).all()
    costs = results.load_costs(stem)
    costs = costs[costs["id"].isin(replays["id"])]
    assert (costs.kind == costs.quantity.map(
        lambda name: "modelled" if name == "joules_per_1000" else "measured")).all()
    told = costs.pivot(index="id", columns="quantity", values="value").reindex(replays["id"])
    for share in ("attainment", "right_in_time", "shed", "failed"):
        assert told[share].between(0, 1).all(), share
    assert (told.right_in_time <= told.attainment + ROUNDED).all()
    assert (told.attainment + told.shed + told.failed <= 1 + ROUNDED).all()
    late = told.dropna(subset="p50")
    assert len(late) >= 0.9 * len(told)
    assert (late.p50 <= late.p95).all() and (late.p95 <= late.p99).all()
    fixed = replays.policy.str.startswith("fixed").to_numpy()                # no setting
    assert (told.switches_per_minute[fixed] == 0).all()
    assert (told.switches_per_minute[~fixed] > 0).any()


def test_a_net_has_the_same_score_in_every_notebook():
    same = ["task", "model", *rows.FIELDS, "seed", "fold", "split", "n"]
    plain = [table(stem)[results.unmodified(table(stem))] for stem in STEMS]
    together = pd.concat(plain).assign(fold=lambda found: found.fold.fillna(-1))
    groups = together.groupby(same, dropna=False)
    assert (groups.size() > 1).sum() >= 50                  # 02 and 03 share these
    for column in ("score", "score_low", "score_high", "score2", "params", "size_bytes", "macs"):
        assert (groups[column].nunique() <= 1).all(), column


@pytest.mark.parametrize("stem", STEMS)
def test_costs_belong_to_rows_and_say_how_they_are_known(stem):
    costs = results.load_costs(stem)
    assert list(costs) == list(rows.COST_COLUMNS)
    assert set(costs["id"]) <= set(table(stem)["id"])
    assert costs.kind.isin(rows.KINDS).all()
    assert (costs.source.str.len() > 0).all() and (costs.value >= 0).all()
    assert not costs.duplicated(["id", "quantity", "source"]).any()
    ranged = costs[costs.low.notna()]
    assert (ranged.low <= ranged.value).all() and (ranged.value <= ranged.high).all()


def test_trainings_and_timings_have_their_costs():
    costs = results.load_costs("02_train")
    assert set(costs["id"][costs.quantity == "spent_s"]) == set(table("02_train")["id"])
    asked = yaml.safe_load((paths.PARAMS / "full" / "02_train.yaml").read_text())
    timed = table("02_train")[table("02_train")["id"].isin(
        costs["id"][costs.quantity == "latency_s"])]
    assert sorted(timed.task + "/" + timed.model) == sorted(asked["pairs"])


def test_a_training_on_two_threads_says_two():
    """What was trained says in its own file on how many threads that was."""
    costs = results.load_costs("02_train").query("quantity == 'spent_s'").set_index("id").source
    several = 0
    for row in table("02_train").itertuples():
        path = cache.committed(compare.training(row))
        if row.split == "test" and path.exists():
            with safe_open(path, framework="numpy") as file:
                threads = cache.header(file)["record"].get("threads", 1)
            assert f"{threads} thread" in costs[row.id], compare.training(row)
            several += threads > 1
    assert several >= 1


@pytest.mark.parametrize("path", sorted(paths.RESULTS.glob("*.csv*")), ids=lambda path: path.stem)
def test_numbers_have_at_most_six_digits(path):
    written = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in written:
        values = set(written[column]) - {""}
        if column == "id" or not all(NUMBER.fullmatch(value) for value in values):
            continue
        for value in values:
            assert "." not in value or float(f"{float(value):.6g}") == float(value), column
            assert value != "nan"


@pytest.mark.parametrize("stem", ["03_ptq", "04_prune", "05_qat"])
def test_losses_are_those_of_the_rows(stem):
    written, own = results.load_table(f"{stem[:2]}_losses"), results.rows_of([stem])
    again = results.candidates(*own, results.networks(own[0], [stem]))
    assert len(written) == len(again) > 100
    for column in ("task", "net", "net_sizes", "id", "technique", "training"):
        assert (written[column].fillna("") == again[column]).all(), column
    for column in ("loss", "low", "high", "score", "KiB", "base_KiB", "bits_asked", "tuned_loss"):
        assert written[column].to_numpy(float) == pytest.approx(
            again[column].to_numpy(float), rel=2 * ROUNDED, abs=1e-12, nan_ok=True), column


def test_claims_are_those_of_the_rows():
    written, again = results.load_table("claims"), replication.judge(replication.read())
    assert len(written) == len(again) > 100
    for column in ("study", "kind", "key", "task", "verdict", "rows"):
        assert (written[column].fillna("") == again[column].fillna("")).all(), column
    for column in ("value", "measured", "low", "high"):
        assert written[column].to_numpy() == pytest.approx(
            again[column].to_numpy(float), rel=2 * ROUNDED, abs=1e-12, nan_ok=True), column


def test_every_file_of_weights_is_a_net_of_these_rows():
    trained = {compare.training(row) for stem in STEMS for row in table(stem).itertuples()}
    files = {cache.committed(step).name for step in trained}
    committed = {path.name for path in paths.WEIGHTS.glob("*.safetensors")}
    assert len(committed) >= 10 and committed <= files


def test_models_are_named_without_their_sizes():
    for path in sorted(paths.RESULTS.glob("*.csv*")):
        header = pd.read_csv(path, nrows=0)
        if "model" in header:
            models = pd.read_csv(path, usecols=["model"], dtype=str).model
            assert not models.str.count(r"[ =]").any(), path.name


def test_all_of_it_is_small():
    def size(folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size(paths.RESULTS) + size(paths.FIGURES / "full") <= MOST_BYTES


def test_readme_says_what_the_committed_rows_say():
    text = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    told = text.partition(publish.MARKS[0])[2].partition(publish.MARKS[1])[0]
    assert told.strip() == publish.readme_answer() and "pp" in told
