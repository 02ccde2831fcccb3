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
    rows, said = _by_net(tables.compressed.rows), tables.claims.set_index("key").value
    ptq, pruned, dense = rows.done == "edge_ptq", rows.done == "edge_prune", rows.base.isin(DENSE)
    four = tables.cells["edge_qat"].query("bits == 4").sort_values("score")     # the last is best
    shown = dict(zip(four.task + "/" + four.model, four.quantizer, strict=True))
    best = ptq & (rows.quantizer == BEST)
    tests = {
        "dense": best & dense & (rows.bits == said.dense),
        "simple_cnn": best & (rows.base == "cnn_edge") & (rows.bits == said.simple_cnn),
        "complex_cnn": best & (rows.base == "resnet9") & (rows.bits == said.complex_cnn),
        "multipoint": ptq & (rows.quantizer == POINTS) & (rows.bits == 8) & (rows.set == ANEW),
        "pruned": pruned & (rows.task == "churn@edge") & np.isclose(rows.bits, said.pruned),
        "qat": (rows.done == "edge_qat") & (rows.bits == 4)
               & (rows.quantizer == rows.net.map(shown))}

    def losses(own: pd.Series, base: pd.Series, gain: bool = False) -> list[Estimate]:
        return verdicts.compared(rows, own, base, ["set", "net", "sizes"], _where,
                                 tables.compressed.scores, gain)

    found = {key: losses(own, rows.done == "base") for key, own in tests.items()}
    eight = (rows.base == "resnet9") & (rows.quantizer == "edge_nearest_uniform") & (rows.bits == 8)
    after = eight & (rows.done == "after") & (rows.amount == 0.2)
    found["raises"] = losses(after, eight & ptq, gain=True)
    ranked = rows[ptq & dense]
    found["best"] = [part for rival in RIVALS for part in _ahead(ranked, (BEST,), (rival,))]
    found["normal"] = _ahead(ranked, SETS["uniform"], SETS["normal"])
    notes, printed = {}, tables.cells["edge_ptq"]
    for cell in printed[(printed.model == "resnet9") & (printed.bits == said.complex_cnn)
                        & (printed.quantizer == BEST)].itertuples():
        notes["complex_cnn"] = (f"Edge's own table has {cell.score} % at {cell.bits} bits and "
                                f"{cell.float_score} % in FP32.")
    if found["raises"]:
        before, then = (rows.score[which].mean() for which in (eight & ptq, after))
        notes["raises"] = f"From {before:.1f} % to {then:.1f} %."
    for part in _ahead(ranked, SETS["uniform"], SORTED)[:1]:
        notes["normal"] = (f"Edge leaves these levels unsorted; sorted, they are {part.mean:.2g} "
                           f"ranks behind [{part.low:.2g}, {part.high:.2g}] ({OWN}).")
    if found["multipoint"]:
        stored = rows.bits_per_weight[tests["multipoint"]].min()
        notes["multipoint"] = f"It stores {stored:.0f} bits a weight or more; FP32 stores 32."
    for line in tables.fp32.query("task == 'cifar100' and model == 'resnet9'").itertuples():
        notes["training"] = (f"The printed value is the training accuracy ({line.train_score} %); "
                             f"Edge's tables give {line.score} % on the test set.")
    return {key: Evidence(found.get(key, []), notes.get(key, "")) for key in {*found, *notes}}


def numbers(tables) -> list[dict]:
    """A line for each cell of Edge's tables and set of networks that it is tested on. Edge kept its
    dense networks, but not those of its multipoint notebooks or of its QAT."""
    lines, rows = [], _by_net(tables.compressed.rows)
    by = dict(iter(rows.groupby(["done", "set", "net", "quantizer", "bits"])))
    for name, cells in tables.cells.items():
        if name == "edge_prune":
            cells = cells.assign(quantizer="edge", bits=100 * cells.amount)
        others = dict(iter(cells.groupby(["task", "model", "float_score"]).score))
        for cell in cells.itertuples():
            kept = cell.model in DENSE and name != "edge_qat" and cell.quantizer != POINTS
            rest = others[cell.task, cell.model, cell.float_score].drop(index=cell.Index)
            lines += [_line(cell, by, rest, which, name)
                      for which in ((OWN, ANEW) if kept else (ANEW,))]
    return lines


def _line(cell, by: dict, others: pd.Series, which: str, name: str) -> dict:
    """The line of one cell; by: (table, set, net, quantizer, bits) -> rows."""
    key = (name, which, f"{cell.task}/{cell.model}", cell.quantizer, float(cell.bits))
    pointed = cell.quantizer == POINTS                  # rows have as many points as bits + 1
    own = None if pointed and cell.points != cell.bits + 1 else by.get(key)
    line = _number(cell, own, others, which)
    if line["verdict"] in (REPRODUCED, verdicts.NOT_REPRODUCED):
        line["why"] = _cause(cell, by, key, line)
    if name == "edge_prune":
        words = [f"{cell.bits:g} % of the weights pruned"]
    else:
        words = [titles.quantizer(cell.quantizer), f"{cell.bits:g}-bit"]
        words += ["range between quartiles"] if cell.quantizer.endswith("_iqr") else []
        words += [f"{cell.points:g} points"] if pointed else []
        words += ["QAT"] if name == "edge_qat" else []
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
    asked = [] if own is None else [f"{name} {own[name].iloc[0]}" for name in (
        "sizes", "epochs", "batch_size") if own[name].iloc[0] and pd.notna(own[name].iloc[0])]
    why = f"Built or trained otherwise than Edge's: {', '.join(asked)}; runs: {len(scores)}."
    return line | {"verdict": verdicts.UNTESTABLE, **verdicts.NONE, "why": why} if asked else line


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
        own = by.get((*key[:3], name, key[4]))
        off = _number(cell, own, pd.Series(dtype=float), key[1])
        if own is not None and not low <= off["measured"] <= high \
                and REPRODUCED in (off["verdict"], line["verdict"]):
            causes.append(f"{words} (without this: {off['measured']:.4g})")
    return f"Cause in Edge's code: {'; '.join(causes)}." if causes else ""


def _by_net(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of Edge's networks with base (the model), net, set, mse, and done: base, the table of
    Edge that they test, or after (pruned after quantization). bits: of a pruned one its percent."""
    rows = rows[rows.model.isin(BY_EDGE) | (rows.recipe == "edge")]
    base = rows.model.str.removesuffix("-edge")
    plain, whole, alone = rows.quantizer == "", rows.pruner == "", rows.tuned == ""
    tensor = rows.granularity.isin(["", "tensor"]) & rows.a_bits.isna() & (rows.repairs == "")
    edge = (rows.pruner == "edge") & alone
    kinds = {"base": tensor & plain & whole & alone, "edge_ptq": tensor & whole & alone,
             "edge_prune": plain & edge, "edge_qat": tensor & whole & (rows.tuned == "ste"),
             "after": tensor & edge & (rows.order == "quantize prune")}
    return rows.assign(
        base=base, net=rows.task + "/" + base, mse=rows.score2.where(rows.metric2 == "rmse")**2,
        set=np.where(rows.model.isin(BY_EDGE), OWN, ANEW),
        done=np.select(list(kinds.values()), list(kinds), ""),
        quantizer=rows.quantizer.mask(kinds["edge_prune"], "edge"),
        bits=rows.bits.mask(kinds["edge_prune"], 100 * rows.amount).fillna(0.0))


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
