"""Claims: what a study said, which rows test it, and the verdict, computed and never typed.

A verdict starts with one of: reproduced, not reproduced, artefact, tested on a stand-in, not
testable here. Rows that test Edge's claims are of its own nets: setting "… recipe=edge".
"""

import numpy as np
import pandas as pd

from lib import tables

SEEDS = 5                       # fewer say nothing about the next training
WIDE = {"mse": np.log(10), "accuracy": 30.0}    # a wider interval says nothing: a decade, points
ENOUGH = 1.0                    # points of accuracy, or hundredths of R², that "enough" may lose
BEST = "edge_stochastic_uniform"
SHARED = "biases are rounded too, in one range with the weights"
CAUSES = {                      # of an artefact: what Edge's code does and the repaired twin not
    "mid_rise": "tensors of one output are hardly rounded, others never clamped",
    "normal": f"the set is left unsorted; {SHARED}", "uniform": SHARED, "histogram": SHARED,
    "multipoint": "coefficients are drawn at random, for a set that ends at the largest weight"}
FAMILIES = (("6 bits are enough for dense nets", 6, ("mlp_simple", "mlp_complex")),
            ("12 bits are enough for a simple CNN", 12, ("cnn_edge",)),
            ("8 bits are enough for a complex CNN", 8, ("resnet9",)))


def judge(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The table of claims about post-training quantization: Edge's conclusions, then its cells.

    rows: as `tables.table` gives them; cells: data/published/edge_ptq.csv. Columns: study, claim,
    published, ours, low, high, verdict, rows (how many tested it).
    """
    own = rows[(rows.split == "test") & rows.setting.str.endswith(" recipe=edge")]
    own = own.assign(model=own.model.str.split().str[0],
                     size=own.model.str.replace(r"^\S+ ?", "", regex=True))
    own = own.assign(net=own.task + "/" + own.model, quantizer=own.setting.str.split().str[0],
                     bits=own.setting.str.extract(r" b=(\d+)", expand=False).astype(float),
                     mse=own.score2.where(own.metric == "r2") ** 2)
    wanted = set(cells.task + "/" + cells.model)
    several = own[own.groupby("net").seed.transform("nunique") >= SEEDS]
    lines = [_best(several, wanted), _normal(several, wanted),
             *(_enough(own, wanted, *family) for family in FAMILIES),
             *(_cell(own, cell) for cell in cells.itertuples())]
    return pd.DataFrame([{"study": "Edge", **line} for line in lines])


def _line(claim, published, verdict, rows=0, ours=None, low=None, high=None) -> dict:
    return {"claim": claim, "published": published, "ours": ours, "low": low, "high": high,
            "verdict": verdict, "rows": rows}


def _untested(seeds: int = 0) -> str:
    return "not testable here: " + (f"seeds: {seeds}, needed: {SEEDS}" if seeds else
                                    "this study has no row of it")


def _holds(yes: bool, own: pd.DataFrame, wanted: set) -> str:
    """The verdict; where some of the nets that Edge concluded from have no row, it says so."""
    if wanted <= set(own.net):
        return "reproduced" if yes else "not reproduced"
    return (f"tested on a stand-in: {own.net.nunique()} of Edge's {len(wanted)} nets, on which it "
            + ("holds" if yes else "does not hold"))


def _pattern(alike: bool, own: pd.DataFrame) -> str:
    """The verdict of few seeds: whether the net collapses as Edge's did; on which net, where it is
    not quite Edge's."""
    size = own["size"].iloc[0]
    return (f"tested on a stand-in: {size}, " if size else "") + ("" if alike else "not ") + (
        f"reproduced: whether it collapses (seeds: {own.seed.nunique()})")


def _ranks(own: pd.DataFrame) -> pd.DataFrame:
    """(nets, quantizers): mean rank among them, 1 the best, over bits and seeds."""
    score = own.groupby(["net", "bits", "seed", "quantizer"]).score.mean().unstack()
    return score.rank(axis=1, ascending=False).groupby("net").mean()


def _best(own: pd.DataFrame, wanted: set) -> dict:
    claim = f"{BEST} is the best quantizer overall: its mean rank"
    own = own[own.quantizer.str.fullmatch("edge_(mid_rise|.*_(uniform|histogram|normal))")]
    if BEST not in set(own.quantizer):
        return _line(claim, 1, _untested())
    ranks = _ranks(own)
    verdict = _holds(ranks.mean().idxmin() == BEST, own, wanted)
    return _line(claim, 1, verdict, len(own), *tables.t_interval(ranks[BEST]))


def _normal(own: pd.DataFrame, wanted: set) -> dict:
    claim, behind, used = "the prior normal set is inefficient: ranks behind uniform", [], 0
    for kind in ("edge_", ""):
        part = own[own.quantizer.str.fullmatch(f"{kind}(nearest|stochastic)_(uniform|normal)")]
        if part.quantizer.nunique() < 4:
            return _line(claim, None, _untested())
        ranks, used = _ranks(part), used + len(part)
        behind.append(tables.t_interval(ranks.filter(like="normal").mean(axis=1)
                                         - ranks.filter(like="uniform").mean(axis=1)))
    verdict = _holds(behind[0][1] > 0, part, wanted)
    if behind[0][1] > 0 >= behind[1][1]:        # as Edge ran it, but not once repaired
        verdict = f"artefact: {CAUSES['normal']}"
    return _line(claim, None, verdict, used, *behind[0])


def _enough(own: pd.DataFrame, wanted: set, claim: str, published: int, models: tuple) -> dict:
    """Ours: the least bits from which on BEST loses at most ENOUGH on every net of the family."""
    own = own[own.model.isin(models)]
    own = own.assign(points=own.score * np.where(own.metric == "r2", 100, 1))
    seeds = own.seed.nunique()
    base = own[own.quantizer == "baseline"].groupby(["net", "seed"]).points.mean()
    there = own[(own.quantizer == BEST) & (own.bits == published)]
    if (there.groupby("net").points.mean() / base.groupby("net").mean()).min() < 0.5:
        return _line(claim, published, _pattern(False, there), len(there))    # one seed tells that
    if seeds < SEEDS or BEST not in set(own.quantizer):
        return _line(claim, published, _untested(seeds))
    kept = own[own.quantizer == BEST].groupby(["bits", "net", "seed"]).points.mean()
    loss = kept.unstack("bits").rsub(base, axis=0)                       # (net, seed) × bits
    worst = np.array([np.max([tables.t_interval(part) for _, part in loss[b].groupby("net")], 0)
                      for b in sorted(loss, reverse=True)])              # (bits, mean low high)
    good = np.minimum.accumulate(worst <= ENOUGH)
    ours, low, high = (min(np.array(sorted(loss, reverse=True))[ok], default=np.nan)
                       for ok in good.T)                                 # nan: none was enough
    wanted = {net for net in wanted if net.split("/")[1] in models}
    return _line(claim, published, _holds(ours <= published, own, wanted), kept.size, ours, low,
                 high)


def _cell(own: pd.DataFrame, cell) -> dict:
    claim = f"{cell.task}/{cell.model}, {cell.quantizer} at {cell.bits} bits: {cell.metric}"
    more = cell.quantizer == "edge_multipoint" and cell.points != cell.bits + 1
    net = own[(own.net == f"{cell.task}/{cell.model}") & ~more]
    mine, twin, base = (
        net[(net.quantizer == q) & (net.bits.isna() | (net.bits == cell.bits))].groupby("seed")[
            "mse" if cell.metric == "mse" else "score"].first().to_numpy()
        for q in (cell.quantizer, cell.quantizer.removeprefix("edge_"), "baseline"))
    claim += f", {cell.points} points" * more
    if not len(mine):
        return _line(claim, cell.score, _untested())
    if len(mine) < SEEDS:                                   # only whether it collapsed
        alike = (mine.mean() < base.mean() / 2) == (cell.score < cell.float_score / 2)
        return _line(claim, cell.score, _pattern(alike, net), len(mine), mine.mean())
    there, back = (np.log, np.exp) if cell.metric == "mse" else (np.array, np.array)
    low, high = back(tables.prediction(there(mine)))       # errors span decades: by logarithms
    high = high if cell.metric == "mse" else min(high, 100.0)
    verdict = "reproduced" if low <= cell.score <= high else "not reproduced"
    if verdict == "reproduced" and len(twin) and not low <= back(there(twin).mean()) <= high:
        cause = next(c for kind, c in CAUSES.items() if kind in cell.quantizer)
        verdict = f"artefact: {cause}; repaired {back(there(twin).mean()):.4g}"
    if verdict == "reproduced" and there(high) - there(low) > WIDE[cell.metric]:
        verdict = "not testable here: seeds spread too widely to tell"
    return _line(claim, cell.score, verdict, len(mine), back(there(mine).mean()), low, high)
