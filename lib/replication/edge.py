"""Edge (mohitgulla/Edge): post-training quantization, pruning and quantization-aware training."""

import numpy as np
import pandas as pd

from lib.base import titles
from lib.base.metric import METRICS
from lib.base.names import BY_EDGE
from lib.replication.verdicts import Estimate, Evidence, compared, number
from lib.results.intervals import t_interval

OWN, ANEW = "Edge's own weights", "trained from scratch by Edge's recipe"
BEST = "edge_stochastic_uniform"
NORMAL = ("edge_nearest_normal", "edge_stochastic_normal")
UNIFORM = ("edge_nearest_uniform", BEST)
SORTED = ("edge_sorted_nearest_normal", "edge_sorted_stochastic_normal")
RIVALS = ("edge_mid_rise", "edge_nearest_uniform", "edge_nearest_histogram",
          "edge_stochastic_histogram", *NORMAL)
DENSE = ("mlp_simple", "mlp_complex")
DIGIT = 0.005001        # half of the last printed digit of an accuracy, in percent
NEAR = np.log(1.01)     # of a squared error: Edge prints the mean of its batches' means
CAUSES = {              # what quant/edge_switched.py switches off, one at a time
    "sorted": "the levels are left unsorted", "own": "weight and bias share one range",
    "zero": "no level is 0", "clamped": "mid-rise keeps one level too many",
    "whole": "a layer with one output is hardly quantized"}


def evidence(tables) -> dict[str, Evidence]:
    """What the rows say of each of Edge's statements, by its key in claims.csv."""
    rows, scores = _by_net(tables.rows), tables.scores
    plain = rows[_quantized_only(rows)]
    value = tables.claims[tables.claims.study == "Edge"].set_index("key").value
    dense = plain[plain.base.isin(DENSE)]
    found = {
        "best": Evidence([part for rival in RIVALS for part in _ahead(dense, (BEST,), (rival,))],
                         "Networks for images have one training and are not ranked."),
        "normal": _normal(dense),
        "dense": Evidence(_enough(dense, scores, BEST, value["dense"])),
        "simple_cnn": _of_one(plain, "cnn_edge", scores, value["simple_cnn"]),
        "complex_cnn": _of_one(plain, "resnet9", scores, value["complex_cnn"]),
        "raises": _raises(rows, scores),
        "multipoint": Evidence(
            _enough(plain[plain.set == ANEW], scores, "edge_multipoint", 8), _bits_of(plain)),
        "qat": _trained(rows, scores, tables.cells["edge_qat"]),
        "pruned": Evidence(_pruned(rows, scores, value["pruned"] / 100)),
    }
    fp32 = tables.fp32
    if len(fp32):
        line = fp32[(fp32.task == "cifar100") & (fp32.model == "resnet9")].iloc[0]
        found["training"] = Evidence(note=f"The printed value is its training accuracy "
                                          f"({line.train_score:.2f} %); its own tables give "
                                          f"{line.score:.2f} % on the test set.")
    return found


def numbers(tables) -> list[dict]:
    """A line for each cell of Edge's tables and set of networks that it is tested on."""
    rows = _by_net(tables.rows)
    alone = (rows.quantizer == "") & (rows.tuned == "")
    one_range = rows.granularity.isin(["", "tensor"]) & rows.a_bits.isna() & (rows.pruner == "")
    through = (rows.tuned == "ste") & one_range
    pruned = rows[alone & (rows.pruner == "edge")].assign(quantizer="edge")
    pruned["bits"] = 100 * pruned.amount
    tests = {"edge_ptq": rows[_quantized_only(rows)], "edge_prune": pruned,
             "edge_qat": rows[through]}
    lines = []
    for name, cells in tables.cells.items():
        if name == "edge_prune":
            cells = cells.assign(quantizer="edge", bits=100 * cells.amount)
        cells = cells.reset_index(drop=True)
        keyed = tests[name].groupby(["set", "net", "quantizer", "bits"])
        lines += _lines(cells, dict(iter(keyed)), name)
    return lines


def _lines(cells: pd.DataFrame, by: dict, name: str) -> list[dict]:
    """The lines of one table; by: (set, net, quantizer, bits) -> rows. Edge kept no network of its
    multipoint notebooks, none that it trained through a quantizer, and none for images."""
    lines = []
    others = {key: part.score for key, part in cells.groupby(["task", "model", "float_score"])}
    for cell in cells.itertuples():
        net = f"{cell.task}/{cell.model}"
        kept = cell.model in DENSE and name != "edge_qat" and cell.quantizer != "edge_multipoint"
        rest = others[cell.task, cell.model, cell.float_score].drop(index=cell.Index)
        for which in (OWN, ANEW) if kept else (ANEW,):
            own = by.get((which, net, cell.quantizer, float(cell.bits)))
            if own is not None and getattr(cell, "points", np.nan) not in (np.nan, cell.bits + 1):
                own = None if pd.notna(cell.points) else own
            line = _number(cell, own, rest, which)
            if line["verdict"] in ("reproduced", "not reproduced") and name == "edge_ptq":
                line["why"] = (line["why"] + " " + _cause(cell, by, which, line)).strip()
            lines.append(line | {
                "study": "Edge", "kind": "cell", "claim": _title(cell, name), "task": cell.task,
                "model": cell.model, "said": f"{cell.score:g}", "value": cell.score, "set": which,
                "unit": "squared error" if cell.metric == "mse" else "%",
                "chapter": {"edge_ptq": "03_ptq", "edge_prune": "04_prune"}.get(name, "05_qat")})
    return lines


def _title(cell, name: str) -> str:
    """"small MLP, stochastic (uniform levels), 4-bit"."""
    if name == "edge_prune":
        return f"{titles.model(cell.model)}, {cell.bits:g} % of the weights pruned"
    words = [titles.model(cell.model), titles.quantizer(cell.quantizer), f"{cell.bits:g}-bit"]
    words += ["trained through the quantizer"] if name == "edge_qat" else []
    words += ["range between quartiles"] if cell.quantizer.endswith("_iqr") else []
    more = getattr(cell, "points", np.nan)
    return ", ".join(words + ([f"{more:g} points"] if pd.notna(more) else []))


def _number(cell, own: pd.DataFrame | None, others: pd.Series, which: str) -> dict:
    """`verdicts.number` of one cell; a network that was built or trained otherwise is no test."""
    squared = cell.metric == "mse"
    values = np.empty(0)
    if own is not None:
        repeat = own.draw.fillna(0) if which == OWN else own.seed
        values = own.groupby(repeat)[["mse" if squared else "score"]].first().to_numpy()[:, 0]
    best = 0.0 if squared else METRICS[cell.metric].best
    line = number(cell.score, values, others, (cell.chance, cell.float_score),
                  NEAR if squared else getattr(cell, "reading", DIGIT),
                  random=which == ANEW or "stochastic" in cell.quantizer, log=squared,
                  uniform=(cell.chance, best))
    if own is not None and (changed := _changed(own)):
        line |= {"verdict": "not testable", "random": np.nan, "permuted": np.nan,
                 "why": f"This network is not Edge's: {changed}; runs: {len(values)}."}
    return line


def _changed(rows: pd.DataFrame) -> str:
    """How this network was built or trained otherwise than Edge's ("width=16"); "" if as Edge's."""
    first = rows.iloc[0]
    words = [first.sizes] + [f"{name} {first[name]:g}" for name in ("epochs", "batch_size", "lr")
                             if pd.notna(first[name])]
    return ", ".join(word for word in words if word)


def _cause(cell, by: dict, which: str, line: dict) -> str:
    """The parts of Edge's code that, switched off alone, move the score out of the interval by more
    than the tolerance (and, where Edge's number was missed, to that number)."""
    squared = cell.metric == "mse"
    margin = METRICS["r2"].tolerance * cell.chance if squared else METRICS[cell.metric].tolerance
    causes, net = [], f"{cell.task}/{cell.model}"
    for switch, words in CAUSES.items():
        name = f"edge_{switch}_{cell.quantizer.removeprefix('edge_')}"
        rows = by.get((which, net, name, float(cell.bits)))
        if rows is None:
            continue
        off = _number(cell, rows, pd.Series(dtype=float), which)
        moved = not (min(line["low"], line["measured"] - margin) <= off["measured"]
                     <= max(line["high"], line["measured"] + margin))
        if moved and (off["verdict"] == "reproduced" or line["verdict"] == "reproduced"):
            causes.append(f"{words} (without this: {off['measured']:.4g})")
    return f"Cause in Edge's code: {'; '.join(causes)}." if causes else ""


def _by_net(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of Edge's networks with base (the model), net, set and mse."""
    own, anew = rows.model.isin(BY_EDGE), rows.recipe == "edge"
    kept = rows[own | anew]
    base = kept.model.str.removesuffix("-edge")
    return kept.assign(base=base, net=kept.task + "/" + base,
                       set=np.where(own[kept.index], OWN, ANEW), bits=kept.bits.fillna(0.0),
                       mse=kept.score2.where(kept.metric2 == "rmse")**2)


def _quantized_only(rows: pd.DataFrame) -> pd.Series:
    """Baselines, and networks of which only the weights are quantized, one range a tensor."""
    return (rows.granularity.isin(["", "tensor"]) & (rows.pruner == "") & (rows.repairs == "")
            & rows.a_bits.isna() & (rows.tuned == ""))


def _where(rows: pd.DataFrame) -> str:
    """"Telescope · small MLP (own weights)", with what is not as Edge had it."""
    first = rows.iloc[0]
    words = "Edge's own weights" if first.set == OWN else f"trainings: {rows.seed.nunique()}"
    return (f"{titles.network(first.task.partition('@')[0], first.base, first.sizes)} "
            f"({words})")


def _enough(plain: pd.DataFrame, scores, quantizer: str, bits: float) -> list[Estimate]:
    """The loss of each network at so many bits, in points."""
    parts = []
    for _, own in plain.groupby(["set", "net"], sort=False):
        there = own[(own.quantizer == quantizer) & (own.bits == bits)]
        parts += compared(_where(own), there, own[own.quantizer == ""], scores)
    return parts


def _of_one(plain: pd.DataFrame, model: str, scores, bits: float) -> Evidence:
    """The loss of a network for images at so many bits; else what its most bits below lose."""
    own = plain[plain.base == model]
    if len(parts := _enough(own, scores, BEST, bits)):
        return Evidence(parts, f"Trainings: {own.seed.nunique()}; the interval is over test "
                               "examples.")
    fewer = own[(own.quantizer == BEST) & (own.bits < bits)].bits.max()
    less = _enough(own, scores, BEST, fewer)
    return Evidence(note=f"No row at {bits:g} bits; {fewer:g} bits lose {less[0].mean:.2f} points "
                         f"on {less[0].where}." if less else "")


def _ahead(rows: pd.DataFrame, first: tuple, second: tuple) -> list[Estimate]:
    """By how many ranks some quantizers stand before others, over networks; a result a set.

    Rank 1 is the best of both within a network, number of bits and repeat; draws are averaged.
    """
    parts = []
    for which, own in rows[rows.quantizer.isin([*first, *second])].groupby("set"):
        score = own.groupby(["net", "bits", "seed", "quantizer"]).score.mean().unstack()
        score = score.reindex(columns=[*first, *second]).dropna()
        if len(score):
            ranks = score.rank(axis=1, ascending=False).groupby("net").mean()
            lead = ranks[list(second)].mean(axis=1) - ranks[list(first)].mean(axis=1)
            against = titles.quantizer(second[0]) if len(second) == 1 else "normal levels"
            parts.append(Estimate(f"against {against}, {len(lead)} networks, {which}",
                                  *t_interval(lead), len(lead), len(own)))
    return parts


def _normal(dense: pd.DataFrame) -> Evidence:
    """The normal levels as Edge left them, behind the uniform; the note says what sorting does."""
    sorted_ = _ahead(dense, UNIFORM, SORTED)
    note = "".join(f"Edge leaves these levels unsorted; sorted they rank {part.mean:.2g} behind "
                   f"[{part.low:.2g}, {part.high:.2g}] ({OWN})." for part in sorted_[:1])
    return Evidence(_ahead(dense, UNIFORM, NORMAL), note)


def _raises(rows: pd.DataFrame, scores) -> Evidence:
    """The gain of pruning 20 % after 8-bit quantization; note: a quantizer with a level at 0."""
    own = rows[(rows.base == "resnet9") & (rows.bits == 8) & (rows.repairs == "")]
    of = own[own.quantizer == "edge_nearest_uniform"]
    pruned = of[(of.pruner == "edge") & (of.amount == 0.2) & (of.order == "quantize prune")]
    zero = own[(own.quantizer == "affine") & (own.pruner == "")].score
    if pruned.empty:
        return Evidence()
    return Evidence(compared(_where(pruned), pruned, of[of.pruner == ""], scores, gain=True),
                    f"From {of[of.pruner == ''].score.mean():.1f} % to {pruned.score.mean():.1f} %, "
                    "one training. Edge's levels have no zero, and pruning puts it back: a "
                    f"quantizer with a zero level scores {zero.max():.1f} % without pruning.")


def _bits_of(plain: pd.DataFrame) -> str:
    """What multipoint stores at 8 bits."""
    used = plain[(plain.quantizer == "edge_multipoint") & (plain.bits == 8)].bits_per_weight
    return f"It stores {used.min():.0f} bits a weight or more; FP32 stores 32." if len(used) else ""


def _trained(rows: pd.DataFrame, scores, cells: pd.DataFrame) -> Evidence:
    """The loss of training at 4 bits through the quantizer that Edge's figure shows as the best."""
    parts = []
    of_bits = cells[cells.bits == 4] if len(cells) else cells
    for (task, model), part in of_bits.groupby(["task", "model"]) if len(of_bits) else ():
        best = part.loc[part.score.idxmax()].quantizer
        own = rows[(rows.net == f"{task}/{model}") & (rows.set == ANEW) & (rows.pruner == "")]
        there = own[(own.tuned == "ste") & (own.quantizer == best) & (own.bits == 4)]
        base = own[(own.tuned == "") & (own.quantizer == "")]
        if len(there):
            parts += compared(_where(there), there, base, scores)
    return Evidence(parts)


def _pruned(rows: pd.DataFrame, scores, amount: float) -> list[Estimate]:
    """The loss of the Churn networks, pruned as Edge did."""
    parts, alone = [], (rows.quantizer == "") & (rows.tuned == "")
    own_task = rows[alone & (rows.task == "churn@edge")]
    for _, own in own_task.groupby(["set", "net"], sort=False):
        there = own[(own.pruner == "edge") & np.isclose(own.amount, amount)]
        parts += compared(_where(own), there, own[own.pruner == ""], scores)
    return parts
