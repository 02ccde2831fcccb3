"""Training through a quantizer: the staircase, and what it wins over rounding alone."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.page import style


def operator(x, rounded, gradient) -> Figure:
    """What a learned rounding makes of a value (line), and the gradient it lets through (grey).

    x, rounded, gradient: tensors of equal length, x ascending.
    """
    figure, (axis,) = style.panels(1, height=2.3, columns=1)
    values, steps, slope = (np.asarray(part) for part in (x, rounded, gradient))
    axis.plot(values, values, color=style.CONTEXT, linewidth=0.8)
    axis.step(values, steps, where="mid", color=style.ACCENT, linewidth=1.6)
    axis.fill_between(values, steps.min() - 0.4, steps.min() - 0.4 + 0.3 * slope,
                      color=style.CONTEXT, linewidth=0, step="mid")
    style.label(axis, values[0], steps.max(), "rounded", style.ACCENT, weight="bold")
    style.label(axis, values[-1], steps.min() - 0.25, "gradient let through", style.SOFT,
                ha="right")
    axis.set(xlabel="weight before rounding", ylabel="after")
    return figure


def won(points: pd.DataFrame) -> Figure:
    """Loss of a net rounded alone (hollow) and trained through its quantizer (dot), a line a width.

    points: task, net, width (words), how ("rounded" or "trained through"), loss, low, high
    (points). A panel a net; what loses more than the axis shows is an arrow head at its edge.
    """
    nets = list(points.groupby(["task", "net"], sort=False))
    figure, axes = style.panels(len(nets))
    widths = list(dict.fromkeys(points.width))
    for axis, ((task, net), part) in zip(axes, nets, strict=True):
        style.losses(axis)
        place = part.width.map(widths.index)
        for how, shift, color, filled in (("rounded", -0.12, style.SECOND, "none"),
                                          ("trained through", 0.12, style.ACCENT, style.ACCENT)):
            lines = part[part.how == how]
            at = place[lines.index] + shift
            axis.plot(at, lines.loss, "o", color=color, markerfacecolor=filled, markersize=5,
                      label=how)
            style.intervals(axis, at, lines, color)
            style.beyond(axis, at, lines.loss, color)
        axis.set_xticks(range(len(widths)), widths)
        axis.set(title=f"{task} · {net}", xlabel="bits of weights / of inputs",
                 xlim=(-0.5, len(widths) - 0.5))
        axis.grid(axis="x", visible=False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure
