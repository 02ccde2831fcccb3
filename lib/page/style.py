"""The house style: sizes, colours that read on light and on dark ground, and panels."""

import textwrap
import warnings
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from lib.page.colors import COLORS

WIDTH = 6.6                 # inches of all panels side by side; one of two fits a phone as it is
PHONE = 4.4                 # inches of one panel alone, whose text a phone still shows in 10 px
LEAST_POINTS, MOST_POINTS = -0.6, 5.0       # the losses that an axis of losses shows
INK, SOFT, LINE, CONTEXT, ACCENT, SECOND, THIRD = (
    COLORS[name][0] for name in ("ink", "soft", "line", "context", "accent", "second", "third"))
SERIES = (ACCENT, SECOND, THIRD)

sns.set_theme(context="paper", style="whitegrid", palette=SERIES, rc={
    "figure.figsize": (WIDTH, 3.6), "figure.dpi": 110, "savefig.dpi": 160,
    "figure.facecolor": "none", "axes.facecolor": "none",
    "font.size": 9, "axes.labelsize": 9, "xtick.labelsize": 9, "ytick.labelsize": 9,
    "legend.fontsize": 9, "axes.titlesize": 10, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
    "text.color": INK, "axes.labelcolor": SOFT, "xtick.color": INK, "ytick.color": INK,
    "axes.titlecolor": INK, "axes.edgecolor": CONTEXT, "grid.color": LINE, "grid.linewidth": 0.7,
    "legend.frameon": False, "legend.labelcolor": INK,
    "patch.linewidth": 0, "patch.force_edgecolor": False,
    "text.parse_math": False,           # a column may be named $x$
    "svg.fonttype": "none",             # text stays text
    "svg.hashsalt": "greenbits"})       # the same figure is the same file
# A name from data may hold any sign; a reader's fonts have it, where matplotlib's own has not.
warnings.filterwarnings("ignore", "Glyph .* missing")


def panels(count: int, height: float = 2.4, columns: int = 2, **options) -> tuple[Figure, list]:
    """A figure of `count` axes, `columns` side by side, each `height` inches high.

    On a page each axis is a panel of its own, which flows below its neighbour on a phone: it
    carries its own title and labels; one panel alone is PHONE inches wide. options: of
    `plt.subplots`.
    """
    rows = -(-count // columns)
    size = (WIDTH if columns > 1 else PHONE, height * rows)
    figure, axes = plt.subplots(rows, columns, squeeze=False, layout="constrained", figsize=size,
                                **options)
    for axis in axes.flat[count:]:
        axis.remove()
    return figure, list(axes.flat[:count])


def title(axis: Axes, words: str) -> None:
    """An axis' title in as many lines as keep it above its axis."""
    inches = axis.get_position().width * axis.figure.get_figwidth()
    axis.set_title("\n".join(textwrap.wrap(words, max(20, int(12.5 * inches)))))


def lower(axes: list[Axes], shares: list[float]) -> None:
    """Axes that keep their top and only a share of their height, where they hold fewer lines."""
    figure = axes[0].figure
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis, share in zip(axes, shares, strict=True):
        x, y, width, height = axis.get_position().bounds
        axis.set_position((x, y + height * (1 - share), width, height * share))


def spread(places: list[float], gap: float) -> list[float]:
    """Places of labels, moved apart to at least `gap`, in their order, as little as that takes."""
    order = np.argsort(places, kind="stable")
    moved = np.array(places, dtype=float)
    for _ in range(100):
        for i in np.flatnonzero(np.diff(moved[order]) < gap - 1e-9):
            pair = order[i:i + 2]
            moved[pair] = moved[pair].mean() + np.array([-gap, gap]) / 2
    return moved.tolist()


def logarithmic(axis: Axes, base: int = 10, written: Callable[[float], str] = "{:g}".format,
                way: str = "x") -> None:
    """A logarithmic axis with the powers of its base, as `written`, and no other number."""
    getattr(axis, f"set_{way}scale")("log", base=base)
    scaled = getattr(axis, f"{way}axis")
    scaled.set_major_formatter(lambda value, _: written(value))
    scaled.set_minor_formatter(NullFormatter())


def label(axis: Axes, x: float, y: float, words: str, color: str, **options) -> None:
    """A name beside what it names, on a halo of the ground where lines pass behind it (page.css).

    options: of `Axes.text`.
    """
    axis.text(x, y, words, color=color, gid="halo", **{"fontsize": 9, "va": "center"} | options)


def bits(value: float) -> str:
    """Bits per weight for a tick: "4", "ternary" for log₂ 3, "6 levels"."""
    if abs(value - round(value)) < 1e-6:
        return f"{value:.0f}"
    levels = round(2 ** value)
    return "ternary" if levels == 3 else f"{levels} levels"


def losses(axis: Axes, unit: str = "pp") -> None:
    """An axis of losses from a small gain at the bottom to MOST_POINTS at the top."""
    axis.set(ylim=(LEAST_POINTS, MOST_POINTS + 0.45), ylabel=f"loss, {unit}", yticks=range(6))
    axis.axhline(0, color=SOFT, linewidth=0.8)


def intervals(axis: Axes, x, lines, color: str) -> None:
    """The intervals of some losses, `lines.low` to `lines.high`, as pale bars."""
    axis.vlines(x, lines.low, lines.high, color=color, linewidth=2.2, alpha=0.45)


def beyond(axis: Axes, x, y, color: str, size: float = 4) -> None:
    """Arrow heads at the edges of an axis of losses, where a loss or a gain lies beyond it."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    edges = ((y > MOST_POINTS, MOST_POINTS + 0.25, "^"), (y < LEAST_POINTS, -0.42, "v"))
    for far, edge, mark in edges:
        axis.plot(x[far], np.full(int(far.sum()), edge), mark, color=color, markersize=size)
