"""Real-time: a plan for a precision that changes during inference, and two scores."""

import numpy as np
import pandas as pd

from lib.base import titles
from lib.replication.verdicts import Estimate, Evidence
from lib.results.intervals import t_interval
from lib.results.policies import TRACE, replays

RULE, FP32, PRECISIONS = "literal", "fixed a file of floats", "fixed a file of"
NO_RULE = ("fixed", "clairvoyant")          # single models, and a policy that knows the future
BENCHMARK = 100 * 425 / 872                 # the printed 48.739 % of SST-2's dev set


def evidence(tables) -> dict[str, Evidence]:
    """What the rows say of each of Real-time's claims, by its key in claims.csv."""
    files, heads = tables.files.rows, tables.heads
    plain = files[(files.task == "sst2") & (files.sizes == "") & (files.deploy == "")
                  & (files.quantizer == "") & (files.pruner == "")]
    found = _replayed(tables.served.rows, tables.served.costs)
    if len(plain) and len(heads):
        best = plain.loc[plain.score.idxmax()]
        low, high = heads.score.quantile([0.025, 0.975])
        inside = "within" if low <= BENCHMARK <= high else "outside"
        found["benchmark"] = Evidence(
            scores=heads.loss.to_numpy(), span=(float(np.log(2)), best.loss),
            note=f"The accuracy lies {inside} that of 95 % of {len(heads)} heads, {low:.1f} to "
                 f"{high:.1f} %. Fine-tuned, {titles.model(best.model)} has {best.score:.1f} %.")
    return found


def _replayed(rows: pd.DataFrame, costs: pd.DataFrame) -> dict[str, Evidence]:
    """On each trace: what the rule gains on the best single precision, in points of requests that
    are answered correctly in time, among the gains of all adaptive policies; and the energy that it
    saves on FP32, in %."""
    gains, saved = {RULE: [], "others": []}, []
    for (task, model, trace), part in replays(rows, costs).groupby(TRACE):
        table = part.pivot(index="seed", columns="policy")
        share, joules = 100 * table.on_time_accuracy, table.energy_mj
        single = [name for name in share if name.startswith(PRECISIONS)]
        if RULE not in share or not single:
            continue
        best = share[single].mean().idxmax()
        where = f"{titles.network(task, model)}, {trace}"
        for name in (name for name in share if not name.startswith(NO_RULE)):
            gains[RULE if name == RULE else "others"] += _over_seeds(
                where, share[name] - share[best])
        if FP32 in share:
            saved += _over_seeds(where, 100 * (1 - joules[RULE] / joules[FP32]))
    return {"adapts": Evidence(gains[RULE], others=gains["others"]), "saves": Evidence(saved)}


def _over_seeds(where: str, values: pd.Series) -> list[Estimate]:
    n = values.notna().sum()
    return [Estimate(where, *t_interval(values.dropna()), n, 2 * n)] if n else []
