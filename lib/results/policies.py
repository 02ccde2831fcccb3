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
SHARES = ("on_time_accuracy", "slo_attainment")
WITH_INTERVAL = ("score", *SHARES, "goodput", "energy_mj")
ALONE = [name for name in QUANTITIES.values() if name not in WITH_INTERVAL]
GAINS = (*SHARES, "score")


def replays(rows: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """One line a replay (policy, trace, seed): its row's columns, QUANTITIES, goodput, single.

    goodput: requests answered within the deadline, as a multiple of what the FP32 model can answer
    in that time; single: is it one model that is never changed?
    """
    wide = costs.pivot_table(index="id", columns="quantity", values="value", aggfunc="first")
    wide = wide.reindex(columns=list(QUANTITIES)).rename(columns=QUANTITIES)
    runs = rows[rows.policy != ""].merge(wide.reset_index(), on="id")
    load = runs.trace.str.extract(r"([\d.]+)$")[0].astype(float)    # no setting: what it names last
    return runs.assign(goodput=load * runs.slo_attainment,
                       single=runs.policy.map(lambda name: name.startswith(SINGLE)).astype(bool))


def policies(rows: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """One line a task, trace and policy: means over seeds, single, seeds, and of WITH_INTERVAL the
    95 % t interval over seeds (_low, _high; missing for one seed; cut at 0, of shares at 1)."""
    lines = []
    for where, part in replays(rows, costs).groupby([*TRACE, "policy"], sort=False):
        line = [*where, bool(part.single.iloc[0]), len(part)]
        for column in WITH_INTERVAL:
            mean, *ends = t_interval(part[column])
            line += [mean, *np.clip(ends, 0, 1 if column in SHARES else None)]
        lines.append([*line, *part[ALONE].mean()])
    ends = [name + end for name in WITH_INTERVAL for end in ("", "_low", "_high")]
    return pd.DataFrame(lines, columns=[*TRACE, "policy", "single", "seeds", *ends, *ALONE])


def against(rows: pd.DataFrame, costs: pd.DataFrame, policy: str | Iterable[str],
            best: bool = False) -> pd.DataFrame:
    """What policies gain on every single model of the same trace, paired over seeds.

    policy: one or several; best: only beside the single model with the highest mean on-time
    accuracy of the trace, chosen afterwards. A line a policy, trace and single model: TRACE,
    policy, single, best, seeds; of GAINS in pp <name>_gain, _low, _high; p of on-time accuracy, and
    holm, over all lines; energy_ratio (geometric mean of energies an answer) with its interval.
    """
    names, lines = [policy] if isinstance(policy, str) else list(policy), []
    for where, part in replays(rows, costs).groupby(TRACE, sort=False):
        single = part[part.single].groupby("policy", sort=False)
        means = single.on_time_accuracy.mean()
        for name in names:
            own = part[part.policy == name].set_index("seed")
            for other, line in single:
                leads = other == means.idxmax()
                if len(own) and (leads or not best):
                    lines.append((*where, name, other, leads,
                                  *_gains(own, line.set_index("seed"))))
    columns = [*TRACE, "policy", "single", "best", "seeds", "p",
               *(f"{name}_{end}" for name in GAINS for end in ("gain", "low", "high")),
               "energy_ratio", "energy_ratio_low", "energy_ratio_high"]
    found = pd.DataFrame(lines, columns=columns)
    return found.assign(holm=holm(found.p.astype(float)))


def _gains(own: pd.DataFrame, other: pd.DataFrame) -> tuple:
    """Of two policies' replays by seed: pairs and p of the first of GAINS, what the first policy
    gains with the interval, and its energy as a ratio with the interval."""
    points = [(own[name] - other[name]).dropna() * (1 if name == "score" else 100)
              for name in GAINS]
    found = [interval(one, "seed") if len(one) else (np.nan,) * 4 for one in points]
    ratios = np.log((own.energy_mj / other.energy_mj).dropna())
    ends = np.exp(t_interval(ratios)) if len(ratios) else (np.nan,) * 3
    return len(points[0]), found[0][3], *(end for one in found for end in one[:3]), *ends
