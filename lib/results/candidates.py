"""Candidates: every smaller, faster or leaner version of each network, beside its FP32 baseline."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from lib.base import paths, titles
from lib.base.metric import METRICS
from lib.base.pairs import parsed
from lib.base.setting import FIELDS, OF_THE_NET, TEXT_FIELDS
from lib.results.paired import difference
from lib.tables.rows import bits_asked
from lib.tables.store import load, load_costs, load_scores, load_table, provenance

CHAPTERS = ("03_ptq", "04_prune", "05_qat", "07_distill", "08_deploy")
COMPRESSING = ("03_ptq", "04_prune", "05_qat", "08_deploy")     # whose `pairs` are made smaller
TECHNIQUE = tuple(name for name in FIELDS if name not in OF_THE_NET)
ONNX = ("", "fp32", "static", "dynamic", "nbits")       # one runtime, in which speeds compare
INTEGER = ("static", "dynamic", "nbits")                # files that hold codes in place of floats
GRADIENTS = ("brecq", "adaround")                       # calibrate by gradient steps, no labels
TRAINING = ("none", "gradient calibration", "fine-tuning", "from scratch")
LEAST_EPOCHS = 10           # of a network trained from scratch whose validation scores are unknown
PRETRAINED = ("minilm", "bert", "distilbert")
PROCESSES = {"45 nm": "energy_45nm", "7 nm": "energy_7nm"}
MARK = "interpolated"       # in the source of energies that have no step at a memory's capacity
COLUMNS = (
    "task", "net", "net_sizes", "id", "model", *FIELDS, "technique", "training", "control",
    "metric", "score", "loss", "low", "high", "p", "over", "runs", "n", "error_ratio", "by_fold",
    "tuned_loss", "tuned_low", "tuned_high", "KiB", "base_KiB", "bits_asked",
    "sparsity", "macs", "base_macs", "left_float", "arithmetic", "ms", "ms_low", "ms_high",
    "speedup", "speedup_low", "speedup_high", *PROCESSES.values(), "energy_share",
    "energy_share_7nm", "step_model")


def rows_of(chapters: Iterable[str] = CHAPTERS) -> tuple[pd.DataFrame, dict, pd.DataFrame]:
    """All rows of some chapters, each once, with `chapter`; scores per example by id; costs."""
    chapters = [chapter for chapter in chapters if len(load(chapter))]
    if not chapters:
        return load("03_ptq").assign(chapter=""), {}, load_costs("03_ptq")
    rows = pd.concat([load(chapter).assign(chapter=chapter) for chapter in chapters])
    scores: dict[str, np.ndarray] = {}
    for chapter in chapters:
        scores |= load_scores(chapter)
    costs = pd.concat([load_costs(chapter) for chapter in chapters], ignore_index=True)
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
                f"its baseline was trained for {epochs:.0f} epochs and had not converged"
                if short else "")})
    return pd.DataFrame(lines, columns=["task", "net", "net_sizes", "epochs_run", "why_not"])


def untouched(rows: pd.DataFrame) -> pd.Series:
    """Which rows are of networks that no technique was applied to."""
    touched = pd.Series(False, index=rows.index)
    for name in TECHNIQUE:
        touched |= rows[name] != "" if name in TEXT_FIELDS else rows[name].notna()
    return ~touched


def baseline(rows: pd.DataFrame, task: str, net: str, net_sizes: str = "") -> pd.DataFrame:
    """The rows of a network's FP32 baseline: nothing done to it, trained by its usual recipe."""
    own = rows[(rows.task == task) & (rows.model == net) & (rows.sizes == net_sizes)
               & rows.recipe.isin(["ours", ""]) & untouched(rows) & rows.score.notna()]
    usual = own.lr.isna() & own.epochs.isna() & own.batch_size.isna()
    return own[usual] if usual.any() else own


def candidates(rows: pd.DataFrame, scores: Mapping[str, np.ndarray], costs: pd.DataFrame,
               nets: pd.DataFrame | None = None, split: str = "test") -> pd.DataFrame:
    """One line a network and candidate: COLUMNS, losses in points (see `in_points`).

    Candidates of a network: itself, itself by each technique, every smaller network of its task
    with or without a technique; as models and as ONNX files. loss: against the FP32 baseline of the
    network, which is what was quantized or pruned where nothing was trained; tuned_loss: of what
    was trained further, against the baseline fine-tuned for as long. control: rounded or masked
    weights in an FP32 file, never recommended. energy_share: of the baseline's modelled energy, by
    45 nm and 7 nm. Emulations of Edge's code and other runtimes are left out.
    """
    nets = networks(rows) if nets is None else nets
    rows = rows[(rows.split == split) & rows.score.notna() & ~rows.quantizer.str.startswith("edge_")
                & (rows.policy == "") & rows.deploy.isin(ONNX) & rows.recipe.isin(["ours", ""])]
    searched = (rows.tuned == "") & (rows.lr.notna() | rows.epochs.notna())
    rows = rows[~searched]
    keyed = rows.assign(key=rows.groupby(["model", *FIELDS], dropna=False, sort=False).ngroup())
    energy = energies(costs)
    lines = []
    for net in nets.itertuples():
        base = baseline(rows, net.task, net.net, net.net_sizes)
        if len(base):
            lines += _of_network(keyed[keyed.task == net.task], base, net, scores)
    table = pd.DataFrame(lines, columns=COLUMNS[:COLUMNS.index("ms")])
    table = _with_energy(table, keyed, energy)
    return _with_times(in_points(table)).reindex(columns=COLUMNS)


def _of_network(own: pd.DataFrame, base: pd.DataFrame, net, scores: Mapping[str, np.ndarray]
                ) -> list[dict]:
    """The lines of one network; own: rows of its task, with `key`."""
    itself = (own.model == net.net) & (own.sizes == net.net_sizes)
    smaller = ~itself & (own.params < base.params.median()) & own.params.notna()
    kept = own[itself | smaller]
    longer = _fine_tuned(kept[itself[kept.index]])
    lines = []
    for _, part in kept.groupby("key", sort=False):
        lost = difference(part, base, scores)
        if lost is None:
            continue
        first, of_net = part.iloc[0], bool(itself[part.index[0]])
        line = {"task": net.task, "net": net.net, "net_sizes": net.net_sizes, "id": first.id,
                "model": first.model, **{name: first[name] for name in FIELDS},
                "technique": titles.technique(first), "training": training(first, of_net),
                "control": is_control(first), "metric": first.metric, "score": part.score.mean(),
                "loss": lost.mean, "low": lost.low, "high": lost.high, "p": lost.p,
                "over": lost.over, "runs": lost.runs, "n": part.n.median(),
                "error_ratio": lost.error_ratio, "by_fold": lost.by_fold,
                "KiB": part.size_bytes.median() / 1024,
                "base_KiB": base.size_bytes.median() / 1024,
                "bits_asked": bits_asked(part).iloc[0], "sparsity": part.sparsity.mean(),
                "macs": part.macs.median(), "base_macs": base.macs.median(),
                "left_float": first.left_float, "arithmetic": first.arithmetic}
        if of_net and first.tuned:
            line |= _against_fine_tuned(part, longer, scores)
        lines.append(line)
    return lines


def _fine_tuned(own: pd.DataFrame) -> dict:
    """_course of a fine-tuning -> rows of the baseline fine-tuned so; the best by its mean over
    learning rates is not chosen: the usual rate stands where it was run."""
    dense = own[(own.tuned == "finetune") & (own.pruner == "") & (own.quantizer == "")
                & (own.deploy == "")]
    found: dict = {}
    for _, part in dense.sort_values("lr", na_position="first").groupby("key", sort=False):
        found.setdefault(_course(part.iloc[0]), part)
    return found


def _against_fine_tuned(part: pd.DataFrame, longer: dict, scores) -> dict:
    """tuned_loss with its interval, where the baseline was fine-tuned for as long; else nothing."""
    base = longer.get(_course(part.iloc[0]))
    lost = None if base is None else difference(part, base, scores)
    return {} if lost is None else {
        "tuned_loss": lost.mean, "tuned_low": lost.low, "tuned_high": lost.high}


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
    """Rounded or masked weights in an FP32 file: no smaller and no faster than the baseline's."""
    masked = line.pruner != "" and not line.structure.startswith("channel")
    return line.deploy == "fp32" and (line.quantizer != "" or masked)


def in_points(table: pd.DataFrame) -> pd.DataFrame:
    """Losses in points: pp of accuracy and F1, hundredths of R² and MCC; one point is every
    metric's tolerance."""
    tolerance = table.metric.map(lambda name: METRICS[name].tolerance).astype(float)
    names = [name for name in ("loss", "low", "high", "tuned_loss", "tuned_low", "tuned_high")
             if name in table]
    by_fold = [{fold: (loss / most, ratio) for fold, (loss, ratio) in folds.items()}
               for folds, most in zip(table.by_fold, tolerance, strict=True)]
    return table.assign(**{name: table[name] / tolerance for name in names}, by_fold=by_fold)


def energies(costs: pd.DataFrame, quantity: str = "energy_j") -> pd.DataFrame:
    """Modelled energy of rows in joules: id, energy_45nm, energy_7nm, step_model (whether it was
    made by the model whose memories have a step). Remade figures take the place of older ones."""
    own = costs[(costs.quantity == quantity) & (costs.kind == "modelled")]
    remade = load_table("energy_remade")
    if len(remade) and quantity == "energy_j":
        own = pd.concat([own, remade])
    own = own.assign(process=own.source.str.split(",").str[0], new=own.source.str.contains(MARK))
    own = own.sort_values("new", kind="stable").drop_duplicates(["id", "process"], keep="last")
    wide = own.pivot(index="id", columns="process", values="value").rename(columns=PROCESSES)
    wide = wide.reindex(columns=list(PROCESSES.values()))
    return wide.assign(step_model=~own.groupby("id").new.min()).reset_index()


def _with_energy(table: pd.DataFrame, rows: pd.DataFrame, energy: pd.DataFrame) -> pd.DataFrame:
    """Mean energies over each candidate's rows, and shares of its baseline's, of one model only."""
    own = rows[["task", "key", "id"]].merge(energy, on="id")
    means = own.groupby(["task", "key"])[[*PROCESSES.values(), "step_model"]].mean()
    first = rows.drop_duplicates("id").set_index("id").key
    keys = pd.MultiIndex.from_arrays([table.task, table.id.map(first)])
    found = table.assign(**{name: means[name].reindex(keys).to_numpy() for name in means})
    base = found[(found.loss == 0) & (found.technique == titles.BASELINE)]
    net = ["task", "net", "net_sizes"]
    base = base.drop_duplicates(net).set_index(net)
    nets = pd.MultiIndex.from_frame(found[net])
    alike = found.step_model.to_numpy() == base.step_model.reindex(nets).to_numpy()
    for name, share in zip(PROCESSES.values(), ("energy_share", "energy_share_7nm"), strict=True):
        ratio = found[name].to_numpy() / base[name].reindex(nets).to_numpy()
        found[share] = np.where(alike, ratio, np.nan)
    return found.assign(step_model=found.step_model > 0)


def _with_times(table: pd.DataFrame) -> pd.DataFrame:
    """Milliseconds of one example and the paired speed-up over the FP32 file, as 08 timed them;
    and 08's own intervals where scores per example are not kept."""
    files = load_table("08_files")
    if files.empty:
        return table
    named = {"ms at 1": "ms", "ms_low at 1": "ms_low", "ms_high at 1": "ms_high",
             "speedup at 1": "speedup", "speedup_low at 1": "speedup_low",
             "speedup_high at 1": "speedup_high"}
    files = files[["id", "task", "net", "loss", "low", "high", *named]].rename(columns=named)
    files = files.rename(columns={name: f"{name}_08" for name in ("loss", "low", "high")})
    table = table.merge(files.drop_duplicates(["id", "task", "net"]), on=["id", "task", "net"],
                        how="left")
    same = table.low.isna() & np.isclose(table.loss, table.loss_08, atol=1e-3)
    return table.assign(low=table.low.where(~same, table.low_08),
                        high=table.high.where(~same, table.high_08))
