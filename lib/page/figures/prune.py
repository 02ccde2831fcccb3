"""Weights that go: which, how many, and what that loses.

A loss is in points below the better of the net as trained and trained for longer: of accuracy in
percent, or hundredths of R².
"""

import pandas as pd
from matplotlib.figure import Figure

from lib.page import style

CONTROL = "random"          # the ranking that every other has to beat
LABELS = 3                  # lines that a panel names in colour


def operator(w, kept) -> Figure:
    """One layer's weights: those that stay, and those that a mask takes (grey).

    w: a tensor; kept: booleans of its shape.
    """
    figure, (axis,) = style.panels(1, height=2.2, columns=1)
    values, stays = w.flatten().numpy(), kept.flatten().numpy()
    edge = float(abs(values).max())
    parts = [values[stays], values[~stays]]
    axis.hist(parts, bins=101, range=(-edge, edge), stacked=True,
              color=[style.ACCENT, style.CONTEXT])
    height = axis.get_ylim()[1]
    style.label(axis, 0.98 * edge, 0.9 * height, f"{stays.mean():.0%} stay", style.ACCENT,
                ha="right", weight="bold")
    style.label(axis, 0.98 * edge, 0.75 * height, f"{1 - stays.mean():.0%} go", style.SOFT,
                ha="right", weight="bold")
    axis.set(xlabel="weight", yticks=[])
    axis.grid(visible=False)
    return figure


def by_amount(points: pd.DataFrame, by: str) -> Figure:
    """Loss against the share of weights asked to go, a panel a net, a line a value of `by`.

    points: task, net, amount, loss, low, high (points), and `by`. The lines that lose least in the
    mean over nets and amounts are named in colour, the others grey; the ranking at random, a
    control, is dashed and named.
    """
    seen = points.loss.clip(0, style.MOST_POINTS)
    order = seen.groupby(points[by]).mean().sort_values().index
    best = [name for name in order if name != CONTROL][:LABELS]
    colors = dict(zip(best, style.SERIES, strict=False))
    nets = list(points.groupby(["task", "net"], sort=False))
    figure, axes = style.panels(len(nets))
    named = {}
    for axis, ((task, net), part) in zip(axes, nets, strict=True):
        style.losses(axis)
        for name, line in part.sort_values("amount").groupby(by):
            color, x = colors.get(name, style.CONTEXT), 100 * line.amount
            dashes = "--" if name == CONTROL else "-"
            drawn, = axis.plot(x, line.loss, dashes, marker="o", color=color, linewidth=1.3,
                               markersize=3.5 if name in colors else 2)
            if name in colors or name == CONTROL:
                named.setdefault(name, drawn)
            style.beyond(axis, x, line.loss, color)
            if name in colors:
                style.intervals(axis, x, line, color)
        axis.set(title=f"{task} · {net}", xlabel="% of the weights asked to go")
        axis.grid(axis="x", visible=False)
    shown = [name for name in (*best, CONTROL) if name in named]
    figure.legend([named[name] for name in shown], shown, loc="outside upper center", ncols=4)
    return figure
