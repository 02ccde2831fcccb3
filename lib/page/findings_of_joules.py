"""What the chapter on joules shows, in sentences computed from its tables."""

import pandas as pd

AS_MANY = 1.05              # times the joules: less than that apart is as many


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
    return _sentence("; ".join(f"on {task} {net} ends highest, at {means[task, net]:.1f}"
                               for task, net in first))


def bought(points: pd.DataFrame) -> str:
    """What the dearest net of each factor scores above the cheapest, for how many times the joules.
    """
    told = []
    for (task, factor), part in points.groupby(["task", "factor"], sort=False):
        if part.net.nunique() < 2:
            continue
        ordered = part.sort_values("joules", kind="stable")
        least, most = ordered.iloc[0], ordered.iloc[-1]
        scores = [f"{net.net} {net.score:.1f} [{net.low:.1f}, {net.high:.1f}]"
                  for net in (least, most)]
        told.append(f"{factor} on {task}: {', '.join(scores)} for "
                    f"{_two_digits(most.joules / least.joules)} times the joules")
    return _sentence("; ".join(told)) or "Nothing varies"


def traded(changed: pd.DataFrame) -> str:
    """How many changes gain, by the paired interval, and how many lose."""
    better, worse = (changed.low > 0).sum(), (changed.high < 0).sum()
    return (f"Of {len(changed)} changes {better} raise the score by their paired interval and "
            f"{worse} lower it")


def sorted_out(changed: pd.DataFrame) -> list[str]:
    """What raises the score at no more joules of training, what buys it with joules, what spares
    joules at no loss that can be told, what loses: a sentence each and task, by paired intervals.

    changed: `tables.changes`.
    """
    raised, lost = changed.low > 0, changed.high < 0
    more, fewer = ~(changed.training_most <= AS_MANY), changed.training_most < 1 / AS_MANY
    kinds = {"more score at no more joules": raised & ~more, "more score for joules": raised & more,
             "fewer joules, and no loss that can be told": ~raised & ~lost & fewer,
             "less score": lost,
             "no difference that can be told, at as many joules or more": ~raised & ~lost & ~fewer}
    lines = []
    for task in changed.task.unique():
        for words, which in kinds.items():
            part = changed[which & (changed.task == task)]
            if part.empty:
                continue
            told = [f"{line.net} {line.gain:+.2f} [{line.low:+.2f}, {line.high:+.2f}] against "
                    f"{line.against}, {_times(line.training, line.training_most)}"
                    for line in part.itertuples()]
            over = " and ".join(part.over.unique())
            lines.append(f"{task}, {words} (paired over {over}): {'; '.join(told)}")
    return lines


def paid(compared: pd.DataFrame) -> str:
    """Whether pruning a net while it is trained gains on training it for fewer epochs."""
    if compared.empty:
        return "No net that is pruned while it is trained has a shorter training to stand against"
    told = []
    for line in compared.itertuples():
        told.append(f"{line.net} on {line.task} {line.gain:+.2f} [{line.low:+.2f}, "
                    f"{line.high:+.2f}] at {line.left:.0f} % of a whole training's products, "
                    f"against {line.against} at {line.left_against:.0f} %")
    wins, losses = (compared.low > 0).sum(), (compared.high < 0).sum()
    return (f"Pruning while training, which spares products on hardware that skips zeros and none "
            f"elsewhere, gains on fewer epochs of dense training, which spare them everywhere, in "
            f"{wins} of {len(compared)} comparisons and loses in {losses}: {'; '.join(told)}")


def cheapest(table: pd.DataFrame) -> str:
    """For how many of the scores both processes name the same cheapest recipe, and which."""
    if table.empty:
        return "No recipe comes to any of the scores asked for"
    one = table.drop_duplicates(["task", "level"])
    agreed = one[one.agrees]
    told = "; ".join(f"{recipe} to {', '.join(f'{level:g}' for level in part.level)} on {task}"
                     for (task, recipe), part in agreed.groupby(["task", "recipe"], sort=False))
    return (f"Both processes name the same cheapest recipe for {len(agreed)} of {len(one)} scores"
            f"{': ' + told if told else ''}")


def _times(least: float, most: float) -> str:
    if pd.isna(least):
        return "joules that are not known"
    if most / least < AS_MANY and abs(least - 1) < 0.005:
        return "the same joules"
    return f"{multiples(least, most)} times the joules"


def multiples(least: float, most: float) -> str:
    """How many times something is, in two digits, by what tells least and most: "0.25", "2.2 to
    2.4"; "" where it is not known."""
    if pd.isna(least):
        return ""
    if most / least >= AS_MANY:
        return f"{_two_digits(least)} to {_two_digits(most)}"
    return _two_digits(least)


def _two_digits(value: float) -> str:
    """Two significant digits, written out: 0.084, 2.5, 120."""
    return f"{float(f'{value:.2g}'):,.10g}"


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
