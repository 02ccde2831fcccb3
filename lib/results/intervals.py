"""Means with their 95 % intervals, what each interval is over, and Holm's correction."""

import numpy as np
import pandas as pd
from scipy import stats

from lib.base.setting import FIELDS

LEVEL = 0.95
TEST_OVER_TRAIN = 1 / 3     # one stored fold tests, one validates, three train
COUNTS = ("params", "size_bytes", "bits_per_weight", "macs", "macs_nonzero", "n")
NET = ("task", "model", *FIELDS)


def t_interval(values) -> tuple[float, float, float]:
    """Mean and its t interval over independent values (seeds, subjects); NaN ends for one value."""
    return interval(values, "seed")[:3]


def interval(values, over: str) -> tuple[float, float, float, float]:
    """Mean, low, high and the two-sided p of a mean of zero; over: fold, seed, draw or subject.

    Stored folds share training examples: their variance is (1/k + test/train) s² (Nadeau and
    Bengio 2003, "Inference for the generalization error").
    """
    values = np.asarray(values, float)
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return mean, np.nan, np.nan, np.nan
    error = values.std(ddof=1) * np.sqrt(1 / n + TEST_OVER_TRAIN * (over == "fold"))
    if error == 0:
        return mean, mean, mean, float(mean == 0)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1) * error)
    return mean, mean - half, mean + half, float(2 * stats.t.sf(abs(mean) / error, n - 1))


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
    metric, score, low, high, over, runs, score2, medians of COUNTS. ValueError for several splits.
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
            mean, low, high = group[["score", "score_low", "score_high"]].mean()
        lines.append((*key, group.metric.iloc[0], mean, low, high, f"{over or 'example'}s",
                      len(group), group.score2.mean(), *group[list(COUNTS)].median()))
    return pd.DataFrame(lines, columns=[*by, "metric", "score", "low", "high", "over", "runs",
                                        "score2", *COUNTS])
