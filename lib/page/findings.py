"""What a figure shows, in a sentence: alternative texts, computed from the tables that it draws."""

import pandas as pd

from lib.base.metric import METRICS
from lib.page.figures.ptq import largest_gain
from lib.tables.losses import DENSE, UNTOUCHED


def curves(history: pd.DataFrame) -> str:
    """The net whose validation loss ends furthest above its training loss."""
    last = history.sort_values("epoch").groupby(["task", "model", "seed", "fold"], dropna=False)
    ends = last[["train_loss", "val_loss"]].last().groupby(["task", "model"]).mean()
    gap = ends.val_loss - ends.train_loss
    task, model = gap.idxmax()
    return (f"Of {len(ends)} nets, {model} on {task} ends with the widest gap between training and "
            f"validation loss, {gap.max():.2f}")


def confusion(matrices: pd.DataFrame) -> str:
    """The class that is most often taken for another, over all nets."""
    wrong = matrices[matrices["true"] != matrices["given"]]
    if wrong.share.isna().all():
        return "No class is taken for another"
    worst = wrong.loc[wrong.share.idxmax()]
    return (f"The most frequent mistake is {worst['true']} taken for {worst['given']}, "
            f"{worst.share:.0f} % of that class, by {worst.model} on {worst.task}")


def losses(points: pd.DataFrame) -> str:
    """At the fewest bits, the quantizer that loses least at worst over the nets."""
    fewest = points[points.bits_asked == points.bits_asked.min()]
    worst = fewest.groupby("quantizer").loss.max()
    return (f"At {fewest.bits_asked.iloc[0]:.3g} bits {worst.idxmin()} loses at most "
            f"{worst.min():.1f} points on {fewest.groupby(['task', 'net']).ngroups} nets, "
            f"{worst.idxmax()} up to {worst.max():.0f}")


def front(points: pd.DataFrame) -> str:
    """For how many nets the smallest that keeps its score is a dense net, rounded, or untouched."""
    kept = points[points.by_mean]
    dense = (kept.technique == DENSE).sum()
    same = (kept.technique == UNTOUCHED).sum()
    return (f"The smallest net within a point of the one trained is a rounded one for "
            f"{len(kept) - dense - same} of {len(kept)} nets, a dense one for {dense}, and the net "
            f"itself for {same}")


def ladder(steps: pd.DataFrame) -> list[str]:
    """A sentence for each net and number of bits: where it starts, and the repair that gains most.

    steps: net, bits, rung, score, metric, from top to bottom.
    """
    told = []
    for (net, bits), part in steps.groupby(["net", "bits"], sort=False):
        rung, gain = largest_gain(part)
        text = METRICS[part.metric.iloc[0]].text
        told.append(f"{net} at {bits:g} bits: {text(part.score.iloc[0])} as published; the largest "
                    f"gain of one repair, {text(gain)}, is by “{rung}”")
    return told
