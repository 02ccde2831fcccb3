"""Sentences of policies that choose a precision, each computed from what it tells."""

import pandas as pd


def gained(table: pd.DataFrame, policy: str) -> list[str]:
    """A sentence a trace: what the policy gains on the best fixed rung, where several seeds carry
    it.

    table: `tables.better(…, policy)`.
    """
    return [f"{line['task']}, {line['trace']}: {policy} against "
            f"{line['fixed'].removeprefix('fixed ')} alone, the one model that answers "
            f"most in time: {_gains(line)}" for line in table.to_dict("records")]


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


def switched(table: pd.DataFrame, decision: float) -> str:
    """What a switch costs: the choice, and the first answer by another rung.

    table: `realtime.switching`; decision: seconds of a choice.
    """
    told = []
    for line in table.itertuples():
        told.append(f"the first answer by {line.rung} after a switch takes "
                    f"{1e6 * line.after:,.0f} µs and others {1e6 * line.usual:,.0f} µs "
                    f"({line.switches} switches)")
    return "; ".join([f"A choice takes {1e6 * decision:,.1f} µs", *told])


def _gains(line: dict) -> str:
    """Points gained of what is answered in time, and of score."""
    known, words = pd.notna(line["attainment_low"]), []
    for name, scale, unit in (("attainment", 100, "points of what is answered in time"),
                              ("score", 1, "points of score")):
        value, low, high = (scale * line[f"{name}{end}"] if pd.notna(line[f"{name}{end}"])
                            else float("nan") for end in ("_gained", "_low", "_high"))
        spread = f" [{low:z.2f}, {high:z.2f}]" if known else ""
        surely = "" if not known or low > 0 or high < 0 else ", which cannot be told from none"
        words.append(f"{value:+z.2f}{spread} {unit}{surely}")
    carried = "over seeds" if known else "of one seed, which carries nothing"
    return f"{' and '.join(words)}, {carried}"


def steady(told: pd.DataFrame) -> str:
    """How often the policies that have hysteresis, and those that have none, change the rung."""
    means = told.groupby("policy", sort=False).switches_per_minute.mean()
    moving = means[[policy[:6] != "fixed " for policy in means.index]]
    return "Switches a minute: " + ", ".join(f"{policy} {value:,.0f}"
                                             for policy, value in moving.items())
