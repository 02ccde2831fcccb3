"""ResNet-energy: claims about trainings that came without code or data, beside our images."""

import numpy as np
import pandas as pd

from lib.base import titles
from lib.base.setting import FIELDS, Setting
from lib.replication.verdicts import Estimate, Evidence, compared
from lib.results.intervals import t_interval

OWN_GRADIENTS = 1 / 3           # of a training's products: the weights' own, which no zero spares
PLAN_RATE = 0.001               # of the recipe "plan", where a row names no other
FEED_FORWARD = ("mlp_simple", "mlp_complex")
EARLY = 0.95                    # of the score that the network without shortcuts ends with
KEYS = ["task", "model", *FIELDS, "seed", "fold"]


def evidence(tables) -> dict[str, Evidence]:
    """What the rows say of each of ResNet-energy's claims, by its key in claims.csv."""
    rows, scores, costs = tables.plan
    rows = _with_sizes(rows[rows.recipe == "plan"])
    usual, dense, xavier = rows.lr.isna(), rows.pruner == "", rows.init == "xavier"
    claimed = np.isclose(rows.rate, tables.claims.set_index("key").value["rate"])
    by = ["task", "model", "sizes", "epochs"]
    rates = [part for rate in sorted(set(rows.rate[~claimed])) for part in compared(
        rows, dense & claimed, dense & np.isclose(rows.rate, rate), by,
        lambda own, rate=rate: f"{_net(own)}, against {rate:g}", scores, gain=True)]
    init = compared(rows, usual & dense & xavier, usual & dense & ~xavier,
                    ["task", "model", "bare", "epochs"], _net, scores, gain=True)
    thin = rows[~dense & (rows.macs_nonzero <= 0.7 * rows.macs)].groupby("task").score.max()
    best = [f"{titles.task(task)} {score:.1f} %" for task, score in thin.items()]
    return {"savings": _savings(rows[usual & xavier], scores),
            "accuracy": Evidence(note=f"Best scores: {', '.join(best)}." if best else ""),
            "rate": Evidence(rates), "init": Evidence(init),
            "shortcuts": Evidence(_shortcuts(tables.history)),
            **_order(rows[usual], tables.history, costs)}


def density(epochs: int, every: int, amount: float) -> float:
    """The mean share of weights that is left over a training, of which equal parts are pruned after
    each `every` epochs but the last."""
    times = (epochs - 1) // every
    pruned = np.arange(epochs) // every
    return 1 - float(amount * np.minimum(pruned, times).mean() / max(times, 1))


def _savings(rows: pd.DataFrame, scores) -> Evidence:
    """Percent of the products of a training that are spared where hardware skips zeros."""
    every = rows.schedule.map(lambda one: Setting(schedule=one).every)
    parts, lost = [], []
    for (task, amount), own in rows[every.notna()].groupby(["task", "amount"]):
        one = own.iloc[0]
        left = density(int(one.epochs), int(every[own.index[0]]), amount)
        spared = 100 * (1 - left) * (1 - OWN_GRADIENTS)
        parts.append(Estimate(_net(own), spared, spared, spared, rows=len(own)))
        whole = rows[(rows.task == task) & (rows.sizes == one.sizes)]
        lost += compared(whole, whole.amount == amount, whole.pruner == "",
                         ["task", "model", "epochs"], _net, scores)
    ends = [f"{end(part.mean for part in lost):.1f}" for end in (min, max) if lost]
    return Evidence(parts, f"The pruned networks lose {' to '.join(ends)} points." if lost else "")


def _shortcuts(history: pd.DataFrame) -> list[Estimate]:
    """Epochs by which shortcuts reach EARLY of the end of the training without them earlier."""
    parts: list[Estimate] = []
    if history.empty:
        return parts
    plain = history[(history.schedule == "") & history.lr.isna() & (history.pruner == "")]
    for _, own in _with_sizes(plain).groupby(["task", "model", "bare"]):
        ends = own[(own.shortcut == 0) & (own.epoch == own.epoch.max())].val_score
        level = EARLY * ends.mean()
        first = own[own.val_score >= level].groupby(["seed", "shortcut"]).epoch.min().unstack()
        if {0, 1} <= set(first):
            earlier = (first[0] - first[1]).dropna()
            parts.append(Estimate(f"{_net(own)}, up to {level:.1f} % on validation",
                                  *t_interval(earlier), len(earlier), 2 * len(earlier)))
    return parts


def _order(rows: pd.DataFrame, history: pd.DataFrame, costs: pd.DataFrame) -> dict[str, Evidence]:
    """How many times the energy of training the first kind takes of the second, over seeds, up to
    the score that all kinds reach: feed-forward, ResNet, pruned ResNet of the same size."""
    parts: dict[str, list] = {"feed_forward": [], "pruned_energy": []}
    kinds = ["feed", "resnet", "pruned"]
    masked = rows[(rows.pruner != "") & (rows.init == "")]
    same = np.logical_and.reduce([rows[name].isin(masked[name])
                                   for name in ("sizes", "model", "epochs")])
    rows = rows.assign(kind=np.select([rows.model.isin(FEED_FORWARD), same & (rows.pruner == ""),
                                       same], kinds, ""))
    spent = costs[(costs.quantity == "spent_energy_j") & (costs.kind == "modelled")]
    process = spent.source.str.split(",").str[0]        # no setting
    own = rows[rows.kind != ""].merge(spent.assign(process=process)[["id", "process", "value"]])
    if len(history) and len(own):
        typed = history.astype({name: own[name].dtype for name in KEYS})
        own = own.merge(typed[[*KEYS, "epoch", "val_score"]], on=KEYS)
    for (task, process), part in own.groupby(["task", "process"]) if "epoch" in own else ():
        means = part.groupby(["kind", *KEYS[:-2], "epoch"], dropna=False).val_score.mean()
        level = means.groupby("kind").max().min()
        part = part.assign(joules=np.log(part.value * part.epoch / part.epochs))
        least = part[part.val_score >= level].groupby(["seed", "kind"]).joules.min().unstack()
        least = least.reindex(columns=kinds)
        for key, one, other in zip(parts, kinds, kinds[1:], strict=False):
            ratio = (least[one] - least[other]).dropna()
            if len(ratio) > 1:
                where = f"{titles.task(task)}, {process}, up to {level:.1f} % on validation"
                parts[key].append(Estimate(where, *np.exp(t_interval(ratio)), len(ratio),
                                           2 * len(ratio)))
    return {key: Evidence(found) for key, found in parts.items()}


def _with_sizes(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with their rate, initialization and shortcuts, and the sizes without these (bare)."""
    sizes = {text: Setting(sizes=text).build_arguments for text in rows.sizes.unique()}
    bare = rows.sizes.str.replace(r" ?(init|shortcut)=\w+", "", regex=True)
    return rows.assign(rate=rows.lr.fillna(PLAN_RATE), bare=bare,
                       init=rows.sizes.map(lambda text: sizes[text].get("init", "")),
                       shortcut=rows.sizes.map(lambda text: sizes[text].get("shortcut", 1)))


def _net(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    pruned = f", {100 * first.amount:.0f} % pruned" if first.pruner else ""
    return titles.network(first.task, first.model) + pruned
