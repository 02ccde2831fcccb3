"""The answer in sentences, from losses in points: what to do, and where doing less would do."""

import pandas as pd

from lib.tables.losses import DENSE, UNTOUCHED

POINT = 1.0             # a net that loses no more counts as kept
TRIED = 0.8             # of all nets must have been rounded so before it is advised


def advice(points: pd.DataFrame) -> list[str]:
    """What to do, in a sentence with its numbers; then what other candidates do.

    points: `in_points(answers(offered(losses(...))))`. A quantizer at some bits is judged by the
    worst of its mean losses over the nets on which it was tried, and by the furthest end of their
    intervals.
    """
    nets = points.groupby(["task", "net"]).ngroups
    if not nets:
        return []
    worst = _worst(points, nets)
    return [_to_do(worst, nets), *_among_all(points, nets)]


def _worst(points: pd.DataFrame, nets: int) -> pd.DataFrame:
    """One line a plain quantizer and number of bits: loss and high at worst, nets (how many)."""
    plain = points[points.bits_asked.notna() & points.a_bits.isna() & (points.repairs == "")
                   & (points.pruner == "") & (points.budget == "")]
    lines = []
    for (quantizer, bits), part in plain.groupby(["quantizer", "bits_asked"]):
        tried = part.groupby(["task", "net"]).ngroups
        if tried >= TRIED * nets:
            lines.append({"quantizer": quantizer, "bits_asked": bits, "loss": part.loss.max(),
                          "high": part.high.max(), "nets": tried})
    return pd.DataFrame(lines, columns=["quantizer", "bits_asked", "loss", "high", "nets"])


def _to_do(worst: pd.DataFrame, nets: int) -> str:
    """The fewest bits that keep every net within a point, by the intervals, else by the means."""
    kept = worst[worst.high <= POINT]
    if kept.empty:
        kept = worst[worst.loss <= POINT]
    if kept.empty:
        return f"No quantizer that was tried keeps every one of {nets} nets within a point."
    best = kept.sort_values(["bits_asked", "loss"]).iloc[0]
    told = f"**{best.quantizer} at {_bits(best.bits_asked)}** loses {_at_most(best)} on " \
           f"{_tried(best.nets, nets)}"
    below = worst[worst.bits_asked < best.bits_asked]
    for _, part in list(below.groupby("bits_asked"))[::-1]:
        line = part.loc[part.loss.idxmin()]
        told += f"; the best at {_bits(line.bits_asked)} is {line.quantizer}, {_at_most(line)}"
    return f"{told}."


def _among_all(points: pd.DataFrame, nets: int) -> list[str]:
    """What the smallest candidate of each net is, by its mean and by its interval."""
    smallest = points[points.by_mean]
    dense = smallest[smallest.technique == DENSE]
    same = smallest[smallest.technique == UNTOUCHED]
    rounded = len(smallest) - len(dense) - len(same)
    told = [f"Of all that was tried, the smallest net within a point of the one trained is a "
            f"rounded one on {rounded} of {nets} nets"]
    if len(dense):
        told.append(f"a smaller net trained from scratch on {len(dense)} ({_names(dense)})")
    if len(same):
        told.append(f"and nothing smaller does on {len(same)} ({_names(same)})")
    certain = points[points.by_interval & (points.technique != UNTOUCHED)]
    return [", ".join(told) + ".",
            f"By the upper end of its 95 % interval, not by its mean alone, some smaller net stays "
            f"within a point on {len(certain)} of {nets}."]


def _at_most(line: pd.Series) -> str:
    return f"at most {line.loss:z.2f} points (intervals up to {line.high:z.2f})"


def _names(lines: pd.DataFrame) -> str:
    return ", ".join(f"{line.task} {line.net}" for line in lines.itertuples())


def _bits(bits: float) -> str:
    return f"{bits:.0f} bits" if bits == round(bits) else f"{2 ** bits:.0f} levels"


def _tried(tried: int, nets: int) -> str:
    return f"all {nets} nets" if tried == nets else f"the {tried} of {nets} nets it was tried on"
