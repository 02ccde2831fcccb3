"""The claims of four earlier studies and their verdicts."""

import numpy as np
import pandas as pd

from lib.replication import edge, green, realtime, resnet_energy
from lib.replication.sources import Tables, read
from lib.replication.verdicts import MEANINGS, Evidence, by_chance, number, statement

__all__ = ["COLUMNS", "MEANINGS", "Tables", "cells", "chance", "counts", "judge", "main", "read"]

COLUMNS = ("study", "kind", "key", "claim", "task", "model", "said", "value", "unit", "measured",
           "low", "high", "verdict", "why", "rows", "chapter", "set", "random", "permuted")
STUDIES = {"Edge": edge, "Green": green, "ResNet-energy": resnet_energy, "Real-time": realtime}
TEXT = ("key", "task", "model", "why", "set")


def judge(tables: Tables) -> pd.DataFrame:
    """One line a claim: the main claims of the four studies, then each cell of Edge's tables.

    Columns: COLUMNS. kind: number or statement (main claims), cell; said: in words, value: as a
    number; measured, low, high: in `unit`, of the least favourable result (95 % CI), or of a number
    the mean and the 95 % prediction interval; set: which networks; random, permuted: how often
    other numbers would be called reproduced, or hold.
    """
    found = {study: room.evidence(tables) for study, room in STUDIES.items()}
    claims = list(tables.claims.itertuples())
    pools: dict[str, list] = {}
    for claim in claims:
        evidence = found[claim.study].get(claim.key, Evidence())
        pools.setdefault(claim.unit, []).extend(evidence.parts)
    lines = [_main(claim, found[claim.study].get(claim.key, Evidence()), pools[claim.unit])
             for claim in claims]
    table = pd.DataFrame([*lines, *edge.numbers(tables)]).reindex(columns=COLUMNS)
    return table.fillna(dict.fromkeys(TEXT, ""))


def _main(claim, found: Evidence, pool: list) -> dict:
    """The line of one main claim."""
    low, high = (-np.inf if pd.isna(claim.low) else claim.low,
                 np.inf if pd.isna(claim.high) else claim.high)
    line = {"study": claim.study, "claim": claim.claim, "key": claim.key, "said": claim.said,
            "value": claim.value, "unit": claim.unit, "chapter": claim.chapter}
    if claim.low == claim.high:
        line |= {"kind": "number"} | number(claim.value, found.scores, pd.Series(dtype=float),
                                            found.span, 0.0, uniform=found.span)
        line["why"] = f"{line['why']} {found.note}".strip()
    else:
        line |= {"kind": "statement"} | statement(found, low, high)
        line |= by_chance(found, low, high, pool, claim.unit == "×")
    if not line["rows"]:
        line["why"] = f"{claim.missing} {found.note}".strip()
    return line


def main(judged: pd.DataFrame) -> pd.DataFrame:
    """The main claims alone."""
    return judged[judged.kind != "cell"].reset_index(drop=True)


def cells(judged: pd.DataFrame) -> pd.DataFrame:
    """The cells of Edge's tables alone, a line a cell and set of networks."""
    return judged[judged.kind == "cell"].reset_index(drop=True)


def counts(judged: pd.DataFrame) -> pd.DataFrame:
    """How many claims got which verdict: a line a study, kind, chapter of cells and set."""
    part = judged.assign(chapter=judged.chapter.where(judged.kind == "cell", ""),
                         kind=judged.kind.where(judged.kind == "cell", "main"))
    by = ["study", "kind", "chapter", "set"]
    table = part.groupby([*by, "verdict"], sort=False).size().unstack(fill_value=0)
    table = table.reindex(columns=list(MEANINGS), fill_value=0)
    return table.assign(claims=table.sum(axis=1)).reset_index().rename_axis(columns=None)


def chance(judged: pd.DataFrame) -> pd.DataFrame:
    """How often each kind of claim is confirmed, beside how often it would be by chance.

    A line a kind and set, of claims with a verdict: decided (how many), confirmed (share called
    reproduced, or that holds), random and permuted (the share expected of other numbers).
    """
    part = judged[judged.random.notna() & (judged.verdict != "not testable")]
    part = part.assign(confirmed=part.verdict.isin(["reproduced", "holds"]))
    return part.groupby(["kind", "set"], sort=False).agg(
        decided=("verdict", "size"), confirmed=("confirmed", "mean"), random=("random", "mean"),
        permuted=("permuted", "mean")).reset_index()
