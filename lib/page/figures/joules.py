"""Where modelled joules go: layer by layer, along a training, and what accuracy they buy."""

import pandas as pd
from matplotlib.figure import Figure

from lib.page import style
from lib.page.findings_of_joules import multiples

PARTS = (("forward_j", "forward", style.ACCENT), ("backward_j", "backward", style.SECOND),
         ("update_j", "update", style.THIRD))
MOST_NAMED = 6                  # curves that are named; the rest is grey context


def layers(table: pd.DataFrame) -> Figure:
    """What each layer takes of a training, a bar a layer, a panel a process.

    table: process, layer, forward_j, backward_j, update_j: of one example.
    """
    processes = list(dict.fromkeys(table.process))
    most = table.groupby("process").layer.nunique().max()
    figure, axes = style.panels(len(processes), height=0.9 + 0.17 * most)
    for axis, process in zip(axes, processes, strict=True):
        part = table[table.process == process].reset_index(drop=True)
        start = pd.Series(0.0, index=part.index)
        for name, words, color in PARTS:
            axis.barh(part.index, 1e6 * part[name], left=1e6 * start, color=color, label=words)
            start = start + part[name]
        axis.set_yticks(part.index, part.layer, fontsize=7)
        axis.invert_yaxis()
        axis.set(title=process, xlabel="µJ an example (modelled)")
        axis.grid(axis="y", visible=False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def learning(history: pd.DataFrame) -> Figure:
    """Score on the validation part over epochs, a line a net, a panel a task.

    history: task, net (a name), epoch, val_score.
    """
    tasks = list(dict.fromkeys(history.task))
    figure, axes = style.panels(len(tasks), height=2.6)
    for axis, task in zip(axes, tasks, strict=True):
        mean = history[history.task == task].groupby(["net", "epoch"], sort=False).val_score.mean()
        ends = mean.groupby("net", sort=False).last()
        places = style.spread(list(ends), 0.055 * (mean.max() - mean.min() + 1e-9))
        for i, (net, place) in enumerate(zip(ends.index, places, strict=True)):
            line, color = mean[net], style.SERIES[i] if i < len(style.SERIES) else style.CONTEXT
            axis.plot(line.index, line, color=color, linewidth=1.4)
            style.label(axis, line.index[-1] + 0.2, place, net, color if i < 3 else style.SOFT)
        axis.set(title=task, xlabel="epoch", ylabel="validation score",
                 xlim=(1, mean.index.get_level_values("epoch").max() * 1.5))
    return figure


def changes(changed: pd.DataFrame) -> Figure:
    """What each change adds to the score, with its interval, a line a change, a panel a data set;
    at its end what it multiplies the joules of the training by.

    changed: task, net, gain, low, high, training, training_most.
    """
    sets = [task.partition("@")[0] for task in changed.task]
    lines = changed.assign(set=sets, words=_with_variant(changed))
    most = max(1, lines.groupby("set").size().max())
    figure, axes = style.panels(lines.set.nunique(), height=0.9 + 0.19 * most, columns=1)
    for axis, (name, part) in zip(axes, lines.groupby("set", sort=False), strict=True):
        part = part.iloc[::-1].reset_index(drop=True)
        sure = (part.low > 0) | (part.high < 0)
        for known, color in ((True, style.ACCENT), (False, style.CONTEXT)):
            some = part[sure == known]
            axis.hlines(some.index, some.low, some.high, color=color, linewidth=2.2, alpha=0.5)
            axis.plot(some.gain, some.index, "o", color=color, markersize=4)
        axis.axvline(0, color=style.SOFT, linewidth=0.8)
        least, highest = min(0, part.low.min()), max(0, part.high.max())
        end = highest + 0.4 * (highest - least + 1e-9)
        for place, line in part.iterrows():
            times = multiples(line.training, line.training_most)
            axis.text(end, place, times and f"{times} ×", ha="right", va="center", fontsize=7,
                      color=style.SECOND)
        axis.set_yticks(part.index, part.words, fontsize=7)
        axis.set(title=name, xlabel="points gained, paired; at the end: times the joules, modelled",
                 ylim=(-0.7, len(part) - 0.3), xlim=(least - 0.05 * (end - least), end))
        axis.grid(axis="y", visible=False)
    return figure


def _with_variant(changed: pd.DataFrame) -> list[str]:
    """Each net's name, with the variant of its data where most are of another."""
    variants = [task.partition("@")[2] for task in changed.task]
    usual = pd.Series(variants).mode().iloc[0] if variants else ""
    return [net if variant == usual else f"{net} @{variant}"
            for net, variant in zip(changed.net, variants, strict=True)]


def bought(points: pd.DataFrame) -> Figure:
    """Test score over the joules of the training, a line a factor that varies, a panel a task.

    points: task, factor, net, joules, score, low, high: a net that factors share comes with each of
    them, and of the others only what differs from it is written.
    """
    tasks = list(dict.fromkeys(points.task))
    figure, axes = style.panels(len(tasks), height=3.0)
    factors = list(dict.fromkeys(points.factor))
    for axis, task in zip(axes, tasks, strict=True):
        part = points[points.task == task]
        for factor, color in zip(factors, style.SERIES, strict=False):
            line = part[part.factor == factor].sort_values("joules", kind="stable")
            axis.plot(line.joules, line.score, "o-", color=color, markersize=4, linewidth=1.2,
                      label=factor)
            axis.vlines(line.joules, line.low, line.high, color=color, linewidth=1.8, alpha=0.5)
        shared = part.groupby("net", sort=False).factor.nunique().idxmax()
        named = part.drop_duplicates("net").sort_values("score", kind="stable")
        span = max(part.high.max() - part.low.min(), 1e-9)
        places = style.spread(list(named.score), 0.06 * span)
        for line, place in zip(named.itertuples(), places, strict=True):
            differs = [word for word in line.net.split() if word not in shared.split()]
            words = " ".join(differs) or "\n".join(line.net.split())
            style.label(axis, line.joules * 1.15, place, words, style.SOFT, fontsize=7)
        style.decades(axis)
        axis.set(title=task, xlabel="J of the training (modelled)", ylabel="test score",
                 xlim=(part.joules.min() * 0.8, part.joules.max() * 8))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def to_accuracy(found: pd.DataFrame) -> Figure:
    """Validation score over the joules of a training so far, a curve a recipe, a panel a task: in
    color those that are the cheapest for some score.

    found: `tables.curves` of one process, with recipe (a name) and leads (whether it is cheapest
    somewhere).
    """
    recipes = found.groupby("task", sort=False).recipe.nunique()
    tasks = list(recipes.index[recipes > 1]) or list(recipes.index)     # of one none leads
    figure, axes = style.panels(len(tasks), height=3.0)
    for axis, task in zip(axes, tasks, strict=True):
        part = found[found.task == task]
        leading = list(dict.fromkeys(part[part.leads].recipe))[:MOST_NAMED]
        for recipe, line in part.groupby("recipe", sort=False):
            named = recipe in leading
            color = style.SERIES[leading.index(recipe) % 3] if named else style.CONTEXT
            axis.plot(line.joules, line.score, color=color, linewidth=1.6 if named else 0.7,
                      zorder=3 if named else 1)
        ends = part[part.recipe.isin(leading)].groupby("recipe", sort=False).last()
        span = max(part.score.max() - part.score.min(), 1e-9)
        places = style.spread(list(ends.score), 0.06 * span)
        for (recipe, line), place in zip(ends.iterrows(), places, strict=True):
            style.label(axis, line.joules * 1.1, place, recipe,
                        style.SERIES[leading.index(recipe) % 3], fontsize=7)
        style.decades(axis)
        axis.set(title=task, xlabel="J of the training so far (modelled)",
                 ylabel="validation score",
                 xlim=(part.joules.min() * 0.8, part.joules.max() * 6))
    return figure
