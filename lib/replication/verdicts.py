"""Verdicts: what each word means, and the one rule for each kind of claim, whatever the study.

A *number* is a published score of one network; it is compared with where one more run of that
network would score. A *statement* says that a quantity lies between two bounds: a gain above 0, a
loss below 1 point, savings of 15 to 30 %. It is compared with 95 % confidence intervals.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from lib.base.metric import METRICS
from lib.results.intervals import LEVEL, holm, prediction, t_interval
from lib.results.paired import difference

REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"
HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
UNTESTABLE = "not testable"
MEANINGS = {
    REPRODUCED: "The published number lies where one more run of this network would score (95 % "
                "prediction interval), and fewer than half of the study's other numbers of the "
                "network do.",
    NOT_REPRODUCED: "The published number lies outside that interval.",
    HOLDS: "Every 95 % CI lies within the bounds of the statement.",
    FAILS: "At least one result lies outside the bounds, after Holm's correction for the number "
           "of results.",
    UNDECIDED: "Neither: an interval contains a bound of the statement.",
    UNTESTABLE: "No published row tests it, or the rows are too few or spread too widely to tell.",
}
REPEATS = 5             # seeds or draws: fewer do not predict the next one
WIDEST = 0.2            # of the span between chance and the baseline: a wider interval is no test
MOST_OTHERS = 0.5       # share of the study's other numbers at which an interval is no test
SIGNIFICANT = 1 - LEVEL


@dataclass(frozen=True)
class Estimate:
    """One result beside a statement, with its 95 % interval.

    where: network or trace, in words; runs: independent repeats that the interval is over, 0 for
    test examples or timing windows; rows: how many it is computed from.
    """

    where: str
    mean: float
    low: float
    high: float
    runs: int = 0
    rows: int = 0


@dataclass(frozen=True)
class Evidence:
    """What rows say of a claim: results beside a statement, or `scores` beside a number.

    others: further results of the same family of comparisons, for Holm's correction; span: of a
    number, from chance to baseline; note: what a reader must know beside it.
    """

    parts: list[Estimate] = field(default_factory=list)
    note: str = ""
    others: list[Estimate] = field(default_factory=list)
    scores: np.ndarray = field(default_factory=lambda: np.empty(0))
    span: tuple[float, float] = (np.nan, np.nan)


def compared(where: str, rows: pd.DataFrame, base: pd.DataFrame, scores, gain: bool = False
             ) -> list[Estimate]:
    """The loss (or gain) of rows against base in points, as a list of one; none without pairs.

    Over folds, seeds or test examples (`results.difference`); where nothing per example is kept,
    over the draws of one network.
    """
    if rows.empty or base.empty or (lost := difference(rows, base, scores)) is None:
        return []
    runs = 0 if lost.over == "example" else rows[lost.over].nunique()
    mean, low, high = lost.mean, lost.low, lost.high
    if np.isnan(low) and rows.draw.nunique() > 1:
        drawn = rows.groupby("draw").score.mean()
        mean, low, high = t_interval(base.score.mean() - drawn)
        runs = len(drawn)
    ends = np.array([mean, low, high]) / METRICS[rows.metric.iloc[0]].tolerance
    mean, low, high = -ends[[0, 2, 1]] if gain else ends
    return [Estimate(where, mean, low, high, runs, len(rows) + len(base))]


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
    """The verdict on "this lies between low and high", joint over all results.

    It holds where every interval lies inside (and, in a larger family, after Holm's correction); it
    does not where one result lies outside after the correction; else it is undecided. A result
    without an interval never decides. measured, low, high: of the least favourable result.
    """
    parts = [part for part in found.parts if not np.isnan(p_value(part, low, high))]
    if not parts:
        return {"verdict": UNTESTABLE, "why": found.note, "rows": 0}
    p = holm(pd.Series([p_value(part, low, high) for part in [*parts, *found.others]]))
    inside = np.array([low < part.low and part.high < high for part in parts])
    outside = np.array([not low <= part.mean <= high for part in parts])
    sure = p.to_numpy()[:len(parts)] < SIGNIFICANT
    margin = [min(part.low - low, high - part.high) for part in parts]
    least = min(range(len(parts)), key=lambda i: (not (outside[i] and sure[i]), margin[i]))
    verdict = FAILS if (outside & sure).any() else UNDECIDED
    if inside.all() and (sure.all() or not found.others):
        verdict = HOLDS
    worst, total = parts[least], f"{len(parts)} results" if len(parts) > 1 else "1 result"
    why = (f"{inside.sum()} of {total} agree, {(outside & sure).sum()} disagree. Shown: "
           f"{worst.where}. {found.note}").strip()
    return {"verdict": verdict, "measured": worst.mean, "low": worst.low, "high": worst.high,
            "why": why, "rows": sum(part.rows for part in parts)}


def number(said: float, scores: np.ndarray, others: pd.Series, span: tuple[float, float],
           error: float, random: bool = True, log: bool = False, uniform=(np.nan, np.nan)) -> dict:
    """The verdict on a published number, from one score a repeat.

    others: the study's other numbers of this network; span: chance and baseline score; error: half
    of the last printed digit, or of logarithms (log, for squared errors) the tolerance of the print;
    random: whether a repeat changes the score; uniform: range of random numbers. random and
    permuted: how often a number drawn from it, or another number of the network, would be called
    reproduced.
    """
    scale, back = (np.log, np.exp) if log else (np.asarray, float)
    scores, (chance, base) = scale(np.asarray(scores, float)), scale(np.array(span))
    found = {"verdict": UNTESTABLE, "rows": len(scores), "random": np.nan, "permuted": np.nan}
    if not len(scores):
        return found | {"why": "No published row tests it."}
    found |= {"measured": float(back(scores.mean()))}
    if random and len(scores) < REPEATS:
        return found | {"why": f"{len(scores)} of the {REPEATS} runs that are needed."}
    low, high = prediction(scores) if len(scores) > 1 else (scores[0], scores[0])
    low, high = low - error, high + error
    fit = scale(others.to_numpy(float))
    fit = float(((low <= fit) & (fit <= high)).mean()) if len(fit) else 0.0
    wide = (high - low) / abs(base - chance)
    ends = np.array([back(low), back(high)])
    least, most = sorted(uniform)
    share = max(0.0, min(ends[1], most) - max(ends[0], least)) / (most - least)
    why = ""
    if not low <= scale(said) <= high:
        found["verdict"] = NOT_REPRODUCED
    elif wide > WIDEST:
        why = f"The interval spans {wide:.0%} of the range from chance to baseline."
    elif fit >= MOST_OTHERS:
        why = f"{fit:.0%} of the study's other numbers of this network fit as well."
    else:
        found["verdict"] = REPRODUCED
    blind = wide > WIDEST or fit >= MOST_OTHERS
    return found | {"low": ends[0], "high": ends[1], "why": why, "random": 0.0 if blind else share,
                    "permuted": 0.0 if blind else fit}


def by_chance(found: Evidence, low: float, high: float, pool: list[Estimate], log: bool
              ) -> dict[str, float]:
    """How often a statement would hold for other numbers with intervals as wide as the measured.

    random: of numbers drawn evenly from ± the largest that was measured in this unit (log: of
    factors, evenly by their logarithms); permuted: of results that were measured for any statement
    in this unit. pool: those.
    """
    scale = np.log if log else np.asarray
    means = scale(np.array([part.mean for part in pool], float))
    parts = [part for part in found.parts if not np.isnan(part.low)]
    if not parts or not len(means):
        return {"random": np.nan, "permuted": np.nan}
    widest, (least, most) = np.abs(means).max(), scale(np.array([low, high], float))
    rates = {"random": 1.0, "permuted": 1.0}
    for part in parts:
        below, middle, above = scale(np.array([part.low, part.mean, part.high], float))
        first, last = least + middle - below, most - (above - middle)
        drawn = min(last, widest) - max(first, -widest)
        rates["random"] *= max(0.0, drawn) / (2 * widest) if widest else 0.0
        rates["permuted"] *= float(((first < means) & (means < last)).mean())
    return rates
