"""The one selection rule: the least candidate that stays within a tolerance, evaluated elsewhere.

Least in file size, latency or modelled energy. Selected by the mean loss on the selection data: on
the other folds, or on the validation set; where a network has neither, by the worst loss of the
same technique on the other networks. Evaluated on the held-out folds, or on the test set.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from lib.base import names, titles
from lib.base.setting import FIELDS
from lib.results.candidates import TRAINING
from lib.results.intervals import interval

EPSILON = 1e-9
MOST_ERROR = 1.1            # of the baseline's squared error, that a regression may grow to
FEWEST_FOLDS = 3            # so that two are left to select on
FEWEST_NETWORKS = 3         # on which a technique was tried, before it is selected by others
NET = ["task", "net", "net_sizes"]
SAME = ["model", *FIELDS]
FOLDS, VALIDATION, OTHERS = "the other folds", "the validation set", "the other networks"
OBJECTIVES = {"size": "KiB", "latency": "ms", "energy": "energy"}
SMALLER = "smaller dense model"


def eligible(table: pd.DataFrame, objective: str, training: str = TRAINING[-1]) -> pd.DataFrame:
    """The candidates that a reader could use: measured by the objective, no controls, no more
    training than allowed. `value` is what the objective counts, `ratio` the baseline's over it.

    objective: size (KiB that a decoder needs), latency (ms of one example; ONNX files alone),
    energy (share of the baseline's modelled energy: the larger one of both processes).
    """
    allowed = TRAINING[:TRAINING.index(training) + 1]
    value = table[["energy_share", "energy_share_7nm"]].max(axis=1, skipna=False)
    table = table.assign(energy=value)
    kept = table[table.training.isin(allowed) & ~table.control.astype(bool)
                 & table[OBJECTIVES[objective]].notna()]
    if objective == "latency":
        kept = kept[kept.deploy != ""]
    kept = kept.assign(value=kept[OBJECTIVES[objective]].astype(float))
    return kept.assign(ratio=_base_value(kept, objective) / kept.value)


def _base_value(kept: pd.DataFrame, objective: str) -> pd.Series:
    """What the baseline takes: its size, the time of its FP32 file, all of its energy."""
    if objective == "size":
        return kept.base_KiB
    if objective == "energy":
        return pd.Series(1.0, kept.index)
    whole = kept[is_baseline(kept)].drop_duplicates(NET).set_index(NET).value
    return pd.Series(whole.reindex(pd.MultiIndex.from_frame(kept[NET])).to_numpy(), kept.index)


def is_baseline(table: pd.DataFrame) -> pd.Series:
    """The FP32 baseline of each network, as a model or as an FP32 file."""
    itself = (table.model == table.net) & (table.sizes == table.net_sizes)
    return itself & table.technique.isin([titles.BASELINE, titles.RUNNING["fp32"]])


def within(loss, error_ratio, tolerance: float):
    """Whether a mean loss in points is within the tolerance; a regression's squared error must not
    grow by more than a tenth either."""
    return (loss <= tolerance + EPSILON) & ~(error_ratio > MOST_ERROR)


def selection_losses(table: pd.DataFrame, validated: pd.DataFrame) -> pd.DataFrame:
    """Loss and error ratio of each candidate on its selection data: columns selected_on,
    selection_loss, selection_ratio; missing where its network has neither folds nor validation
    scores of this candidate.

    validated: as `candidates` gives it of the validation set.
    """
    folds = table.by_fold.map(len) >= FEWEST_FOLDS
    numbers = {name: float for name in SAME if pd.api.types.is_numeric_dtype(table[name])}
    same = [*NET, *SAME]
    scored = validated[[*same, "loss", "error_ratio"]].astype(numbers).drop_duplicates(same)
    found = table[same].astype(numbers).merge(scored, on=same, how="left")
    found.index = table.index
    return pd.DataFrame({
        "selected_on": np.where(folds, FOLDS, np.where(found.loss.notna(), VALIDATION, "")),
        "selection_loss": table.loss.where(folds, found.loss),
        "selection_ratio": table.error_ratio.where(folds, found.error_ratio)}, index=table.index)


def select(table: pd.DataFrame, objective: str = "size", tolerance: float = 1.0,
           training: str = TRAINING[-1]) -> pd.DataFrame:
    """For each network the least candidate within `tolerance` points: a line a network.

    table: `candidates` of the test set joined with `selection_losses`. Columns: the candidate's,
    value, ratio, selected_on, evaluated, evaluated_low, evaluated_high (its loss where it was not
    selected), same (how many of `folds` selections without a fold chose it), kept (is evaluated
    within the tolerance). A network of which nothing could be selected has no line; one for which
    the baseline is the answer has the baseline's.
    """
    kept = eligible(table, objective, training).sort_values(["value", "loss"], kind="stable")
    lines = []
    for _, part in kept.groupby(NET, sort=False):
        if (part.selected_on == FOLDS).any():
            line = _on_folds(part[part.selected_on == FOLDS], tolerance)
        elif (part.selected_on == VALIDATION).any():
            line = _on_validation(part[part.selected_on == VALIDATION], tolerance)
        else:
            line = _on_others(part, table, tolerance)
        if line is not None:
            lines.append(line)
    found = pd.DataFrame(lines, columns=[*kept.columns, "evaluated", "evaluated_low",
                                         "evaluated_high", "evaluated_ratio", "same", "folds"])
    return found.assign(objective=objective, tolerance=tolerance, kept=within(
        found.evaluated.astype(float), found.evaluated_ratio.astype(float), tolerance))


def _on_folds(part: pd.DataFrame, tolerance: float) -> dict | None:
    """part: one network's candidates from least to most."""
    losses, ratios = by_fold(part)
    whole = _least(losses, ratios, tolerance)
    held = {fold: _least(losses.drop(columns=fold), ratios.drop(columns=fold), tolerance)
            for fold in losses}
    if whole is None or None in held.values():
        return None
    reads = [losses.loc[line, fold] for fold, line in held.items()]
    mean, low, high, _ = interval(reads, "fold")
    ratio = float(np.mean([ratios.loc[line, fold] for fold, line in held.items()]))
    return part.loc[whole].to_dict() | {
        "evaluated": mean, "evaluated_low": low, "evaluated_high": high, "evaluated_ratio": ratio,
        "same": sum(line == whole for line in held.values()), "folds": len(held)}


def by_fold(part: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Losses and error ratios of candidates: (candidates, folds) each."""
    losses = pd.DataFrame([{fold: one[0] for fold, one in folds.items()} for folds in part.by_fold],
                          index=part.index)
    ratios = pd.DataFrame([{fold: one[1] for fold, one in folds.items()} for folds in part.by_fold],
                          index=part.index)
    return losses, ratios


def _least(losses: pd.DataFrame, ratios: pd.DataFrame, tolerance: float):
    good = within(losses.mean(axis=1), ratios.mean(axis=1), tolerance)
    return losses.index[good][0] if good.any() else None


def _on_validation(part: pd.DataFrame, tolerance: float) -> dict | None:
    good = part[within(part.selection_loss, part.selection_ratio, tolerance)]
    return None if good.empty else good.iloc[0].to_dict() | _once(good.iloc[0])


def _once(line: pd.Series) -> dict:
    return {"evaluated": line.loss, "evaluated_low": line.low, "evaluated_high": line.high,
            "evaluated_ratio": line.error_ratio, "same": np.nan, "folds": np.nan}


def _on_others(part: pd.DataFrame, table: pd.DataFrame, tolerance: float) -> dict | None:
    """A network without selection data takes the least technique whose selection loss is within
    the tolerance on every other network of its kind of data that tried it, FEWEST_NETWORKS at
    least."""
    first = part.iloc[0]
    alike = table.task.map(names.kind) == names.kind(first.task)
    others = table[alike & (table[NET] != first[NET]).any(axis=1) & (table.selected_on != "")
                   & (table.model == table.net) & (table.sizes == table.net_sizes)]
    good = within(others.selection_loss, others.selection_ratio, tolerance)
    told = good.groupby(others.technique).agg(["all", "size"])
    safe = told.index[told["all"] & (told["size"] >= FEWEST_NETWORKS)]
    own = part[part.technique.isin(safe) & (part.model == part.net)]
    return None if own.empty else own.iloc[0].to_dict() | _once(own.iloc[0]) | {
        "selected_on": OTHERS}


def recipe(table: pd.DataFrame, tasks: Iterable[str], objective: str, tolerance: float,
           training: str) -> tuple[str, pd.DataFrame]:
    """The one technique to take for networks of some tasks, and what it did to each of them.

    Of techniques within the tolerance on the selection data of every network that tried them, more
    than half of the networks that tried any of as much training and two at least (one where there
    is only one), the one with the largest geometric mean of `ratio`; the baseline where nothing
    gains. Returns its title ("" where the evidence is not enough) and a line a network: the
    candidate's columns, evaluated with its interval: on each fold by the technique that was
    selected without it.
    """
    own = table[table.task.isin(list(tasks))]
    dense = own[(own.training == "from scratch") & (own.technique == titles.BASELINE)
                | is_baseline(own)]
    kept = eligible(own, objective, training)
    itself = kept[(kept.model == kept.net) & (kept.sizes == kept.net_sizes)]
    itself = itself.assign(technique=itself.technique.replace(
        titles.RUNNING["fp32"], titles.BASELINE))
    smaller = select(dense, objective, tolerance, training) if training == TRAINING[-1] else None
    if smaller is not None and len(smaller):        # the baseline itself where none is found
        smaller = smaller.assign(technique=SMALLER, training=training)
        itself = pd.concat([itself, smaller], ignore_index=True)
    if itself.empty:
        return "", itself
    title = _best(itself, tolerance)
    if not title:
        return "", itself.head(0)
    folds = sorted({fold for one in itself.by_fold for fold in one})
    without = {fold: _best(itself, tolerance, fold) for fold in folds}
    lines = [_evaluated(part, title, without)
             for _, part in itself.groupby(NET, sort=False) if (part.technique == title).any()]
    return title, pd.DataFrame(lines)


def _best(kept: pd.DataFrame, tolerance: float, without: int | None = None) -> str:
    """The title of the best technique, selected without one fold where that is given."""
    if without is not None:
        means = [_without(folds, without) for folds in kept.by_fold]
        losses = pd.Series([m[0] for m in means], kept.index).fillna(kept.selection_loss)
        ratios = pd.Series([m[1] for m in means], kept.index).fillna(kept.selection_ratio)
    else:
        losses, ratios = kept.selection_loss, kept.selection_ratio
    known = kept[losses.notna()]
    if known.empty:
        return ""
    networks = known.groupby(NET).ngroups
    as_much = known.groupby("training").apply(lambda part: part.groupby(NET).ngroups)
    tried = known.groupby("technique").agg(
        networks=("task", "size"), training=("training", "first"),
        gain=("ratio", lambda ratio: np.exp(np.log(ratio).mean())))
    enough = (tried.networks > tried.training.map(as_much) / 2) & (
        tried.networks >= min(2, networks))
    if not enough.any():
        return ""
    good = within(losses, ratios, tolerance)[known.index].groupby(known.technique).all()
    best = tried[enough & good.reindex(tried.index) & (tried.gain > 1)]
    return str(best.gain.idxmax()) if len(best) else titles.BASELINE


def _without(folds: dict, fold: int) -> tuple[float, float]:
    rest = [one for place, one in folds.items() if place != fold]
    return tuple(np.mean(rest, axis=0)) if rest else (np.nan, np.nan)


def _evaluated(part: pd.DataFrame, title: str, without: dict[int, str]) -> dict:
    """One network's line of a recipe; part: its eligible candidates."""
    own = part.drop_duplicates("technique").set_index("technique", drop=False)
    line = own.loc[title]
    if len(line.by_fold) < FEWEST_FOLDS:
        return line.to_dict() | _once(line)
    reads = [own.loc[without[fold] if without[fold] in own.index else title].by_fold[fold]
             for fold in line.by_fold]
    mean, low, high, _ = interval([one[0] for one in reads], "fold")
    return line.to_dict() | {
        "evaluated": mean, "evaluated_low": low, "evaluated_high": high,
        "evaluated_ratio": float(np.mean([one[1] for one in reads])),
        "same": sum(without[fold] == title for fold in line.by_fold), "folds": len(line.by_fold)}
