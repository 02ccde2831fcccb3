"""Gains: what one choice adds to rows that are alike in all else, and which are significant."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lib.base import titles
from lib.base.metric import METRICS
from lib.base.setting import FIELDS
from lib.results.intervals import holm
from lib.results.paired import difference
from lib.results.select import MOST_ERROR

COURSE = ("epochs", "lr", "batch_size")                 # of a training
COLUMNS = ("task", "net", "sizes", "width", "technique", "teacher", "metric", "before", "score",
           "gain", "low", "high", "p", "over", "runs", "error_ratio")
LEVEL = 0.05


def gains(rows: pd.DataFrame, scores: Mapping[str, np.ndarray], before: Mapping[str, object],
          after: Mapping[str, object]) -> pd.DataFrame:
    """What rows with the settings `after` score above those with `before`, alike in all others.

    before, after: field of Setting -> value, {"tuned": ""} and {"tuned": "lsq"}. Where `tuned` is
    among them teachers may differ, and where nothing was trained before so may epochs, learning
    rate and batch size: such rows have none of them. rows: of the test set, or of several splits,
    of which the test set is taken. Columns: COLUMNS; before and score are means in the metric's own
    unit; gain, low, high in points (pp, or hundredths of R² and MCC), paired; p is not corrected;
    error_ratio: of a regression's squared errors, after / before.
    """
    tested = rows[(rows.split == "test") & rows.score.notna()]
    free = {*before, *after} | ({"teacher"} if "tuned" in before else set())
    if before.get("tuned") == "":
        before = dict.fromkeys(COURSE) | dict(before)
        free |= set(COURSE)
    alike = ["task", "model", *(name for name in FIELDS if name not in free)]
    tested = tested.assign(alike=tested.groupby(alike, dropna=False, sort=False).ngroup())
    old, new = tested[_asked(tested, before)], tested[_asked(tested, after)]
    lines = []
    for _, part in new.groupby(["alike", *sorted(free)], dropna=False, sort=False):
        base, first = old[old.alike == part.alike.iloc[0]], part.iloc[0]
        lost = difference(part, base, scores) if len(base) else None
        if lost is not None:
            point = METRICS[first.metric].tolerance
            lines.append((first.task, first.model, first.sizes, titles.width(first),
                          titles.technique(first), first.teacher, first.metric, lost.base,
                          part.score.mean(), -lost.mean / point, -lost.high / point,
                          -lost.low / point, lost.p, lost.over, lost.runs,
                          lost.error_ratio))
    return pd.DataFrame(lines, columns=COLUMNS)


def unit(metric: str) -> str:
    """The unit of losses and gains in points: "pp", "hundredths of R²"."""
    return {"r2": "hundredths of R²", "mcc": "hundredths of MCC"}.get(metric, "pp")


def _asked(rows: pd.DataFrame, values: Mapping[str, object]) -> pd.Series:
    """Which rows have these settings; None: not asked for."""
    found = pd.Series(True, rows.index)
    for name, value in values.items():
        found &= rows[name].isna() if value is None else rows[name] == value
    return found


def decided(table: pd.DataFrame, tolerance: float = 1.0) -> pd.DataFrame:
    """The same lines with `holm` (p corrected over all of them, one family) and `verdict`.

    table: as `gains` gives it. verdict: "equivalent within 1 pp" (0.01 of R² and MCC) where the
    interval lies within the tolerance and a squared error differs by a tenth at most, else
    "significantly higher" or "significantly lower" by the corrected p, else "inconclusive".
    """
    adjusted = holm(table.p)
    point = table.metric.map(lambda name: METRICS[name].tolerance).astype(float) * tolerance
    equal = [f"equivalent within {most:g}" + " pp" * (most == tolerance) for most in point]
    within = (table.low >= -tolerance) & (table.high <= tolerance) & ~(
        (table.error_ratio > MOST_ERROR) | (table.error_ratio < 1 / MOST_ERROR))
    told = np.where(table.gain > 0, "significantly higher", "significantly lower")
    verdict = np.where(within, equal, np.where(adjusted < LEVEL, told, "inconclusive"))
    return table.assign(holm=adjusted, verdict=verdict)
