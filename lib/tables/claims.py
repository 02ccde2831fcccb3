"""Claims: what a study said, which rows test it, and the verdict, computed and never typed.

A verdict starts with one of: reproduced, not reproduced, artefact, tested on a stand-in, not
testable here. Rows that test Edge's claims are of its own nets: recipe edge.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from lib.base.metric import METRICS
from lib.tables.intervals import prediction, t_interval
from lib.tables.rows import setting_of

SEEDS = 5                       # fewer say nothing about the next training
WIDE = {"mse": np.log(10), "accuracy": 30.0}    # a wider interval says nothing: a decade, points
ENOUGH = 1.0                    # of a metric's tolerance, that "enough" may lose
COLLAPSED = 0.5                 # of the score as trained: what less of it is left
BEST = "edge_stochastic_uniform"
ROUNDINGS = ("nearest", "stochastic")
SETS = ("uniform", "histogram", "normal")
RANKED = ("edge_mid_rise", *(f"edge_{r}_{s}" for r in ROUNDINGS for s in SETS))
SHARED = "biases are rounded too, in one range with the weights"
UNSORTED = f"the set is left unsorted; {SHARED}"
CAUSES = {                      # of an artefact: what Edge's code does and the repaired twin not
    "edge_mid_rise": "tensors of one output are hardly rounded, others never clamped",
    "edge_multipoint":
        "coefficients are drawn at random, for a set that ends at the largest weight",
    **{f"edge_{r}_{s}": UNSORTED if s == "normal" else SHARED for r in ROUNDINGS for s in SETS}}
FAMILIES = (("6 bits are enough for dense nets", 6, ("mlp_simple", "mlp_complex")),
            ("12 bits are enough for a simple CNN", 12, ("cnn_edge",)),
            ("8 bits are enough for a complex CNN", 8, ("resnet9",)))


def judge(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The table of claims about post-training quantization: Edge's conclusions, then its cells.

    rows: as `tables.load` gives them; cells: data/published/edge_ptq.csv. Columns: study, kind
    (conclusion or cell), task (of a cell), claim, published, ours, low, high, verdict, rows (how
    many tested it).
    """
    own = rows[(rows.split == "test") & (rows.recipe == "edge") & _as_edge_rounded(rows)]
    own = own.assign(net=own.task + "/" + own.model, mse=own.score2.where(own.metric2 == "rmse")**2)
    wanted = set(cells.task + "/" + cells.model)
    several = own[own.groupby("net").seed.transform("nunique") >= SEEDS]
    lines = [_best(several, wanted), _normal(several, wanted),
             *(_enough(own, wanted, *family) for family in FAMILIES),
             *(_cell(own, cell) for cell in cells.itertuples())]
    tasks = ["", *[""] * (1 + len(FAMILIES)), *cells.task]
    told = [{"study": "Edge", "kind": "cell" if task else "conclusion", "task": task, **line}
            for task, line in zip(tasks, lines, strict=True)]
    table = pd.DataFrame(told)
    return table.astype(dict.fromkeys(("published", "ours", "low", "high"), float))


def by_verdict(judged: pd.DataFrame) -> pd.DataFrame:
    """How many claims got which kind of verdict: a line for the conclusions and for each task of
    the cells, a column a verdict, with all of them last."""
    about = judged.task.replace("", "conclusions").rename("Edge on")
    verdicts = pd.Series([verdict.partition(":")[0] for verdict in judged.verdict],
                         index=judged.index, name="verdict")
    counts = pd.crosstab(about, verdicts, margins=True, margins_name="all")
    return counts.reset_index().rename_axis(columns=None)


def _as_edge_rounded(rows: pd.DataFrame) -> pd.Series:
    """Rows of nets as trained, and of nets of which only the weights are rounded, with one range a
    tensor as Edge has it: nothing pruned, repaired or done to activations."""
    return (rows.granularity.isin(["", "tensor"]) & (rows.pruner == "") & (rows.repairs == "")
            & rows.a_bits.isna())


def _line(claim: str, published: float | None, verdict: str, rows: int = 0,
          ours: float | None = None, low: float | None = None, high: float | None = None) -> dict:
    return {"claim": claim, "published": published, "ours": ours, "low": low, "high": high,
            "verdict": verdict, "rows": rows}


def _untested(seeds: int = 0) -> str:
    return "not testable here: " + (f"seeds: {seeds}, needed: {SEEDS}" if seeds else
                                    "this study has no row of it")


def _holds(yes: bool, own: pd.DataFrame, wanted: set[str]) -> str:
    """The verdict; where some of the nets that Edge concluded from have no row, it says so."""
    if wanted <= set(own.net):
        return "reproduced" if yes else "not reproduced"
    return (f"tested on a stand-in: {own.net.nunique()} of Edge's {len(wanted)} nets, on which it "
            + ("holds" if yes else "does not hold"))


def _pattern(alike: bool, own: pd.DataFrame) -> str:
    """The verdict of few seeds: whether the net collapses as Edge's did; on which net, where what
    stands for it was built or trained otherwise."""
    changed = replace(setting_of(own.iloc[0]).net, recipe="")
    stand_in = f"tested on a stand-in: {changed}, " if changed.asked else ""
    seeds = own.seed.nunique()
    return stand_in + ("" if alike else "not ") + (
        f"reproduced: whether it collapses (seeds: {seeds})")


def _ranks(own: pd.DataFrame) -> pd.DataFrame:
    """(nets, quantizers): mean rank among them, 1 the best, over bits and seeds."""
    score = own.groupby(["net", "bits", "seed", "quantizer"]).score.mean().unstack()
    return score.rank(axis=1, ascending=False).groupby("net").mean()


def _best(own: pd.DataFrame, wanted: set[str]) -> dict:
    """Is BEST the best of Edge's quantizers? Ours: its mean rank."""
    claim = f"{BEST} is the best quantizer overall: its mean rank"
    own = own[own.quantizer.isin(RANKED)]
    if BEST not in set(own.quantizer):
        return _line(claim, 1, _untested())
    ranks = _ranks(own)
    verdict = _holds(ranks.mean().idxmin() == BEST, own, wanted)
    return _line(claim, 1, verdict, len(own), *t_interval(ranks[BEST]))


def _normal(own: pd.DataFrame, wanted: set[str]) -> dict:
    """Is the normal set behind the uniform one? Ours: by how many ranks, as Edge ran them."""
    claim, behind, used = "the prior normal set is inefficient: ranks behind uniform", [], 0
    for kind in ("edge_", ""):
        names = {s: [f"{kind}{r}_{s}" for r in ROUNDINGS] for s in ("uniform", "normal")}
        part = own[own.quantizer.isin([*names["uniform"], *names["normal"]])]
        if part.quantizer.nunique() < 4:
            return _line(claim, None, _untested())
        ranks, used = _ranks(part), used + len(part)
        behind.append(t_interval(ranks[names["normal"]].mean(axis=1)
                                 - ranks[names["uniform"]].mean(axis=1)))
    verdict = _holds(behind[0][1] > 0, part, wanted)
    if behind[0][1] > 0 >= behind[1][1]:        # as Edge ran it, but not once repaired
        verdict = f"artefact: {UNSORTED}"
    return _line(claim, None, verdict, used, *behind[0])


def _enough(own: pd.DataFrame, wanted: set[str], claim: str, published: int,
            models: tuple[str, ...]) -> dict:
    """Are so many bits enough? Ours: the least from which on BEST loses at most ENOUGH on every
    net of the family."""
    own = own[own.model.isin(models)]
    tolerance = own.metric.map(lambda name: METRICS[name].tolerance).astype(float)
    own = own.assign(points=own.score / tolerance)
    seeds, best = own.seed.nunique(), own[own.quantizer == BEST]
    base = own[own.quantizer == ""].groupby(["net", "seed"]).points.mean()
    there = best[best.bits == published]
    left = there.groupby("net").points.mean() / base.groupby("net").mean()
    if left.min() < COLLAPSED:                              # one seed tells that
        return _line(claim, published, _pattern(False, there), len(there))
    if seeds < SEEDS or best.empty:
        return _line(claim, published, _untested(seeds))
    kept = best.groupby(["bits", "net", "seed"]).points.mean()
    ours, low, high = _least_bits(kept.unstack("bits").rsub(base, axis=0))
    wanted = {net for net in wanted if net.rpartition("/")[2] in models}
    verdict = _holds(ours <= published, own, wanted)
    return _line(claim, published, verdict, kept.size, ours, low, high)


def _least_bits(loss: pd.DataFrame) -> tuple[float, float, float]:
    """The least bits from which on no net loses more than ENOUGH, by the mean, the lower and the
    upper end of its interval over seeds; loss: (net and seed, bits). NaN: none was enough."""
    falling = sorted(loss, reverse=True)
    worst = np.array([np.max([t_interval(part) for _, part in loss[bits].groupby("net")], axis=0)
                      for bits in falling])                            # (bits, mean low high)
    good = np.minimum.accumulate(worst <= ENOUGH)
    return tuple(min(np.array(falling)[enough], default=np.nan) for enough in good.T)


def _cell(own: pd.DataFrame, cell) -> dict:
    """Is a number of Edge's table where one more seed of ours would lie?"""
    claim = f"{cell.task}/{cell.model}, {cell.quantizer} at {cell.bits} bits: {cell.metric}"
    more = cell.quantizer == "edge_multipoint" and cell.points != cell.bits + 1
    net = own[(own.net == f"{cell.task}/{cell.model}") & ~more]
    claim += f", {cell.points} points" * more
    mine, twin, base = (_by_seed(net, quantizer, cell) for quantizer in (
        cell.quantizer, cell.quantizer.removeprefix("edge_"), ""))
    if not len(mine):
        return _line(claim, cell.score, _untested())
    if len(mine) < SEEDS:                                   # only whether it collapsed
        published = cell.score < COLLAPSED * cell.float_score
        alike = (mine.mean() < COLLAPSED * base.mean()) == published
        return _line(claim, cell.score, _pattern(alike, net), len(mine), mine.mean())
    there, back = (np.log, np.exp) if cell.metric == "mse" else (np.array, np.array)
    low, high = back(prediction(there(mine)))               # errors span decades: by logarithms
    high = high if cell.metric == "mse" else min(high, METRICS[cell.metric].best)
    verdict = "reproduced" if low <= cell.score <= high else "not reproduced"
    if verdict == "reproduced" and len(twin) and not low <= back(there(twin).mean()) <= high:
        cause = CAUSES[cell.quantizer]
        verdict = f"artefact: {cause}; repaired {back(there(twin).mean()):.4g}"
    if verdict == "reproduced" and there(high) - there(low) > WIDE[cell.metric]:
        verdict = "not testable here: seeds spread too widely to tell"
    return _line(claim, cell.score, verdict, len(mine), back(there(mine).mean()), low, high)


def _by_seed(net: pd.DataFrame, quantizer: str, cell) -> np.ndarray:
    """What a quantizer at the cell's bits ("" as trained) makes of the net, a number a seed."""
    rows = net[(net.quantizer == quantizer) & (net.bits.isna() | (net.bits == cell.bits))]
    return rows.groupby("seed")["mse" if cell.metric == "mse" else "score"].first().to_numpy()
