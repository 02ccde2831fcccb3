"""Policies of chapter 09 beside every single model that could have served the same requests."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from lib.results.intervals import holm, interval, t_interval

SINGLE = "fixed "           # before the name of the one model that such a policy stays with
TRACE = ["task", "model", "trace"]
# Quantities of the costs of `run.replayed`, as columns: shares of all requests, times in seconds,
# energy in mJ an answer (joules of a thousand are millijoules of one).
QUANTITIES = {"right_in_time": "on_time_accuracy", "attainment": "slo_attainment",
              "joules_per_1000": "energy_mj", "p50": "p50", "p95": "p95", "p99": "p99",
              "shed": "shed", "failed": "failed", "utilization": "utilization",
              "switches_per_minute": "switches_per_minute", "floats_score": "fp32_score"}
WITH_INTERVAL = ("score", "on_time_accuracy", "slo_attainment", "goodput", "energy_mj")
SHARES = ("on_time_accuracy", "slo_attainment")
ALONE = [name for name in QUANTITIES.values() if name not in WITH_INTERVAL]
GAINS = ("on_time_accuracy", "slo_attainment", "score")


def replays(rows: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """One line a replay (policy, trace, seed): its row's columns, QUANTITIES, goodput, single.

    goodput: requests answered within the deadline, as a multiple of what the FP32 model can answer
    in that time; single: is it one model that is never changed?
    """
    wide = costs.pivot_table(index="id", columns="quantity", values="value", aggfunc="first")
    wide = wide.reindex(columns=list(QUANTITIES)).rename(columns=QUANTITIES)
    runs = rows[rows.policy != ""].merge(wide.reset_index(), on="id")
    load = runs.trace.str.extract(r"load ([\d.]+)$")[0].astype(float)
    return runs.assign(goodput=load * runs.slo_attainment,
                       single=runs.policy.str.startswith(SINGLE))


def policies(rows: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """One line a task, trace and policy: means over seeds, single, seeds, and of WITH_INTERVAL the
    95 % t interval over seeds (_low, _high; missing for one seed; cut at 0, of shares at 1)."""
    runs, lines = replays(rows, costs), []
    for (*where, name), part in runs.groupby([*TRACE, "policy"], sort=False):
        line = dict(zip(TRACE, where, strict=True)) | {
            "policy": name, "single": bool(part.single.iloc[0]), "seeds": len(part)}
        for column in WITH_INTERVAL:
            mean, low, high = t_interval(part[column])
            low, high = np.clip([low, high], 0, 1 if column in SHARES else None)
            line |= {column: mean, f"{column}_low": low, f"{column}_high": high}
        lines.append(line | part[ALONE].mean().to_dict())
    ends = [name + end for name in WITH_INTERVAL for end in ("", "_low", "_high")]
    return pd.DataFrame(lines, columns=[*TRACE, "policy", "single", "seeds", *ends, *ALONE])


def against(rows: pd.DataFrame, costs: pd.DataFrame, policy: str | Iterable[str],
            best: bool = False) -> pd.DataFrame:
    """What policies gain on every single model of the same trace, paired over seeds.

    policy: one or several; best: only beside the single model with the highest mean on-time
    accuracy of the trace, chosen afterwards, which no rule could know beforehand. A line a policy,
    trace and single model: TRACE, policy, single, best (is it that one?), seeds; of GAINS in pp
    <name>_gain, _low, _high, p (of on-time accuracy) and holm, corrected over all lines returned;
    energy_ratio, a geometric mean, with its 95 % interval: energy an answer over the single one's.
    """
    names = [policy] if isinstance(policy, str) else list(policy)
    lines = []
    for where, part in replays(rows, costs).groupby(TRACE, sort=False):
        single = part[part.single]
        if single.empty:
            continue
        first = single.groupby("policy", sort=False).on_time_accuracy.mean().idxmax()
        for name in names:
            own = part[part.policy == name].set_index("seed")
            for other, line in single.groupby("policy", sort=False):
                if len(own) and (other == first or not best):
                    lines.append(dict(zip(TRACE, where, strict=True)) | {
                        "policy": name, "single": other, "best": other == first}
                        | _gains(own, line.set_index("seed")))
    columns = [*TRACE, "policy", "single", "best", "seeds", "p",
               *(f"{name}_{end}" for name in GAINS for end in ("gain", "low", "high")),
               "energy_ratio", "energy_ratio_low", "energy_ratio_high"]
    found = pd.DataFrame(lines, columns=columns)
    return found.assign(holm=holm(found.p.astype(float)))


def _gains(own: pd.DataFrame, other: pd.DataFrame) -> dict[str, float]:
    """Of two policies' replays by seed: what the first one gains, and its energy as a ratio."""
    line: dict[str, float] = {}
    for name in GAINS:
        points = (own[name] - other[name]).dropna() * (1 if name == "score" else 100)
        mean, low, high, p = interval(points, "seed") if len(points) else (np.nan,) * 4
        line |= {f"{name}_gain": mean, f"{name}_low": low, f"{name}_high": high}
        if name == "on_time_accuracy":
            line |= {"p": p, "seeds": len(points)}
    ratios = np.log((own.energy_mj / other.energy_mj).dropna())
    ends = np.exp(t_interval(ratios)) if len(ratios) else (np.nan,) * 3
    return line | dict(zip(("energy_ratio", "energy_ratio_low", "energy_ratio_high"), ends,
                           strict=True))
