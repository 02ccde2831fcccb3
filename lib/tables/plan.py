"""ResNet-energy's claims, which came without code or data, beside what the rows of 06 say.

Its data set is not known, so that nothing can be reproduced: a claim generalizes to our images or
does not, or is undecided where an interval carries neither.
"""

from itertools import pairwise

import numpy as np
import pandas as pd

from lib.base.said import written
from lib.base.setting import FIELDS, Setting
from lib.tables.ahead import lead
from lib.tables.cells import UNTESTED
from lib.tables.claims import COLUMNS, NUMBERS
from lib.tables.intervals import t_interval
from lib.tables.joules import NET, curves, energies, epochs_to, names, of_trials

HOLDS, FAILS, UNDECIDED = "generalizes", "does not generalize", "undecided"
OWN_GRADIENTS = 1 / 3           # of a training's products: the weights' own, which no zero spares
FEED_FORWARD = ("mlp_simple", "mlp_complex")
AS_MUCH = 0.01                  # of the joules: less than that apart is as much
EARLY = 0.95                    # of the score that the net without shortcuts ends with


def judge_plan(rows: pd.DataFrame, history: pd.DataFrame, costs: pd.DataFrame,
               scores: dict[str, np.ndarray], claims: pd.DataFrame) -> pd.DataFrame:
    """A line a claim and task: study, kind, task, claim, published, ours, low, high, rows, verdict,
    cause. rows, costs, scores: of 06; history: `recipes.histories`; claims:
    data/published/resnet_energy.csv."""
    found: list[dict] = []
    plan = rows[(rows.recipe == "plan") & (rows.split == "test")]
    judges = {"savings": _savings, "rate": _rate, "shortcuts": _shortcuts, "accuracy": _accuracy,
              "order": _order}
    for claim in claims.itertuples():
        lines = []
        for task, part in plan.groupby("task", sort=False):
            of_task = history[history.task == task] if len(history) else history
            told = judges[claim.claim](part, of_task, costs, scores, claim)
            lines += [{"task": task, **line} for line in told]
        lines = lines or [{"task": "", "verdict": UNTESTED, "rows": 0}]
        found += [{"study": claim.study, "kind": "conclusion", "claim": claim.said, "cause": "",
                   "published": claim.low, "own_rows": 0, "own_verdict": UNTESTED, **line}
                  for line in lines]
    table = pd.DataFrame(found).assign(own_rows=0).reindex(columns=COLUMNS)
    return table.astype(dict.fromkeys(NUMBERS, float))


def density(epochs: int, every: int, amount: float) -> float:
    """The mean share of weights that is there over a training, of which equal parts go after each
    `every` epochs but the last."""
    times = (epochs - 1) // every
    gone = [amount * min(epoch // every, times) / times if times else 0.0
            for epoch in range(epochs)]
    return 1 - float(np.mean(gone))


def _products_left(some: pd.DataFrame) -> float:
    """The share of a dense training's products that is left, on hardware that skips zeros, of a
    training that prunes; some: its rows, alike but for seed and fold."""
    one = some.iloc[0]
    there = density(int(one.epochs), Setting(schedule=one.schedule).every, one.amount)
    return 1 - (1 - there) * (1 - OWN_GRADIENTS)


def against_shorter(rows: pd.DataFrame, scores: dict[str, np.ndarray], pruned: list, brief: list
                    ) -> pd.DataFrame:
    """What a net that is pruned while it is trained gains over the same net, dense, trained for
    fewer epochs: the most that multiply no more than the pruned training does where hardware skips
    zeros. A line a pruned net that such trainings are of.

    Columns: task, net, left (percent of the products of the dense training, of as many epochs as
    the pruned one), against, left_against, gain, low, high, over.
    """
    lines = []
    masked, dense = of_trials(rows, pruned), of_trials(rows, brief)
    for (task, model, *_), some in masked.groupby(list(NET), dropna=False, sort=False):
        left, epochs = _products_left(some), some.epochs.iloc[0]
        fair = dense[(dense.task == task) & (dense.model == model)
                     & (dense.sizes == some.sizes.iloc[0]) & (dense.epochs <= left * epochs)]
        if fair.empty:
            continue
        other = fair[fair.epochs == fair.epochs.max()]
        gain, low, high, over = lead(some, other, scores)
        lines.append({"task": task, "net": names(pd.concat([some, rows])).iloc[0],
                      "left": 100 * left, "against": names(pd.concat([other, rows])).iloc[0],
                      "left_against": 100 * other.epochs.iloc[0] / epochs, "gain": gain,
                      "low": low, "high": high, "over": over})
    return pd.DataFrame(lines, columns=["task", "net", "left", "against", "left_against", "gain",
                                        "low", "high", "over"])


def _savings(part, history, costs, scores, claim) -> list[dict]:
    """Products of a training that hardware which skips zeros would spare, while accuracy holds."""
    lines = []
    every = part.schedule.map(lambda schedule: Setting(schedule=schedule).every)
    pruned = part[every.notna() & (_size(part, "init") == "xavier")]
    for amount, some in pruned.groupby("amount"):
        dense = part[(part.pruner == "") & (part.sizes == some.sizes.iloc[0])
                     & _alike(part, some.iloc[0], ("epochs", "model", "lr"))]
        if dense.empty:
            continue
        spared = 100 * (1 - _products_left(some))
        gain, low, high, over = lead(some, dense, scores)
        kept = low >= -1.0
        verdict = HOLDS if kept and spared >= claim.low else FAILS if high < -1.0 or \
            spared < claim.low else UNDECIDED
        lines.append({"ours": spared, "rows": len(some) + len(dense), "verdict": verdict,
                      "cause": f"{amount:.0%} pruned; on hardware that skips zeros, elsewhere "
                               f"nothing; score {gain:+.2f} [{low:+.2f}, {high:+.2f}] over {over}"})
    return lines


def _rate(part, history, costs, scores, claim) -> list[dict]:
    """Is the plan's rate ahead of each other one, pair by pair?"""
    plain = part[(part.pruner == "") & (part.schedule == "")]
    other = plain[plain.lr.notna()]
    if other.empty:
        return []
    usual = plain[plain.lr.isna() & _alike(plain, other.iloc[0], ("sizes", "model", "epochs"))]
    if usual.empty:
        return []
    leads = {rate: lead(usual, rows, scores) for rate, rows in other.groupby("lr")}
    ahead = all(low > 0 for _, low, _, _ in leads.values())
    behind = {rate: found for rate, found in leads.items() if found[2] < 0}
    means = other.groupby("lr").score.mean()
    best = claim.low if usual.score.mean() >= means.max() else means.idxmax()
    told = "; ".join(f"against {rate:g}: {gain:+.2f} [{low:+.2f}, {high:+.2f}]"
                     for rate, (gain, low, high, _) in leads.items())
    return [{"ours": best, "rows": len(usual) + len(other), "cause": told,
             "verdict": HOLDS if ahead else FAILS if behind else UNDECIDED}]


def _shortcuts(part, history, costs, scores, claim) -> list[dict]:
    """Epochs that a net with shortcuts is earlier at what the same net without them ends near."""
    lines = []
    for model in part[_size(part, "shortcut") == 0].model.unique():
        plain = history[(history.model == model) & (history.schedule == "")
                        & history.lr.isna() & (history.pruner == "")]
        plain = plain.assign(shortcut=_size(plain, "shortcut", 1), rest=_rest(plain, "shortcut"))
        ends = plain[plain.shortcut == 0]
        plain = plain[plain.rest.isin(ends.rest)]
        if ends.empty or plain.shortcut.nunique() < 2:
            continue
        last = ends[ends.epoch == ends.epoch.max()].val_score.mean()
        reached = epochs_to(plain, EARLY * last).rename("epoch").reset_index()
        reached["shortcut"] = _size(reached, "shortcut", 1)
        wide = reached.pivot_table("epoch", ["seed", "fold"], "shortcut", dropna=False)
        earlier = (wide[0] - wide[1]).dropna()
        mean, low, high = t_interval(earlier) if len(earlier) else (np.nan,) * 3
        verdict = HOLDS if low > 0 else FAILS if high < 0 else UNDECIDED
        lines.append({"ours": mean, "low": low, "high": high, "rows": len(earlier) * 2,
                      "verdict": verdict, "cause": f"{model}: epochs earlier at "
                                                   f"{EARLY * last:.1f} on validation"})
    return lines


def _accuracy(part, history, costs, scores, claim) -> list[dict]:
    """The best score of a net that multiplies at most seven tenths of what its dense twin does."""
    thin = part[(part.pruner != "") & (part.macs_nonzero <= 0.7 * part.macs)]
    if thin.empty:
        return []
    groups = thin.groupby([name for name in NET], dropna=False)
    means = groups.agg(score=("score", "mean"), high=("score_high", "max"),
                       low=("score_low", "min"), rows=("score", "size")).reset_index()
    best = means.loc[means.score.idxmax()]
    verdict = HOLDS if best.low >= claim.low else FAILS if best.high < claim.low else UNDECIDED
    return [{"ours": best.score, "low": best.low, "high": best.high, "rows": int(best.rows),
             "verdict": verdict, "cause": "on our images; which ones it meant is not known"}]


def _order(part, history, costs, scores, claim) -> list[dict]:
    """Joules of training up to the score with which the worst of the three ends: at equal size the
    order is another."""
    # Of the sizes, and drawn as those, of which there are pruned ones: nothing else may differ.
    masked = part[(part.pruner != "") & (_size(part, "init") == "")]
    alike = part.model.isin(masked.model) & part.sizes.isin(masked.sizes) & part.lr.isna() \
        & part.epochs.isin(masked.epochs)
    kinds = {"feed-forward": part.model.isin(FEED_FORWARD),
             "ResNet": alike & (part.pruner == ""), "pruned ResNet": alike & (part.pruner != "")}
    energy = energies(part, costs)
    if history.empty or energy.empty:
        return []
    found = curves(history, energy)
    named = found.merge(part.assign(kind=np.select(list(kinds.values()), list(kinds), ""))[
        [*NET, "kind"]].drop_duplicates(), on=list(NET))
    named = named[named.kind != ""]
    if set(named.kind) != set(kinds):
        return []
    level = named.groupby("kind").score.max().min()
    reached = named[named.score >= level].groupby(["process", "kind"]).joules.min().unstack()
    # Each must take less than the one before it: as much is not less.
    holds = [all(line[one] > (1 + AS_MUCH) * line[other] for one, other in pairwise(kinds))
             for _, line in reached.iterrows()]
    told = "; ".join(f"{process}: " + ", ".join(f"{kind} {written(value)} J"
                                                for kind, value in line[list(kinds)].items())
                     for process, line in reached.iterrows())
    return [{"ours": np.nan, "rows": len(part), "cause": f"up to {level:.1f} on validation: {told}",
             "verdict": HOLDS if all(holds) else UNDECIDED if any(holds) else FAILS}]


def _size(rows: pd.DataFrame, name: str, usual: object = "") -> pd.Series:
    """One of the sizes that rows ask for, or what it is where they ask for none."""
    said = {sizes: Setting(sizes=sizes).build_arguments.get(name, usual)
            for sizes in rows.sizes.unique()}
    return rows.sizes.map(said)


def _rest(rows: pd.DataFrame, name: str) -> pd.Series:
    """All sizes that rows ask for but this one."""
    said = {sizes: str({one: value for one, value in Setting(sizes=sizes).build_arguments.items()
                        if one != name}) for sizes in rows.sizes.unique()}
    return rows.sizes.map(said)


def _alike(rows: pd.DataFrame, one: pd.Series, names: tuple[str, ...]) -> pd.Series:
    same = pd.Series(True, index=rows.index)
    for name in (name for name in names if name in (*FIELDS, "model")):
        same &= rows[name].isna() if pd.isna(one[name]) else rows[name] == one[name]
    return same
