"""A trace of requests as one picture, and what policies come to."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.page import style

BINS = 40                               # of a trace, over which arrivals are counted
LEAST_SHOWN = 10                        # percent below 100 that an axis of what is in time begins
CROWDED = 0.4                           # of that axis, at its end: where most policies lie


def trace(lines: pd.DataFrame, rungs: Sequence[str], objective: float) -> Figure:
    """Load, queue, chosen rung, and latency against the objective, over one trace.

    lines: as of `realtime.replay`; rungs: their names, the most accurate first; objective: seconds.
    """
    figure, (load, queue, chosen, took) = style.panels(4, height=1.7, columns=1)
    ends = np.linspace(0, lines.arrived.max(), BINS + 1)
    counts, _ = np.histogram(lines.arrived, ends)
    load.step(ends[:-1], counts / (ends[1] - ends[0]), where="post", color=style.ACCENT)
    load.set(title="load", ylabel="requests a second", ylim=(0, None))
    queue.plot(lines.arrived, lines.waiting, color=style.ACCENT, linewidth=0.8)
    queue.set(title="queue", ylabel="requests waiting")
    answered = lines[lines.done.notna()]
    places = {name: len(rungs) - place for place, name in enumerate(rungs)}
    chosen.plot(answered.began, answered.rung.map(places), "|", color=style.ACCENT, markersize=5,
                rasterized=True)
    chosen.set_yticks(list(places.values()), list(places), fontsize=7)
    chosen.set(title="rung", ylim=(0.5, len(rungs) + 0.5))
    latency = 1000 * (answered.done - answered.arrived)
    # Thousands of dots, of which each as a shape of its own would take a hundred bytes.
    took.plot(answered.arrived, latency, ".", color=style.ACCENT, markersize=2, rasterized=True)
    took.axhline(1000 * objective, color=style.SECOND, linewidth=1.2)
    shed = lines[lines.done.isna()]
    took.plot(shed.arrived, [1000 * objective] * len(shed), "x", color=style.SECOND, markersize=3)
    took.set(title="latency; the line: the objective; crosses: shed or failed", ylabel="ms",
             xlabel="seconds since the trace began")
    for axis in (load, queue, chosen, took):
        axis.set_xlim(0, ends[-1])
    return figure


def policies(told: pd.DataFrame) -> Figure:
    """Score of what was answered over the share that was answered in time, a panel a trace, a dot a
    policy: fixed rungs grey, the others named.

    told: `tables.replays`.
    """
    traces = list(told.groupby(["task", "trace"], sort=False))
    figure, axes = style.panels(len(traces), height=2.5)
    for axis, ((task, name), part) in zip(axes, traces, strict=True):
        own = part[[policy[:6] != "fixed " for policy in part.policy]]
        fixed = part.drop(own.index)
        axis.plot(100 * fixed.attainment, fixed.score, "s", color=style.CONTEXT, markersize=5,
                  label="fixed rungs")
        axis.plot(100 * own.attainment, own.score, "o", color=style.ACCENT, markersize=5,
                  label="policies", zorder=6)           # above the labels' own ground
        span = max(part.score.max() - part.score.min(), 1.0)
        places = style.spread(list(own.score), 0.11 * span)     # a line of text
        least = min(100 * part.attainment.min(), 100 - LEAST_SHOWN)
        for line, place in zip(own.itertuples(), places, strict=True):
            there = 100 * line.attainment
            # Names of what is crowded near 100 percent stand in one column, to the right of it.
            crowded = 100 - there < CROWDED * (100 - least)
            beside = (100 if crowded else there) + 0.06 * (100 - least)
            axis.plot([there, beside], [line.score, place], color=style.CONTEXT, linewidth=0.6)
            style.label(axis, beside, place, line.policy, style.INK, fontsize=7)
        axis.set(title=f"{task} · {name}", xlabel="answered in time, %",
                 ylabel="score of what was answered")
        axis.set_xlim(100 - 1.1 * (100 - least), 100 + 0.7 * (100 - least))
        axis.set_xticks([tick for tick in axis.get_xticks() if least <= tick <= 100])
        drawn = [*part.score, *places]
        axis.set_ylim(min(drawn) - 0.1 * span, max(drawn) + 0.1 * span)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure
