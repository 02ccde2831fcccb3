"""All published rows and claims that the verdicts rest on."""

from dataclasses import dataclass

import pandas as pd

from lib.base import paths
from lib.results.candidates import rows_of
from lib.tables.store import load_table

COMPRESSED = ("02_train", "03_ptq", "04_prune", "05_qat", "07_distill")
CELLS = ("edge_ptq", "edge_prune", "edge_qat")          # tables of data/published
UNTRAINED = "10_untrained_head"


@dataclass(frozen=True)
class Tables:
    """Rows on the test set, costs, and scores per example, by what they are of.

    claims: data/published/claims.csv; cells: a table of Edge by name; history: a line an epoch of
    the trainings of 06; heads: scores of untrained heads on SST-2.
    """

    claims: pd.DataFrame
    cells: dict[str, pd.DataFrame]
    fp32: pd.DataFrame
    rows: pd.DataFrame
    scores: dict
    plan: pd.DataFrame
    plan_scores: dict
    plan_costs: pd.DataFrame
    history: pd.DataFrame
    files: pd.DataFrame
    file_scores: dict
    file_costs: pd.DataFrame
    replays: pd.DataFrame
    replay_costs: pd.DataFrame
    heads: pd.DataFrame


def read() -> Tables:
    """The tables of this profile; what no run has made is empty."""
    rows, scores, _ = _tested(COMPRESSED)
    plan, plan_scores, plan_costs = _tested(("06_resnet_energy",))
    files, file_scores, file_costs = _tested(("08_deploy",))
    replays, _, replay_costs = _tested(("09_realtime",))
    published = {name: load_table(name, paths.PUBLISHED) for name in ("claims", "edge_fp32", *CELLS)}
    return Tables(
        published["claims"], {name: published[name] for name in CELLS}, published["edge_fp32"],
        rows, scores, plan, plan_scores, plan_costs, load_table("06_history"),
        files, file_scores, file_costs, replays, replay_costs,
        load_table(UNTRAINED, paths.RESULTS))


def _tested(chapters: tuple[str, ...]):
    rows, scores, costs = rows_of(chapters)
    return rows[(rows.split == "test") & rows.score.notna()], scores, costs
