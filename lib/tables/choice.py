"""Choice: what an answer offers is chosen on some folds' test parts and read on the one left out.

The smallest of many candidates that stay within a point is the one that luck flatters most: chosen
and read on the same folds, a rounded net of mv lost 0.4 points where it loses 3.1 on folds that did
not choose it. Of a net with one split what was scored on its validation part is chosen there; one
without such scores is not chosen on: it takes what the others chose.
"""

import numpy as np
import pandas as pd

from lib.base.metric import METRICS
from lib.base.setting import FIELDS
from lib.tables.intervals import t_interval
from lib.tables.losses import POINT, UNTOUCHED, plain

FEWEST = 3                  # folds, so that two are left that choose by an interval
RULES = ("mean", "interval")
MOST_OF_NETS = 0.8          # that a setting was tried on, before it is said to keep them
COLUMNS = ("by", "read", "read_low", "read_high", "alike", "folds", "chosen_on")
OTHER_FOLDS, VALIDATION = "other folds", "its validation part"
OTHER_NETS, NOTHING, SAME_TEST = "other nets", "nothing", "the same test part"


def by_fold(points: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The loss of each line of `points` on each fold, in points, seeds and draws averaged:
    (lines, folds) with the lines' own index; NaN for nets with one split.

    points: `in_points(losses(rows, …))`, or some of its lines.
    """
    if "against_id" not in points:          # a table of before: all against the net as trained
        whole = points[points.technique == UNTOUCHED].groupby(["task", "net"])["id"].first()
        points = points.join(whole.rename("against_id"), on=["task", "net"])
    names = ["task", "model", *FIELDS]
    numbers = {name: float for name in FIELDS if pd.api.types.is_numeric_dtype(rows[name])}
    lines = points[["against_id", *names]].astype(numbers).assign(line=points.index)
    tested = rows[(rows.split == "test") & rows.score.notna() & rows.fold.notna()]
    scored = lines.merge(tested[[*names, "seed", "fold", "n", "metric", "score"]], on=names)
    first = rows[rows["id"].isin(points.against_id)].drop_duplicates("id")
    whole = first[["id", *names]].rename(columns={"id": "against_id"}).merge(tested, on=names)
    pair = ["against_id", "seed", "fold", "n"]
    pairs = scored.merge(whole[[*pair, "score"]], on=pair, suffixes=("", "_whole"))
    tolerance = pairs.metric.map(lambda name: METRICS[name].tolerance).astype(float)
    pairs["loss"] = (pairs.score_whole - pairs.score) / tolerance
    table = pairs.groupby(["line", "fold"]).loss.mean().unstack()
    return table.reindex(points.index)


def chosen(points: pd.DataFrame, folds: pd.DataFrame, validated: pd.DataFrame | None = None
           ) -> pd.DataFrame:
    """What an answer offers of each net: a line by its mean loss, and one by its interval's end.

    points: `in_points(offered(losses(…)))`; folds: `by_fold(points, rows)`; validated: as points,
    of the validation part. Of a net with FEWEST folds or more the smallest candidate within a
    point. read, read_low, read_high: what such a choice loses on examples that had no part in it:
    chosen anew without each fold, read on that fold, with a t interval over them; alike: how often
    of `folds` times it was the same candidate.
    Of a net with one split the smallest candidate within a point on its validation part, read on
    the test part. One that has no scores there takes the plain setting that the fewest bits keep
    all nets with folds by (chosen_on: other nets), which is then read once; none if there is none,
    and nothing is done to it. Where no net has folds, all others are chosen by the test part on
    which they are read: read is NaN.
    """
    told = []
    with_folds = folds.notna().sum(axis=1) >= FEWEST
    for (task, net), part in points.groupby(["task", "net"], sort=False):
        part = part.sort_values(["KiB", "loss"], kind="stable")
        tried = _on_validation(part, validated, task, net)
        for rule in RULES:
            if with_folds[part.index].all():
                line = _on_other_folds(part, folds.loc[part.index].dropna(axis=1), rule)
            elif len(tried):
                line = _read_on_test(part, tried, rule)
            elif with_folds.any():
                line = _on_other_nets(part, points[with_folds], rule)
            else:
                first = part[_bound(part, rule) <= POINT].iloc[0]
                line = first.to_dict() | {"read": np.nan, "chosen_on": SAME_TEST}
            told.append({"by": rule, **line})
    return pd.DataFrame(told, columns=[*points.columns, *COLUMNS])


def settings(points: pd.DataFrame, folds: pd.DataFrame | None = None) -> pd.DataFrame:
    """One line a plain quantizer and number of bits that was tried on most nets.

    Columns: quantizer, bits_asked, loss and high at worst over these nets, nets (how many). folds:
    of these columns alone, with their t interval; else the lines' own.
    """
    if folds is not None:
        points = points.assign(loss=folds.mean(axis=1), high=_upper(folds))
    nets = points.groupby(["task", "net"]).ngroups
    lines = []
    for (quantizer, bits), part in plain(points).groupby(["quantizer", "bits_asked"]):
        tried = part.groupby(["task", "net"]).ngroups
        if tried >= MOST_OF_NETS * nets:
            lines.append({"quantizer": quantizer, "bits_asked": bits, "loss": part.loss.max(),
                          "high": part.high.max(), "nets": tried})
    return pd.DataFrame(lines, columns=["quantizer", "bits_asked", "loss", "high", "nets"])


def fewest_bits(settings: pd.DataFrame) -> pd.Series | None:
    """The setting of the fewest bits that keeps every net within a point, by the intervals, else by
    the means; None if none does."""
    kept = settings[settings.high <= POINT]
    if kept.empty:
        kept = settings[settings.loss <= POINT]
    return None if kept.empty else kept.sort_values(["bits_asked", "loss"]).iloc[0]


def _on_other_folds(part: pd.DataFrame, folds: pd.DataFrame, rule: str) -> dict:
    """part: a net's candidates from small to large; folds: (candidates, folds)."""
    whole = _first(folds, rule)
    without = [_first(folds.drop(columns=fold), rule) for fold in folds]
    reads = [folds.loc[line, fold] for line, fold in zip(without, folds, strict=True)]
    read, low, high = t_interval(reads)
    return part.loc[whole].to_dict() | {
        "read": read, "read_low": low, "read_high": high, "folds": len(reads),
        "alike": sum(line == whole for line in without), "chosen_on": OTHER_FOLDS}


def _first(folds: pd.DataFrame, rule: str):
    """The index of the first line within a point; doing nothing always is."""
    most = folds.mean(axis=1) if rule == "mean" else _upper(folds)
    return most.index[most <= POINT][0]


def _upper(folds: pd.DataFrame) -> pd.Series:
    """The upper ends of t intervals, line by line."""
    return pd.Series([t_interval(values)[2] for values in folds.to_numpy()], folds.index)


def _bound(part: pd.DataFrame, rule: str) -> pd.Series:
    return part.loss if rule == "mean" else part.high


def _on_validation(part: pd.DataFrame, validated: pd.DataFrame | None, task: str, net: str
                   ) -> pd.DataFrame:
    """The lines of one net's candidates on its validation part, from small to large, with `place`:
    the index of the same candidate's line in `part`; none where the net was not scored there."""
    if validated is None or validated.empty:
        return pd.DataFrame()
    own = validated[(validated.task == task) & (validated.net == net)]
    same = ["model", *FIELDS]
    numbers = {name: float for name in FIELDS if pd.api.types.is_numeric_dtype(part[name])}
    places = part[same].astype(numbers).assign(place=part.index)
    return own.astype(numbers).merge(places, on=same).sort_values(["KiB", "loss"], kind="stable")


def _read_on_test(part: pd.DataFrame, tried: pd.DataFrame, rule: str) -> dict:
    """part: a net's candidates on the test part; tried: `_on_validation` of them."""
    kept = tried[_bound(tried, rule) <= POINT]
    line = part.loc[kept.place.iloc[0]] if len(kept) else _untouched(part)
    return line.to_dict() | _read_once(line) | {"chosen_on": VALIDATION}


def _untouched(part: pd.DataFrame) -> pd.Series:
    return part[part.technique == UNTOUCHED].iloc[0]


def _read_once(line: pd.Series) -> dict:
    return {"read": line.loss, "read_low": line.low, "read_high": line.high}


def _on_other_nets(part: pd.DataFrame, others: pd.DataFrame, rule: str) -> dict:
    """The plain setting that others chose, among those that were tried on this net."""
    here = plain(part)
    known = settings(others).merge(here[["quantizer", "bits_asked"]].drop_duplicates())
    kept = known[_bound(known, rule) <= POINT].sort_values(["bits_asked", "loss"])
    if kept.empty:
        line = _untouched(part)
    else:
        same = (here.quantizer == kept.quantizer.iloc[0]) & (
            here.bits_asked == kept.bits_asked.iloc[0])
        line = here[same].iloc[0]
    return line.to_dict() | _read_once(line) | {
        "chosen_on": NOTHING if kept.empty else OTHER_NETS}
