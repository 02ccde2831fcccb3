"""Cells: a number of Edge's tables against rows of the same net, on Edge's weights and retrained.

A number that lies in an interval says something only if others would not: the interval may take a
fifth of what the net has learned, and beside the verdict stands which share of Edge's *other*
numbers of this net lie in it as well.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lib.base.metric import METRICS
from lib.tables.intervals import prediction
from lib.tables.rows import setting_of

REPEATS = 5             # seeds, or draws: fewer say nothing about the next one
WIDEST = 0.2            # of the net's span above chance: a wider interval says nothing
MOST_OTHERS = 0.5       # of Edge's other numbers of the net, that may lie in the interval as well
COLLAPSED = 0.5         # of the span above chance: what less of it is left
DIGIT = 0.005001        # points: half of the last printed digit of an accuracy
NEAR = 1.01             # factor of a squared error: Edge prints the mean of its batches' means
CAUSES = {              # what edge_switched.py switches off, one at a time: what Edge's code does
    "sorted": "the set is left unsorted",
    "own": "weight and bias share one range",
    "zero": "no level is 0",
    "clamped": "mid-rise keeps a level too many",
    "whole": "a layer of one output is hardly rounded"}
UNTESTED = "not testable here: this study has no row of it"


@dataclass(frozen=True)
class Weights:
    """Rows of Edge's nets on one kind of weights, and how a verdict on them is worded.

    rows: with columns net and repeat (a seed, or a draw) and mse; by: (net, quantizer, bits) ->
    those rows; bits is 0 for a net as trained.
    """

    rows: pd.DataFrame
    by: dict[tuple, pd.DataFrame]
    repeats: str
    yes: str
    no: str

    def values(self, net: str, quantizer: str, bits: float, metric: str) -> np.ndarray:
        """One number a repeat, in the unit of Edge's table; empty where there is no row."""
        part = self.by.get((net, quantizer, float(bits)))
        if part is None:
            return np.empty(0)
        return part.groupby("repeat")["mse" if metric == "mse" else "score"].first().to_numpy()

    def verdict(self, yes: bool) -> str:
        return self.yes if yes else self.no


def weights(rows: pd.DataFrame, repeats: str, yes: str, no: str) -> Weights:
    """Weights of rows that have net, repeat and mse."""
    keyed = rows.assign(bits=rows.bits.fillna(0.0))
    parts = keyed.groupby(["net", "quantizer", "bits"])
    return Weights(rows, dict(iter(parts)), repeats, yes, no)


def line(cell, own: Weights, retrained: Weights, cells: pd.DataFrame) -> dict:
    """What came of one cell, a line of the table that `claims.judge` gives."""
    net = f"{cell.task}/{cell.model}"
    claim = f"{net}, {cell.quantizer} at {cell.bits} bits: {cell.metric}"
    pointed = cell.quantizer == "edge_multipoint"
    if pointed and cell.points != cell.bits + 1:
        claim += f", {cell.points:g} points"
        retrained = replace(retrained, by={})               # rows have bits + 1 points
    if pointed:                     # on nets that Edge trained for its notebooks and did not keep
        own = replace(own, by={})
    same = (cells.task == cell.task) & (cells.model == cell.model)
    others = cells[same & (cells.float_score == cell.float_score)].drop(index=cell.Index).score
    first, here = _judged(cell, net, own, others), _judged(cell, net, retrained, others)
    kind, few = "cell", retrained.by.get((net, cell.quantizer, float(cell.bits)))
    if few is not None and few.repeat.nunique() < REPEATS:
        kind, here["verdict"] = "pattern", _pattern(cell, net, retrained, few)
    return {"kind": kind, "claim": claim, "published": cell.score,
            **{f"own_{name}": value for name, value in first.items() if name != "cause"}, **here,
            "cause": first["cause"] or here["cause"]}


def _judged(cell, net: str, on: Weights, others: pd.Series) -> dict:
    """The verdict on one kind of weights: ours (the middle), the interval, the share of `others`
    in it, and what a single switch shows to be the cause."""
    mine = on.values(net, cell.quantizer, cell.bits, cell.metric)
    found = {"verdict": UNTESTED, "ours": np.nan, "low": np.nan, "high": np.nan, "others": np.nan,
             "cause": "", "rows": len(mine)}
    if not len(mine):
        return found
    found["ours"] = _middle(mine, cell)
    drawn = on.repeats == "seeds" or "stochastic" in cell.quantizer
    if drawn and len(mine) < REPEATS:
        return found | {"verdict": f"not testable here: {on.repeats}: {len(mine)}, needed: "
                                   f"{REPEATS}"}
    low, high = _interval(mine, cell)
    found |= {"low": low, "high": high, "others": float(others.between(low, high).mean())}
    found["verdict"] = on.verdict(low <= cell.score <= high)
    found["cause"] = _cause(cell, net, on, found)
    if found["verdict"] == on.yes and np.ptp(mine) > 0:
        if _reach(low, high, cell) > WIDEST:
            found["verdict"] = f"not testable here: {on.repeats} spread too widely to tell"
        elif found["others"] > MOST_OTHERS:
            found["verdict"] = (f"not testable here: {100 * found['others']:.0f} % of Edge's other "
                                "numbers of this net fit as well")
    return found


def _middle(values: np.ndarray, cell) -> float:
    """Mean; of squared errors, which span decades, the geometric one."""
    return float(np.exp(np.log(values).mean()) if cell.metric == "mse" else values.mean())


def _interval(values: np.ndarray, cell) -> tuple[float, float]:
    """Where one more value would lie, as Edge would print it; of a single value that does not
    depend on chance the value itself."""
    if cell.metric == "mse":
        ends = np.log(values)
        low, high = prediction(ends) if len(ends) > 1 else (ends[0], ends[0])
        return float(np.exp(low) / NEAR), float(np.exp(high) * NEAR)
    low, high = prediction(values) if len(values) > 1 else (values[0], values[0])
    error = getattr(cell, "reading", DIGIT)             # of a number that was read off a figure
    return float(low) - error, min(float(high) + error, METRICS[cell.metric].best + error)


def _reach(low: float, high: float, cell) -> float:
    """The interval's width over the net's span above chance; of squared errors by logarithms."""
    if cell.metric == "mse":
        return float(np.log(high / low) / np.log(cell.chance / cell.float_score))
    return (high - low) / (cell.float_score - cell.chance)


def _cause(cell, net: str, on: Weights, found: dict) -> str:
    """What, switched off alone, moves the score by more than a point (a hundredth of R²) and out
    of the interval, or, where Edge's number is missed, to that number; "" for nothing."""
    if cell.metric == "mse":
        margin = METRICS["r2"].tolerance * cell.chance
    else:
        margin = METRICS[cell.metric].tolerance
    low = min(found["low"], found["ours"] - margin)
    high = max(found["high"], found["ours"] + margin)
    causes = []
    for switch, said in CAUSES.items():
        name = f"edge_{switch}_{cell.quantizer.removeprefix('edge_')}"
        switched = on.values(net, name, cell.bits, cell.metric)
        if not len(switched):
            continue
        middle = _middle(switched, cell)
        ends = _interval(switched, cell)
        there = ends[0] <= cell.score <= ends[1] and _reach(*ends, cell) <= WIDEST
        if not low <= middle <= high and (there or found["verdict"] == on.yes):
            causes.append(f"{said} (without: {middle:.4g})")
    return "; ".join(causes)


def learned(score: float, metric: str, chance: float) -> float:
    """How far a score is above chance; of a squared error, how far below."""
    return chance - score if metric == "mse" else score - chance


def _pattern(cell, net: str, on: Weights, few: pd.DataFrame) -> str:
    """What few seeds tell: whether the net collapses as Edge's did, or does not."""
    as_trained = on.values(net, "", 0, cell.metric)
    values = on.values(net, cell.quantizer, cell.bits, cell.metric)
    if not len(as_trained):
        return UNTESTED
    left = [learned(score, cell.metric, cell.chance) for score in (
        cell.score, cell.float_score, values.mean(), as_trained.mean())]
    alike = (left[0] < COLLAPSED * left[1]) == (left[2] < COLLAPSED * left[3])
    return pattern(alike, few)


def pattern(alike: bool, rows: pd.DataFrame) -> str:
    """How it is said that few seeds collapse as Edge's net did, or do not."""
    holds = "holds" if alike else "does not hold"
    changed = stand_in(rows)
    if changed:
        return f"stand-in: {changed}, {holds}"
    return f"pattern, {holds}: whether it collapses (seeds: {rows.repeat.nunique()})"


def stand_in(rows: pd.DataFrame) -> str:
    """What is asked of these rows' net beside Edge's recipe ("width=16, 3 epochs"); "" for a net
    that is built and trained as Edge's was."""
    changed = replace(setting_of(rows.iloc[0]).net, recipe="")
    return str(changed) if changed.asked else ""
