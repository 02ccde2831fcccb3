"""Which models a reader takes along: of each net the smallest that stay within some losses."""

from collections.abc import Sequence

import pandas as pd

from lib.tables.choice import chosen

IN_POINTS = ["loss", "low", "high", "read", "read_low", "read_high"]


def taken(points: pd.DataFrame, folds: pd.DataFrame, within: Sequence[float],
          validated: pd.DataFrame | None = None) -> pd.DataFrame:
    """Of each net the smallest candidate whose mean loss stays within so many points: the lines
    that `choice.chosen` gives by the mean, with `within`; one that several of these allow stands
    once, with the least of them.

    points, folds, validated: as for `chosen`; within: points, each above 0. ValueError for one
    that is not.
    """
    if min(within) <= 0:
        raise ValueError(f"a net cannot stay within {min(within):g} points; name numbers above 0")
    parts = []
    for most in sorted(within):
        # `chosen` keeps to one point, and losses are in points.
        lines = chosen(_over(points, most), folds / most,
                       None if validated is None else _over(validated, most))
        lines = lines[lines.by == "mean"]
        parts.append(lines.assign(within=most, **{name: lines[name] * most for name in IN_POINTS}))
    found = pd.concat(parts)
    return found.drop_duplicates(["task", "net", "id"]).sort_values(
        ["task", "net", "within"], kind="stable", ignore_index=True)


def _over(points: pd.DataFrame, most: float) -> pd.DataFrame:
    """The same lines with losses as multiples of `most` points."""
    return points.assign(**{name: points[name] / most for name in IN_POINTS[:3]})
