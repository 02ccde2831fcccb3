"""Models as files: what whole numbers answer, how much faster they are, and what that loses."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from lib.page import style

COLORS = {"fp32": style.INK, "dynamic": style.SECOND, "static": style.ACCENT, "nbits": style.THIRD}
WORDS = {"": "torch", "fp32": "floats", "dynamic": "dynamic int8", "static": "static int8",
         "nbits": "4-bit kernels", "openvino": "floats, OpenVINO",
         "openvino-static": "static int8, OpenVINO", "litert": "floats, LiteRT",
         "litert-static": "static int8, LiteRT"}
WIDE = 4                                # from here on an axis is logarithmic
TOO_WIDE = 100                          # and from here on has room for powers of ten alone


def operator(exact, rounded) -> Figure:
    """A layer's answers in whole numbers over those in floats, one dot an output and example.

    exact, rounded: tensors (examples, outputs).
    """
    figure, (axis,) = style.panels(1, height=2.6)
    most = float(max(exact.abs().max(), rounded.abs().max()))
    axis.plot([-most, most], [-most, most], color=style.CONTEXT, linewidth=1)
    axis.plot(exact.flatten(), rounded.flatten(), ".", color=style.ACCENT, markersize=3)
    axis.set(xlabel="answer in floats", ylabel="answer in 8-bit whole numbers")
    return figure


def speedups(found: pd.DataFrame, batches: tuple[int, int]) -> Figure:
    """How many times as fast as its file of floats each net is otherwise run, a line a way and a
    panel a net: dots at a batch of `batches[0]`, rings at `batches[1]`, with the middle 95 % of
    windows.

    found: `tables.files` of nets as trained.
    """
    nets = list(found.groupby(["task", "net"], sort=False))
    most = max(len(part) for _, part in nets)
    figure, axes = style.panels(len(nets), height=0.9 + 0.28 * most)
    for axis, ((task, net), part) in zip(axes, nets, strict=True):
        lines = part.iloc[::-1].reset_index(drop=True)
        axis.axvline(1, color=style.SOFT, linewidth=0.8)
        for batch, shift, fill in ((batches[0], 0.13, "full"), (batches[1], -0.13, "none")):
            value, low, high = (lines[f"{name} at {batch}"]
                                for name in ("speedup", "speedup_low", "speedup_high"))
            axis.hlines(lines.index + shift, low, high, color=style.ACCENT, linewidth=2,
                        alpha=0.45)
            axis.plot(value, lines.index + shift, "o", color=style.ACCENT, markersize=4.5,
                      fillstyle=fill, label=f"{batch} at once")
        axis.set_yticks(lines.index, lines.deploy.map(WORDS), fontsize=8)
        axis.set(title=f"{task} · {net}", xlabel="times as fast as the file of floats",
                 ylim=(-0.6, len(lines) - 0.4))
        axis.grid(axis="y", visible=False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def front(found: pd.DataFrame, measure: str, label: str) -> Figure:
    """Loss over what an answer or a file takes, a panel a net: what nothing else beats is joined
    and named; colors say how it runs, squares are nets that were small from the start, arrow heads
    what lies beyond the axis.

    found: `tables.files`; measure: the column of the x axis ("ms at 1"); label: its name.
    """
    nets = list(found.groupby(["task", "net"], sort=False))
    figure, axes = style.panels(len(nets), height=2.8)
    for axis, ((task, net), part) in zip(axes, nets, strict=True):
        style.losses(axis)
        part = part[part[measure].notna() & (part.deploy != "")].sort_values([measure, "loss"])
        best = part[part.loss < part.loss.cummin().shift(fill_value=float("inf"))]
        axis.step(best[measure], best.loss, where="post", color=style.CONTEXT, linewidth=1.2)
        for line in part.itertuples():
            x, color = part.loc[line.Index, measure], COLORS[line.deploy]
            axis.vlines(x, line.low, line.high, color=color, linewidth=2, alpha=0.35)
            axis.plot(x, line.loss, "o" if line.itself else "s",
                      color=color, markersize=4)
        style.beyond(axis, part[measure], part.loss, style.CONTEXT)
        if part[measure].max() > WIDE * part[measure].min():
            axis.set_xscale("log")
            narrow = part[measure].max() < TOO_WIDE * part[measure].min()
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,)))
            axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set(title=f"{task} · {net}", xlabel=label)
        axis.margins(x=0.12)
    handles = [axes[0].plot([], [], "o", color=color, label=WORDS[way])[0]
               for way, color in COLORS.items() if way in set(found.deploy)]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure
