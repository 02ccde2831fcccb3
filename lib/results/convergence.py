"""Had a training converged? Whether its validation score was still rising at its end."""

import math
from collections.abc import Mapping

import pandas as pd

from lib.base.metric import METRICS
from lib.base.setting import FIELDS

FEWEST = 5                      # epochs of which a last fifth can be told
LAST, END = 0.2, 0.05           # shares of the epochs: the last fifth, and the very end
ALLOWED = 0.2                   # of the metric's tolerance: what these epochs may still add
SMOOTHED = 0.1                  # share of the epochs in a running mean of validation scores
LOWERED = 0.1                   # of a training's highest rate: the last rate of a decaying schedule


def converged(history: pd.DataFrame, metrics: Mapping[str, str]) -> pd.DataFrame:
    """A line a training: task, model, seed, fold and those fields of its setting that the history
    has, epochs_run, gain (in the metric's unit), converged (True, False or missing).

    history: a line an epoch, with task, model, seed, fold, epoch, val_score and fields of Setting;
    where it has `training_lr`, `lr` is the rate that was asked for, else each epoch's own.
    metrics: task -> metric. gain: the best smoothed score in the last fifth of the epochs, less the
    best before. True: the gain is at most a fifth of the metric's tolerance. False: it is more, and
    the rate was constant or the score still rose so at the very end. Missing: the gain came while
    the rate decayed and was over at the end; or fewer than FEWEST epochs; or an unknown metric.
    ValueError: an epoch that comes twice in one training.
    """
    rate = "training_lr" if "training_lr" in history else "lr"
    asked = [name for name in FIELDS if name in history and name != rate]
    by = ["task", "model", "seed", "fold", *asked]
    if history.duplicated([*by, "epoch"]).any():
        raise ValueError("an epoch comes twice in one training: the history lacks a column that "
                         "tells its trainings apart")
    lines = []
    for key, epochs in history.groupby(by, dropna=False, sort=False):
        epochs, metric = epochs.sort_values("epoch"), METRICS.get(metrics.get(key[0]))
        gain, flat = math.nan, None
        if metric is not None and len(epochs) >= FEWEST:
            gain, flat = _judged(epochs.val_score, epochs.get(rate), ALLOWED * metric.tolerance)
        lines.append((*key, len(epochs), gain, flat))
    found = pd.DataFrame(lines, columns=[*by, "epochs_run", "gain", "converged"])
    return found.astype({"converged": "boolean"})


def _judged(scores: pd.Series, rates: pd.Series | None, allowed: float
            ) -> tuple[float, bool | None]:
    """The gain of the last fifth, and what it says."""
    gain = _gain(scores, LAST, max(1, round(SMOOTHED * len(scores))))
    if gain <= allowed:
        return gain, True
    decays = rates is not None and rates.iloc[-1] <= LOWERED * rates.max()
    return gain, None if decays and _gain(scores, END, 1) <= allowed else False


def _gain(scores: pd.Series, last: float, window: int) -> float:
    """The best running mean in the last share of epochs, less the best before: each of its own."""
    begins = len(scores) - math.ceil(round(last * len(scores), 9))
    before, after = (part.rolling(min(window, len(part))).mean().max()
                     for part in (scores.iloc[:begins], scores.iloc[begins:]))
    return after - before
