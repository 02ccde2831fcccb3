"""What a teacher says, and what that adds to a student."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from lib.page import style

LONGEST = 12                # letters of a class's name


def operator(softened: Mapping[str, Sequence[float]], classes: Sequence[str]) -> Figure:
    """A teacher's answer to one example at several temperatures, a panel each: bars over classes.

    softened: the temperature in words -> a probability for each class.
    """
    figure, axes = style.panels(len(softened), height=1.9, sharey=True)
    names = [name if len(name) <= LONGEST else f"{name[:LONGEST - 1]}…"
             for name in map(str, classes)]
    for axis, (name, shares) in zip(axes, softened.items(), strict=True):
        axis.bar(range(len(shares)), shares, color=style.ACCENT, width=0.7)
        axis.set_xticks(range(len(shares)), names, rotation=60, ha="right", fontsize=8)
        axis.set(title=name, ylabel="probability", ylim=(0, 1))
        axis.grid(axis="x", visible=False)
    return figure


def gains(table: pd.DataFrame) -> Figure:
    """What a teacher adds, a line a student, with its interval; grey where that holds zero.

    table: task, net, sizes, student (how it learns), teacher, gain, low, high.
    """
    lines = table.reset_index(drop=True)
    figure, (axis,) = style.panels(1, height=0.6 + 0.42 * max(1, len(lines)), columns=1)
    axis.axvline(0, color=style.SOFT, linewidth=0.8)
    for place, line in enumerate(lines.itertuples()):
        told = line.low > 0 or line.high < 0
        color = style.CONTEXT if not told else style.ACCENT if line.gain > 0 else style.SECOND
        axis.hlines(-place, line.low, line.high, color=color, linewidth=2.2, alpha=0.6)
        axis.plot(line.gain, -place, "o", color=color, markersize=5)
    names = [" ".join([line.task, line.net, line.sizes]).strip()
             + f"\n{line.student}, by {line.teacher}" for line in lines.itertuples()]
    axis.set_yticks([-place for place in range(len(lines))], names, fontsize=8)
    axis.set(xlabel="gain by the teacher, in the metric's unit")
    axis.grid(axis="y", visible=False)
    return figure
