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
    bare, floats = files.pruner == "", files.deploy == "fp32"
    plain = floats & bare & (files.quantizer == "")
    kinds = {"static": (files.deploy == "static") & bare,
             "dynamic": (files.deploy == "dynamic") & bare, "pruning": floats & ~bare}
    found = {key: Evidence(compared(files, own, plain, ["task", "model"], _where, scores),
                           elsewhere=True) for key, own in kinds.items()}
    fast = {key: _speedups(files[own], files[plain], costs) for key, own in kinds.items()}
    found |= {"faster": Evidence([*fast["static"], *fast["dynamic"]]),
              "faster_pruned": Evidence(fast["pruning"])}
    if slower := [100 / part.mean for part in fast["static"]]:
        joules = costs[costs.quantity == "energy_j"].groupby("id").value.mean()
        spent = [joules.reindex(files.id[own]).mean() for own in (kinds["static"], plain)]
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


def _speedups(own: pd.DataFrame, plain: pd.DataFrame, costs: pd.DataFrame) -> list[Estimate]:
    """How many times as fast one example is as in FP32, with the outer ends of both intervals."""
    time = costs[costs.quantity == "latency_s"].drop_duplicates("id")
    base = plain.merge(time, on="id").drop_duplicates(["task", "model"]).set_index(
        ["task", "model"])
    timed = own.merge(time, on="id")
    parts = []
    for (*net, _), part in timed.groupby(["task", "model", "pruner"], sort=False):
        if tuple(net) in base.index:
            mine, theirs = part.iloc[0], base.loc[tuple(net)]
            parts.append(Estimate(_where(part), theirs.value / mine.value, theirs.low / mine.high,
                                  theirs.high / mine.low, rows=2))
    return parts
