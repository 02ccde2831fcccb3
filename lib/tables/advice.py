"""The answer in sentences, from losses in points: what to do, and where doing less would do."""

import pandas as pd

from lib.tables.losses import DENSE, UNTOUCHED

POINT = 1.0             # a net that loses no more counts as kept


def advice(points: pd.DataFrame) -> list[str]:
    """One sentence of advice with its numbers, then what weakens it.

    points: `in_points(answers(offered(losses(...))))`. Quantizers are judged by the worst of their mean
    losses over all nets, and only where every net has them.
    """
    nets = points.groupby(["task", "net"]).ngroups
    worst = _worst(points, nets)
    sentences = []
    kept = worst[worst.loss <= POINT]
    if len(kept):
        fewest = kept[kept.bits_asked == kept.bits_asked.min()]
        best = fewest.loc[fewest.loss.idxmin()]
        told = f"**Round to {_bits(best.bits_asked)} with {best.quantizer}**: that loses at most " \
               f"{best.loss:z.2f} points on {_all(nets)} (the intervals reach up to " \
               f"{best.high:z.2f})"
        below = worst[worst.bits_asked < best.bits_asked]
        if len(below):
            next_best = below.loc[below.loss.idxmin()]
            told += (f"; with fewer bits the best is {next_best.quantizer} at "
                     f"{_bits(next_best.bits_asked)}, which loses up to {next_best.loss:.2f}")
        sentences.append(f"{told}.")
    elif nets:
        sentences.append(f"No quantizer that was tried on {_all(nets)} keeps all of them within a "
                         "point.")
    return sentences + _among_all(points, nets)


def _worst(points: pd.DataFrame, nets: int) -> pd.DataFrame:
    """The largest mean loss of each plain quantizer and number of bits that all nets have."""
    plain = points[points.bits_asked.notna() & points.a_bits.isna() & (points.repairs == "")
                   & (points.pruner == "") & (points.budget == "")]
    lines = []
    for (quantizer, bits), part in plain.groupby(["quantizer", "bits_asked"]):
        everywhere = part.groupby(["task", "net"]).ngroups == nets
        if everywhere:
            lines.append({"quantizer": quantizer, "bits_asked": bits, "loss": part.loss.max(),
                          "high": part.high.max()})
    return pd.DataFrame(lines, columns=["quantizer", "bits_asked", "loss", "high"])


def _among_all(points: pd.DataFrame, nets: int) -> list[str]:
    """What the smallest candidate of each net is, by its mean and by its interval."""
    if not nets:
        return []
    smallest = points[points.by_mean]
    dense = smallest[smallest.technique == DENSE]
    same = smallest[smallest.technique == UNTOUCHED]
    rounded = len(smallest) - len(dense) - len(same)
    told = ["Of all that was tried, the smallest net within a point of the one trained is a "
            f"rounded one on {rounded} of {nets}"]
    if len(dense):
        told.append(f"a smaller net trained from scratch on {len(dense)} ({_names(dense)})")
    if len(same):
        told.append(f"and nothing smaller does on {len(same)} ({_names(same)})")
    certain = points[points.by_interval]
    return [", ".join(told) + ".",
            f"By the upper end of its 95 % interval, not by its mean alone, some smaller net stays "
            f"within a point on {(certain.technique != UNTOUCHED).sum()} of {nets}."]


def _names(lines: pd.DataFrame) -> str:
    return ", ".join(f"{line.task} {line.net}" for line in lines.itertuples())


def _bits(bits: float) -> str:
    return f"{bits:.0f} bits" if bits == round(bits) else f"{2 ** bits:.0f} levels"


def _all(nets: int) -> str:
    return f"all {nets} nets" if nets > 1 else "the one net"
