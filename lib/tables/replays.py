"""What policies come to that choose a precision while requests come."""

import pandas as pd

from lib.tables.intervals import t_interval

TOLD = ("attainment", "p50", "p95", "p99", "shed", "failed", "utilization", "switches_per_minute",
        "joules_per_1000")


def replays(rows: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """One line a task, trace and policy: means over seeds of score and of each of TOLD, seeds (how
    many), and for attainment its 95 % interval over these (t), attainment_low and attainment_high,
    missing where there is one seed.

    rows, costs: of `run.replayed`.
    """
    told = costs.pivot_table(index="id", columns="quantity", values="value", aggfunc="first")
    wide = rows.merge(told.reindex(columns=list(TOLD)).reset_index(), on="id")
    lines = []
    for (task, model, trace, policy), part in wide.groupby(["task", "model", "trace", "policy"],
                                                           sort=False):
        _, low, high = t_interval(part.attainment)
        lines.append({"task": task, "model": model, "trace": trace, "policy": policy,
                      "seeds": len(part), "score": part.score.mean(),
                      **{name: part[name].mean() for name in TOLD},
                      "attainment_low": low, "attainment_high": high})
    return pd.DataFrame(lines)


def better(rows: pd.DataFrame, costs: pd.DataFrame, policy: str) -> pd.DataFrame:
    """`policy` against the one model that answers most in time on the same traces (of several that
    answer as many the one that is right most often), pair by pair over seeds: task, model, trace,
    fixed (its name), attainment and score gained with their 95 % intervals over seeds, missing
    where there is one seed."""
    wide = _with_costs(rows, costs)
    lines = []
    for (task, model, trace), part in wide.groupby(["task", "model", "trace"], sort=False):
        fixed = part[[name[:6] == "fixed " for name in part.policy]]
        own = part[part.policy == policy]
        if fixed.empty or own.empty:
            continue
        means = fixed.groupby("policy", sort=False)[["attainment", "score"]].mean()
        best = means.sort_values(["attainment", "score"]).index[-1]
        lines.append({"task": task, "model": model, "trace": trace, "fixed": best,
                      **_gained(own, fixed[fixed.policy == best])})
    return pd.DataFrame(lines)


def beside(rows: pd.DataFrame, costs: pd.DataFrame, policy: str, other: str) -> pd.DataFrame:
    """`policy` against another one on the same traces, as `better` tells it, with joules: the
    joules of its answers as a multiple of the other's, a mean over seeds (missing where they are
    not known)."""
    wide = _with_costs(rows, costs)
    lines = []
    for (task, model, trace), part in wide.groupby(["task", "model", "trace"], sort=False):
        own, others = part[part.policy == policy], part[part.policy == other]
        if len(own) and len(others):
            times = own.set_index("seed").joules_per_1000 / others.set_index("seed").joules_per_1000
            lines.append({"task": task, "model": model, "trace": trace, "policy": policy,
                          **_gained(own, others), "joules": times.mean()})
    return pd.DataFrame(lines)


def _with_costs(rows: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    told = costs.pivot_table(index="id", columns="quantity", values="value", aggfunc="first")
    wanted = told.reindex(columns=["attainment", "joules_per_1000"]).reset_index()
    return rows.merge(wanted, on="id")


def _gained(own: pd.DataFrame, other: pd.DataFrame) -> dict[str, float]:
    """What is gained in attainment and score, seed by seed, with 95 % intervals."""
    one, two, line = own.set_index("seed"), other.set_index("seed"), {}
    for name in ("attainment", "score"):
        mean, low, high = t_interval((one[name] - two[name]).dropna())
        line |= {f"{name}_gained": mean, f"{name}_low": low, f"{name}_high": high}
    return line
