"""What data sets hold: examples as they are, and how many of each class."""

import re
import textwrap

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.page import style

KINDS = {"image": "images", "series": "windows of acceleration, one line per axis",
         "tabular": "columns, each value standardised", "text": "as they are written"}
LETTERS = 100               # of a line of text
MOST_CLASSES = 20           # whose names stand beside their bars; more are a line without names


def examples(task, count: int = 12) -> tuple[Figure, str, str, str]:
    """Some test examples drawn: (figure, name, caption, alt), ready for `show.figure`."""
    count = min(count, len(task.test))
    draw = {"image": _images, "series": _series, "tabular": _columns,
            "text": _sentences}[task.kind]
    kind = KINDS[task.kind]
    words = re.sub(r"[^a-z0-9]+", "_", task.name.lower())[:40]
    synthetic = " (synthetic)" if "synthetic" in task.source else ""
    return (draw(task, count), f"01_examples_{words}",
            f"Test examples of {task.name}{synthetic}: {kind}.",
            f"What test examples of {task.name} look like: {kind}")


def _title(task, index: int) -> str:
    return task.classes[int(task.test.y[index])] if task.classes else ""


def _images(task, count: int) -> Figure:
    figure, axes = style.panels(count, height=1.25, columns=6)
    images = task.test.batch(slice(count)).permute(0, 2, 3, 1).numpy()      # (n, h, w, channels)
    for i, axis in enumerate(axes):
        image = images[i]
        axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="none")
        axis.set_title(_title(task, i), fontsize=8, weight="normal", loc="center")
        axis.axis("off")
    return figure


def _series(task, count: int) -> Figure:
    first = {int(y): i for i, y in reversed(list(enumerate(task.test.y)))}
    chosen = [first[y] for y in sorted(first)][:min(count, 6)]
    figure, axes = style.panels(len(chosen), height=1.7, columns=3)
    for axis, i in zip(axes, chosen, strict=True):
        axis.plot(task.test.batch(slice(i, i + 1))[0].T.numpy(), linewidth=0.9)
        axis.set_title(_title(task, i), fontsize=9, weight="normal")
    return figure


def _sentences(task, count: int) -> Figure:
    """Sentences one below the other, each behind its class; questions with their answer."""
    lines = [": ".join(part for part in (_title(task, i), task.test.ref[i]) if part)
             for i in range(count)]
    wrapped = [textwrap.wrap(line, LETTERS, max_lines=2, placeholder=" …") for line in lines]
    figure, (axis,) = style.panels(1, height=0.2 * (1 + sum(map(len, wrapped))), columns=1)
    axis.axis("off")
    text = "\n".join("\n".join([first, *("    " + line for line in more)])
                     for first, *more in wrapped)
    axis.text(0, 1, text, va="top", fontsize=9, color=style.INK, transform=axis.transAxes,
              linespacing=1.6)
    return figure


def _columns(task, count: int) -> Figure:
    shown = min(task.inputs[0], count)
    values = ((task.test.batch(slice(400)) - task.mean) / task.std)[:, :shown].numpy()
    names = list(task.features[:shown])
    figure, (axis,) = style.panels(1, height=0.6 + 0.24 * shown, columns=1)
    figure.set_figwidth(style.WIDTH / 2)
    line = {"color": style.INK, "linewidth": 0.8}
    axis.boxplot(values, orientation="horizontal", positions=range(shown), widths=0.7,
                 patch_artist=True, boxprops={"facecolor": style.CONTEXT, "linewidth": 0},
                 medianprops=line, whiskerprops=line, capprops=line,
                 flierprops={"marker": ".", "markersize": 2, "markeredgecolor": style.SOFT})
    axis.set(xlim=(-4, 6), ylim=(shown - 0.5, -0.5), xlabel="standard deviations from the mean")
    axis.set_yticks(range(shown), names)
    axis.grid(axis="y", visible=False)
    return figure


def before_and_after(x, normal) -> Figure:
    """The values of some inputs as published, and as a model sees them; tensors of one shape."""
    figure, axes = style.panels(2, height=1.9)
    parts = {"as published": x, "as the model sees it": normal}
    for axis, (title, values) in zip(axes, parts.items(), strict=True):
        axis.hist(values.flatten().numpy(), bins=40, color=style.CONTEXT)
        axis.set(title=title, xlabel="value", yticks=[])
        axis.grid(visible=False)
    return figure


def balance(table: pd.DataFrame) -> Figure:
    """Share of each class in the training part, a panel a task, the commonest class on top.

    table: task, class (its name), share (percent of the training examples).
    """
    parts = {task: part.sort_values("share") for task, part in table.groupby("task", sort=False)}
    lines = [min(len(part), MOST_CLASSES) for part in parts.values()]
    tallest = max(lines)
    figure, axes = style.panels(len(parts), height=0.8 + 0.19 * tallest)
    for axis, (task, part) in zip(axes, parts.items(), strict=True):
        places = np.arange(len(part))
        axis.barh(places, part["share"], color=style.CONTEXT, height=0.75)
        axis.patches[-1].set_facecolor(style.ACCENT)
        few = len(part) <= MOST_CLASSES
        axis.set_yticks(places if few else [], part["class"].astype(str) if few else [])
        axis.set(title=str(task), xlabel="% of training examples",
                 ylabel="" if few else f"{len(part)} classes")
        axis.grid(axis="y", visible=False)
        axis.annotate(f"{part['share'].iloc[-1]:.1f} %", (part["share"].iloc[-1], places[-1]),
                      (3, 0), textcoords="offset points", va="center", color=style.ACCENT)
        axis.set(xlim=(0, 1.25 * part["share"].max()), ylim=(-0.6, len(part) - 0.4))
    style.lower(axes, [most / tallest for most in lines])
    return figure
