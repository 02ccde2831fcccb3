"""Families of paired comparisons: what one choice adds, and which gains are significant."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from lib.base import titles
from lib.base.metric import METRICS
from lib.base.setting import FIELDS
from lib.results.intervals import holm
from lib.results.paired import difference
from lib.results.select import MOST_ERROR

COURSE = ("epochs", "lr", "batch_size")                 # of a training
COLUMNS = ("metric", "score", "base", "gain", "low", "high", "p", "over", "runs", "error_ratio")
NAMES = ("task", "net", "sizes", "width", "technique", "teacher")       # of a line of `gains`
LEVEL = 0.05
HUNDREDTHS = {"r2": "R²", "mcc": "MCC"}         # metrics of which a point is a hundredth
Pairs = Iterable[tuple[dict, pd.DataFrame, pd.DataFrame]]


def family(pairs: Pairs, scores: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """What rows score above their base, a line a pair that can be compared: the names that come
    with the pair, COLUMNS, and what `decided` adds.

    pairs: (names, rows, base), the rows of one model each, of one split; scores: row id -> value
    per example. score, base: means in the metric's own unit; gain: in points (pp of accuracy and
    F1, hundredths of R² and MCC) with its interval, over folds, seeds or examples; p is not
    corrected; error_ratio: of squared errors. Without scores per example bounds are missing.
    """
    return decided(_compared(pairs, scores))


def _compared(pairs: Pairs, scores: Mapping[str, np.ndarray]) -> pd.DataFrame:
    lines, names = [], {}
    for names, rows, base in pairs:
        lost = difference(rows, base, scores) if len(rows) and len(base) else None
        if lost is not None:
            metric = METRICS[rows.metric.iloc[0]]
            points = [-bound / metric.tolerance for bound in (lost.mean, lost.high, lost.low)]
            lines.append((*names.values(), metric.name, lost.base - lost.mean, lost.base, *points,
                          lost.p, lost.over, lost.runs, lost.error_ratio))
    table = pd.DataFrame(lines, columns=[*names, *COLUMNS])
    return table.astype(dict.fromkeys(("gain", "low", "high", "p"), float))


def gains(rows: pd.DataFrame, scores: Mapping[str, np.ndarray], before: Mapping[str, object],
          after: Mapping[str, object]) -> pd.DataFrame:
    """What rows of the test set with the settings `after` score above those with `before`, alike in
    all others.

    before, after: field of Setting -> value, {"tuned": ""} and {"tuned": "lsq"}. Where `tuned` is
    among them teachers may differ, and where nothing was trained before so may COURSE. Columns:
    NAMES, and those of `family` with `before` in place of base.
    """
    tested = rows[(rows.split == "test") & rows.score.notna()]
    free = {*before, *after} | ({"teacher"} if "tuned" in before else set())
    if before.get("tuned") == "":
        before = dict.fromkeys(COURSE) | dict(before)
        free |= set(COURSE)
    alike = ["task", "model", *(name for name in FIELDS if name not in free)]
    tested = tested.assign(alike=tested.groupby(alike, dropna=False, sort=False).ngroup())
    old, new = tested[_asked(tested, before)], tested[_asked(tested, after)]
    pairs = []
    for (key, *_), part in new.groupby(["alike", *sorted(free)], dropna=False, sort=False):
        first = part.iloc[0]
        told = (first.task, first.model, first.sizes, titles.width(first), titles.technique(first),
                first.teacher)
        pairs.append((dict(zip(NAMES, told, strict=True)), part, old[old.alike == key]))
    table = _compared(pairs, scores).rename(columns={"base": "before"})
    return table.reindex(columns=[*NAMES, "metric", "before", *COLUMNS[1:2], *COLUMNS[3:]])


def unit(metric: str) -> str:
    """The unit of losses and gains in points: "pp", "hundredths of R²"."""
    if METRICS[metric].tolerance == 1:
        return "pp"
    return f"hundredths of {HUNDREDTHS[metric]}"


def _asked(rows: pd.DataFrame, values: Mapping[str, object]) -> pd.Series:
    """Which rows have these settings; None: not asked for."""
    found = pd.Series(True, rows.index)
    for name, value in values.items():
        found &= rows[name].isna() if value is None else rows[name] == value
    return found


def decided(table: pd.DataFrame, tolerance: float = 1.0) -> pd.DataFrame:
    """Gains with `holm` (p corrected over all of these lines, one family) and `verdict`.

    verdict: "equivalent within 1 pp" (0.01 of R² and MCC) where the interval lies within the
    tolerance and a squared error differs by a tenth at most, else "significantly higher" or
    "significantly lower" by the corrected p, else "inconclusive".
    """
    adjusted = holm(table.p)
    point = table.metric.map(lambda name: METRICS[name].tolerance).astype(float) * tolerance
    equal = [f"equivalent within {most:g}" + " pp" * (most == tolerance) for most in point]
    within = (table.low >= -tolerance) & (table.high <= tolerance) & ~(
        (table.error_ratio > MOST_ERROR) | (table.error_ratio < 1 / MOST_ERROR))
    told = np.where(table.gain > 0, "significantly higher", "significantly lower")
    verdict = np.where(within, equal, np.where(adjusted < LEVEL, told, "inconclusive"))
    return table.assign(holm=adjusted, verdict=verdict)


def judged(chosen: pd.DataFrame) -> pd.DataFrame:
    """What `select` gives, with the `verdict` on the loss where it was evaluated: equivalent within
    the tolerance, or inconclusive. A selected candidate has no p, so none is called lower."""
    return decided(chosen.assign(
        gain=-chosen.evaluated, low=-chosen.evaluated_high, high=-chosen.evaluated_low, p=np.nan,
        error_ratio=chosen.evaluated_ratio))
