"""Candidates: every smaller, faster or leaner version of each network, beside its FP32 baseline."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from lib.base import paths, titles
from lib.base.metric import METRICS
from lib.base.pairs import parsed
from lib.base.setting import FIELDS, OF_THE_NET
from lib.results.paired import difference
from lib.tables.rows import bits_asked
from lib.tables.store import (
    load,
    load_costs,
    load_scores,
    load_table,
    of_step_model,
    provenance,
)

CHAPTERS = ("03_ptq", "04_prune", "05_qat", "07_distill", "08_deploy")
COMPRESSING = ("03_ptq", "04_prune", "05_qat", "08_deploy")     # whose `pairs` are made smaller
ONNX = ("", "fp32", "static", "dynamic", "nbits")       # one runtime, in which speeds compare
GRADIENTS = ("brecq", "adaround")                       # calibrate by gradient steps, no labels
TRAINING = ("none", "gradient calibration", "fine-tuning", "from scratch")
NET = ["task", "net", "net_sizes"]
LEAST_EPOCHS = 10           # of a network trained from scratch whose validation scores are unknown
PRETRAINED = ("minilm", "bert", "distilbert")
PROCESSES = {"45 nm": "energy_45nm", "7 nm": "energy_7nm"}
KEPT = ("id", "model", *FIELDS, "metric", "left_float", "arithmetic")  # of a candidate's rows
COLUMNS = (
    "task", "net", "net_sizes", "id", "model", *FIELDS, "technique", "training", "control",
    "metric", "score", "loss", "low", "high", "p", "over", "runs", "n", "error_ratio", "by_fold",
    "tuned_loss", "tuned_low", "tuned_high", "KiB", "base_KiB", "bits_asked",
    "sparsity", "macs", "base_macs", "left_float", "arithmetic", "ms", "ms_low", "ms_high",
    "speedup", "speedup_low", "speedup_high", *PROCESSES.values(), "energy_share",
    "energy_share_7nm", "step_model")


def rows_of(chapters: Iterable[str] = CHAPTERS) -> tuple[pd.DataFrame, dict, pd.DataFrame]:
    """All rows of some chapters, each once, with `chapter`; scores per example by id; costs."""
    found = {chapter: table for chapter in chapters if len(table := load(chapter))}
    if not found:
        return load("03_ptq").assign(chapter=""), {}, load_costs("03_ptq")
    rows = pd.concat([table.assign(chapter=chapter) for chapter, table in found.items()])
    scores = {name: own for chapter in found for name, own in load_scores(chapter).items()}
    costs = pd.concat(map(load_costs, found), ignore_index=True)
    return rows.drop_duplicates("id").reset_index(drop=True), scores, costs


def networks(rows: pd.DataFrame, chapters: Iterable[str] = COMPRESSING) -> pd.DataFrame:
    """The networks that chapters make smaller, by their parameter `pairs`: task, net, net_sizes,
    epochs_run, why_not ("" for a usable baseline, else why it is left out)."""
    earlier = load_table("edge_fp32", paths.PUBLISHED)      # a short training that reaches these
    printed = earlier.set_index(["task", "model"]).score.to_dict() if len(earlier) else {}
    pairs = [pair for chapter in chapters
             for pair in provenance(chapter).get("parameters", {}).get("pairs", [])]
    lines = []
    for pair in dict.fromkeys(pairs):
        task, net, said = parsed(pair)
        line = {"task": task, "net": net, "net_sizes": said.get("sizes", "")}
        base = baseline(rows[rows.split == "test"], **line)
        if len(base):
            epochs = base.epochs_run.max() if "epochs_run" in base else np.nan
            short = epochs < LEAST_EPOCHS and not net.startswith(PRETRAINED) and not (
                base.score_high.max() >= printed.get((task, net), np.inf))
            lines.append(line | {"epochs_run": epochs, "why_not": (
                f"its baseline had not converged after {epochs:.0f} epochs"
                if short else "")})
    return pd.DataFrame(lines, columns=["task", "net", "net_sizes", "epochs_run", "why_not"])


def itself(table: pd.DataFrame) -> pd.Series:
    """Which candidates are made from the network itself, not from a smaller one."""
    return (table.model == table.net) & (table.sizes == table.net_sizes)


def unmodified(rows: pd.DataFrame) -> pd.Series:
    """Which rows are of networks that no technique was applied to."""
    done = rows[[name for name in FIELDS if name not in OF_THE_NET]]
    return (done.isna() | (done == "")).all(axis=1)


def baseline(rows: pd.DataFrame, task: str, net: str, net_sizes: str = "") -> pd.DataFrame:
    """The rows of a network's FP32 baseline: nothing done to it, trained by its usual recipe."""
    own = rows[(rows.task == task) & (rows.model == net) & (rows.sizes == net_sizes)
               & rows.recipe.isin(["ours", ""]) & unmodified(rows) & rows.score.notna()]
    usual = own.lr.isna() & own.epochs.isna() & own.batch_size.isna()
    return own[usual] if usual.any() else own


def candidates(rows: pd.DataFrame, scores: Mapping[str, np.ndarray], costs: pd.DataFrame,
               nets: pd.DataFrame | None = None, split: str = "test") -> pd.DataFrame:
    """One line a network and candidate: COLUMNS, losses in points (see `in_points`).

    Candidates of a network: itself and every smaller network of its task, with or without a
    technique, as models and as ONNX files. loss: against the network's FP32 baseline; tuned_loss:
    of what was trained further, against the baseline fine-tuned for as long. control: see
    `is_control`. energy_share: of the baseline's modelled energy, by 45 nm and 7 nm. Emulations of
    Edge's code and other runtimes are left out.
    """
    nets = networks(rows) if nets is None else nets
    emulated = rows.quantizer.map(lambda name: name.startswith("edge_")).astype(bool)
    rows = rows[(rows.split == split) & rows.score.notna() & ~emulated & (rows.policy == "")
                & rows.deploy.isin(ONNX) & rows.recipe.isin(["ours", ""])]
    searched = (rows.tuned == "") & (rows.lr.notna() | rows.epochs.notna())
    rows = rows[~searched]
    keyed = rows.assign(key=rows.groupby(["model", *FIELDS], dropna=False, sort=False).ngroup())
    lines = []
    for net in nets.itertuples():
        base = baseline(rows, net.task, net.net, net.net_sizes)
        if len(base):
            lines += _of_network(keyed[keyed.task == net.task], base, net, scores)
    table = pd.DataFrame(lines, columns=COLUMNS[:COLUMNS.index("ms")])
    table = _with_energy(table, keyed, energies(costs))
    return _with_times(in_points(table)).reindex(columns=COLUMNS)


def _of_network(own: pd.DataFrame, base: pd.DataFrame, net, scores: Mapping[str, np.ndarray]
                ) -> list[dict]:
    """The lines of one network; own: rows of its task, with `key`."""
    itself = (own.model == net.net) & (own.sizes == net.net_sizes)
    smaller = ~itself & (own.params < base.params.median())
    kept = own[itself | smaller]
    longer = _fine_tuned(kept[itself[kept.index]])
    lines = []
    for _, part in kept.groupby("key", sort=False):
        lost = difference(part, base, scores)
        if lost is None:
            continue
        first, of_net = part.iloc[0], bool(itself[part.index[0]])
        line = {name: first[name] for name in KEPT} | lost._asdict() | {
            "task": net.task, "net": net.net, "net_sizes": net.net_sizes, "loss": lost.mean,
            "technique": titles.technique(first), "training": training(first, of_net),
            "control": is_control(first), "score": part.score.mean(), "n": part.n.median(),
            "KiB": part.size_bytes.median() / 1024, "base_KiB": base.size_bytes.median() / 1024,
            "bits_asked": bits_asked(part).iloc[0], "sparsity": part.sparsity.mean(),
            "macs": part.macs.median(), "base_macs": base.macs.median()}
        fine_tuned = longer.get(_course(first)) if of_net and first.tuned else None
        if fine_tuned is not None and (lost := difference(part, fine_tuned, scores)):
            line |= {"tuned_loss": lost.mean, "tuned_low": lost.low, "tuned_high": lost.high}
        lines.append(line)
    return lines


def _fine_tuned(own: pd.DataFrame) -> dict:
    """_course of a fine-tuning -> rows of the baseline fine-tuned so, by the usual learning rate
    where that was run."""
    dense = own[(own.tuned == "finetune") & (own.pruner == "") & (own.quantizer == "")
                & (own.deploy == "")]
    found: dict = {}
    for _, part in dense.sort_values("lr", na_position="first").groupby("key", sort=False):
        found.setdefault(_course(part.iloc[0]), part)
    return found


def _course(line) -> tuple[float | None, float | None]:
    """Epochs that a row's last training ran (where that is not known: that were asked for), and
    batch size."""
    ran = line.get("epochs_run", np.nan)
    epochs = line.epochs if pd.isna(ran) else ran
    return tuple(None if pd.isna(value) else float(value) for value in (epochs, line.batch_size))


def training(line, of_net: bool) -> str:
    """What a candidate needs beyond its network's baseline, one of TRAINING.

    of_net: whether it is made from the network itself and not from a smaller one.
    """
    if not of_net or line.tuned == "distill":
        return "from scratch"
    if line.tuned:
        return "fine-tuning"
    return "gradient calibration" if line.quantizer in GRADIENTS else "none"


def is_control(line) -> bool:
    """Quantized or masked weights in an FP32 file: no smaller and no faster than the baseline's."""
    masked = line.pruner != "" and not line.structure.startswith("channel")
    return line.deploy == "fp32" and (line.quantizer != "" or masked)


def in_points(table: pd.DataFrame) -> pd.DataFrame:
    """Losses in points: pp of accuracy and F1, hundredths of R² and MCC; one point is every
    metric's tolerance."""
    tolerance = table.metric.map(lambda name: METRICS[name].tolerance).astype(float)
    names = ["loss", "low", "high", "tuned_loss", "tuned_low", "tuned_high"]
    by_fold = [{fold: (loss / most, ratio) for fold, (loss, ratio) in folds.items()}
               for folds, most in zip(table.by_fold, tolerance, strict=True)]
    return table.assign(**table[names].div(tolerance, axis=0), by_fold=by_fold)


def energies(costs: pd.DataFrame, quantity: str = "energy_j") -> pd.DataFrame:
    """Modelled energy of rows in joules: id, energy_45nm, energy_7nm, step_model (whether it was
    made by the model whose memories have a step). Remade figures take the place of older ones."""
    own = costs[(costs.quantity == quantity) & (costs.kind == "modelled")]
    remade = load_table("energy_remade")
    if len(remade) and quantity == "energy_j":
        own = pd.concat([own, remade])
    own = own.assign(process=own.source.str.split(",").str[0], step=of_step_model(own))
    own = own.sort_values("step", kind="stable", ascending=False).drop_duplicates(
        ["id", "process"], keep="last")
    wide = own.pivot(index="id", columns="process", values="value").rename(columns=PROCESSES)
    wide = wide.reindex(columns=list(PROCESSES.values()))
    return wide.assign(step_model=own.groupby("id").step.max()).reset_index()


def _with_energy(table: pd.DataFrame, rows: pd.DataFrame, energy: pd.DataFrame) -> pd.DataFrame:
    """Mean energies over each candidate's rows, and shares of its baseline's, of one model only."""
    own = rows[["task", "key", "id"]].merge(energy, on="id")
    means = own.groupby(["task", "key"])[[*PROCESSES.values(), "step_model"]].mean()
    first = rows.drop_duplicates("id").set_index("id").key
    keys = pd.MultiIndex.from_arrays([table.task, table.id.map(first)])
    found = table.assign(**{name: means[name].reindex(keys).to_numpy() for name in means})
    base = found[itself(found) & (found.technique == titles.BASELINE)].drop_duplicates(NET)
    base = found[NET].merge(base, on=NET, how="left").set_axis(found.index)
    alike = found.step_model == base.step_model
    return found.assign(
        energy_share=(found.energy_45nm / base.energy_45nm).where(alike),
        energy_share_7nm=(found.energy_7nm / base.energy_7nm).where(alike),
        step_model=found.step_model > 0)


def _with_times(table: pd.DataFrame) -> pd.DataFrame:
    """Milliseconds of one example and the paired speed-up over the FP32 file, as 08 timed them;
    and 08's own intervals where scores per example are not kept."""
    files = load_table("08_files")
    if files.empty:
        return table
    named = {f"{name}{end} at 1": f"{name}{end}" for name in ("ms", "speedup")
             for end in ("", "_low", "_high")}
    of_file = ["id", "task", "net"]
    files = files[[*of_file, "loss", "low", "high", *named]].rename(columns=named)
    table = table.merge(files.drop_duplicates(of_file), on=of_file, how="left",
                        suffixes=("", "_08"))
    same = table.low.isna() & np.isclose(table.loss, table.loss_08, atol=1e-3)
    return table.assign(low=table.low.where(~same, table.low_08),
                        high=table.high.where(~same, table.high_08))
