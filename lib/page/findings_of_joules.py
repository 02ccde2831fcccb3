"""What the chapter on joules shows, in sentences computed from its tables."""

import pandas as pd


def dearest(by_layer: pd.DataFrame) -> str:
    """The layer that takes most of a training, by process, and how much the backward pass takes."""
    parts = ["forward_j", "backward_j", "update_j"]
    lines = []
    for process, part in by_layer.groupby("process", sort=False):
        total = part[parts].to_numpy().sum()
        each = part[parts].sum(axis=1)
        first = part.layer[each.idxmax()]
        lines.append(f"under {process} {first} takes most, {each.max() / total:.0%}, and the "
                     f"backward pass {part.backward_j.sum() / total:.0%} of all")
    return _sentence("; ".join(lines))


def learned(history: pd.DataFrame) -> str:
    """Which net ends highest on the validation part, of each task."""
    last = history[history.epoch == history.epoch.max()]
    means = last.groupby(["task", "net"]).val_score.mean()
    first = means.groupby("task").idxmax()
    return "; ".join(f"on {task} {net} ends highest, at {means[task, net]:.1f}"
                     for task, net in first)[:1].upper() + "; ".join(
        f"on {task} {net} ends highest, at {means[task, net]:.1f}" for task, net in first)[1:]


def traded(changed: pd.DataFrame) -> str:
    """How many changes gain, by the paired interval, and how many lose."""
    better, worse = (changed.low > 0).sum(), (changed.high < 0).sum()
    return (f"Of {len(changed)} changes {better} raise the score by their paired interval and "
            f"{worse} lower it")


def factors(changed: pd.DataFrame) -> list[str]:
    """A sentence a factor and task: each change with its gain, interval and joules."""
    lines = []
    for (factor, task), part in changed.groupby(["factor", "task"], sort=False):
        told = []
        for line in part.itertuples():
            carried = "" if line.low > 0 or line.high < 0 else ", no difference that it carries"
            told.append(f"{line.net} against {line.against} {line.gain:+.2f} [{line.low:+.2f}, "
                        f"{line.high:+.2f}] over {line.over}{carried}, for "
                        f"{_times(line.training, line.training_most)}")
        lines.append(f"{factor}, {task}: {'; '.join(told)}")
    return lines


def cheapest(table: pd.DataFrame) -> str:
    """For how many of the scores both processes name the same cheapest recipe, and which."""
    if table.empty:
        return "No recipe comes to any of the scores asked for"
    one = table.drop_duplicates(["task", "level"])
    agreed = one[one.agrees]
    told = "; ".join(f"{line.recipe} to {line.level:g} on {line.task}"
                     for line in agreed.itertuples())
    return (f"Both processes name the same cheapest recipe for {len(agreed)} of {len(one)} scores"
            f"{': ' + told if told else ''}")


def _times(least: float, most: float) -> str:
    if pd.isna(least):
        return "joules that are not known"
    if most / least >= 1.05:
        return f"{least:.2g} to {most:.2g} times the joules of its training"
    if abs(least - 1) < 0.005:
        return "the same joules of its training"
    return f"{least:.2g} times the joules of its training"


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
