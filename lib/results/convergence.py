"""Had a training converged? Whether its validation score was still rising at its end."""

import math
from collections.abc import Mapping

import pandas as pd

from lib.base.metric import METRICS
from lib.base.setting import FIELDS

FEWEST = 5                      # epochs of which a last fifth can be told
LAST = 0.2                      # share of the epochs over which the score has to be flat
ALLOWED = 0.2                   # of the metric's tolerance: what these epochs may still add
SMOOTHED = 0.1                  # share of the epochs in a running mean of validation scores


def converged(history: pd.DataFrame, metrics: Mapping[str, str], last: float = LAST
              ) -> pd.DataFrame:
    """A line a training: task, model, seed, fold and those fields of its setting that the history
    has, epochs_run, gain (in the metric's unit), converged (True, False or missing).

    history: a line an epoch, with task, model, seed, fold, epoch, val_score and fields of Setting;
    where it has `training_lr`, `lr` is the rate that was asked for, else each epoch's own.
    metrics: task -> metric. gain: the best smoothed score in the `last` share of the epochs, less
    the best before them. Converged: the gain is at most a fifth of the metric's tolerance. Missing:
    fewer than FEWEST epochs, or a metric that is not known. A schedule that lowers the rate to zero
    raises the score in its last fifth however long the training is: `gain` says by how much.
    ValueError: an epoch that comes twice in one training.
    """
    asked = [name for name in FIELDS if name in history and (name != "lr" or
                                                             "training_lr" in history)]
    by = ["task", "model", "seed", "fold", *asked]
    if history.duplicated([*by, "epoch"]).any():
        raise ValueError("an epoch comes twice in one training: the history lacks a column that "
                         "tells its trainings apart")
    lines = []
    for key, epochs in history.groupby(by, dropna=False, sort=False):
        scores, metric = epochs.sort_values("epoch").val_score, METRICS.get(metrics.get(key[0]))
        known = metric is not None and len(scores) >= FEWEST
        gain = _gain(scores, last) if known else math.nan
        flat = gain <= ALLOWED * metric.tolerance if known else None
        lines.append((*key, len(scores), gain, flat))
    found = pd.DataFrame(lines, columns=[*by, "epochs_run", "gain", "converged"])
    return found.astype({"converged": "boolean"})


def _gain(scores: pd.Series, last: float) -> float:
    """The best running mean in the last share of epochs, less the best before: each of its own."""
    begins = len(scores) - math.ceil(round(last * len(scores), 9))
    window = max(1, round(SMOOTHED * len(scores)))
    before, after = (part.rolling(min(window, len(part))).mean().max()
                     for part in (scores.iloc[:begins], scores.iloc[begins:]))
    return after - before
