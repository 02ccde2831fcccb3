"""Sentences of policies that choose a precision, each computed from what it tells."""

import pandas as pd


def gained(table: pd.DataFrame, policy: str) -> list[str]:
    """A sentence a trace: what the policy gains on the best fixed rung, where several seeds carry
    it.

    table: `tables.better(…, policy)`.
    """
    told = []
    for line in table.to_dict("records"):
        known = pd.notna(line["attainment_low"])
        words = []
        for name, scale, unit in (("attainment", 100, "points of what is answered in time"),
                                  ("score", 1, "points of score")):
            value, low, high = (scale * line[f"{name}{end}"] if pd.notna(line[f"{name}{end}"])
                                else float("nan") for end in ("_gained", "_low", "_high"))
            spread = f" [{low:z.2f}, {high:z.2f}]" if known else ""
            surely = "" if not known or low > 0 or high < 0 else ", which cannot be told from none"
            words.append(f"{value:+z.2f}{spread} {unit}{surely}")
        carried = "over seeds" if known else "of one seed, which carries nothing"
        told.append(f"{line['task']}, {line['trace']}: {policy} against "
                    f"{line['fixed'].removeprefix('fixed ')} alone, the one model that answers "
                    f"most in time: {' and '.join(words)}, {carried}")
    return told


def steady(told: pd.DataFrame) -> str:
    """How often the policies that have hysteresis, and those that have none, change the rung."""
    means = told.groupby("policy", sort=False).switches_per_minute.mean()
    moving = means[[policy[:6] != "fixed " for policy in means.index]]
    return "Switches a minute: " + ", ".join(f"{policy} {value:,.0f}"
                                             for policy, value in moving.items())
