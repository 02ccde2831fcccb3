"""Green (habibirani/Green-Computing-Project): transformers for series, quantized and pruned."""

import numpy as np
import pandas as pd

from lib.base import titles
from lib.replication.verdicts import Estimate, Evidence, compared

NETS = {"transformer_t1": "t1", "transformer_t2": "t2"}
SPLIT, MAJORITY = "unimib_adl@green", 27.1      # its data; the share of the largest class, in %


def evidence(tables) -> dict[str, Evidence]:
    """What the rows say of each of Green's claims, by its key in claims.csv."""
    files, scores, costs = tables.files
    files = files[files.model.isin(NETS) & (files.tuned == "")]
    bare, masked = files.pruner == "", files.pruner != ""
    plain = (files.deploy == "fp32") & bare & (files.quantizer == "")
    kinds = {"static": (files.deploy == "static") & bare,
             "dynamic": (files.deploy == "dynamic") & bare,
             "pruning": (files.deploy == "fp32") & masked}
    found = {key: Evidence(compared(files, own, plain, ["task", "model"], _where, scores),
                           elsewhere=True) for key, own in kinds.items()}
    time = costs[costs.quantity == "latency_s"].set_index("id")
    fast = {key: _speedups(files[own], files[plain], time) for key, own in kinds.items()}
    found |= {"faster": Evidence([*fast["static"], *fast["dynamic"]]),
              "faster_pruned": Evidence(fast["pruning"])}
    if slower := [100 / part.mean for part in fast["static"]]:
        joules = costs[costs.quantity == "energy_j"].groupby("id").value.mean()
        spent = [joules[joules.index.isin(files[own].id)].mean()
                 for own in (kinds["static"], plain)]
        found["energy"] = Evidence(
            note=f"Static INT8 takes {np.mean(slower):.0f} % of the time of FP32 and "
                 f"{100 * spent[0] / spent[1]:.0f} % of its modelled energy.")
    for net, key in NETS.items():
        rows = tables.compressed.rows
        own = rows[(rows.task == SPLIT) & (rows.model == net)].groupby("seed").score.first()
        base = own.mean() if len(own) else np.nan
        found[key] = Evidence(scores=own.to_numpy(), span=(MAJORITY, base))
    return found


def _where(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return f"{titles.network(first.task, first.model)}, {titles.technique(first)}"


def _speedups(own: pd.DataFrame, plain: pd.DataFrame, time: pd.DataFrame) -> list[Estimate]:
    """How many times as fast one example is as in FP32, with the outer ends of both intervals."""
    parts = []
    for (task, model, _), part in own.groupby(["task", "model", "pruner"], sort=False):
        base = plain[(plain.task == task) & (plain.model == model)]
        timed = [time[time.index.isin(rows.id)] for rows in (part, base)]
        if min(map(len, timed)):
            mine, theirs = (table.iloc[0] for table in timed)
            parts.append(Estimate(_where(part), theirs.value / mine.value, theirs.low / mine.high,
                                  theirs.high / mine.low, rows=2))
    return parts
