"""What became of claims, as tables for `show.table`."""

import pandas as pd

from lib.base.said import written
from lib.page.figures.report import with_interval

OF_COUNTS = ("about", "nets", "all", "others inside, %")    # columns that are no verdict


def counted(counts: pd.DataFrame) -> pd.DataFrame:
    """A line as of `claims.by_verdict`: how many claims, and the verdicts that any of them got, the
    most frequent first."""
    verdicts = counts.drop(columns=list(OF_COUNTS))
    told = []
    for line in verdicts.to_dict("records"):
        there = sorted(((count, verdict) for verdict, count in line.items() if count),
                       key=lambda one: -one[0])
        told.append("; ".join(f"{count} {verdict}" for count, verdict in there))
    return pd.DataFrame({"about": counts["about"], "nets": counts.nets, "claims": counts["all"],
                         "verdicts": told, "others inside, %": counts["others inside, %"]})


def on_own_nets(judged: pd.DataFrame) -> pd.DataFrame:
    """Conclusions of a study that published its nets: ours with its interval on these, and on nets
    trained anew, each with its verdict.

    judged: lines of `claims.judge`.
    """
    return pd.DataFrame({
        "claim": judged.claim, "published": _numbers(judged, "published"),
        "on its own nets": _spread(judged, "own_"), "verdict": judged.own_verdict,
        "on nets trained anew": _spread(judged, ""), "verdict of these": judged.verdict})


def on_ours(judged: pd.DataFrame) -> pd.DataFrame:
    """Conclusions of studies that published no net: ours with its interval, the verdict, and what
    is known of either number.

    judged: lines of `claims.judge_green`, `tables.judge_plan` or `tables.judge_serving`.
    """
    return pd.DataFrame({
        "claim": judged.claim, "study": judged.study, "task": judged.task,
        "published": _numbers(judged, "published"), "ours": _spread(judged, ""),
        "verdict": judged.verdict, "note": judged.cause})


def _numbers(judged: pd.DataFrame, name: str) -> pd.Series:
    """A column as text, which is missing where it is not known."""
    return judged[name].map(written, na_action="ignore")


def _spread(judged: pd.DataFrame, whose: str) -> pd.Series:
    """`4.12 [3.81, 4.43]`; the value alone where there is no interval, in digits that tell it."""
    names = [f"{whose}{end}" for end in ("ours", "low", "high")]
    known = judged[names[1]].notna()
    return with_interval(judged, *names).where(known, _numbers(judged, names[0]))
