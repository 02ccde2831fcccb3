"""One family of paired comparisons: what each gains, and which gains survive Holm's correction."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from lib.base.metric import METRICS
from lib.results.intervals import LEVEL, holm
from lib.results.paired import difference

COLUMNS = ("metric", "score", "base", "gain", "low", "high", "over", "runs", "p", "holm",
           "significant")


def family(pairs: Iterable[tuple[dict, pd.DataFrame, pd.DataFrame]],
           scores: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """What rows score above their base, a line a pair that can be compared: the names that come
    with the pair, and COLUMNS.

    pairs: (names, rows, base), the rows of one model each, of one split; scores: row id -> value
    per example. gain: in points (pp of accuracy and F1, hundredths of R² and MCC) with its 95 %
    interval, which is not corrected; over: fold, seed or example; holm: p corrected for all pairs;
    significant: holm below 0.05. Missing where nothing per example is kept.
    """
    lines = []
    for names, rows, base in pairs:
        lost = difference(rows, base, scores) if len(rows) and len(base) else None
        if lost is None:
            continue
        metric = METRICS[rows.metric.iloc[0]]
        lines.append(names | {
            "metric": metric.name, "score": lost.base - lost.mean, "base": lost.base,
            "gain": -lost.mean / metric.tolerance, "low": -lost.high / metric.tolerance,
            "high": -lost.low / metric.tolerance, "over": lost.over, "runs": lost.runs,
            "p": lost.p})
    table = pd.DataFrame(lines, columns=None if lines else COLUMNS)
    corrected = holm(table.p.astype(float))
    return table.assign(holm=corrected, significant=corrected < 1 - LEVEL)
