"""Sentences of policies that choose a precision, each computed from what it tells."""

import pandas as pd

from lib.base.said import count


def gained(table: pd.DataFrame, policy: str) -> list[str]:
    """A sentence a task: on how many traces the policy surely answers more requests right and in
    time than the best single model of each, on how many surely fewer, and where it gains most.

    table: `tables.better(…, policy)`.
    """
    told = []
    for task, part in table.groupby("task", sort=False):
        most = part.loc[part.right_in_time_gained.idxmax()].to_dict()
        single = most["fixed"].removeprefix("fixed ")
        told.append(f"{task}: {policy} against the one model that answers most requests right and "
                    f"in time on each trace: {_sides(part)}; most on {most['trace']}, against "
                    f"{single} alone: {_gain(most)}")
    return told


def kept(table: pd.DataFrame, policy: str) -> list[str]:
    """A sentence a task: what the floats alone answer in time and what the policy does, where each
    does worst, the most score that it loses to them, and how far it is behind at most.

    table: `tables.against_floats(…, policy, …)`. Traces of which it answered nothing are left out.
    """
    told = []
    for task, part in table.dropna(subset="lost").groupby("task", sort=False):
        lines = part.set_index("trace")
        floats, own, lost, behind = (lines.floats_in_time.idxmin(), lines.in_time.idxmin(),
                                     lines.lost.idxmax(), lines.behind.idxmax())
        least = lines.in_time[own]
        its_own = (f"its own least being {100 * least:.2f} % on {own}"
                   if least < lines.in_time[floats] else "on no trace less")
        told.append(
            f"{task}: the floats alone answer least in time on {floats}, "
            f"{100 * lines.floats_in_time[floats]:.1f} %, where {policy} answers "
            f"{100 * lines.in_time[floats]:.2f} %, {its_own}; on what it answers it loses most "
            f"score to the floats on {lost}, "
            f"{_with_spread(lines.loc[lost].to_dict(), 'lost')} points; one that knows all "
            "arrivals answers at most "
            f"{_with_spread(lines.loc[behind].to_dict(), 'behind', 100)} points more in time")
    return told


def beside(table: pd.DataFrame, policy: str, other: str) -> str:
    """What a policy gains on another one over all traces, and at how many joules.

    table: `tables.beside(…, policy, other)`.
    """
    if table.empty:
        return f"{policy} and {other} met on no trace"
    joules = "" if table.joules.isna().all() else (
        f", at {table.joules.min():.2f} to {table.joules.max():.2f} times the joules (modelled)")
    return f"{policy} against {other}: {_sides(table)}{joules}"


def switched(table: pd.DataFrame, decision: float, rungs: dict[str, float]) -> str:
    """What a switch costs: the choice, and the first answer by another rung.

    table: `realtime.switching`; decision: seconds of a choice; rungs: name -> seconds of an answer.
    """
    told = []
    for line in table.itertuples():
        told.append(f"the first answer by {line.rung} after a switch takes "
                    f"{1e6 * line.after:,.0f} µs and others {1e6 * line.usual:,.0f} µs "
                    f"({line.switches} switches)")
    shares = ", ".join(f"{decision / seconds:.2%} of an answer by {name}"
                       for name, seconds in rungs.items())
    return "; ".join([f"A choice takes {1e6 * decision:,.1f} µs, {shares}", *told])


def _sides(table: pd.DataFrame) -> str:
    """On how many traces more requests are surely right and in time, and on how many fewer."""
    value = table.right_in_time_gained
    span = f"from {100 * value.min():+z.2f} to {100 * value.max():+z.2f} points of all requests"
    if table.right_in_time_gained_low.isna().any():
        return f"{span}, of one seed, which carries nothing"
    more = int((table.right_in_time_gained_low > 0).sum())
    fewer = int((table.right_in_time_gained_high < 0).sum())
    return f"surely more on {more} of {count(len(table), 'trace')}, surely fewer on {fewer}; {span}"


def _gain(line: dict) -> str:
    """Points gained of what is answered right and in time, in time, and of score."""
    return (f"{_with_spread(line, 'right_in_time_gained', 100, '+')} points, "
            f"{_with_spread(line, 'attainment_gained', 100, '+')} of what is in time and "
            f"{_with_spread(line, 'score_gained', 1, '+')} of score")


def _with_spread(line: dict, name: str, scale: float = 1, sign: str = "") -> str:
    """`1.20 [0.90, 1.50]`, or the value alone where there is no interval."""
    value, low, high = (scale * line[name + end] for end in ("", "_low", "_high"))
    spread = f" [{low:z.2f}, {high:z.2f}]" if pd.notna(low) else ""
    return f"{value:{sign}z.2f}{spread}"


def steady(told: pd.DataFrame, dwell: float) -> str:
    """How often the policies that have hysteresis, and those that have none, change the rung.

    dwell: seconds that the former keep a rung before they go up.
    """
    means = told.groupby("policy", sort=False).switches_per_minute.mean()
    moving = means[[policy[:6] != "fixed " for policy in means.index]]
    switches = ", ".join(f"{policy} {value:,.0f}" for policy, value in moving.items())
    return (f"Switches a minute: {switches}; who keeps a rung for {dwell:g} s before going up goes "
            f"up at most {60 / dwell:,.0f} times")
