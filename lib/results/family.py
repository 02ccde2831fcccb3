"""One family of paired comparisons between rows that the caller names."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from lib.base.metric import METRICS
from lib.results.gains import decided
from lib.results.paired import difference

COLUMNS = ("metric", "score", "base", "gain", "low", "high", "p", "over", "runs", "error_ratio")


def family(pairs: Iterable[tuple[dict, pd.DataFrame, pd.DataFrame]],
           scores: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """What rows score above their base, a line a pair that can be compared: the names that come
    with the pair, COLUMNS, and what `decided` adds.

    pairs: (names, rows, base), the rows of one model each, of one split; scores: row id -> value
    per example. score, base: means of the paired rows; gain: in points (pp of accuracy and F1,
    hundredths of R² and MCC) with its interval; over: fold, seed or example. Bounds are missing
    where nothing per example is kept.
    """
    lines = []
    for names, rows, base in pairs:
        lost = difference(rows, base, scores) if len(rows) and len(base) else None
        if lost is not None:
            metric = METRICS[rows.metric.iloc[0]]
            points = [-bound / metric.tolerance for bound in (lost.mean, lost.high, lost.low)]
            lines.append(tuple(names.values()) + (
                metric.name, lost.base - lost.mean, lost.base, *points, lost.p, lost.over,
                lost.runs, lost.error_ratio))
    first = tuple(names) if lines else ()
    table = pd.DataFrame(lines, columns=[*first, *COLUMNS])
    return decided(table.astype({name: float for name in ("gain", "low", "high", "p")}))
