"""Rounding without training: loss by bits, loss by bytes, layers, the ladder of repairs.

A loss is in points below the net as trained: of accuracy in percent, or hundredths of R².
"""

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.base.metric import METRICS, Metric
from lib.base.said import written
from lib.page import style
from lib.tables.ahead import CONTROL, largest_gain
from lib.tables.losses import DENSE, UNTOUCHED

LABELS = 3                          # lines that a panel names without crowding
LETTER = 0.02                       # of a panel's width, in a label


def operator(w, sets: Mapping[str, object], errors: Mapping[str, float]) -> Figure:
    """One layer's weights (grey), and the values that each quantizer lets them take (lines).

    w: a tensor; sets: quantizer -> what `quant.quantize` gives; errors: quantizer -> relative
    error.
    """
    figure, axes = style.panels(len(sets), height=1.9, columns=3, sharey=True)
    for axis, (name, q) in zip(axes, sets.items(), strict=True):
        axis.hist(w.flatten().numpy(), bins=80, color=style.CONTEXT)
        for level in q.dequantize().unique().tolist():
            axis.axvline(level, color=style.ACCENT, linewidth=1.2)
        axis.set(title=name, xlabel=f"relative error {errors[name]:.2f}", yticks=[])
        axis.grid(visible=False)
    return figure


def losses_by_bits(losses: pd.DataFrame) -> Figure:
    """Loss against bits a weight, a panel a net: all quantizers grey, the best few drawn and named.

    losses: task, net, quantizer, bits_asked (log₂ 3 for three levels), loss, low, high, in points.
    The best few gain most on the median quantizer of each net and number of bits, in the mean, and
    are the same in each panel. What lies beyond the axis is an arrow head at its edge.
    """
    places = {bits: place for place, bits in enumerate(sorted(losses.bits_asked.unique()))}
    losses = losses.assign(place=losses.bits_asked.map(places))
    best = dict(zip(_best(losses), style.SERIES, strict=False))
    nets = list(losses.groupby(["task", "net"], sort=False))
    figure, axes = style.panels(len(nets))
    for axis, ((task, net), part) in zip(axes, nets, strict=True):
        style.losses(axis)
        for name, line in part.sort_values("place").groupby("quantizer"):
            if name not in best:
                axis.plot(line.place, line.loss, color=style.CONTEXT, linewidth=0.7, zorder=1)
                style.beyond(axis, line.place, line.loss, style.CONTEXT, 2.5)
        named = {name: part[part.quantizer == name].sort_values("place") for name in best}
        for name, line in named.items():
            axis.plot(line.place, line.loss, "-o", color=best[name], markersize=3.5, linewidth=1.4)
            style.intervals(axis, line.place, line, best[name])
            style.beyond(axis, line.place, line.loss, best[name])
        _name_lines(axis, named, best)
        axis.set(title=f"{task} · {net}", xlabel="bits a weight", xlim=(-0.3, len(places) - 0.7))
        axis.set_xticks(list(places.values()), [style.bits(bits).replace(" ", "\n")
                                                for bits in places], ma="center")
        axis.grid(axis="x", visible=False)
    return figure


def _best(losses: pd.DataFrame) -> list[str]:
    """The quantizers that gain most on the median one of each net and bits, best first. To lose
    less than nothing, which is chance, counts as nothing lost."""
    seen = losses.loss.clip(0, style.MOST_POINTS)
    median = seen.groupby([losses.task, losses.net, losses.bits_asked]).transform("median")
    gain = (median - seen).groupby(losses.quantizer).mean()
    return list(gain[gain > 0].nlargest(LABELS).index)


def _name_lines(axis: Axes, named: dict[str, pd.DataFrame], colors: dict[str, str]) -> None:
    """Each line's name in its colour, in the free corner of the panel, in the lines' order."""
    there = [name for name, line in named.items() if len(line)]
    order = sorted(there, key=lambda name: named[name].loss.mean(), reverse=True)
    for i, name in enumerate(order):
        style.label(axis, 0.98, 0.93 - 0.1 * i, name, colors[name], ha="right",
                    transform=axis.transAxes, weight="bold", fontsize=9)


def front(points: pd.DataFrame, chosen: pd.DataFrame) -> Figure:
    """Loss against bytes, a panel a net: what nothing else beats is joined; the rest is grey.

    points: task, net, technique, KiB, loss, low, high (points), front (bool). Technique UNTOUCHED
    is the net as trained (hollow); DENSE are nets that were small from the start, squares whether
    they are on the front or not. Named are these, and of each net the smallest line of `chosen`
    (task, net, technique, KiB, loss), so that no name stands at what test scores alone picked.
    """
    nets = list(points.groupby(["task", "net"], sort=False))
    figure, axes = style.panels(len(nets), height=2.6)
    for axis, ((task, net), part) in zip(axes, nets, strict=True):
        style.losses(axis)
        rest = part[~part.front & ~part.technique.isin([UNTOUCHED, DENSE])]
        axis.plot(rest.KiB, rest.loss, ".", color=style.CONTEXT, markersize=3, zorder=1)
        style.beyond(axis, rest.KiB, rest.loss, style.CONTEXT, 2.5)
        best = part[part.front].sort_values("KiB")
        axis.step(best.KiB, best.loss, where="post", color=style.ACCENT, linewidth=1.2)
        axis.plot(best.KiB, best.loss, "o", color=style.ACCENT, markersize=4)
        style.intervals(axis, best.KiB, best, style.ACCENT)
        dense = part[part.technique == DENSE].sort_values("KiB")
        axis.plot(dense.KiB, dense.loss, "s-", color=style.SECOND, markersize=4, linewidth=1)
        style.intervals(axis, dense.KiB, dense, style.SECOND)
        style.beyond(axis, dense.KiB, dense.loss, style.SECOND)
        whole = part[part.technique == UNTOUCHED]
        axis.plot(whole.KiB, whole.loss, "D", color=style.INK, markersize=5, markerfacecolor="none")
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(_size)
        axis.set(title=f"{task} · {net}", xlabel="size, KiB")
        axis.margins(x=0.08)
        axis.grid(axis="x", visible=False)
        own = chosen[(chosen.task == task) & (chosen.net == net) & chosen.KiB.notna()]
        smallest = own[~own.technique.isin([UNTOUCHED, DENSE])].sort_values("KiB").head(1)
        axis.plot(smallest.KiB, smallest.loss, "o", color=style.ACCENT, markersize=6)
        _name_points(axis, whole, dense, smallest)
    return figure


def _size(kib: float, _place: int) -> str:
    return f"{kib:,.0f}" if kib >= 10 else f"{kib:.3g}"


def _name_points(axis: Axes, whole: pd.DataFrame, dense: pd.DataFrame, smallest: pd.DataFrame
                 ) -> None:
    """The net as trained, the dense nets, and the smallest chosen of those that technique made."""
    names = [(line.KiB, line.loss, "dense nets", style.SECOND)
             for line in dense[dense.loss <= style.MOST_POINTS].head(1).itertuples()]
    names += [(line.KiB, line.loss, _wrapped(f"{line.technique}, {written(line.KiB)} KiB"),
               style.ACCENT) for line in smallest.itertuples()]
    most = max([1 + words.count("\n") for *_, words, _ in names], default=1)
    heights = style.spread([max(0, loss) + 0.45 + 0.25 * words.count("\n")
                            for _, loss, words, _ in names], 0.55 * most)
    names += [(line.KiB, 0, UNTOUCHED, style.INK) for line in whole.head(1).itertuples()]
    low, high = np.log(axis.get_xlim())
    for (size, _, words, color), height in zip(names, [*heights, -0.38], strict=False):
        place = (np.log(size) - low) / (high - low)             # 0 to 1 from left to right
        ends_within = max(0.0, 1 - LETTER * max(map(len, words.split("\n"))))
        style.label(axis, min(place + 0.01, ends_within), height, words, color,
                    transform=axis.get_yaxis_transform())


def _wrapped(words: str) -> str:
    """A name in as many lines as keep it within its panel."""
    return textwrap.fill(words, int(0.8 / LETTER), break_long_words=False)


def sensitivity(table: pd.DataFrame) -> Figure:
    """Layers × bits: how far the answers move when that layer alone is rounded; deeper is further.

    table: layer, bits, error (as `lib.quant.allocate.sensitivity` gives it).
    """
    wide = table.pivot(index="layer", columns="bits", values="error").reindex(table.layer.unique())
    errors = wide.to_numpy()
    far = np.log10(np.clip(errors, 1e-9, None))
    shades = (far - far.min()) / max(far.max() - far.min(), 1e-9)
    figure, (axis,) = style.panels(1, height=0.8 + 0.22 * len(wide), columns=1)
    figure.set_figwidth(1.4 + 0.45 * len(wide.columns))
    style.heat(axis, shades, np.char.mod("%.1g", errors), np.full(errors.shape, style.SECOND))
    axis.set_xticks(range(len(wide.columns)), [style.bits(bits) for bits in wide.columns])
    axis.set_yticks(range(len(wide)), [str(layer) for layer in wide.index])
    axis.set(xlabel="bits a weight of that layer alone")
    return figure


def ladder(steps: pd.DataFrame, whole: pd.Series) -> Figure:
    """Scores of repairs in their order, from top to bottom, a panel a net, with the largest gain.

    steps: `tables.climb(…)` of net, rung, bits, score, low, high, metric; whole: score as trained,
    by net. Rungs whose name begins with "control" repair nothing: they stand aside, hollow, and are
    never a gain.
    """
    rungs = list(dict.fromkeys(steps.rung))
    metric = METRICS[steps.metric.iloc[0]]
    figure, axes = style.panels(len(whole), height=1.3 + 0.34 * len(rungs))
    for axis, (net, score) in zip(axes, whole.items(), strict=True):
        axis.axvline(score, color=style.SOFT, linestyle=":")
        groups = list(steps[steps.net == net].groupby("bits"))
        for i, (bits, part) in enumerate(groups):
            shift = 0.16 * (i - (len(groups) - 1) / 2)
            _climb(axis, part, part.rung.map(rungs.index) * -1.0 - shift, style.SERIES[i], metric)
            axis.annotate(f"{style.bits(bits)} bits", (0.02, 0.02 + 0.07 * (len(groups) - 1 - i)),
                          xycoords="axes fraction", color=style.SERIES[i], weight="bold")
        axis.set_yticks([-i for i in range(len(rungs))], rungs)
        axis.set(xlabel=f"test {metric.label}", title=f"{net}, {metric.text(score)} as trained")
        axis.margins(x=0.1, y=0.1)
        style.at_most(axis, metric.best)
        axis.grid(axis="y", visible=False)
    return figure


def _climb(axis: Axes, part: pd.DataFrame, y: pd.Series, color: str, metric: Metric) -> None:
    """One line of the ladder: rungs joined, controls hollow beside it, and the largest gain that
    its paired interval carries, in figures."""
    kept = ~part.rung.str.startswith(CONTROL)       # no setting: a rung's own name
    axis.plot(part.score[kept], y[kept], "-o", color=color, linewidth=1, markersize=4)
    axis.plot(part.score[~kept], y[~kept], "o", color=color, markerfacecolor="none", markersize=4)
    axis.hlines(y, part.low, part.high, color=color, linewidth=2.2, alpha=0.45)
    best = largest_gain(part)
    if best is not None:
        axis.annotate(f"+{metric.text(best.gain)}", (best.score, y[best.name]), (-5, 4), ha="right",
                      textcoords="offset points", color=color, fontsize=8)
