"""The answer in sentences, from losses in points: what to do, and where doing less would do."""

import pandas as pd

from lib.tables.choice import (
    NOTHING,
    OTHER_FOLDS,
    OTHER_NETS,
    SAME_TEST,
    VALIDATION,
    fewest_bits,
    settings,
)
from lib.tables.losses import POINT, UNTOUCHED, plain
from lib.tables.smallest import SMALLER, by_kind

BY = {"mean": "the mean loss", "interval": "the 95 % interval's upper end"}
KIND = "the smallest net within a point where it was chosen, and how many times smaller it is"


def advice(points: pd.DataFrame, folds: pd.DataFrame, chosen: pd.DataFrame) -> list[str]:
    """What to do, in a sentence with its numbers, and how that holds where it was not chosen; then
    what the candidates of `kinds` lose there.

    points: `in_points(offered(losses(...)))`; folds: `by_fold(points, rows)`; chosen:
    `chosen(points, folds, …)`. A quantizer at some bits is judged by the worst of its mean losses
    over the nets on which it was tried, and by the furthest end of their intervals.
    """
    nets = points.groupby(["task", "net"]).ngroups
    if not nets:
        return []
    told = [_to_do(points, nets), _read_again(points, folds)]
    return [sentence for sentence in told if sentence] + [
        _lost(chosen[chosen.by == rule], rule) for rule in BY]


def kinds(chosen: pd.DataFrame) -> pd.DataFrame:
    """What the smallest net within a point is where it was chosen: a line a kind, the commonest
    first, and a column a rule that chose, with the names of the nets and what their bytes are
    divided by.

    chosen: `chosen(points, folds, …)`; nets of which nothing could be chosen are left out.
    """
    own = by_kind(chosen[~chosen.chosen_on.isin([OTHER_NETS, NOTHING])])
    times = (own.base_KiB / own.KiB).map(_times)
    named = own.assign(name=own.task + " " + own.net + " " + times, kind=own.kind.replace(
        {"": "the net itself", SMALLER: "a smaller net, trained from scratch"}))
    order = named.kind.value_counts().index
    wide = named.groupby(["kind", "by"]).name.agg(", ".join).unstack(fill_value="–")
    wide = wide.reindex(index=order, columns=list(BY), fill_value="–")
    columns = {rule: f"by {words}" for rule, words in BY.items()}
    return wide.rename(columns=columns).rename_axis(KIND).reset_index()


def _to_do(points: pd.DataFrame, nets: int) -> str:
    """The fewest bits that keep every net within a point, and what fewer lose."""
    worst = settings(points)
    best = fewest_bits(worst)
    if best is None:
        nearest = f"; {_nearest(points, worst, nets)}" if len(worst) else ""
        return f"No quantizer that was tried keeps {_tried(nets, nets)} within a point{nearest}."
    told = f"**{best.quantizer} at {_bits(best.bits_asked)}** loses {_at_most(best)} on " \
           f"{_tried(best.nets, nets)}"
    below = worst[worst.bits_asked < best.bits_asked]
    for _, part in list(below.groupby("bits_asked"))[::-1]:
        line = part.loc[part.loss.idxmin()]
        told += f"; the best at {_bits(line.bits_asked)} is {line.quantizer}, {_at_most(line)}"
    return f"{told}."


def _nearest(points: pd.DataFrame, worst: pd.DataFrame, nets: int) -> str:
    """The setting that loses least at worst, the net where it does, and what that net, unrounded,
    loses already against itself trained on."""
    best = worst.loc[worst.loss.idxmin()]
    rounded = plain(points)
    same = rounded[(rounded.quantizer == best.quantizer) & (rounded.bits_asked == best.bits_asked)]
    line = same.loc[same.loss.idxmax()]
    whole = points[(points.task == line.task) & (points.net == line.net)
                   & (points.technique == UNTOUCHED)]
    before = whole.loss.iloc[0] if len(whole) else 0.0
    already = (f", which as trained loses {before:.2f} already against itself trained on"
               if before > 0 else "")
    return (f"**{best.quantizer} at {_bits(best.bits_asked)}** comes nearest: {_at_most(best)} on "
            f"{_tried(best.nets, nets)}, most on {line.task} {line.net}{already}")


def _read_again(points: pd.DataFrame, folds: pd.DataFrame) -> str:
    """The same choice, made without each fold and read on it; "" where there are no folds."""
    several = points[folds.notna().sum(axis=1) > 2]
    best = fewest_bits(settings(points))
    if best is None or several.empty:
        return ""
    folds = folds.loc[several.index].dropna(axis=1)
    reads, alike = {}, 0
    for fold in folds:
        choice = fewest_bits(settings(several, folds.drop(columns=fold)))
        if choice is None:
            return ""
        rounded = plain(several)
        same = rounded[(rounded.quantizer == choice.quantizer)
                       & (rounded.bits_asked == choice.bits_asked)]
        reads[fold] = folds.loc[same.index, fold].set_axis(same.task + " " + same.net)
        alike += (choice.quantizer, choice.bits_asked) == (best.quantizer, best.bits_asked)
    means = pd.DataFrame(reads).mean(axis=1)
    return (f"Chosen anew without each fold in turn, it is the same {alike} of {len(reads)} times; "
            f"read on the fold that was left out, it loses at most {means.max():z.2f} points "
            f"({means.idxmax()}).")


def _lost(chosen: pd.DataFrame, rule: str) -> str:
    """What the choices by one rule lose where they were not made, and what nets take of which
    nothing was chosen."""
    parts = [_read(chosen[chosen.chosen_on == part])
             for part in (OTHER_FOLDS, VALIDATION, SAME_TEST) if (chosen.chosen_on == part).any()]
    told = ". ".join(part[0].upper() + part[1:] for part in parts[1:])
    return f"By {BY[rule]}, {parts[0]}.{f' {told}.' * bool(told)}{_taken(chosen)}"


def _read(own: pd.DataFrame) -> str:
    """What these choices, all made on the same kind of part, lose where they were not made."""
    chosen_on = own.chosen_on.iloc[0]
    if chosen_on == SAME_TEST:
        return f"chosen and read on {SAME_TEST}, which flatters it: {_names(own)}"
    worst = own.loc[own["read"].idxmax()]
    kept = (own["read"] <= POINT).sum()
    stay = f"{kept} of {len(own)} nets stay within a point in the mean, and " * (len(own) > 1)
    most = " most," * (len(own) > 1)
    how = ("chosen without a fold and read on it" if chosen_on == OTHER_FOLDS else
           "chosen among what was scored on the validation part, and read on the test part")
    return (f"{how}, {stay}{worst.task} {worst.net} loses{most} "
            f"{worst['read']:z.2f} [{worst.read_low:z.2f}, {worst.read_high:z.2f}]")


def _taken(chosen: pd.DataFrame) -> str:
    """What is offered of nets of one split, which have no scores of a part to choose by."""
    told = ""
    for technique, lines in chosen[chosen.chosen_on == OTHER_NETS].groupby("technique", sort=False):
        told += (f" {_names(lines)}, of one split: what keeps the others within a point, "
                 f"{technique}, loses at most {lines['read'].max():z.2f}.")
    left = chosen[chosen.chosen_on == NOTHING]
    if len(left):
        told += (f" {_names(left)}, of one split: nothing is offered, as no rounding that keeps "
                 "the others within a point was tried there.")
    return told


def _times(ratio: float) -> str:
    return f"{ratio:.0f}×" if ratio >= 10 else f"{ratio:.2g}×"


def _at_most(line: pd.Series) -> str:
    return f"at most {line.loss:z.2f} points (intervals up to {line.high:z.2f})"


def _names(lines: pd.DataFrame) -> str:
    return ", ".join(f"{line.task} {line.net}" for line in lines.itertuples())


def _bits(bits: float) -> str:
    return f"{bits:.0f} bits" if bits == round(bits) else f"{2 ** bits:.0f} levels"


def _tried(tried: int, nets: int) -> str:
    if nets == 1:
        return "the one net"
    return f"all {nets} nets" if tried == nets else f"the {tried} of {nets} nets it was tried on"
