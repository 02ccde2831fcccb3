"""Conclusions: what Edge concluded from its tables, judged by rows of its nets."""

import numpy as np
import pandas as pd

from lib.base.metric import METRICS
from lib.base.pairs import parsed
from lib.tables.cells import CAUSES, COLLAPSED, REPEATS, UNTESTED, Weights, learned, pattern
from lib.tables.intervals import t_interval

ENOUGH = 1.0                    # of a metric's tolerance, that "enough" may lose
BEST = "edge_stochastic_uniform"
ROUNDINGS = ("nearest", "stochastic")
SETS = ("uniform", "histogram", "normal")
RANKED = ("edge_mid_rise", *(f"edge_{r}_{s}" for r in ROUNDINGS for s in SETS))
FAMILIES = (("6 bits are enough for dense nets", 6, ("mlp_simple", "mlp_complex")),
            ("12 bits are enough for a simple CNN", 12, ("cnn_edge",)),
            ("8 bits are enough for a complex CNN", 8, ("resnet9",)))


def lines(own: Weights, retrained: Weights, cells: pd.DataFrame) -> list[dict]:
    """Lines of the table that `claims.judge` gives: each conclusion on both kinds of weights."""
    claims = [(f"{BEST} is the best quantizer overall: its mean rank", 1, _best, ()),
              ("the prior normal set is inefficient: ranks behind uniform", np.nan, _normal, ())]
    claims += [(claim, bits, _enough, (bits, models)) for claim, bits, models in FAMILIES]
    dense = cells[cells.points.isna()]
    wanted = set(dense.task + "/" + dense.model)
    found = []
    for claim, published, judge, told in claims:
        kept = {"kind": "conclusion", "task": "", "claim": claim, "published": published,
                "cause": "", "own_others": np.nan, "others": np.nan}
        for start, on, nets in (("own_", own, {net for net in wanted if "/mlp_" in net}),
                                ("", retrained, wanted)):
            verdict, used, *numbers = judge(on, nets, cells, *told)
            names = ("verdict", "rows", "ours", "low", "high")
            for name, value in zip(names, (verdict, used, *numbers), strict=True):
                kept[start + name] = value
        found.append(kept)
    return found


def _untested(repeats: str = "", count: int = 0) -> tuple:
    verdict = f"not testable here: {repeats}: {count}, needed: {REPEATS}" if count else UNTESTED
    return verdict, 0, np.nan, np.nan, np.nan


def _holds(yes: bool, on: Weights, nets: set[str], wanted: set[str]) -> str:
    """The verdict; where some of the nets that Edge concluded from have no row, it says so."""
    if wanted <= nets:
        return on.verdict(yes)
    holds = "holds" if yes else "does not hold"
    return f"stand-in: {len(nets & wanted)} of Edge's {len(wanted)} nets, {holds}"


def _several(on: Weights) -> pd.DataFrame:
    """Rows that a ranking may rest on: of nets of several seeds; on Edge's weights all of them,
    the draws of one quantizer counting as one."""
    if on.repeats == "draws":
        return on.rows.assign(repeat=0)
    return on.rows[on.rows.groupby("net").repeat.transform("nunique") >= REPEATS]


def _ranks(rows: pd.DataFrame) -> pd.DataFrame:
    """(nets, quantizers): mean rank among them, 1 the best, over bits and repeats."""
    score = rows.groupby(["net", "bits", "repeat", "quantizer"]).score.mean().unstack().dropna()
    return score.rank(axis=1, ascending=False).groupby("net").mean()


def _best(on: Weights, wanted: set[str], cells: pd.DataFrame) -> tuple:
    """Is BEST the best of Edge's quantizers? Ours: its mean rank, over nets."""
    rows = _several(on)
    rows = rows[rows.quantizer.isin(RANKED)]
    if BEST not in set(rows.quantizer):
        return _untested()
    ranks = _ranks(rows)
    verdict = _holds(ranks.mean().idxmin() == BEST, on, set(ranks.index), wanted)
    return verdict, len(rows), *t_interval(ranks[BEST])


def _normal(on: Weights, wanted: set[str], cells: pd.DataFrame) -> tuple:
    """Is the normal set behind the uniform one? Ours: by how many ranks, as Edge ran them. An
    artefact if it is as Edge left it, and not if it is sorted and nothing else is changed."""
    rows = _several(on)
    mended = rows[rows.quantizer.isin([f"edge_sorted_{r}_normal" for r in ROUNDINGS])]
    if len(mended):
        rows = rows[rows.bits.isin(mended.bits)]            # both by the same numbers of bits
    left = _behind(rows, [f"edge_{r}_normal" for r in ROUNDINGS])
    if left is None:
        return _untested()
    behind, nets, used = left
    verdict = _holds(behind[1] > 0, on, nets, wanted)
    again = _behind(rows, [f"edge_sorted_{r}_normal" for r in ROUNDINGS])
    if again is not None and behind[1] > 0 >= again[0][1]:
        verdict = f"artefact: {CAUSES['sorted']}; sorted {again[0][0]:.2g} ranks behind"
    return verdict, used, *behind


def _behind(rows: pd.DataFrame, normal: list[str]) -> tuple | None:
    """Ranks of the normal sets behind the uniform ones with interval over nets, which nets, and
    how many rows; None where a quantizer has no rows."""
    uniform = [f"edge_{r}_uniform" for r in ROUNDINGS]
    part = rows[rows.quantizer.isin([*uniform, *normal])]
    if part.quantizer.nunique() < len(uniform) + len(normal):
        return None
    ranks = _ranks(part)
    behind = ranks[normal].mean(axis=1) - ranks[uniform].mean(axis=1)
    return t_interval(behind), set(ranks.index), len(part)


def _enough(on: Weights, wanted: set[str], cells: pd.DataFrame, published: int,
            models: tuple[str, ...]) -> tuple:
    """Are so many bits enough? Ours: the least from which on BEST loses at most ENOUGH on every
    net of the family."""
    wanted = {net for net in wanted if parsed(net)[1] in models}
    rows = on.rows[on.rows.net.isin(wanted)]
    tolerance = rows.metric.map(lambda name: METRICS[name].tolerance).astype(float)
    rows = rows.assign(points=rows.score / tolerance)
    base = rows[rows.quantizer == ""]
    best = rows[(rows.quantizer == BEST) & rows.net.isin(base.net)]
    there = best[best.bits == published]
    if _collapses(there, base, cells):                      # one seed tells that
        return pattern(False, there), len(there), np.nan, np.nan, np.nan
    repeats = best.groupby("net").repeat.nunique().min() if len(best) else 0
    if not repeats >= REPEATS:
        return _untested(on.repeats, int(repeats))
    kept = best.groupby(["bits", "net", "repeat"]).points.mean().unstack("bits")
    index = ["net"] if on.repeats == "draws" else ["net", "repeat"]
    whole = base.groupby(index).points.mean()
    if on.repeats == "draws":                               # one net, whatever is drawn
        whole = pd.Series(whole.loc[kept.index.get_level_values("net")].to_numpy(), kept.index)
    ours, low, high = _least_bits(kept.rsub(whole, axis=0))
    verdict = _holds(ours <= published, on, set(best.net), wanted)
    return verdict, kept.size, ours, low, high


def _collapses(there: pd.DataFrame, base: pd.DataFrame, cells: pd.DataFrame) -> bool:
    """Does BEST leave some net less than COLLAPSED of what it had learned?"""
    for net, part in there.groupby("net"):
        cell = cells[cells.task + "/" + cells.model == net].iloc[0]
        value = "mse" if cell.metric == "mse" else "score"
        whole = base[base.net == net][value].mean()
        left = learned(part[value].mean(), cell.metric, cell.chance)
        if left < COLLAPSED * learned(whole, cell.metric, cell.chance):
            return True
    return False


def _least_bits(loss: pd.DataFrame) -> tuple[float, float, float]:
    """The least bits from which on no net loses more than ENOUGH, by the mean, the lower and the
    upper end of its interval over repeats; loss: (net and repeat, bits). NaN: none was enough."""
    falling = sorted(loss, reverse=True)
    worst = np.array([np.max([t_interval(part) for _, part in loss[bits].groupby("net")], axis=0)
                      for bits in falling])                            # (bits, mean low high)
    good = np.minimum.accumulate(worst <= ENOUGH)
    return tuple(min(np.array(falling)[enough], default=np.nan) for enough in good.T)
