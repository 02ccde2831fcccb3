"""Trainings epoch by epoch: whose clock cannot be trusted."""

import pandas as pd

# Which epochs are of one training; `lr` is each epoch's own rate.
TRAINING = ("task", "model", "recipe", "sizes", "epochs", "batch_size", "seed", "fold")
TWICE = 2.0             # epochs of one training are the same work


def uneven(history: pd.DataFrame) -> pd.DataFrame:
    """Trainings of which some epoch took TWICE as long as another, or longer: something else ran
    beside it, or the machine slept, so that its seconds are no cost of the net.

    history: a line an epoch, with `seconds` and as many columns of TRAINING as there are. Columns:
    those, measured (epochs), fastest, slowest (seconds), ratio; the most uneven first.
    """
    by = [name for name in TRAINING if name in history]
    told = history.groupby(by, dropna=False, sort=False).seconds.agg(
        measured="count", fastest="min", slowest="max").reset_index()
    told["ratio"] = told.slowest / told.fastest
    found = told[told.ratio >= TWICE]
    return found.sort_values("ratio", ascending=False, ignore_index=True)
