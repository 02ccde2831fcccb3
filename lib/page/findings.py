"""What a figure shows, in a sentence: alternative texts, computed from the tables that it draws."""

import pandas as pd

from lib.base.metric import METRICS
from lib.base.said import count, written
from lib.tables.ahead import largest_gain
from lib.tables.choice import OTHER_FOLDS, SAME_TEST, VALIDATION
from lib.tables.history import TRAINING
from lib.tables.history import uneven as uneven_trainings
from lib.tables.smallest import SMALLER, by_kind


def curves(history: pd.DataFrame) -> str:
    """The net whose validation loss ends furthest above its training loss."""
    last = history.sort_values("epoch").groupby(["task", "model", "seed", "fold"], dropna=False)
    ends = last[["train_loss", "val_loss"]].last().groupby(["task", "model"]).mean()
    gap = ends.val_loss - ends.train_loss
    task, model = gap.idxmax()
    return (f"Of {len(ends)} nets, {model} on {task} ends with the widest gap between training and "
            f"validation loss, {gap.max():.2f}")


def confusion(matrices: pd.DataFrame) -> str:
    """The class that is most often taken for another, over all nets."""
    wrong = matrices[matrices["true"] != matrices["given"]]
    if wrong.share.isna().all():
        return "No class is taken for another"
    worst = wrong.loc[wrong.share.idxmax()]
    return (f"The most frequent mistake is {worst['true']} taken for {worst['given']}, "
            f"{worst.share:.0f} % of that class, by {worst.model} on {worst.task}")


def losses(points: pd.DataFrame) -> str:
    """At the fewest bits, the quantizer that loses least at worst over the nets."""
    fewest = points[points.bits_asked == points.bits_asked.min()]
    worst = fewest.groupby("quantizer").loss.max()
    return (f"At {fewest.bits_asked.iloc[0]:.3g} bits {worst.idxmin()} loses at most "
            f"{worst.min():.1f} points on {fewest.groupby(['task', 'net']).ngroups} nets, "
            f"{worst.idxmax()} up to {worst.max():.0f}")


def front(chosen: pd.DataFrame) -> str:
    """For how many nets the smallest that keeps its score is a compressed one, a dense one, or the
    net itself.

    chosen: `tables.chosen(points, folds)`.
    """
    kept = chosen[chosen.by == "mean"]
    kinds = by_kind(kept).kind
    dense, same = (kinds == SMALLER).sum(), (kinds == "").sum()
    return (f"The smallest net within a point of the best, by its mean loss, is a compressed "
            f"one for {len(kept) - dense - same} of {len(kept)} nets, a dense one for {dense}, and "
            f"the net itself for {same}")


def offers(chosen: pd.DataFrame) -> list[tuple[str, str]]:
    """Of each net its task, and a sentence of what is offered by the mean loss: what that loses
    where it was chosen, and where it was not.

    chosen: as for `front`.
    """
    told = []
    for line in chosen[chosen.by == "mean"].to_dict("records"):
        loss, read = (f"{line[mean]:z.2f} [{line[low]:z.2f}, {line[high]:z.2f}]" for mean, low, high
                      in (("loss", "low", "high"), ("read", "read_low", "read_high")))
        where = " on the validation part" if line["chosen_on"] == VALIDATION else ""
        sentence = (f"{line['net']}: the smallest net within a point{where} is "
                    f"{line['technique']}, {written(line['KiB'])} KiB for "
                    f"{written(line['base_KiB'])}; ")
        if line["chosen_on"] == OTHER_FOLDS:
            sentence += (f"it loses {loss} points over {line['over']}, and {read} where each fold "
                         "is left out of the choice and read")
        elif line["chosen_on"] == VALIDATION:
            sentence += f"it loses {read} points on the test part, over {line['over']}"
        elif line["chosen_on"] == SAME_TEST:
            sentence += f"it loses {loss} points over {line['over']}, read where it was chosen"
        else:
            sentence = (f"{line['net']}: nothing is chosen on its one split; by what other nets "
                        f"chose, {line['technique']}, {written(line['KiB'])} KiB for "
                        f"{written(line['base_KiB'])}, it loses {read} points over {line['over']}")
        told.append((line["task"], sentence))
    return told


def ladder(steps: pd.DataFrame) -> list[str]:
    """A sentence for each net and number of bits: where it starts, and the repair that gains most,
    if the paired interval of its gain carries one.

    steps: `tables.climb(…)` of net, bits, rung, score, n, metric, from top to bottom.
    """
    told = []
    for (net, bits), part in steps.groupby(["net", "bits"], sort=False):
        text = METRICS[part.metric.iloc[0]].text
        first = part.iloc[0]
        start = (f"{net} at {bits:g} bits: {text(first.score)} by “{first.rung}”, on "
                 f"{first.n:,.0f} examples")
        best = largest_gain(part)
        if best is None:
            told.append(f"{start}; no repair gains more than its paired interval leaves open")
            continue
        told.append(f"{start}; the largest gain of one repair, {text(best.gain)} "
                    f"[{text(best.gain_low)}, {text(best.gain_high)}] over {best.gain_over}, is by "
                    f"“{best.rung}”")
    return told


def smallest(table: pd.DataFrame, by: str) -> list[str]:
    """A sentence a net: the kind of technique that makes it smallest, what that loses, and how
    small the others make it.

    table: `tables.smallest(…, by)`.
    """
    told = []
    for (task, net), part in table.groupby(["task", "net"], sort=False):
        kept = part[part.KiB.notna()].sort_values("KiB")
        none = [f"“{kind}”" for kind in part[by][part.KiB.isna()]]
        unable = f"; nothing within a point by {', '.join(none)}" if none else ""
        if kept.empty:
            told.append(f"{task} {net}{unable.replace(';', ':')}")
            continue
        best = kept.iloc[0]
        over = f"{best.n:,.0f} examples" if best.over == "examples" else f"{best.over}"
        others = [f"“{line[by]}” {written(line['KiB'])}"
                  for line in kept.iloc[1:].to_dict("records")]
        by_others = f"; KiB by others: {', '.join(others)}" if others else ""
        told.append(f"{task} {net}, {best.base_KiB:,.0f} KiB as trained, gets smallest by "
                    f"“{best[by]}”: {written(best.KiB)} KiB ({best.technique}), chosen on "
                    f"validation, loses {best.loss:z.2f} [{best.low:z.2f}, {best.high:z.2f}] "
                    f"points over {over} on test{by_others}{unable}")
    return told


def at_widths(table: pd.DataFrame, what: str) -> list[str]:
    """A sentence a width: on which nets `what` ("training through it") pays or costs, by the paired
    interval, in points, and on how many no difference can be told.

    table: as `tables.gains` gives it.
    """
    return [f"At {width} bits, of {count(len(part), 'net')}, {what} {_won_and_lost(part)}"
            for width, part in table.groupby("width", sort=False)]


def by_student(table: pd.DataFrame) -> list[str]:
    """A sentence for each way in which students learn: on which a teacher pays or costs, by the
    paired interval, in points, and of how many no difference can be told.

    table: as `tables.gains` gives it, with `student`.
    """
    return [f"Students that are {student}: of {count(len(part), 'training')} a teacher "
            f"{_won_and_lost(part)}"
            for student, part in table.groupby("student", sort=False)]


def _won_and_lost(table: pd.DataFrame) -> str:
    words = []
    for verdict, lines in (("wins", table[table.low > 0]), ("loses", table[table.high < 0])):
        gained = "; ".join(_gained(line) for line in lines.itertuples())
        words.append(f"{verdict} on {len(lines)}" + (f" ({gained} points)" if gained else ""))
    rest = ((table.low <= 0) & (table.high >= 0)).sum()
    return f"{' and '.join(words)}; on {rest} the paired interval carries no difference"


def _gained(line) -> str:
    """A net and what it gained, with its interval, in points: nets of several metrics stand in one
    sentence."""
    tolerance = METRICS[line.metric].tolerance
    gain, low, high = (value / tolerance for value in (line.gain, line.low, line.high))
    net = f"{line.task} {line.net} {line.sizes}".strip()
    by = f" by {line.teacher}" if line.teacher else ""
    return f"{net}{by} {gain:z.2f} [{low:z.2f}, {high:z.2f}]"


def helps(table: pd.DataFrame) -> str:
    """How many trainings gain by a teacher, by the paired interval, and how many lose: by teachers
    that score above the student without them, and by those that do not.

    table: as `tables.with_teachers` gives it.
    """
    above, known = table.teacher_score > table.before, table.teacher_score.notna()
    told = []
    for teacher, part in (("a teacher that scores above the student alone", table[above]),
                          ("one that does not", table[known & ~above]),
                          ("one whose own score is not known here", table[~known])):
        if len(part):
            told.append(f"of {count(len(part), 'training')} with {teacher}, "
                        f"{(part.low > 0).sum()} gain by the paired interval and "
                        f"{(part.high < 0).sum()} lose")
    words = "; ".join(told) or "no student has a teacher"
    return words[0].upper() + words[1:]


def won(points: pd.DataFrame) -> str:
    """At how many widths the net that was trained through loses less in the mean than the rounded.

    points: task, net, width, how, loss.
    """
    wide = points.pivot_table("loss", ["task", "net", "width"], "how").dropna()
    less = (wide["trained through"] < wide["rounded"]).sum()
    return (f"Trained through the quantizer {less} of {len(wide)} nets and widths lose less in the "
            "mean than rounded alone")


def uneven(history: pd.DataFrame) -> str:
    """How many trainings had epochs that took twice as long as others, and the worst of them."""
    found = uneven_trainings(history)
    runs = history.groupby([name for name in TRAINING if name in history], dropna=False).ngroups
    if found.empty:
        return f"In none of {runs} trainings an epoch took twice as long as another."
    worst = found.iloc[0]
    return (f"In {len(found)} of {runs} trainings some epoch took twice as long as another, or "
            f"longer (most: {worst.model} on {worst.task}, {written(worst.fastest)} to "
            f"{written(worst.slowest)} s): their seconds are no cost of the net.")
