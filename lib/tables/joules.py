"""Modelled joules of rows: of an answer and of a training, and what accuracy a training's buy.

Every number here is modelled, under each of two processes. An order that one of them turns round
is no finding.
"""

import numpy as np
import pandas as pd

from lib.base.setting import FIELDS, TEXT_FIELDS
from lib.tables.ahead import lead
from lib.tables.intervals import summary
from lib.tables.rows import setting_of

REPEAT = ("seed", "fold")
HALF = "plan-bf16"          # a recipe whose products are in half precision
NET = ("task", "model", *FIELDS)


def energies(rows: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """rows with what they take, a line a row and process: process ("45 nm"), answer_j (of one
    prediction), training_j (of the last training, missing where there was none of its own).

    costs: id, quantity, source, value; energy_j and spent_energy_j count, whose sources begin with
    the process.
    """
    told = costs[costs.quantity.isin(["energy_j", "spent_energy_j"]) & (costs.kind == "modelled")]
    if told.empty:
        return rows.head(0).assign(process="", answer_j=np.nan, training_j=np.nan)
    told = told.assign(process=told.source.str.partition(",")[0])       # no setting
    wide = told.pivot_table("value", ["id", "process"], "quantity").reset_index()
    wide = wide.reindex(columns=["id", "process", "energy_j", "spent_energy_j"]).rename(
        columns={"energy_j": "answer_j", "spent_energy_j": "training_j"})
    return rows.merge(wide, on="id", how="inner")


def of_trials(rows: pd.DataFrame, trials: list) -> pd.DataFrame:
    """Those rows that some trials made."""
    wanted = {(t.task, t.model, t.seed, t.fold, t.setting) for t in trials}
    kept = [(row.task, row.model, row.seed, None if pd.isna(row.fold) else row.fold,
             setting_of(row)) in wanted for row in rows.itertuples()]
    return rows[kept]


def names(rows: pd.DataFrame) -> pd.Series:
    """Each row's net and training in words: "resnet8 width=4, rate 0.003, 30 % pruned"; epochs
    where they are not what most have, bfloat16 where products were."""
    usual = rows.epochs.mode()
    found = []
    for row in rows.itertuples():
        words = [f"{row.model} {row.sizes}".strip()]
        words += [f"rate {row.lr:g}"] if pd.notna(row.lr) else []
        words += [f"{row.amount:.0%} pruned"] if row.pruner else []
        words += ["bfloat16"] if row.recipe == HALF else []
        shown = pd.notna(row.epochs) and len(usual) and row.epochs != usual.iloc[0]
        found.append(", ".join(words + ([f"{row.epochs:.0f} epochs"] if shown else [])))
    return pd.Series(found, rows.index, dtype=str)


def changes(rows: pd.DataFrame, energy: pd.DataFrame, scores: dict[str, np.ndarray],
            before: list, after: list) -> pd.DataFrame:
    """What each net of the trials `after` gains over that of `before` which is most like it (the
    same task; the same model and sizes, where there is one), pair by pair, and what it takes.

    Columns: task, net, against, score, gain, low, high, over, training, training_most, answer,
    answer_most: joules as multiples of the other's, by the process that tells least and most.
    """
    lines = []
    old, new = of_trials(rows, before), of_trials(rows, after)
    for (task, *_), some in new.groupby(list(NET), dropna=False, sort=False):
        kin = old.task.str.partition("@")[0] == task.partition("@")[0]      # no setting
        base = old[kin]
        for name in ("model", "sizes"):
            same = base[base[name] == some[name].iloc[0]]
            base = same if len(same) else base
        one = base[[*NET]].drop_duplicates()
        if len(one) != 1 or set(base.id) == set(some.id):
            continue
        gain, low, high, over = lead(some, base, scores)
        line = {"task": task, "net": names(pd.concat([some, rows])).iloc[0],
                "against": names(pd.concat([base, rows])).iloc[0], "score": some.score.mean(),
                "gain": gain, "low": low, "high": high, "over": over}
        for what in ("training", "answer"):
            means = [energy[energy.id.isin(part.id)].groupby("process")[f"{what}_j"].mean()
                     for part in (some, base)]
            times = means[0] / means[1]
            line |= {what: times.min(), f"{what}_most": times.max()}
        lines.append(line)
    return pd.DataFrame(lines, columns=["task", "net", "against", "score", "gain", "low", "high",
                                        "over", "training", "training_most", "answer",
                                        "answer_most"])


def bought(rows: pd.DataFrame, energy: pd.DataFrame, factors: dict[str, list]) -> pd.DataFrame:
    """What the nets of some trials score for the joules of their training, a line a factor and net:
    task, factor, net, process (the first of them), joules, score, low, high: means over seeds and
    folds, and an interval as of `summary`."""
    first = energy[energy.process == energy.process.iloc[0]] if len(energy) else energy
    parts = []
    for factor, trials in factors.items():
        told = first[first.id.isin(of_trials(rows, trials).id)]
        joules = told.groupby([*NET], dropna=False, as_index=False).training_j.mean()
        parts.append(summary(told).merge(joules, on=[*NET]).assign(factor=factor))
    found = pd.concat(parts, ignore_index=True)
    found["net"] = names(pd.concat([found, rows], ignore_index=True)).iloc[:len(found)]
    found["process"] = first.process.iloc[0] if len(first) else ""
    return found.rename(columns={"training_j": "joules"})[
        ["task", "factor", "net", "process", "joules", "score", "low", "high"]]


def curves(history: pd.DataFrame, energy: pd.DataFrame) -> pd.DataFrame:
    """Score on the validation part over the joules of a training so far, a line an epoch, net and
    process: the columns of NET, process, epoch, joules, score; means over seeds and folds.

    history: a line an epoch, with NET, seed, fold, epoch, val_score; energy: as of `energies`. Each
    epoch takes as many joules as another.
    """
    by = [*NET, *REPEAT]
    epochs = history.groupby(by, dropna=False).epoch.transform("max")
    numbers = {name: float for name in by if name not in ("task", "model", *TEXT_FIELDS)}
    told = energy[[*by, "process", "training_j"]].drop_duplicates().astype(numbers)
    joined = history.assign(share=history.epoch / epochs).astype(numbers).merge(told, on=by)
    joined["joules"] = joined.share * joined.training_j
    means = joined.groupby([*NET, "process", "epoch"], dropna=False, sort=False)
    return means.agg(joules=("joules", "mean"), score=("val_score", "mean")).reset_index()


def cheapest(found: pd.DataFrame, levels: list[float]) -> pd.DataFrame:
    """The recipe that comes to each score with the fewest joules, a line a task, level and process:
    task, level, process, recipe, joules, epoch, times (how much dearer the next recipe is), agrees
    (whether the processes name the same). found: as of `curves`, with `recipe`, a name; a task of
    one recipe has no cheapest."""
    lines = []
    for (task, process), part in found.groupby(["task", "process"], sort=False):
        for level in levels if part.recipe.nunique() > 1 else ():
            there = part[part.score >= level].sort_values("joules", kind="stable")
            first = there.groupby("recipe", sort=False).first().sort_values("joules")
            if len(first):
                times = first.joules.iloc[1] / first.joules.iloc[0] if len(first) > 1 else np.nan
                lines.append({"task": task, "level": level, "process": process,
                              "recipe": first.index[0], "joules": first.joules.iloc[0],
                              "epoch": first.epoch.iloc[0], "times": times})
    table = pd.DataFrame(lines, columns=["task", "level", "process", "recipe", "joules", "epoch",
                                         "times"])
    named = table.groupby(["task", "level"]).recipe.transform("nunique")
    return table.assign(agrees=named == 1)


def epochs_to(history: pd.DataFrame, level: float) -> pd.Series:
    """The first epoch of each training, by NET, seed and fold, whose validation score is `level` or
    more; missing where none is."""
    by = [*NET, *REPEAT]
    reached = history[history.val_score >= level].groupby(by, dropna=False).epoch.min()
    every = history.groupby(by, dropna=False).epoch.size().index
    return reached.reindex(every)


def best_epochs(history: pd.DataFrame) -> pd.DataFrame:
    """Of each training its best epoch on the validation part and its last: NET, seed, fold, epoch,
    val_score, last_score."""
    by = [*NET, *REPEAT]
    ordered = history.sort_values("epoch", kind="stable")
    best = ordered.loc[ordered.groupby(by, dropna=False).val_score.idxmax()]
    last = ordered.groupby(by, dropna=False, as_index=False).val_score.last()
    return best[[*by, "epoch", "val_score"]].merge(
        last.rename(columns={"val_score": "last_score"}), on=by)


def of_answers(offers: pd.DataFrame, rows: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """What an answer of each offered net takes, against the net as it was trained, and after how
    many answers its own training has paid back, a line an offer and process.

    offers: `tables.chosen`; rows, costs: of the chapters. Columns: task, net, the offer's model,
    sizes and technique (two smaller nets have one technique: none), process,
    microjoules, share (percent of the net as trained), answers (until the last training has paid
    back; missing where nothing was trained, or an answer saves nothing).
    """
    energy = energies(rows[rows.split == "test"], costs)
    wanted = offers.drop_duplicates([*NET, "net"])[[*NET, "net", "technique"]]
    own = energy.merge(wanted, on=list(NET))
    asked = ["quantizer", "pruner", "tuned", "repairs"]
    dense = energy[(energy[asked] == "").all(axis=1) & energy.lr.isna() & energy.epochs.isna()]
    sizes = dense.groupby(["task", "model", "process", "sizes"]).answer_j.mean()
    whole = sizes.groupby(["task", "model", "process"]).max().rename("whole_j")     # not a control
    whole = whole.reset_index().rename(columns={"model": "net"})
    by = ["task", "net", "model", "sizes", "technique", "process"]
    means = own.groupby(by, sort=False)[["answer_j", "training_j"]].mean().reset_index()
    found = means.merge(whole, on=["task", "net", "process"])
    saved = (found.whole_j - found.answer_j).where(lambda joules: joules > 0)
    return pd.DataFrame({
        **{name: found[name] for name in by}, "microjoules": 1e6 * found.answer_j,
        "share": 100 * found.answer_j / found.whole_j, "answers": found.training_j / saved})
