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
REPEAT = ["seed", "fold"]
NET = ["task", "model", *FIELDS]


def evidence(tables) -> dict[str, Evidence]:
    """What the rows say of each of ResNet-energy's claims, by its key in claims.csv."""
    plan = tables.plan[tables.plan.recipe == "plan"]
    plan = plan.assign(rate=plan.lr.fillna(PLAN_RATE), init=_size(plan, "init", ""),
                       shortcut=_size(plan, "shortcut", 1),
                       every=plan.schedule.map(lambda one: Setting(schedule=one).every))
    value = tables.claims[tables.claims.study == "ResNet-energy"].set_index("key").value
    usual = plan[plan.lr.isna()]
    order = _order(usual, tables.history, tables.plan_costs)
    return {"savings": _savings(usual, tables.plan_scores),
            "accuracy": Evidence(note=_thin(usual)),
            "rate": Evidence(_rates(plan, tables.plan_scores, value["rate"])),
            "shortcuts": Evidence(_shortcuts(tables.history)),
            "init": Evidence(_initialized(usual, tables.plan_scores)),
            "feed_forward": Evidence(order["feed_forward"], "Modelled energy up to one score."),
            "pruned_energy": Evidence(order["pruned_energy"], "Modelled energy up to one score.")}


def density(epochs: int, every: int, amount: float) -> float:
    """The mean share of weights that is left over a training, of which equal parts are pruned after
    each `every` epochs but the last."""
    times = (epochs - 1) // every
    gone = [amount * min(epoch // every, times) / times if times else 0.0
            for epoch in range(epochs)]
    return 1 - float(np.mean(gone))


def _savings(plan: pd.DataFrame, scores) -> Evidence:
    """Percent of the products of a training that are spared where hardware skips zeros."""
    parts, lost = [], []
    pruned = plan[plan.every.notna() & (plan.init == "xavier")]
    for (task, amount), own in pruned.groupby(["task", "amount"]):
        one = own.iloc[0]
        spared = 100 * (1 - density(int(one.epochs), int(one.every), amount)) * (1 - OWN_GRADIENTS)
        where = f"{titles.network(task, one.model)}, {amount:.0%} pruned"
        parts.append(Estimate(where, spared, spared, spared, rows=len(own)))
        lost += compared(where, own, _dense(plan, own), scores)
    note = "Counted, where hardware skips zeros; other hardware saves nothing."
    if lost:
        least, most = (end(lost, key=lambda part: part.mean) for end in (min, max))
        note += (f" The accuracy falls by {least.mean:.1f} points ({least.where}) to "
                 f"{most.mean:.1f} points ({most.where}).")
    return Evidence(parts, note)


def _dense(plan: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """The same networks, trained for as long and not pruned."""
    one = own.iloc[0]
    return plan[(plan.task == one.task) & (plan.pruner == "") & (plan.model == one.model)
                & (plan.sizes == one.sizes) & (plan.epochs == one.epochs)]


def _thin(plan: pd.DataFrame) -> str:
    """The best score of a network with 30 % fewer products, in words."""
    thin = plan[(plan.pruner != "") & (plan.macs_nonzero <= 0.7 * plan.macs)]
    means = thin.groupby("task").score.max()
    return "The best of them: " + ", ".join(
        f"{titles.task(task)} {score:.1f} %" for task, score in means.items()) + "." \
        if len(means) else ""


def _rates(plan: pd.DataFrame, scores, claimed: float) -> list[Estimate]:
    """What the claimed rate gains on each other rate, with the networks that several rates train."""
    parts, plain = [], plan[plan.pruner == ""]
    for (task, model, _, _), own in plain.groupby(["task", "model", "sizes", "epochs"]):
        best = own[np.isclose(own.rate, claimed)]
        for rate, other in own[~np.isclose(own.rate, claimed)].groupby("rate"):
            where = f"{titles.network(task, model)}, against {rate:g}"
            parts += compared(where, best, other, scores, gain=True)
    return parts


def _initialized(plan: pd.DataFrame, scores) -> list[Estimate]:
    """What Xavier initialization gains on the usual one."""
    parts = []
    for (task, model), own in plan[plan.pruner == ""].groupby(["task", "model"]):
        other = own[own.sizes.isin(own.sizes[own.init == "xavier"].str.replace(
            " init=xavier", ""))]
        drawn = own[own.init == "xavier"]
        other = other[other.epochs.isin(drawn.epochs)]
        parts += compared(titles.network(task, model), drawn, other, scores, gain=True)
    return parts


def _shortcuts(history: pd.DataFrame) -> list[Estimate]:
    """Epochs that a network reaches, earlier than without shortcuts, most of what that ends at."""
    parts: list[Estimate] = []
    if history.empty:
        return parts
    plain = history[(history.schedule == "") & history.lr.isna() & (history.pruner == "")]
    plain = plain.assign(shortcut=_size(plain, "shortcut", 1),
                         rest=plain.sizes.str.replace(" shortcut=0", ""))
    for (task, model, _), own in plain.groupby(["task", "model", "rest"]):
        without = own[own.shortcut == 0]
        if without.empty or own.shortcut.nunique() < 2:
            continue
        level = EARLY * without[without.epoch == without.epoch.max()].val_score.mean()
        first = own[own.val_score >= level].groupby(["shortcut", "seed"]).epoch.min().unstack(0)
        earlier = (first[0] - first[1]).dropna()
        parts.append(Estimate(f"{titles.network(task, model)}, up to {level:.1f} % on validation",
                              *t_interval(earlier), len(earlier), 2 * len(earlier)))
    return parts


def _order(plan: pd.DataFrame, history: pd.DataFrame, costs: pd.DataFrame) -> dict[str, list]:
    """How many times the energy of training the first takes of the second, up to the score that all
    three kinds reach: feed-forward against ResNet, ResNet against pruned ResNet; over seeds."""
    found: dict[str, list] = {"feed_forward": [], "pruned_energy": []}
    masked = plan[(plan.pruner != "") & (plan.init == "")]
    alike = (plan.model.isin(masked.model) & plan.sizes.isin(masked.sizes)
             & plan.epochs.isin(masked.epochs))
    kinds = {"feed": plan.model.isin(FEED_FORWARD), "resnet": alike & (plan.pruner == ""),
             "pruned": alike & (plan.pruner != "")}
    kind = pd.Series(np.select(list(kinds.values()), list(kinds), ""), plan.index)
    spent = costs[(costs.quantity == "spent_energy_j") & (costs.kind == "modelled")]
    if history.empty or spent.empty:
        return found
    spent = spent.assign(process=spent.source.str.partition(",")[0])[["id", "process", "value"]]
    keys = [*NET, *REPEAT]
    own = plan.assign(kind=kind)[kind != ""].merge(spent, on="id")
    history = history.assign(**{name: history[name].astype(own[name].dtype) for name in keys})
    own = own[[*keys, "kind", "process", "value"]].merge(history[[*keys, "epoch", "val_score"]],
                                                         on=keys)
    own["joules"] = own.value * own.epoch / own.epochs
    for (task, process), part in own.groupby(["task", "process"]):
        means = part.groupby(["kind", *NET, "epoch"], dropna=False).val_score.mean()
        level = means.groupby("kind").max().min()
        reached = part[part.val_score >= level].groupby(["seed", "kind"]).joules.min().unstack()
        if set(reached) != set(kinds):
            continue
        for key, one, other in (("feed_forward", "feed", "resnet"),
                                ("pruned_energy", "resnet", "pruned")):
            ratio = np.log(reached[one] / reached[other]).dropna()
            if len(ratio) > 1:
                where = f"{titles.task(task)}, {process}, up to {level:.1f} % on validation"
                found[key].append(Estimate(where, *np.exp(t_interval(ratio)), len(ratio),
                                           part[REPEAT + NET].drop_duplicates().shape[0]))
    return found


def _size(rows: pd.DataFrame, name: str, usual: object) -> pd.Series:
    """One of the sizes that rows ask for, or the usual one."""
    values = {sizes: Setting(sizes=sizes).build_arguments.get(name, usual)
              for sizes in rows.sizes.unique()}
    return rows.sizes.map(values)
