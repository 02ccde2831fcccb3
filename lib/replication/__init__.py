"""The claims of four earlier studies and their verdicts."""

from collections import namedtuple

import numpy as np
import pandas as pd

from lib.base import paths
from lib.replication import edge, green, realtime, resnet_energy
from lib.replication.verdicts import MEANINGS, Evidence, held_by_chance, number, statement
from lib.results.candidates import rows_of
from lib.tables.store import load_table

COLUMNS = ("study", "kind", "key", "claim", "task", "said", "value", "unit", "measured", "low",
           "high", "where", "verdict", "why", "rows", "chapter", "set", "random", "permuted")
STUDIES = {"Edge": edge, "Green": green, "ResNet-energy": resnet_energy, "Real-time": realtime}
TEXT = ("key", "task", "where", "why", "set")
CELLS = ("edge_ptq", "edge_prune", "edge_qat")          # tables of data/published
# Rows of some chapters on the test set, their scores per example by id, and their costs.
Part = namedtuple("Part", "rows scores costs")
# data/published/claims.csv; Edge's tables of cells by name; its FP32 scores; four Parts; the epochs
# of 06; scores of untrained heads on SST-2.
Tables = namedtuple("Tables", "claims cells fp32 compressed plan files served history heads")


def read() -> Tables:
    """The tables of this profile; what no run has made is empty."""
    claims, fp32, *cells = (load_table(name, paths.PUBLISHED)
                            for name in ("claims", "edge_fp32", *CELLS))
    chapters = (("02_train", "03_ptq", "04_prune", "05_qat", "07_distill"), ("06_resnet_energy",),
                ("08_deploy",), ("09_realtime",))
    parts = [Part(rows[(rows.split == "test") & rows.score.notna()], scores, costs)
             for rows, scores, costs in map(rows_of, chapters)]
    return Tables(claims.fillna({"note": ""}), dict(zip(CELLS, cells, strict=True)), fp32, *parts,
                  load_table("06_history"), load_table("untrained_head", paths.RESULTS))


def judge(tables: Tables) -> pd.DataFrame:
    """One line a claim, with COLUMNS: the main claims of the four studies, then Edge's cells.

    kind: number or statement (main claims), or cell; said: in words; measured, low, high: in
    `unit`, the least favourable result with its 95 % CI, and where; of a number the mean and the
    95 % prediction interval; task, set: of a cell, its data and networks; random, permuted: how
    often other numbers would be called reproduced, or hold.
    """
    evidence = {study: room.evidence(tables) for study, room in STUDIES.items()}
    found = [(claim, evidence[claim.study].get(claim.key, Evidence()))
             for claim in tables.claims.itertuples()]
    pools: dict[str, list] = {}
    for claim, own in found:
        pools.setdefault(claim.unit, []).extend(own.parts)
    lines = [_main(claim, own, pools[claim.unit]) for claim, own in found]
    table = pd.DataFrame([*lines, *edge.numbers(tables)], columns=COLUMNS)
    return table.astype(dict.fromkeys(TEXT, object)).fillna(dict.fromkeys(TEXT, ""))


def _main(claim, found: Evidence, pool: list) -> dict:
    """The line of one main claim: a number where its two bounds are one."""
    line = {name: getattr(claim, name) for name in (
        "study", "key", "claim", "said", "value", "unit", "chapter")}
    if claim.low == claim.high:
        line |= {"kind": "number"} | number(claim.value, found.scores, pd.Series(dtype=float),
                                            found.span, 0.0)
    else:
        low, high = np.nan_to_num(claim.low, nan=-np.inf), np.nan_to_num(claim.high, nan=np.inf)
        line |= {"kind": "statement"} | statement(found, low, high)
        line |= held_by_chance(found, low, high, pool, claim.unit == "×")
    words = (line["why"], claim.note, found.note) if line["rows"] else (claim.missing, found.note)
    return line | {"why": " ".join(filter(None, words))}


def main(judged: pd.DataFrame) -> pd.DataFrame:
    """The main claims alone."""
    return judged[judged.kind != "cell"].reset_index(drop=True)


def cells(judged: pd.DataFrame) -> pd.DataFrame:
    """The cells of Edge's tables alone, a line a cell and set of networks."""
    return judged[judged.kind == "cell"].reset_index(drop=True)


def counts(judged: pd.DataFrame) -> pd.DataFrame:
    """How many claims got which verdict: a line for the main claims of each study, and for the
    cells of each chapter and set of networks."""
    cell = judged.kind == "cell"
    part = judged.assign(kind=judged.kind.where(cell, "main"),
                         chapter=judged.chapter.where(cell, ""))
    by = [part[name] for name in ("study", "kind", "chapter", "set")]
    table = pd.crosstab(by, part.verdict).reindex(columns=list(MEANINGS), fill_value=0)
    return table.assign(claims=table.sum(axis=1)).reset_index().rename_axis(columns=None)


def by_chance(judged: pd.DataFrame) -> pd.DataFrame:
    """How often each kind of claim is confirmed, beside how often other numbers would be: a line a
    kind, chapter of cells and set, with decided (how many), confirmed (share reproduced, or that
    holds), random and permuted (expected shares, see `verdicts`)."""
    part = judged[judged.random.notna() & (judged.verdict != "not testable")]
    part = part.assign(confirmed=part.verdict.isin(["reproduced", "holds"]),
                       chapter=part.chapter.where(part.kind == "cell", ""))
    return part.groupby(["kind", "chapter", "set"], sort=False).agg(
        decided=("verdict", "size"), confirmed=("confirmed", "mean"), random=("random", "mean"),
        permuted=("permuted", "mean")).reset_index()
