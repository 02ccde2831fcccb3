"""Models as files: what each loses, how large it is, how long it takes, and what that pays back."""

from collections.abc import Mapping

import pandas as pd

from lib.base.setting import FIELDS
from lib.tables.joules import energies
from lib.tables.losses import POINT, UNTOUCHED, untouched
from lib.tables.trained import techniques

COLUMNS = ("id", "task", "net", "model", *FIELDS, "technique", "score", "loss", "low",
           "high", "KiB", "MiB resident", "agreement")
ALIKE = ["task", "net", "model", *(name for name in FIELDS if name != "deploy")]
OF_A_COST = {"memory_bytes": "MiB resident", "agreement_percent": "agreement"}


def files(points: pd.DataFrame, costs: pd.DataFrame, times: Mapping[int, pd.DataFrame]
          ) -> pd.DataFrame:
    """One line a net and way in which it runs: COLUMNS; itself, whether it is the net as built,
    whatever was done to it, and not one that was small from the start; by_codes, the points that a
    file in whole numbers loses beyond the file of floats of the same model; and of each batch its
    milliseconds an example with their range, and the paired speedup against the first it was timed
    with.

    points: `tables.in_points(tables.losses(…))`; costs: id, quantity, value; times: of each batch
    (examples at once) what `run.timed` gave, with `id`. Columns of a batch of 64: "ms at 64",
    "ms_low at 64", "ms_high at 64", "speedup at 64", "speedup_low at 64", "speedup_high at 64".
    """
    found = points.copy()
    told = costs.pivot_table(index="id", columns="quantity", values="value", aggfunc="first")
    for quantity, column in OF_A_COST.items():
        values = told[quantity] if quantity in told else pd.Series(dtype=float)
        found[column] = found["id"].map(values)
    found["MiB resident"] = found["MiB resident"] / 2**20
    built = found[found.technique == UNTOUCHED].set_index(["task", "net"])[["recipe", "sizes"]]
    own = built.reindex(pd.MultiIndex.from_frame(found[["task", "net"]])).to_numpy()
    same = (found[["recipe", "sizes"]].to_numpy() == own).all(axis=1)
    itself = same & (found.model == found.net)
    found["technique"] = techniques(found)
    found = found[list(COLUMNS)].assign(itself=itself)
    floats = found[found.deploy == "fp32"][[*ALIKE, "loss"]].rename(columns={"loss": "floats"})
    found = found.merge(floats, on=ALIKE, how="left")
    found["by_codes"] = (found.loss - found.pop("floats")).where(~found.deploy.isin(["", "fp32"]))
    for batch, table in times.items():
        own = table[["id"]].copy()
        for name, column in (("ms", "latency_s"), ("ms_low", "latency_low"),
                             ("ms_high", "latency_high")):
            own[f"{name} at {batch}"] = 1000 * table[column] / batch
        for name in ("speedup", "speedup_low", "speedup_high"):
            own[f"{name} at {batch}"] = table[name]
        found = found.merge(own, on="id", how="left")
    return found


def seconds_back(found: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """After how many answers, one at a time, each training has paid back, in seconds and in
    modelled joules, against the file of floats of the net as trained, a line a process.

    found: as of `files`, timed at a batch of 1. Columns: task, net, model, technique, process,
    training_s, by_seconds, by_joules; missing where an answer saves nothing. The seconds of a
    training are of the last one alone.
    """
    energy = energies(found, costs)
    spent = costs[costs.quantity == "spent_s"].groupby("id").value.mean()
    as_trained = found.itself & untouched(found.assign(deploy=""))
    first = found[(found.deploy == "fp32") & as_trained].groupby(["task", "net"])
    whole = energy[energy["id"].isin(first["id"].first())]
    whole = whole[["task", "net", "process", "ms at 1", "answer_j"]]
    paired = energy[energy.training_j.notna()].merge(whole, on=["task", "net", "process"],
                                                     suffixes=("", " of the net"))
    seconds = (paired["ms at 1 of the net"] - paired["ms at 1"]) / 1000
    joules = paired["answer_j of the net"] - paired.answer_j
    paired["training_s"] = paired["id"].map(spent)
    paired["by_seconds"] = paired.training_s / seconds.where(seconds > 0)
    paired["by_joules"] = paired.training_j / joules.where(joules > 0)
    return paired[["task", "net", "model", "technique", "process", "training_s", "by_seconds",
                   "by_joules"]]


def fastest(found: pd.DataFrame, val_points: pd.DataFrame) -> pd.DataFrame:
    """Of each net the file that answers one example fastest, among those that lose no more than a
    point on the validation part, with what it loses on the test part: lines of `found`.

    found: as of `files`, timed at a batch of 1; val_points: the same nets on the validation part.
    """
    kept = val_points[val_points.loss <= POINT][[*ALIKE, "deploy"]]
    there = found[(found.deploy != "") & found["ms at 1"].notna()]
    there = there.merge(kept, on=[*ALIKE, "deploy"])
    ordered = there.sort_values("ms at 1", kind="stable")
    return ordered.groupby(["task", "net"], sort=False).head(1).sort_values(["task", "net"])


def runtimes(rows: pd.DataFrame, times: pd.DataFrame) -> pd.DataFrame:
    """One line a net and file, of whatever runtime: task, model, runtime, deploy, score, KiB, ms of
    one example with ms_low and ms_high; within, how many times as fast as the same net's floats in
    the same runtime it answers (medians of the same windows); and speedup, paired, against the
    floats that were timed first, with speedup_low and speedup_high.

    rows: of these files; times: what `run.timed` gave of them, one example at a time.
    """
    found = rows[["id", "task", "model", "runtime", "deploy", "arithmetic", "score"]].copy()
    found["KiB"] = rows.size_bytes / 1024
    speeds = ["speedup", "speedup_low", "speedup_high"]
    found = found.merge(times[["id", "latency_s", "latency_low", "latency_high", *speeds]], on="id")
    for name, column in (("ms", "latency_s"), ("ms_low", "latency_low"),
                         ("ms_high", "latency_high")):
        found[name] = 1000 * found.pop(column)
    net = ["task", "model", "runtime"]
    floats = found[found.arithmetic == "float"][[*net, "ms"]]
    found = found.merge(floats.rename(columns={"ms": "floats"}), on=net, how="left")
    found["within"] = found.pop("floats") / found.ms
    return found[["id", *net, "deploy", "arithmetic", "score", "KiB", "ms", "ms_low", "ms_high",
                  "within", *speeds]]
