"""The smallest net that each kind of technique gets to: chosen on validation, read on test."""

import pandas as pd

from lib.base.possible import WITHIN
from lib.tables.losses import DENSE, POINT

SMALLER = "a smaller net"
NET = ["task", "net"]
READ = ("technique", "amount", "sparsity", "KiB", "base_KiB", "macs", "loss", "low", "high", "over",
        "runs", "n")


def smallest(points: pd.DataFrame, val_points: pd.DataFrame, by: str) -> pd.DataFrame:
    """For each net and kind the candidate of the fewest bytes that loses no more than a point on
    the validation part, and what it loses on the test part, which had no part in the choice.

    points, val_points: `in_points(losses(…))` of the test and of the validation part; by: the
    column, in both, that says of which kind a candidate is ("" is none). Columns: task, net, by,
    and READ; empty in a kind of which no candidate stays within a point.
    """
    lines = []
    for (task, net, kind), part in val_points.groupby([*NET, by], sort=False):
        if not kind:
            continue
        line = {"task": task, "net": net, by: kind}
        kept = part[part.loss <= POINT].sort_values(["KiB", "loss"], kind="stable")
        if len(kept):
            first = kept.iloc[0]
            there = points[(points.task == task) & (points.net == net) & (points[by] == kind)
                           & (points.model == first.model) & (points.sizes == first.sizes)
                           & (points.technique == first.technique)]
            line |= {name: there.iloc[0][name] for name in READ}
        lines.append(line)
    return pd.DataFrame(lines, columns=[*NET, by, *READ])


def by_kind(losses: pd.DataFrame) -> pd.DataFrame:
    """The same lines with `kind`: what was done to a net, in words; "" for the net itself, also
    where it was only trained for longer."""
    return losses.assign(kind=[_kind(line) for line in losses.itertuples()])


def _kind(line) -> str:
    if line.technique == DENSE:
        return SMALLER
    words = []
    if line.pruner:
        words.append("channels gone" if line.structure not in ("unstructured", "2:4") else "pruned")
    if line.tuned and line.pruner:
        words.append("trained on")
    if line.quantizer:
        words.append("trained through rounding" if set(WITHIN) & set(
                line.tuned.split("+")) else "rounded")
    elif line.tuned and not line.pruner:
        words.append("taught" if line.teacher else "")
    return ", ".join(word for word in words if word)
