"""Verdicts: what each word means, and the one rule for each kind of claim, whatever the study.

A *number*, a published score of one network, is compared with where one more run of it would score;
a *statement*, that something lies between two bounds (a loss below 1 point), with 95 % CIs.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from lib.base.metric import METRICS
from lib.results.intervals import LEVEL, holm, prediction, t_interval
from lib.results.paired import difference

MEANINGS = {
    "reproduced": "The number lies where one more run would score (95 % prediction interval), and "
                  "most other numbers of the study do not.",
    "not reproduced": "The number lies outside that interval.",
    "holds": "Every 95 % CI lies within the bounds of the statement.",
    "does not hold": "At least one result lies outside the bounds, after Holm's correction.",
    "undecided": "Neither: an interval contains a bound of the statement.",
    "not testable": "No published row tests it, or the rows are too few or spread too widely."}
REPRODUCED, NOT_REPRODUCED, HOLDS, FAILS, UNDECIDED, UNTESTABLE = MEANINGS
REPEATS = 5             # seeds or draws: fewer do not predict the next one
WIDEST = 0.2            # of the span between chance and the baseline: a wider interval is no test
MOST_OTHERS = 0.5       # share of the study's other numbers at which an interval is no test
NONE = {"random": np.nan, "permuted": np.nan}


@dataclass(frozen=True)
class Estimate:
    """One result, with its 95 % interval over `runs` independent repeats (0: over test examples or
    timing windows); where: its network or trace, in words; rows: how many it is computed from."""

    where: str
    mean: float
    low: float
    high: float
    runs: int = 0
    rows: int = 0


@dataclass(frozen=True)
class Evidence:
    """What rows say of a claim: results (parts) of a statement, with others of the same family for
    Holm's correction; or scores of a number, with its span (scores of chance and baseline).
    elsewhere: measured on other data than the claim is about, so that it decides nothing."""

    parts: list[Estimate] = field(default_factory=list)
    note: str = ""
    others: list[Estimate] = field(default_factory=list)
    scores: np.ndarray = field(default_factory=lambda: np.empty(0))
    span: tuple[float, float] = (np.nan, np.nan)
    elsewhere: bool = False


def compared(rows: pd.DataFrame, own: pd.Series, base: pd.Series, by: list[str],
             where: Callable[[pd.DataFrame], str], scores, gain: bool = False) -> list[Estimate]:
    """The loss (or gain) in points of the rows `own` against the rows `base` of each group `by`, as
    `results.difference` has it; over draws where one network has nothing per example."""
    parts = []
    for _, part in rows.groupby(by, sort=False):
        mine, theirs = part[own[part.index]], part[base[part.index]]
        if mine.empty or theirs.empty or (lost := difference(mine, theirs, scores)) is None:
            continue
        ends, runs = lost[:3], 0 if lost.over == "example" else mine[lost.over].nunique()
        if np.isnan(lost.low) and mine.draw.nunique() > 1:
            drawn = theirs.score.mean() - mine.groupby("draw").score.mean()
            ends, runs = t_interval(drawn), len(drawn)
        mean, low, high = np.array(ends) / METRICS[part.metric.iloc[0]].tolerance
        ends = (-mean, -high, -low) if gain else (mean, low, high)
        parts.append(Estimate(where(mine), *ends, runs, len(mine) + len(theirs)))
    return parts


def p_value(part: Estimate, low: float, high: float) -> float:
    """Two-sided p of the result lying at the nearest bound; NaN where its interval is missing."""
    if np.isnan([part.mean, part.low, part.high]).any():
        return np.nan
    bound = low if abs(part.mean - low) <= abs(part.mean - high) else high
    half = part.high - part.mean if part.mean < bound else part.mean - part.low
    distance = abs(part.mean - bound)
    if half <= 0 or np.isinf(distance):
        return float(distance == 0)
    spread = stats.t(part.runs - 1) if part.runs > 1 else stats.norm
    return float(2 * spread.sf(distance / half * spread.ppf(0.5 + LEVEL / 2)))


def statement(found: Evidence, low: float, high: float) -> dict:
    """The verdict on "this lies between low and high", joint over all results (see MEANINGS); in a
    larger family it holds only after Holm's correction. A result without an interval never decides.
    measured, low, high: of the least favourable result."""
    parts = [part for part in found.parts if not np.isnan(p_value(part, low, high))]
    if not parts:
        return {"verdict": UNTESTABLE, "rows": 0}
    p = holm(pd.Series([p_value(part, low, high) for part in [*parts, *found.others]]))
    sure = p.to_numpy()[:len(parts)] < 1 - LEVEL
    inside = np.array([low < part.low and part.high < high for part in parts])
    outside = sure & [not low <= part.mean <= high for part in parts]
    holds = inside.all() and (sure.all() or not found.others)
    shown = parts[min(range(len(parts)), key=lambda i: (
        not outside[i], min(parts[i].low - low, high - parts[i].high)))]
    counted = {"agree": inside.sum(), "disagree": outside.sum(),
               "have no interval": len(found.parts) - len(parts)}
    words = ", ".join(f"{n} {word}" for word, n in counted.items() if n) or "none decides"
    why = f"Of {len(found.parts)} results, {words}." if len(found.parts) > 1 else ""
    verdict = HOLDS if holds else FAILS if outside.any() else UNDECIDED
    return {"verdict": UNTESTABLE if found.elsewhere else verdict,
            "measured": shown.mean, "low": shown.low, "high": shown.high, "where": shown.where,
            "why": why, "rows": sum(part.rows for part in parts)}


def number(said: float, scores: np.ndarray, others: pd.Series, span: tuple[float, float],
           error: float, random: bool = True, log: bool = False) -> dict:
    """The verdict on a published number, from one score a repeat.

    others: the study's other numbers of this network; span: scores of chance and baseline; error:
    half of the last printed digit, of logarithms for squared errors (log); random: whether repeats
    differ. Returned random, permuted: how often a number drawn evenly from chance to the best
    score, or another number of the network, would be called reproduced.
    """
    scale, back = (np.log, np.exp) if log else (np.asarray, np.asarray)
    scores, fit, (chance, base) = (scale(np.asarray(values, float))
                                   for values in (scores, others, span))
    found = {"verdict": UNTESTABLE, "rows": len(scores), "why": "", **NONE}
    if not len(scores):
        return found | {"why": "No published row tests it."}
    found["measured"] = float(back(scores.mean()))
    if random and len(scores) < REPEATS:
        return found | {"why": f"Runs: {len(scores)}; needed: {REPEATS}."}
    low, high = prediction(scores) if len(scores) > 1 else (scores[0], scores[0])
    low, high = low - error, high + error
    fit = float(((low <= fit) & (fit <= high)).mean()) if len(fit) else 0.0
    wide = (high - low) / abs(base - chance)
    found |= {"low": float(back(low)), "high": float(back(high)), "random": 0.0, "permuted": 0.0}
    if wide <= WIDEST and fit < MOST_OTHERS:
        worst, best = span[0], 0.0 if span[1] < span[0] else 100.0
        drawn = min(found["high"], max(worst, best)) - max(found["low"], min(worst, best))
        found |= {"random": max(0.0, drawn) / abs(worst - best), "permuted": fit}
    if not low <= scale(said) <= high:
        return found | {"verdict": NOT_REPRODUCED}
    if wide > WIDEST:
        return found | {"why": f"The interval is too wide: {100 * wide:.0f} % of the distance from "
                         "chance to the baseline."}
    if fit >= MOST_OTHERS:
        return found | {"why": f"Too easy: {100 * fit:.0f} % of the study's other numbers of this "
                         "network would be called reproduced as well."}
    return found | {"verdict": REPRODUCED}


def held_by_chance(found: Evidence, low: float, high: float, pool: list[Estimate], log: bool
                   ) -> dict[str, float]:
    """How often a statement would hold for other means with the measured intervals: drawn evenly
    from ± the largest in this unit (random; log: of factors), or from `pool`, all results in this
    unit (permuted)."""
    scale = np.log if log else np.asarray
    means = scale([part.mean for part in pool])
    parts = scale([(part.low, part.mean, part.high) for part in found.parts
                   if not np.isnan(part.low)])
    if not len(parts) or not np.any(means):
        return NONE
    least, most = scale([low, high])
    first = least + parts[:, 1] - parts[:, 0]           # means between which the statement holds
    last = most - (parts[:, 2] - parts[:, 1])
    widest = np.abs(means).max()
    drawn = (np.minimum(last, widest) - np.maximum(first, -widest)).clip(0) / (2 * widest)
    picked = ((first[:, None] < means) & (means < last[:, None])).mean(1)
    return {"random": float(drawn.prod()), "permuted": float(picked.prod())}
