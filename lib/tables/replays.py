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
    told = costs[costs.quantity == "attainment"].groupby("id").value.first()
    wide = rows.assign(attainment=rows["id"].map(told))
    lines = []
    for (task, model, trace), part in wide.groupby(["task", "model", "trace"], sort=False):
        fixed = part[[name[:6] == "fixed " for name in part.policy]]
        own = part[part.policy == policy].set_index("seed")
        if fixed.empty or own.empty:
            continue
        means = fixed.groupby("policy", sort=False)[["attainment", "score"]].mean()
        best = means.sort_values(["attainment", "score"]).index[-1]
        other = fixed[fixed.policy == best].set_index("seed")
        line = {"task": task, "model": model, "trace": trace, "fixed": best}
        for name in ("attainment", "score"):
            gained = (own[name] - other[name]).dropna()
            mean, low, high = t_interval(gained)
            line |= {f"{name}_gained": mean, f"{name}_low": low, f"{name}_high": high}
        lines.append(line)
    return pd.DataFrame(lines)
