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
from lib.results.candidates import NET, TRAINING, itself
from lib.results.intervals import interval

EPSILON = 1e-9
MOST_ERROR = 1.1            # of the baseline's squared error, that a regression may grow to
FEWEST_FOLDS = 3            # so that two are left to select on
FEWEST_NETWORKS = 3         # on which a technique was tried, before it is selected by others
SAME = ["model", *FIELDS]
FOLDS, VALIDATION, OTHERS = "the other folds", "the validation set", "the other networks"
OBJECTIVES = {"size": "KiB", "latency": "ms", "energy": "energy"}
EVALUATED = ("evaluated", "evaluated_low", "evaluated_high", "evaluated_ratio")
SMALLER = "smaller dense model"
DENSE = (titles.BASELINE, titles.RUNNING["fp32"])


def eligible(table: pd.DataFrame, objective: str, training: str = TRAINING[-1]) -> pd.DataFrame:
    """The candidates that a reader could use: measured by the objective, no controls, no more
    training than allowed. `value` is what the objective counts, `ratio` the baseline's over it.

    objective: size (KiB that a decoder needs), latency (ms of one example; ONNX files alone),
    energy (share of the baseline's modelled energy: the larger one of both processes).
    """
    allowed = TRAINING[:TRAINING.index(training) + 1]
    energy = table[["energy_share", "energy_share_7nm"]].max(axis=1, skipna=False)
    table = table.assign(energy=energy, value=table.assign(energy=energy)[OBJECTIVES[objective]])
    kept = table[table.training.isin(allowed) & ~table.control.astype(bool) & table.value.notna()]
    if objective == "size":
        return kept.assign(ratio=kept.base_KiB / kept.value)
    if objective == "energy":
        return kept.assign(ratio=1 / kept.value)
    kept = kept[kept.deploy != ""]
    whole = kept[is_baseline(kept)].drop_duplicates(NET)[[*NET, "value"]]
    whole = kept[NET].merge(whole, on=NET, how="left").set_axis(kept.index)
    return kept.assign(ratio=whole.value / kept.value)


def is_baseline(table: pd.DataFrame) -> pd.Series:
    """The FP32 baseline of each network, as a model or as an FP32 file."""
    return itself(table) & table.technique.isin(DENSE)


def within(loss, error_ratio, tolerance: float):
    """Whether a mean loss in points is within the tolerance; a regression's squared error must not
    grow by more than a tenth either."""
    return (loss <= tolerance + EPSILON) & ~(error_ratio > MOST_ERROR)


def selection_losses(table: pd.DataFrame, validated: pd.DataFrame) -> pd.DataFrame:
    """Loss and error ratio of each candidate on its selection data: columns selected_on,
    selection_loss, selection_ratio; missing where there are neither folds nor validation scores.

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
        folds, validated = (part[part.selected_on == where] for where in (FOLDS, VALIDATION))
        if len(folds):
            lines += _on_folds(folds, tolerance)
        elif len(validated):
            good = within(validated.selection_loss, validated.selection_ratio, tolerance)
            lines += _first(validated[good])
        else:
            lines += _first(part[itself(part) & part.technique.isin(
                _safe(part.iloc[0], table, tolerance))].assign(selected_on=OTHERS))
    found = pd.DataFrame(lines, columns=[*kept.columns, *EVALUATED, "same", "folds", "held"])
    found = found.astype(dict.fromkeys(["value", "ratio", *EVALUATED], float))    # none found too
    return found.assign(objective=objective, tolerance=tolerance,
                        kept=within(found.evaluated, found.evaluated_ratio, tolerance))


def _on_folds(part: pd.DataFrame, tolerance: float) -> list[dict]:
    """The line of one network, if something is selected of each fold's others; part: from least to
    most."""
    def least(without: int | None = None):
        good = part[within(*_means(part, without), tolerance)]
        return good.iloc[0] if len(good) else None

    whole, held = least(), {fold: least(fold) for fold in part.by_fold.iloc[0]}
    if whole is None or any(line is None for line in held.values()):
        return []
    same = sum(line.name == whole.name for line in held.values())
    return [_evaluated(whole, [line.by_fold[fold] for fold, line in held.items()], same)]


def _means(part: pd.DataFrame, without: int | None = None) -> tuple[pd.Series, pd.Series]:
    """Mean losses and error ratios of candidates over their folds, without one where it is given;
    on the validation set where there are no folds."""
    if without is None:
        return part.selection_loss, part.selection_ratio
    means = []
    for folds, *instead in zip(part.by_fold, part.selection_loss, part.selection_ratio,
                               strict=True):
        rest = [one for fold, one in folds.items() if fold != without]
        means.append(np.mean(rest, axis=0) if rest else instead)
    table = pd.DataFrame(means, part.index, ["loss", "ratio"], dtype=float)
    return table.loss, table.ratio


def _evaluated(line: pd.Series, reads: list[tuple[float, float]], same: int) -> dict:
    """A selected candidate with what was read of each held-out fold: (loss, error ratio)."""
    mean, low, high, _ = interval([loss for loss, _ in reads], "fold")
    return line.to_dict() | {
        "evaluated": mean, "evaluated_low": low, "evaluated_high": high,
        "evaluated_ratio": float(np.mean([ratio for _, ratio in reads])), "same": same,
        "folds": len(reads), "held": reads}


def _first(good: pd.DataFrame) -> list[dict]:
    """The first candidate, evaluated by its loss on the test set; nothing where there is none."""
    return [line.to_dict() | {
        "evaluated": line.loss, "evaluated_low": line.low, "evaluated_high": line.high,
        "evaluated_ratio": line.error_ratio, "same": np.nan, "folds": np.nan,
        "held": list(line.by_fold.values())}
        for _, line in good.head(1).iterrows()]


def _safe(first: pd.Series, table: pd.DataFrame, tolerance: float) -> pd.Index:
    """For a network without selection data: techniques whose selection loss is within the tolerance
    on every other network of its kind of data that tried them, FEWEST_NETWORKS at least."""
    alike = table.task.map(names.kind) == names.kind(first.task)
    others = table[alike & (table[NET] != first[NET]).any(axis=1) & (table.selected_on != "")
                   & itself(table)]
    good = within(others.selection_loss, others.selection_ratio, tolerance)
    told = good.groupby(others.technique).agg(["all", "size"])
    return told.index[told["all"] & (told["size"] >= FEWEST_NETWORKS)]


def recipe(table: pd.DataFrame, tasks: Iterable[str], objective: str, tolerance: float,
           training: str) -> tuple[str, pd.DataFrame]:
    """The one technique to take for networks of some tasks, and what it did to each of them.

    Of techniques (by `titles.family`) within the tolerance on the selection data of every network
    that tried them, more than half of the networks that tried any of as much training and two at
    least (one where there is only one), and that gain on each of them, the one with the largest
    geometric mean of `ratio`; the baseline where nothing does. Returns its title ("" where the
    evidence is not enough) and a line a network: the candidate's columns, evaluated with its
    interval: on each fold by the technique that was selected without it.
    """
    own = table[table.task.isin(list(tasks))]
    kept = eligible(own, objective, training)
    kept = kept[itself(kept)].sort_values("selection_loss")
    kept = kept.assign(technique=[titles.family(line) for line in kept.itertuples()])
    kept = kept.replace({"technique": {titles.RUNNING["fp32"]: titles.BASELINE}})
    kept = kept.drop_duplicates([*NET, "technique"], ignore_index=True)
    if training == TRAINING[-1]:                # the baseline itself where no smaller one is found
        smaller = select(own[own.technique.isin(DENSE)], objective, tolerance, training)
        if len(smaller):
            read = [dict(zip(*of, strict=True)) for of in smaller[["by_fold", "held"]].to_numpy()]
            smaller = smaller.assign(technique=SMALLER, training=training, by_fold=read)
            kept = pd.concat([kept, smaller], ignore_index=True)
    title = _best(kept, tolerance)
    if not title:
        return "", kept.head(0)
    folds = sorted({fold for one in kept.by_fold for fold in one})
    best = {fold: _best(kept, tolerance, fold) for fold in folds}
    lines = []
    for _, part in kept.groupby(NET, sort=False):
        part = part.drop_duplicates("technique").set_index("technique", drop=False)
        if title not in part.index:
            continue
        line = part.loc[title]
        if len(line.by_fold) < FEWEST_FOLDS:
            lines += _first(part.loc[[title]])
        else:
            reads = [part.loc[best[fold] if best[fold] in part.index else title].by_fold[fold]
                     for fold in line.by_fold]
            lines.append(_evaluated(line, reads, sum(best[fold] == title
                                                     for fold in line.by_fold)))
    return title, pd.DataFrame(lines)


def _best(kept: pd.DataFrame, tolerance: float, without: int | None = None) -> str:
    """The title of the best technique, selected without one fold where that is given; "" where the
    evidence is not enough."""
    losses, ratios = _means(kept, without)
    known = kept[losses.notna()]
    if known.empty:
        return ""
    networks = known.groupby(NET).ngroups
    as_much = known.groupby("training").apply(lambda part: part.groupby(NET).ngroups)
    tried = known.groupby("technique").agg(
        networks=("task", "size"), training=("training", "first"),
        gain=("ratio", lambda ratio: np.exp(np.log(ratio).mean())), least=("ratio", "min"))
    enough = (tried.networks > tried.training.map(as_much) / 2) & (
        tried.networks >= min(2, networks))
    if not enough.any():
        return ""
    good = within(losses, ratios, tolerance)[known.index].groupby(known.technique).all()
    best = tried[enough & good.reindex(tried.index) & (tried.least > 1)]
    return str(best.gain.idxmax()) if len(best) else titles.BASELINE
