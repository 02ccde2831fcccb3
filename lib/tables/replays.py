"""What policies come to that choose a precision while requests come."""

import pandas as pd

from lib.tables.intervals import t_interval

TOLD = ("right_in_time", "attainment", "p50", "p95", "p99", "shed", "failed", "utilization",
        "switches_per_minute", "floats_score", "joules_per_1000")
GAINS = ("right_in_time", "attainment", "score")
ENDS = ("", "_low", "_high")    # a mean and its 95 % interval
GAINED = tuple(f"{name}_gained{end}" for name in GAINS for end in ENDS)
KEPT = ("floats_in_time", "in_time", *(name + end for name in ("lost", "behind") for end in ENDS))
ORACLE = "clairvoyant"          # the policy that knows all arrivals to come


def replays(rows: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """One line a task, trace and policy: means over seeds of score and of each of TOLD, seeds (how
    many), and for attainment its 95 % interval over these (t), attainment_low and attainment_high,
    missing where there is one seed.

    rows, costs: of `run.replayed`.
    """
    wide, lines = _with_costs(rows, costs), []
    for (task, model, trace, policy), part in wide.groupby(["task", "model", "trace", "policy"],
                                                           sort=False):
        _, low, high = t_interval(part.attainment)
        lines.append({"task": task, "model": model, "trace": trace, "policy": policy,
                      "seeds": len(part), "score": part.score.mean(),
                      **{name: part[name].mean() for name in TOLD},
                      "attainment_low": low, "attainment_high": high})
    return pd.DataFrame(lines)


def better(rows: pd.DataFrame, costs: pd.DataFrame, policy: str) -> pd.DataFrame:
    """`policy` against the one model that answers most requests right and in time on the same
    traces, pair by pair over seeds: task, model, trace, fixed (its name), and of each of GAINS what
    is gained with its 95 % interval over seeds, missing where there is one seed."""
    lines = []
    for (task, model, trace), part in _traces(rows, costs):
        fixed = part[[name[:6] == "fixed " for name in part.policy]]
        own = part[part.policy == policy]
        if fixed.empty or own.empty:
            continue
        best = fixed.groupby("policy", sort=False).right_in_time.mean().idxmax()
        lines.append({"task": task, "model": model, "trace": trace, "fixed": best,
                      **_gained(own, fixed[fixed.policy == best])})
    return pd.DataFrame(lines, columns=["task", "model", "trace", "fixed", *GAINED])


def beside(rows: pd.DataFrame, costs: pd.DataFrame, policy: str, other: str) -> pd.DataFrame:
    """`policy` against another one on the same traces, as `better` tells it, with joules: the
    joules of its answers as a multiple of the other's, a mean over seeds (missing where they are
    not known)."""
    lines = []
    for (task, model, trace), part in _traces(rows, costs):
        own, others = part[part.policy == policy], part[part.policy == other]
        if len(own) and len(others):
            times = own.set_index("seed").joules_per_1000 / others.set_index("seed").joules_per_1000
            lines.append({"task": task, "model": model, "trace": trace, "policy": policy,
                          **_gained(own, others), "joules": times.mean()})
    return pd.DataFrame(lines, columns=["task", "model", "trace", "policy", *GAINED, "joules"])


def against_floats(rows: pd.DataFrame, costs: pd.DataFrame, policy: str, floats: str
                   ) -> pd.DataFrame:
    """What `policy` keeps where the floats are too slow, a line a trace: task, model, trace,
    floats_in_time and in_time (shares, means over seeds), lost (points of score that the floats
    would have had more on the requests it answered) and behind (share that a clairvoyant answers in
    time more), both with their 95 % intervals over seeds, pair by pair.

    floats: the name of the policy that answers by them alone.
    """
    lines = []
    for (task, model, trace), part in _traces(rows, costs):
        own, alone, oracle = (part[part.policy == name].set_index("seed")
                              for name in (policy, floats, ORACLE))
        if own.empty or alone.empty or oracle.empty:
            continue
        lines.append({"task": task, "model": model, "trace": trace,
                      "floats_in_time": alone.attainment.mean(),
                      "in_time": own.attainment.mean(),
                      **_ends("lost", own.floats_score - own.score),
                      **_ends("behind", oracle.attainment - own.attainment)})
    return pd.DataFrame(lines, columns=["task", "model", "trace", *KEPT])


def _traces(rows: pd.DataFrame, costs: pd.DataFrame):
    """The rows of each task, model and trace, with what they came to."""
    return _with_costs(rows, costs).groupby(["task", "model", "trace"], sort=False)


def _with_costs(rows: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    told = costs.pivot_table(index="id", columns="quantity", values="value", aggfunc="first")
    return rows.merge(told.reindex(columns=list(TOLD)).reset_index(), on="id")


def _gained(own: pd.DataFrame, other: pd.DataFrame) -> dict[str, float]:
    """What is gained of each of GAINS, seed by seed, with 95 % intervals."""
    one, two, line = own.set_index("seed"), other.set_index("seed"), {}
    for name in GAINS:
        line |= _ends(f"{name}_gained", one[name] - two[name])
    return line


def _ends(name: str, values: pd.Series) -> dict[str, float]:
    """A mean over seeds and its 95 % interval, as three columns."""
    return {name + end: value
            for end, value in zip(ENDS, t_interval(values.dropna()), strict=True)}
