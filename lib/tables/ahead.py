"""Is a net ahead of its rivals? Only where the interval of the paired difference says so."""

import numpy as np
import pandas as pd

from lib.base.metric import METRICS
from lib.base.setting import FIELDS
from lib.tables.intervals import repeats, t_interval

NO_BETTER = "majority"
CONTROL = "control"         # how the name of a step begins that repairs nothing


def ahead(nets: pd.DataFrame, rivals: pd.DataFrame, scores: dict[str, np.ndarray]) -> pd.DataFrame:
    """Each net against the best of its task's rivals, on the same folds and examples.

    nets, rivals: rows; scores: id -> scores per example. Columns: task, model, rival, score,
    rival_score, lead, low, high, over, sentence. A net that does not beat the majority guess, by
    the interval, is called a net that learned nothing.
    """
    lines = []
    for (task, model), net in nets.groupby(["task", "model"], sort=False):
        others = rivals[rivals.task == task]
        if not len(others):
            continue
        means = others.groupby("model").score.mean()
        rival = others[others.model == means.idxmax()]
        found = lead(net, rival, scores)
        floor = others[others.model == NO_BETTER]
        nothing = len(floor) > 0 and lead(net, floor, scores)[1] <= 0
        metric = METRICS[net.metric.iloc[0]]
        line = {"task": task, "model": model, "rival": means.idxmax(), "score": net.score.mean(),
                "rival_score": means.max(), **dict(zip(("lead", "low", "high", "over"), found,
                                                       strict=True))}
        lines.append(line | {"sentence": _sentence(line, metric, nothing)})
    return pd.DataFrame(lines, columns=["task", "model", "rival", "score", "rival_score", "lead",
                                        "low", "high", "over", "sentence"])


def climb(steps: pd.DataFrame, rows: pd.DataFrame, scores: dict[str, np.ndarray]) -> pd.DataFrame:
    """The same steps with what each gains on the step above it, pair by pair: gain, gain_low,
    gain_high, gain_over; none for the first, and a control is gained on by nobody.

    steps: net, bits, rung and the columns of a Setting, a line a step, each net's and number of
    bits' from top to bottom; rows: those that the steps sum up.
    """
    asked = [name for name in ("task", "model", *FIELDS) if name in steps]
    found = {line: rows[_alike(rows, steps.loc[line, asked])] for line in steps.index}
    gains = pd.DataFrame(np.nan, steps.index, ["gain", "gain_low", "gain_high"])
    gains["gain_over"] = ""
    for _, part in steps.groupby(["net", "bits"], sort=False):
        before = None
        for line in part.index:
            if before is not None:
                gains.loc[line] = lead(found[line], found[before], scores)
            if not part.rung[line].startswith(CONTROL):
                before = line
    return steps.join(gains)


def largest_gain(steps: pd.DataFrame) -> pd.Series | None:
    """Of the steps of one net and number of bits, as `climb` gives them, the one that gains most
    on the step above it; None where the paired interval carries no gain. A control repairs nothing.
    """
    control = steps.rung.str.startswith(CONTROL)        # no setting: a step's own name
    carried = (steps.gain_low > 0) & ~control
    return steps.loc[steps.gain[carried].idxmax()] if carried.any() else None


def _alike(rows: pd.DataFrame, asked: pd.Series) -> pd.Series:
    same = pd.Series(True, index=rows.index)
    for name, value in asked.items():
        same &= rows[name].isna() if pd.isna(value) else rows[name] == value
    return same


def lead(net: pd.DataFrame, rival: pd.DataFrame, scores: dict[str, np.ndarray]
          ) -> tuple[float, float, float, str]:
    """By how much a net's rows score above a rival's: mean difference, its 95 % interval, and what
    that is over: folds, seeds, or test examples."""
    over = repeats(net) if len(net) > 1 else None
    if over and rival[over].nunique() > 1:
        mine, theirs = net.groupby(over).score.mean(), rival.groupby(over).score.mean()
        return *t_interval((mine - theirs).dropna()), f"{over}s"
    if over:                                            # one rival for all seeds of the net
        return *t_interval(net.groupby(over).score.mean() - rival.score.mean()), f"{over}s"
    metric = METRICS[net.metric.iloc[0]]
    new, base = net.iloc[0], rival.iloc[0]
    lost = metric.paired(scores[new.id], scores[base.id], new.score)
    low, high = metric.paired_interval(lost)
    return new.score - base.score, low, high, "examples"


def _sentence(line: dict, metric, nothing: bool) -> str:
    text = metric.text
    told = (f"{text(line['score'])}, {line['rival']} {text(line['rival_score'])}: "
            f"{line['lead']:+.{metric.digits}f} [{line['low']:+.{metric.digits}f}, "
            f"{line['high']:+.{metric.digits}f}] over {line['over']}")
    if nothing:
        return f"{told}; by this interval it learned nothing more than the commonest answer."
    if line["low"] > 0:
        return f"{told}; it is ahead."
    if line["high"] < 0:
        return f"{told}; it is behind."
    return f"{told}; the interval carries no difference."
