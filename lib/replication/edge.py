"""Edge (mohitgulla/Edge): post-training quantization, pruning and quantization-aware training."""

import numpy as np
import pandas as pd

from lib.base import titles
from lib.base.metric import METRICS
from lib.base.names import BY_EDGE
from lib.replication import verdicts
from lib.replication.verdicts import REPRODUCED, Estimate, Evidence
from lib.results.intervals import t_interval

OWN, ANEW = "Edge's own weights", "trained from scratch by Edge's recipe"
BEST, POINTS = "edge_stochastic_uniform", "edge_multipoint"
SETS = {kind: (f"edge_nearest_{kind}", f"edge_stochastic_{kind}")
        for kind in ("uniform", "histogram", "normal")}
RIVALS = ("edge_mid_rise", "edge_nearest_uniform", *SETS["histogram"], *SETS["normal"])
SORTED = ("edge_sorted_nearest_normal", "edge_sorted_stochastic_normal")
DENSE = ("mlp_simple", "mlp_complex")
DIGIT = 0.005001        # half of the last printed digit of an accuracy, in percent
NEAR = np.log(1.01)     # of a squared error: Edge prints the mean of its batches' means
CHAPTERS = {"edge_ptq": "03_ptq", "edge_prune": "04_prune", "edge_qat": "05_qat"}
CAUSES = {              # what quant/edge_switched.py switches off, one at a time
    "sorted": "the levels are left unsorted", "own": "weight and bias share one range",
    "zero": "no level is 0", "clamped": "mid-rise keeps one level too many",
    "whole": "a layer with one output is hardly quantized"}


def evidence(tables) -> dict[str, Evidence]:
    """What the rows say of each of Edge's statements, by its key in claims.csv."""
    rows, said = _by_net(tables.compressed.rows), tables.said("Edge")

    def losses(part: pd.DataFrame, own: pd.Series, base: pd.Series, **more) -> list[Estimate]:
        return verdicts.compared(part, own, base, ["set", "net", "sizes"], _where,
                        tables.compressed.scores, **more)

    plain, bare = _quantized_only(rows), (rows.pruner == "") & (rows.tuned == "")
    dense, images = rows[plain & rows.base.isin(DENSE)], rows[plain & ~rows.base.isin(DENSE)]
    found = {"best": [part for rival in RIVALS for part in _ahead(dense, (BEST,), (rival,))],
             "normal": _ahead(dense, SETS["uniform"], SETS["normal"])}
    for key, model in (("dense", ""), ("simple_cnn", "cnn_edge"), ("complex_cnn", "resnet9")):
        part = images[images.base == model] if model else dense
        found[key] = losses(part, (part.quantizer == BEST) & (part.bits == said.get(key)),
                            part.quantizer == "")
    anew = rows[plain & (rows.set == ANEW)]
    pointed = (anew.quantizer == POINTS) & (anew.bits == 8)
    found["multipoint"] = losses(anew, pointed, anew.quantizer == "")
    nets = rows[(rows.task == "churn@edge") & (rows.quantizer == "") & (rows.tuned == "")]
    found["pruned"] = losses(nets, (nets.pruner == "edge")
                             & np.isclose(100 * nets.amount, said.get("pruned")), nets.pruner == "")
    four = tables.cells["edge_qat"].query("bits == 4").sort_values("score")
    best = dict(zip(four.task + "/" + four.model, four.quantizer, strict=True))     # the last wins
    found["qat"] = losses(rows, (rows.tuned == "ste") & (rows.bits == 4) & (rows.pruner == "")
                          & (rows.quantizer == rows.net.map(best)),
                          bare & (rows.quantizer == "") & rows.net.isin(best))
    eight = rows[(rows.base == "resnet9") & (rows.bits == 8) & (rows.repairs == "")]
    shifted = eight[eight.quantizer == "edge_nearest_uniform"]
    after = (shifted.pruner == "edge") & (shifted.amount == 0.2)
    after &= shifted.order == "quantize prune"
    found["raises"] = losses(shifted, after, shifted.pruner == "", gain=True)
    notes = {"best": "Networks for images were trained once and are not ranked."}
    zero = eight[(eight.quantizer == "affine") & (eight.pruner == "")].score
    if after.any() and len(zero):
        notes["raises"] = (f"From {shifted.score[shifted.pruner == ''].mean():.1f} % to "
                           f"{shifted.score[after].mean():.1f} %. Edge's levels have no zero; with "
                           f"one, 8 bits score {zero.max():.1f} % without pruning.")
    for part in _ahead(dense, SETS["uniform"], SORTED)[:1]:
        notes["normal"] = (f"Edge leaves these levels unsorted; sorted, they are {part.mean:.2g} "
                           f"ranks behind [{part.low:.2g}, {part.high:.2g}] ({OWN}).")
    if pointed.any():
        notes["multipoint"] = (f"It stores {anew.bits_per_weight[pointed].min():.0f} bits a weight "
                               "or more; FP32 stores 32.")
    for line in tables.fp32.query("task == 'cifar100' and model == 'resnet9'").itertuples():
        notes["training"] = (f"The printed value is the training accuracy ({line.train_score} %); "
                             f"Edge's tables give {line.score} % on the test set.")
    return {key: Evidence(found.get(key, []), notes.get(key, "")) for key in {*found, *notes}}


def numbers(tables) -> list[dict]:
    """A line for each cell of Edge's tables and set of networks that it is tested on.

    Edge kept the weights of its dense networks, but not those of its multipoint notebooks or those
    that it trained through a quantizer.
    """
    rows, lines = _by_net(tables.compressed.rows), []
    pruned = rows[(rows.quantizer == "") & (rows.tuned == "") & (rows.pruner == "edge")]
    through = (rows.tuned == "ste") & rows.granularity.isin(["", "tensor"]) & rows.a_bits.isna()
    tests = {"edge_ptq": rows[_quantized_only(rows)],
             "edge_prune": pruned.assign(quantizer="edge", bits=100 * pruned.amount),
             "edge_qat": rows[through & (rows.pruner == "")]}
    for name, cells in tables.cells.items():
        if name == "edge_prune":
            cells = cells.assign(quantizer="edge", bits=100 * cells.amount)
        by = dict(iter(tests[name].groupby(["set", "net", "quantizer", "bits"])))
        others = dict(iter(cells.groupby(["task", "model", "float_score"]).score))
        for cell in cells.itertuples():
            kept = cell.model in DENSE and name != "edge_qat" and cell.quantizer != POINTS
            rest = others[cell.task, cell.model, cell.float_score].drop(index=cell.Index)
            lines += [_line(cell, by, rest, which, name)
                      for which in ((OWN, ANEW) if kept else (ANEW,))]
    return lines


def _line(cell, by: dict, others: pd.Series, which: str, name: str) -> dict:
    """The line of one cell; by: (set, net, quantizer, bits) -> rows."""
    key = (which, f"{cell.task}/{cell.model}", cell.quantizer, float(cell.bits))
    own = by.get(key)
    if cell.quantizer == POINTS and cell.points != cell.bits + 1:       # as many as rows have
        own = None
    line = _number(cell, own, others, which)
    if line["verdict"] in (REPRODUCED, verdicts.NOT_REPRODUCED):
        line["why"] = _cause(cell, by, key, line)
    if name == "edge_prune":
        words = [f"{cell.bits:g} % of the weights pruned"]
    else:
        words = [titles.quantizer(cell.quantizer), f"{cell.bits:g}-bit"]
        words += ["range between quartiles"] if cell.quantizer.endswith("_iqr") else []
        words += [f"{cell.points:g} points"] if cell.quantizer == POINTS else []
        words += ["trained through the quantizer"] if name == "edge_qat" else []
    return line | {"study": "Edge", "kind": "cell", "task": cell.task, "set": which,
                   "claim": ", ".join([titles.model(cell.model), *words]),
                   "said": f"{cell.score:g}", "value": cell.score, "chapter": CHAPTERS[name],
                   "unit": "squared error" if cell.metric == "mse" else "%"}


def _number(cell, own: pd.DataFrame | None, others: pd.Series, which: str) -> dict:
    """`verdicts.number` of a cell; a network that was built or trained otherwise is no test."""
    squared, scores = cell.metric == "mse", np.empty(0)
    if own is not None:
        repeat = own.draw.fillna(0) if which == OWN else own.seed
        scores = own["mse" if squared else "score"].groupby(repeat).first().to_numpy()
    line = verdicts.number(
        cell.score, scores, others, (cell.chance, cell.float_score),
        NEAR if squared else getattr(cell, "reading", DIGIT),
        random=which == ANEW or "stochastic" in cell.quantizer, log=squared)
    if own is not None and (changed := own.iloc[0][["sizes", "epochs", "batch_size"]].replace(
            "", np.nan).dropna()).any():
        words = ", ".join(f"{name} {value}" for name, value in changed.items())
        line |= {"verdict": verdicts.UNTESTABLE, **verdicts.NONE, "why": (
            f"Built or trained otherwise than Edge's: {words}; runs: {len(scores)}.")}
    return line


def _cause(cell, by: dict, key: tuple, line: dict) -> str:
    """What in Edge's code, switched off alone, moves the score out of the interval and by more than
    the tolerance (to Edge's number, where that was missed), in words."""
    margin = (METRICS["r2"].tolerance * cell.chance if cell.metric == "mse"
              else METRICS[cell.metric].tolerance)
    low, high = (min(line["low"], line["measured"] - margin),
                 max(line["high"], line["measured"] + margin))
    causes = []
    for switch, words in CAUSES.items():
        name = f"edge_{switch}_{cell.quantizer.removeprefix('edge_')}"
        own = by.get((*key[:2], name, key[3]))
        off = _number(cell, own, pd.Series(dtype=float), key[0])
        if own is not None and not low <= off["measured"] <= high \
                and REPRODUCED in (off["verdict"], line["verdict"]):
            causes.append(f"{words} (without this: {off['measured']:.4g})")
    return f"Cause in Edge's code: {'; '.join(causes)}." if causes else ""


def _by_net(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of Edge's networks with base (the model), net, set and mse."""
    rows = rows[rows.model.isin(BY_EDGE) | (rows.recipe == "edge")]
    base = rows.model.str.removesuffix("-edge")
    return rows.assign(base=base, net=rows.task + "/" + base, bits=rows.bits.fillna(0.0),
                       set=np.where(rows.model.isin(BY_EDGE), OWN, ANEW),
                       mse=rows.score2.where(rows.metric2 == "rmse")**2)


def _quantized_only(rows: pd.DataFrame) -> pd.Series:
    """Baselines, and networks of which only the weights are quantized, one range a tensor."""
    return (rows.granularity.isin(["", "tensor"]) & (rows.pruner == "") & (rows.repairs == "")
            & rows.a_bits.isna() & (rows.tuned == ""))


def _where(rows: pd.DataFrame) -> str:
    """"Telescope · small MLP (trainings: 5)"."""
    first = rows.iloc[0]
    words = OWN if first.set == OWN else f"trainings: {rows.seed.nunique()}"
    return f"{titles.network(first.task.partition('@')[0], first.base, first.sizes)} ({words})"


def _ahead(rows: pd.DataFrame, first: tuple, second: tuple) -> list[Estimate]:
    """By how many ranks some quantizers stand before others, over networks, one result a set; ranks
    are among these alone, within a network, number of bits and seed."""
    parts = []
    for which, own in rows[rows.quantizer.isin([*first, *second])].groupby("set"):
        score = own.groupby(["net", "bits", "seed", "quantizer"]).score.mean().unstack()
        ranks = score.reindex(columns=[*first, *second]).dropna().rank(axis=1, ascending=False)
        lead = ranks[list(second)].mean(axis=1) - ranks[list(first)].mean(axis=1)
        lead = lead.groupby("net").mean()
        if len(lead):
            where = f"against {titles.quantizer(second[0])}, networks: {len(lead)}, {which}"
            parts.append(Estimate(where, *t_interval(lead), len(lead), len(own)))
    return parts
