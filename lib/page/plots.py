"""Plots that several chapters and the report share: loss by bits, and loss by what must be small.

Losses are in points (pp, or hundredths of R² and MCC) against the FP32 baseline, as
`results.candidates` gives them. What lies beyond the axis is an arrow head at its edge.
"""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from lib.base import titles
from lib.base.said import written
from lib.page import style, words
from lib.results.candidates import itself
from lib.results.select import DENSE, SMALLER, is_baseline

SCALES = {"KiB": "file size, KiB", "ms": "latency, ms (measured)",
          "energy_share": "energy, % of the baseline's (modelled)"}
LETTER = 0.028              # of a panel's width, in a label
LINE = 0.4                  # points on the axis of losses, in a line of a label


def leading(losses: pd.DataFrame, count: int = 3) -> list[str]:
    """The quantizers that lose least against the median quantizer of each network and width, best
    first. losses: task, net, quantizer, bits_asked, loss; a gain counts as no loss."""
    seen = losses.loss.clip(0, style.MOST_POINTS)
    median = seen.groupby([losses.task, losses.net, losses.bits_asked]).transform("median")
    gain = (median - seen).groupby(losses.quantizer).mean()
    return list(gain[gain > 0].nlargest(count).index)


def loss_by_bits(axis: Axes, lines: pd.DataFrame, named: Sequence[str], unit: str = "pp",
                 widths: Sequence[float] = ()) -> None:
    """Loss of one network against bits per weight, a line a quantizer; those not named are grey.

    lines: quantizer, bits_asked (log₂ 3 for ternary), loss, low, high; named: quantizers in their
    colours, the same in each panel, up to three; widths: those of the axis, where panels are to
    have the same.
    """
    places = {bits: i for i, bits in enumerate(sorted({*widths, *lines.bits_asked}))}
    lines = lines.assign(place=lines.bits_asked.map(places)).sort_values("place")
    style.losses(axis, unit)
    for _, line in lines[~lines.quantizer.isin(named)].groupby("quantizer"):
        axis.plot(line.place, line.loss, color=style.CONTEXT, linewidth=0.7, zorder=1)
        style.beyond(axis, line.place, line.loss, style.CONTEXT, 2.5)
    colors = dict(zip(named, style.SERIES, strict=False))
    there = [name for name in named if (lines.quantizer == name).any()]
    for i, name in enumerate(there):
        line = lines[lines.quantizer == name]
        axis.plot(line.place, line.loss, "-", color=colors[name], linewidth=1.4)
        named_points = [f"{titles.quantizer(name)} {_width(bits)}" for bits in line.bits_asked]
        _points(axis, line.assign(technique=named_points), "place", colors[name], unit)
        style.intervals(axis, line.place, line, colors[name])
        style.label(axis, 0.98, 0.93 - 0.11 * i, titles.quantizer(name), colors[name], ha="right",
                    transform=axis.transAxes, weight="bold")
    axis.set(xlabel="bits per weight", xlim=(-0.3, len(places) - 0.7))
    axis.set_xticks(list(places.values()), [style.bits(bits) for bits in places])
    axis.grid(axis="x", visible=False)


def front(axis: Axes, candidates: pd.DataFrame, named: pd.DataFrame, x: str = "KiB",
          unit: str = "pp") -> None:
    """Loss of one network's candidates against what must be small: what nothing beats is joined.

    candidates: a network's lines of `results.candidates`; named: those of its lines that get a
    larger mark and their name (up to two, as `results.select` gives them). x: a key of SCALES. The
    baseline is a hollow diamond, smaller dense models are squares; controls are left out. Every
    mark within the axis tells its technique (`data-tip`).
    """
    points = candidates[candidates[x].notna() & candidates.loss.notna() & ~candidates.control]
    points = points.assign(place=points[x] * (100 if x == "energy_share" else 1))
    style.losses(axis, unit)
    base, dense = is_baseline(points), ~itself(points) & points.technique.isin(DENSE)
    best = _best(points)
    rest = points[~base & ~dense & ~points.index.isin(best.index)]
    _points(axis, rest, "place", style.CONTEXT, unit, ".", 4)
    dense = points[dense].sort_values("place")
    _points(axis, dense, "place", style.SECOND, unit, "s", 4)
    axis.step(best.place, best.loss, where="post", color=style.ACCENT, linewidth=1.2)
    own = best[~best.index.isin(dense.index) & ~base[best.index]]
    _points(axis, own, "place", style.ACCENT, unit, "o", 4)
    for lines, color in ((own, style.ACCENT), (dense[dense.index.isin(best.index)], style.SECOND)):
        style.intervals(axis, lines.place, lines, color)
    whole = points[base].sort_values("place").head(1)
    axis.plot(whole.place, whole.loss, "D", color=style.INK, markersize=5, markerfacecolor="none")
    style.logarithmic(axis, 2, written)
    wide = points.place.max() > 4 * points.place.min()
    axis.xaxis.set_major_locator(LogLocator(2, (1.0,) if wide else (1.0, 1.25, 1.5), numticks=6))
    axis.set_xlabel(SCALES[x])
    axis.margins(x=0.08)
    axis.grid(axis="x", visible=False)
    chosen = points[points.id.isin(named.id)].drop_duplicates("id").head(2)
    axis.plot(chosen.place, chosen.loss, "o", color=style.ACCENT, markersize=6.5)
    _name(axis, whole, dense, chosen, x)


def _best(points: pd.DataFrame) -> pd.DataFrame:
    """What nothing smaller beats, from small to large."""
    ordered = points.sort_values(["place", "loss"], kind="stable")
    return ordered[ordered.loss < ordered.loss.cummin().shift(fill_value=np.inf)]


def _points(axis: Axes, lines: pd.DataFrame, x: str, color: str, unit: str, mark: str = "o",
            size: float = 3.5) -> None:
    """A mark for each line, which tells its technique and loss; arrow heads beyond the axis."""
    within = lines.loss.between(style.LEAST_POINTS, style.MOST_POINTS)
    for line in lines[within].itertuples():
        smaller = getattr(line, "model", "") != getattr(line, "net", "")
        title = f"{titles.model(line.model, line.sizes)}, " if smaller else ""
        tip = f"{title}{line.technique}: {words.cell(line.loss, line.low, line.high)} {unit}"
        axis.plot(getattr(line, x), line.loss, mark, color=color, markersize=size, zorder=2,
                  gid=f"tip:{tip}", clip_on=False)
    style.beyond(axis, lines[x], lines.loss, color, 2.5)


def _width(bits: float) -> str:
    return f"{bits:.0f}-bit" if float(bits).is_integer() else style.bits(bits)


def _name(axis: Axes, whole: pd.DataFrame, dense: pd.DataFrame, chosen: pd.DataFrame, x: str
          ) -> None:
    """Names: the baseline's below zero, above it those of smaller models and of the chosen."""
    unit = {"KiB": " KiB", "ms": " ms", "energy_share": " %"}[x]
    labels = [(line.place, line.loss, f"{SMALLER}s", style.SECOND)
              for line in dense[dense.loss <= style.MOST_POINTS].head(1).itertuples()]
    labels += [(line.place, line.loss, textwrap.fill(
        f"{line.technique}, {written(line.place)}{unit}", int(0.75 / LETTER)), style.ACCENT)
        for line in chosen.itertuples()]
    low, high = np.log(axis.get_xlim())
    floor = 0.0
    for place, loss, text, color in sorted(labels, key=lambda label: label[1]):
        rows = 1 + text.count("\n")
        height = max(floor, max(0.0, loss) + 0.25) + LINE * rows / 2
        floor = height + LINE * rows / 2 + 0.1
        start = (np.log(place) - low) / (high - low)
        end = max(0.0, 1 - LETTER * max(map(len, text.split("\n"))))
        style.label(axis, min(start + 0.01, end), min(height, style.MOST_POINTS), text, color,
                    transform=axis.get_yaxis_transform())
    for place in whole.place:
        start = min((np.log(place) - low) / (high - low), 1 - LETTER * len(titles.BASELINE))
        style.label(axis, start, -0.4, titles.BASELINE, style.INK,
                    transform=axis.get_yaxis_transform())
