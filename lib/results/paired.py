"""The one paired comparison: what some rows score below a baseline, repeat by repeat."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from lib.base.metric import METRICS
from lib.base.resampling import Z
from lib.results.intervals import interval, repeats

REPEAT = ["seed", "fold", "n"]              # what the two rows of a pair have in common


class Difference(NamedTuple):
    """A loss in the metric's own unit: baseline score − score, with its 95 % interval.

    p: two-sided, not corrected; over: fold, seed or example; runs: pairs; base: the baseline's mean
    score over them; error_ratio: (1 − R²) / (1 − R² of the baseline), NaN for other metrics;
    by_fold: fold -> (loss, error ratio), empty with one split.
    """

    mean: float
    low: float
    high: float
    p: float
    over: str
    runs: int
    base: float
    error_ratio: float
    by_fold: dict[int, tuple[float, float]]


def difference(rows: pd.DataFrame, base: pd.DataFrame, scores: Mapping[str, np.ndarray]
               ) -> Difference | None:
    """What rows lose against base, from pairs of the same seed, fold and number of examples.

    rows, base: rows of one model each, of one split; draws are averaged within a repeat. A base of
    one training stands for all seeds of rows. scores: row id -> value per example. The interval is
    over folds where there are several (see `interval`), else over seeds, else over test
    examples: of accuracies by Agresti and Min, of several draws by the spread of examples and
    draws; NaN ends without scores per example. None without pairs, or where rows lack a fold.
    """
    one_for_all = base.seed.nunique() <= 1 < rows.seed.nunique()
    shared = set(base.seed.dropna()) & set(rows.seed.dropna())
    names = REPEAT if shared and not one_for_all else ["fold", "n"]
    theirs = base.drop_duplicates(REPEAT)[[*names, "id", "score"]]
    pairs = rows.merge(theirs, on=names, suffixes=("", "_base"))
    if pairs.empty or set(base.fold.dropna()) - set(pairs.fold.dropna()):
        return None
    lost = pairs.score_base - pairs.score
    over, metric = repeats(pairs), METRICS[pairs.metric.iloc[0]]
    if over:
        mean, low, high, p = interval(lost.groupby(pairs[over]).mean(), over)
    else:
        mean, low, high, p = _over_examples(pairs, scores)
    ratio = pd.Series(np.nan, pairs.index)
    if metric.name == "r2":
        ratio = (1 - pairs.score) / np.maximum(1 - pairs.score_base, np.finfo(float).tiny)
    folds = pd.DataFrame({"loss": lost, "ratio": ratio}).groupby(pairs.fold).mean()
    return Difference(mean, low, high, p, over or "example", len(pairs),
                      float(pairs.score_base.mean()),
                      float(ratio.groupby(pairs[over or "n"]).mean().mean()),
                      {int(fold): (line.loss, line.ratio) for fold, line in folds.iterrows()})


def _over_examples(pairs: pd.DataFrame, scores: Mapping[str, np.ndarray]
                   ) -> tuple[float, float, float, float]:
    """Mean, low, high and p of pairs of one training, which differ in their draws at most."""
    mean = float((pairs.score_base - pairs.score).mean())
    metric, first = METRICS[pairs.metric.iloc[0]], pairs.iloc[0]
    if (pairs.id == pairs.id_base).all():
        return 0.0, 0.0, 0.0, 1.0
    base = scores.get(first.id_base)
    own = [scores.get(name) for name in pairs.id]
    if base is None or any(one is None or len(one) != len(base) for one in own):
        return mean, np.nan, np.nan, np.nan
    lost = np.array([metric.paired(base, one, first.score_base) for one in own])  # (draws, n)
    if len(lost) == 1:
        low, high = metric.paired_interval(lost[0])
        error = (high - low) / (2 * Z)
        return mean, low, high, _p((low + high) / 2, error)
    error = np.sqrt(lost.mean(0).var(ddof=1) / lost.shape[1]
                    + lost.mean(1).var(ddof=1) / len(lost))
    return mean, mean - Z * error, mean + Z * error, _p(mean, error)


def _p(mean: float, error: float) -> float:
    """Two-sided p of a normal mean with its standard error."""
    return float(2 * stats.norm.sf(abs(mean) / error)) if error > 0 else float(mean == 0)
