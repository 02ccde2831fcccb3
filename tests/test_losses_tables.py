"""Published losses of PTQ and pruning: against the network that each candidate was made from."""

import functools

import numpy as np
import pandas as pd
import pytest

from lib import results
from lib.base import paths

CHAPTERS = ("03_ptq", "04_prune")
NET = ["task", "net", "net_sizes"]
COMPARED = ["loss", "low", "high", "tuned_loss", "error_ratio", "KiB", "base_KiB", "bits_asked"]


@pytest.fixture(autouse=True)
def published(monkeypatch):
    monkeypatch.setattr(paths, "_profile", "published")


@functools.cache
def of(chapter: str) -> pd.DataFrame:
    table = results.load_table(f"{chapter[:2]}_losses")
    return table.assign(net_sizes=table.net_sizes.astype(object).fillna("").astype(str))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_losses_are_those_of_the_rows(chapter):
    rows, scores, costs = results.rows_of([chapter])
    again = results.candidates(rows, scores, costs, results.networks(rows, [chapter]))
    both = of(chapter).merge(again, on=[*NET, "id"], suffixes=("", "_again"))
    assert len(both) == len(again) == len(of(chapter))
    assert (both.technique == both.technique_again).all()
    for name in COMPARED:
        assert both[name].to_numpy(float) == pytest.approx(
            both[f"{name}_again"].to_numpy(float), rel=1e-5, abs=1e-12, nan_ok=True), name


def test_the_same_row_loses_as_much_in_both_chapters():
    both = of("03_ptq").merge(of("04_prune"), on=[*NET, "id"], suffixes=("", "_again"))
    assert len(both) > 10
    for name in COMPARED:
        assert both[name].to_numpy(float) == pytest.approx(
            both[f"{name}_again"].to_numpy(float), nan_ok=True), name


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_what_is_not_trained_loses_against_its_own_network(chapter):
    """Each loss again from scores of the rows, fold by fold, without `results.difference`."""
    rows = results.load(chapter)
    rows = rows[(rows.split == "test") & rows.recipe.isin(["ours", ""])].assign(
        fold=rows.fold.fillna(-1))
    base = rows[results.unmodified(rows)].groupby(["task", "model", "sizes", "fold"]).score.first()
    plain = rows[(rows.quantizer == "gptq") & (rows.tuned == "") & (rows.pruner == "")]
    same = ["task", "model", "sizes", "bits", "a_bits", "budget", "repairs"]
    table = of(chapter)
    own = table[(table.training == "none") & (table.quantizer == "gptq") & (table.pruner == "")]
    assert len(own)
    for line in own.itertuples():
        asked = pd.Series({name: getattr(line, name) for name in same})
        alike = [(plain[name] == asked[name]) | (plain[name].isna() & pd.isna(asked[name]))
                 for name in same]
        part = plain[np.logical_and.reduce(alike)]
        lost = [base[one.task, one.model, one.sizes, one.fold] - one.score
                for one in part.itertuples()]
        assert line.loss * results.METRICS[line.metric].tolerance == pytest.approx(
            np.mean(lost), abs=2e-4), line.technique


def test_four_bits_cost_classification_little_and_r2_hides_an_error():
    table = pd.concat([of(chapter) for chapter in CHAPTERS]).drop_duplicates([*NET, "id"])
    four = table[(table.technique == "GPTQ 4-bit") & (table.model == table.net)]
    classes = four[four.metric != "r2"]
    assert len(classes) == 8 and classes.loss.max() < 0.15 and classes.high.max() < 1.05
    hidden = four[four.task == "mv"]
    assert (hidden.loss < 0.1).all() and (hidden.error_ratio > 10).all()
    assert not results.within(hidden.loss, hidden.error_ratio, 1.0).any()
