"""Knees: how much of a net can go until it loses more than a point, chosen on validation."""

import pandas as pd

from lib.tables.losses import DENSE, POINT

KEYS = ["task", "net"]
COLUMNS = (*KEYS, "amount", "sparsity", "KiB", "macs", "loss", "low", "high", "over", "runs", "n",
           "dense", "dense_KiB", "dense_loss", "dense_high")


def knees(points: pd.DataFrame, val_points: pd.DataFrame, everything: pd.DataFrame | None = None
          ) -> pd.DataFrame:
    """One line a net: the largest amount up to which no amount loses more than a point on the
    validation part, and what that loses on the test part, which had no part in the choice.

    points, val_points: `in_points(losses(…))` of the test and of the validation part: lines of one
    technique that differ in their amount alone. everything: all candidates on the test part; of its
    dense nets that are no larger the one that loses least stands beside (dense, dense_KiB,
    dense_loss, dense_high). A net that loses more at the least amount has the amount 0 and no loss.
    Columns: COLUMNS.
    """
    lines = []
    for (task, net), part in val_points.groupby(KEYS, sort=False):
        part = part.sort_values("amount")
        within = (part.loss <= POINT).cummin()
        line = {"task": task, "net": net, "amount": part.amount[within].max()}
        if not within.any():
            lines.append(line | {"amount": 0.0})
            continue
        there = points[(points.task == task) & (points.net == net)
                       & (points.amount == line["amount"])]
        read = there.iloc[0]
        line |= {name: read[name] for name in ("sparsity", "KiB", "macs", "loss", "low", "high",
                                               "over", "runs", "n")}
        lines.append(line | _smaller(everything, task, net, read.KiB))
    return pd.DataFrame(lines, columns=COLUMNS)


def _smaller(everything: pd.DataFrame | None, task: str, net: str, kib: float) -> dict:
    """The dense net of no more bytes that loses least, if there is one."""
    if everything is None:
        return {}
    dense = everything[(everything.task == task) & (everything.net == net)
                       & (everything.technique == DENSE) & (everything.KiB <= kib)]
    if dense.empty:
        return {}
    best = dense.loc[dense.loss.idxmin()]
    return {"dense": f"{best.model} {best.sizes}".strip(), "dense_KiB": best.KiB,
            "dense_loss": best.loss, "dense_high": best.high}
