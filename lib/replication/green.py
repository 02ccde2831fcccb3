"""Green (habibirani/Green-Computing-Project): transformers for series, quantized and pruned."""

import numpy as np
import pandas as pd

from lib.base import titles
from lib.replication.verdicts import Estimate, Evidence, compared

NETS = {"transformer_t1": "t1", "transformer_t2": "t2"}
SPLIT = "unimib_adl@green"
OTHER_DATA = "Measured on other series, since no row has Green's data."
NOT_MADE = {"static": "Green's code builds the quantized model and evaluates the original one.",
            "dynamic": "Green's code builds the quantized model and evaluates the original one.",
            "pruning": "Green's code names no layer to prune, so nothing was pruned."}


def evidence(tables) -> dict[str, Evidence]:
    """What the rows say of each of Green's claims, by its key in claims.csv."""
    files = tables.files[tables.files.model.isin(NETS) & (tables.files.tuned == "")]
    kinds = {"static": files[(files.deploy == "static") & (files.pruner == "")],
             "dynamic": files[(files.deploy == "dynamic") & (files.pruner == "")],
             "pruning": files[(files.deploy == "fp32") & (files.pruner != "")]}
    plain = files[(files.deploy == "fp32") & (files.pruner == "") & (files.quantizer == "")]
    found = {key: Evidence(_each(own, plain, lambda own, base, where: compared(
        where, own, base, tables.file_scores)), f"{OTHER_DATA} {NOT_MADE[key]}")
        for key, own in kinds.items()}
    time = tables.file_costs[tables.file_costs.quantity == "latency_s"].set_index("id")
    fast = {key: _each(own, plain, lambda own, base, where: _speedup(where, own, base, time))
            for key, own in kinds.items()}
    note = f"{OTHER_DATA} Green timed one FP32 model twice."
    found["faster"] = Evidence([*fast["static"], *fast["dynamic"]], note)
    found["faster_pruned"] = Evidence(fast["pruning"], note)
    found["energy"] = Evidence(note=_energy(kinds["static"], plain, fast["static"],
                                            tables.file_costs))
    for net, key in NETS.items():
        own = tables.rows[(tables.rows.task == SPLIT) & (tables.rows.model == net)]
        found[key] = Evidence(scores=own.groupby("seed").score.first().to_numpy(),
                              span=(27.1, 100.0))
    return found


def _each(own: pd.DataFrame, plain: pd.DataFrame, compare) -> list[Estimate]:
    """Each network and technique beside the FP32 file of the same network."""
    parts = []
    for (task, model, pruner), part in own.groupby(["task", "model", "pruner"], sort=False):
        base = plain[(plain.task == task) & (plain.model == model)]
        technique = titles.technique(part.iloc[0])
        parts += compare(part, base, f"{titles.network(task, model)}, {technique}")
    return parts


def _speedup(where: str, own: pd.DataFrame, base: pd.DataFrame, time: pd.DataFrame
             ) -> list[Estimate]:
    """How many times as fast one example is, with the outer ends of both time intervals."""
    mine, theirs = (time[time.index.isin(rows.id)] for rows in (own, base))
    if mine.empty or theirs.empty:
        return []
    mine, theirs = mine.iloc[0], theirs.iloc[0]
    return [Estimate(where, theirs.value / mine.value, theirs.low / mine.high,
                     theirs.high / mine.low, rows=2)]


def _energy(own: pd.DataFrame, plain: pd.DataFrame, fast: list[Estimate], costs: pd.DataFrame
            ) -> str:
    """Time and modelled energy of static INT8 as shares of FP32's, in words."""
    joules = costs[(costs.quantity == "energy_j") & (costs.kind == "modelled")]
    means = [joules[joules.id.isin(rows.id)].value.mean() for rows in (own, plain)]
    if not fast or np.isnan(means).any():
        return ""
    time = np.mean([1 / part.mean for part in fast])
    return (f"No energy of inference was measured. Static INT8 takes {time:.0%} of the time and, "
            f"modelled, {means[0] / means[1]:.0%} of the energy of FP32.")
