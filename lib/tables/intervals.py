"""Means with their 95 % intervals, and what each interval is over."""

import numpy as np
import pandas as pd
from scipy import stats

from lib.base.setting import FIELDS

LEVEL = 0.95
COUNTS = ("params", "size_bytes", "bits_per_weight", "macs", "macs_nonzero", "n")
NET = ("task", "model", *FIELDS)


def t_interval(values, level: float = LEVEL) -> tuple[float, float, float]:
    """Mean and its t interval over independent values (seeds, folds, subjects); nan for one."""
    values = np.asarray(values, float)
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return mean, float("nan"), float("nan")
    half = stats.t.ppf(0.5 + level / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)
    return mean, mean - half, mean + half


def prediction(values) -> tuple[float, float]:
    """95 % interval in which one more value of the same kind lies: mean ± t·s·√(1 + 1/n)."""
    mean, low, _ = t_interval(values)
    half = (mean - low) * np.sqrt(len(values) + 1)
    return mean - half, mean + half


def repeats(group: pd.DataFrame) -> str | None:
    """What an interval of these rows can be over: folds where there are several, else seeds, else
    draws; None where there is one row, whose interval is over its test examples."""
    for column in ("fold", "seed", "draw"):
        if group[column].nunique() > 1:
            return column
    return None


def summary(rows: pd.DataFrame, by: tuple[str, ...] = NET) -> pd.DataFrame:
    """Mean score of each group of rows with its 95 % interval, and what the interval is over.

    Over folds where there are several (seeds and draws averaged within each), else over seeds, else
    over draws, else the row's own interval over test examples. Rows of one repeat that were scored
    on other numbers of examples are two groups. Columns: by…, metric, score, low, high, over, runs,
    score2 and the medians of COUNTS.
    """
    lines = []
    groups = rows.assign(of=_mixed(rows, by)).groupby([*by, "of"], dropna=False, sort=False)
    for key, group in groups:
        over = repeats(group)
        if over:
            mean, low, high = t_interval(group.groupby(over).score.mean())
        else:
            mean, low, high = (group[c].mean() for c in ("score", "score_low", "score_high"))
        lines.append({**dict(zip(by, key[:-1], strict=True)), "metric": group.metric.iloc[0],
                      "score": mean, "low": low, "high": high, "over": f"{over or 'example'}s",
                      "runs": len(group), "score2": group.score2.mean(),
                      **{count: group[count].median() for count in COUNTS}})
    return pd.DataFrame(lines, columns=[*by, "metric", "score", "low", "high", "over", "runs",
                                        "score2", *COUNTS])


def _mixed(rows: pd.DataFrame, by: tuple[str, ...]) -> pd.Series:
    """How many examples a row was scored on, where its group holds the same repeat on another
    number of them; else 0, for folds are of unlike sizes."""
    repeat = rows.groupby([*by, "seed", "fold", "draw"], dropna=False).n.transform("nunique")
    twice = (repeat > 1).groupby([rows[name] for name in by], dropna=False).transform("any")
    return rows.n.where(twice, 0)
