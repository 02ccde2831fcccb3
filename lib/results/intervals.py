"""Means with their 95 % intervals, what each interval is over, and Holm's correction."""

import numpy as np
import pandas as pd
from scipy import stats

from lib.base.setting import FIELDS

LEVEL = 0.95
TEST_OVER_TRAIN = 1 / 3     # one stored fold tests, one validates, three train
COUNTS = ("params", "size_bytes", "bits_per_weight", "macs", "macs_nonzero", "n")
NET = ("task", "model", *FIELDS)


def t_interval(values, level: float = LEVEL) -> tuple[float, float, float]:
    """Mean and its t interval over independent values (seeds, subjects); NaN ends for one value."""
    mean, half, _ = _t(values, 0.0, level)
    return mean, mean - half, mean + half


def fold_interval(values, level: float = LEVEL) -> tuple[float, float, float]:
    """Mean and its t interval over stored folds, which share training examples.

    The variance is (1/k + test/train) s² in place of s²/k (Nadeau and Bengio 2003, "Inference for
    the generalization error"): 1.6 times as wide for five folds. NaN ends for one value.
    """
    mean, half, _ = _t(values, TEST_OVER_TRAIN, level)
    return mean, mean - half, mean + half


def interval(values, over: str) -> tuple[float, float, float, float]:
    """Mean, low, high and the two-sided p of a mean of zero; over: fold, seed, draw or subject."""
    mean, half, p = _t(values, TEST_OVER_TRAIN if over == "fold" else 0.0, LEVEL)
    return mean, mean - half, mean + half, p


def _t(values, extra: float, level: float) -> tuple[float, float, float]:
    """Mean, half the interval, two-sided p; extra: what is added to 1/k."""
    values = np.asarray(values, float)
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return mean, float("nan"), float("nan")
    error = values.std(ddof=1) * np.sqrt(1 / n + extra)
    half = stats.t.ppf(0.5 + level / 2, n - 1) * error
    if error == 0:
        return mean, 0.0, 1.0 if mean == 0 else 0.0
    return mean, float(half), float(2 * stats.t.sf(abs(mean) / error, n - 1))


def prediction(values) -> tuple[float, float]:
    """95 % interval in which one more value of the same kind lies: mean ± t·s·√(1 + 1/n)."""
    mean, low, _ = t_interval(values)
    half = (mean - low) * np.sqrt(len(values) + 1)
    return mean - half, mean + half


def holm(p: pd.Series) -> pd.Series:
    """Holm's adjusted p of one family of comparisons (Holm 1979); a missing p stays missing and
    counts as a comparison that was not made."""
    known = p.dropna().sort_values()
    scaled = known * (len(known) - np.arange(len(known)))
    return scaled.cummax().clip(upper=1.0).reindex(p.index)


def repeats(group: pd.DataFrame) -> str | None:
    """What an interval of these rows can be over: folds where there are several, else seeds; None
    where it is over the test examples of one training."""
    return next((name for name in ("fold", "seed") if group[name].nunique() > 1), None)


def summary(rows: pd.DataFrame, by: tuple[str, ...] = NET) -> pd.DataFrame:
    """Mean score of each group of rows of one split, its 95 % interval and what that is over.

    Over folds where there are several (seeds and draws averaged within each), else over seeds, else
    over test examples (the row's own interval; of several draws the mean of theirs). Columns: by…,
    metric, score, low, high, over, runs, score2, medians of COUNTS. ValueError for rows of several
    splits: a score on the validation set and one on the test set are not averaged.
    """
    if len(rows) and rows.split.nunique() > 1:
        raise ValueError("these rows are of several splits; pass the rows of one split, "
                         "rows[rows.split == 'test']")
    lines = []
    for key, group in rows.groupby(list(by), dropna=False, sort=False):
        group = group[group.n == group.n.max()] if group.fold.nunique() <= 1 else group
        over = repeats(group)
        if over:
            mean, low, high, _ = interval(group.groupby(over).score.mean(), over)
        else:
            mean, low, high = (group[c].mean() for c in ("score", "score_low", "score_high"))
        lines.append({**dict(zip(by, key, strict=True)), "metric": group.metric.iloc[0],
                      "score": mean, "low": low, "high": high, "over": f"{over or 'example'}s",
                      "runs": len(group), "score2": group.score2.mean(),
                      **{count: group[count].median() for count in COUNTS}})
    return pd.DataFrame(lines, columns=[*by, "metric", "score", "low", "high", "over", "runs",
                                        "score2", *COUNTS])
