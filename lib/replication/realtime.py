"""Real-time: a plan for a precision that changes during inference, and two scores."""

import numpy as np
import pandas as pd

from lib.base import titles
from lib.replication.verdicts import Estimate, Evidence
from lib.results.intervals import t_interval

RULE, FP32 = "literal", "fixed a file of floats"
ADAPTIVE = (RULE, "random", "slack", "slack at once", "slack, half the joules",
            "slack, unsure twice")
PRECISIONS = "fixed a file of"              # the network itself in one precision
BENCHMARK = 100 * 425 / 872                 # FIELD: what 48.739 % of SST-2's dev set is


def evidence(tables) -> dict[str, Evidence]:
    """What the rows say of each of Real-time's claims, by its key in claims.csv."""
    own, others, saved = _replayed(tables.replays, tables.replay_costs)
    plain = tables.files[(tables.files.task == "sst2") & (tables.files.sizes == "")
                         & (tables.files.deploy == "") & (tables.files.quantizer == "")]
    note = "No precision was changed in the study's own runs."
    return {
        "trained": Evidence(note=_trained(plain)),
        "benchmark": _benchmark(tables.heads, plain),
        "adapts": Evidence(own, f"{note} Share of requests answered correctly in time, against the "
                                "best single precision of the same network.", others),
        "saves": Evidence(saved, f"{note} Modelled energy per request, against FP32.")}


def _trained(plain: pd.DataFrame) -> str:
    if plain.empty:
        return ""
    line = plain.loc[plain.score.idxmax()]
    return (f"{titles.model(line.model)}, fine-tuned here, scores {line.score:.1f} % "
            f"[{line.score_low:.1f}, {line.score_high:.1f}] on SST-2.")


def _benchmark(heads: pd.DataFrame, plain: pd.DataFrame) -> Evidence:
    """The loss of untrained heads; its span is from guessing (log 2) to the fine-tuned encoder."""
    if heads.empty or plain.empty:
        return Evidence()
    low, high = heads.score.quantile([0.025, 0.975])
    inside = "as" if low <= BENCHMARK <= high else "not as"
    return Evidence(
        scores=heads.loss.to_numpy(), span=(float(np.log(2)), plain.loss.min()),
        note=f"It is {inside} an untrained head scores: 95 % of {len(heads)} of them lie between "
             f"{low:.1f} and {high:.1f} % accuracy, too wide to tell by accuracy alone. "
             f"{_trained(plain)}")


def _replayed(rows: pd.DataFrame, costs: pd.DataFrame) -> tuple[list, list, list]:
    """On each trace: what the rule gains on the best single precision, in points of correct answers
    in time; what the other adaptive policies gain; energy that the rule saves on FP32, in %."""
    wide = costs.pivot_table(index="id", columns="quantity", values="value", aggfunc="first")
    wide = wide.reindex(columns=["right_in_time", "joules_per_1000"]).reset_index()
    rows = rows[rows.policy != ""].merge(wide, on="id")
    own, others, saved = [], [], []
    for (task, model, trace), part in rows.groupby(["task", "model", "trace"], sort=False):
        by = part.set_index("seed").groupby("policy")
        share = {name: 100 * values.right_in_time for name, values in by}
        single = [name for name in share if name.startswith(PRECISIONS)]
        if RULE not in share or not single:
            continue
        best = max(single, key=lambda name: share[name].mean())
        where = f"{titles.network(task, model)}, {trace} requests"
        for name in ADAPTIVE:
            if name in share:
                gained = (share[name] - share[best]).dropna()
                (own if name == RULE else others).append(
                    Estimate(where, *t_interval(gained), len(gained), 2 * len(gained)))
        if FP32 in share:
            energy = {name: by.get_group(name).joules_per_1000 for name in (RULE, FP32)}
            less = (100 * (1 - energy[RULE] / energy[FP32])).dropna()
            saved += [Estimate(where, *t_interval(less), len(less), 2 * len(less))]
    return own, others, saved
