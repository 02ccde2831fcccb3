"""Sentences of policies that choose a precision, each computed from what it tells."""

import pandas as pd


def gained(table: pd.DataFrame, policy: str) -> list[str]:
    """A sentence a trace: what the policy gains on the best fixed rung, where several seeds carry
    it.

    table: `tables.better(…, policy)`.
    """
    return [f"{line['task']}, {line['trace']}: {policy} against "
            f"{line['fixed'].removeprefix('fixed ')} alone, the one model that answers most "
            f"requests right and in time: {_gains(line)}" for line in table.to_dict("records")]


def beside(table: pd.DataFrame, policy: str, other: str) -> list[str]:
    """A sentence a trace: what a policy gains on another one, and at how many joules.

    table: `tables.beside(…, policy, other)`.
    """
    told = []
    for line in table.to_dict("records"):
        joules = f", at {line['joules']:.2f} times the joules (modelled)" if pd.notna(
            line["joules"]) else ""
        told.append(f"{line['task']}, {line['trace']}: {policy} against {other}: "
                    f"{_gains(line)}{joules}")
    return told


def kept(table: pd.DataFrame, policy: str) -> list[str]:
    """A sentence a trace: what the floats alone answer in time, what the policy does, and at what
    loss.

    table: `tables.against_floats(…, policy, …)`.
    """
    told = []
    for line in table.to_dict("records"):
        lost = _with_spread(line, "lost")
        behind = _with_spread(line, "behind", 100)
        told.append(f"{line['task']}, {line['trace']}: the floats alone answer "
                    f"{100 * line['floats_in_time']:.1f} % in time, {policy} "
                    f"{100 * line['in_time']:.2f} %, and loses {lost} points of score to them on "
                    f"what it answers; one that knows all arrivals answers {behind} points more in "
                    "time")
    return told


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


def _gains(line: dict) -> str:
    """Points gained of what is answered right and in time, or in time, and of score."""
    known, words = pd.notna(line["attainment_gained_low"]), []
    for name, scale, unit in (("right_in_time", 100, "of what is answered right and in time"),
                              ("attainment", 100, "of what is answered in time"),
                              ("score", 1, "of score")):
        low, high = line[f"{name}_gained_low"], line[f"{name}_gained_high"]
        surely = "" if not known or low > 0 or high < 0 else ", which cannot be told from none"
        words.append(f"{_with_spread(line, f'{name}_gained', scale, '+')} points "
                     f"{unit}{surely}")
    carried = "over seeds" if known else "of one seed, which carries nothing"
    return f"{'; '.join(words)}; {carried}"


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
