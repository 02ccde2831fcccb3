"""Models as files: what each loses, how large it is, how long it takes, and what that pays back."""

from collections.abc import Mapping

import pandas as pd

from lib.base.said import count
from lib.base.setting import FIELDS
from lib.tables.joules import energies
from lib.tables.losses import POINT, UNTOUCHED, untouched
from lib.tables.rows import Cost
from lib.tables.trained import techniques

COLUMNS = ("id", "task", "net", "model", *FIELDS, "technique", "score", "loss", "low",
           "high", "KiB", "MiB resident", "agreement")
ALIKE = ["task", "net", "model", *(name for name in FIELDS if name != "deploy")]
AS_FLOATS = ("fp32", "openvino", "litert")      # ways to run a file of floats, one a runtime
OF_A_COST = {"memory_bytes": "MiB resident", "agreement_percent": "agreement"}


def files(points: pd.DataFrame, costs: pd.DataFrame, times: Mapping[int, pd.DataFrame]
          ) -> pd.DataFrame:
    """One line a net and way in which it runs: COLUMNS; itself, whether it is the net as built,
    whatever was done to it, and not one that was small from the start; by_codes, the points that a
    file in whole numbers loses beyond the file of floats of the same model; and of each batch its
    milliseconds an example with their range, and the paired speedup against the first it was timed
    with.

    points: `tables.in_points(tables.losses(…))`; costs: id, quantity, value; times: of each batch
    (examples at once) what `run.timed` gave, with `id`, and with the `net` that they were timed
    beside where a smaller one stands under several. Columns of a batch of 64: "ms at 64",
    "ms_low at 64", "ms_high at 64", "speedup at 64", "speedup_low at 64", "speedup_high at 64",
    "windows at 64".
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
        own = timings(table, batch).add_suffix(f" at {batch}")
        names = [name for name in ("id", "net") if name in table]
        found = found.merge(pd.concat([own, table[names]], axis=1), on=names, how="left",
                            validate="many_to_one")
    return found


def timings(latency: pd.DataFrame, batch: int = 1) -> pd.DataFrame:
    """ms, ms_low, ms_high of an example, speedup, speedup_low, speedup_high, and how many windows,
    of what `measure.latency` gave of `batch` examples at once; a line each."""
    named = {"latency_s": "ms", "latency_low": "ms_low", "latency_high": "ms_high"}
    found = latency[[*named, "speedup", "speedup_low", "speedup_high", "windows"]]
    found = found.rename(columns=named)
    found[list(named.values())] *= 1000 / batch
    return found


def costs_of_times(latency: pd.DataFrame, windows: int, batch: int, processor: str) -> list[Cost]:
    """The milliseconds of nets timed side by side as costs of their rows, measured.

    latency: what `measure.latency` gave of `batch` examples at once, with the rows' `id`.
    """
    examples = "one example" if batch == 1 else f"{batch} examples"
    found = []
    for line in latency.itertuples():
        source = (f"{windows} windows of {examples}, {processor}, "
                  f"{count(line.threads, 'thread')}{', noisy' if line.noisy else ''}")
        found.append(Cost(line.id, "latency_s", "measured", source, line.latency_s,
                          line.latency_low, line.latency_high))
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
    as_trained = energy.itself & untouched(energy.assign(deploy="")) & (energy.deploy == "fp32")
    whole = energy[as_trained].drop_duplicates(["task", "net", "process"])
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
    """One line a net and file, of whatever runtime: id, task, model, recipe, sizes, runtime,
    deploy, arithmetic, score, KiB, the columns of `timings` (speedup: against what was timed
    first), and within: how many times as fast it answers as the same net's floats in the same
    runtime, by medians of the same windows.

    rows: of these files; times: what `run.timed` gave of them, one example at a time.
    """
    net = ["task", "model", "recipe", "sizes", "runtime"]
    found = rows[["id", *net, "deploy", "arithmetic", "score"]].copy()
    found["KiB"] = rows.size_bytes / 1024
    found = found.merge(timings(times).assign(id=times["id"]), on="id")
    floats = found[found.deploy.isin(AS_FLOATS)][[*net, "ms"]].rename(columns={"ms": "floats"})
    found = found.merge(floats, on=net, how="left")
    return found.assign(within=found.pop("floats") / found.ms)
