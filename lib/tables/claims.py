"""Claims: what a study said, which rows test it, and the verdicts, computed and never typed.

Each claim gets two. On Edge's own weights (models mlp_simple-edge, mlp_complex-edge): reproduced or
not reproduced. On nets trained anew by its recipe (recipe edge): generalizes or does not. Or:
artefact, where the claim needs a bug; not testable here; and, never counted among these, a pattern
that few seeds show, and a stand-in, a net that was built or trained otherwise or lacks some of
Edge's: each "holds" or "does not hold".
"""

import pandas as pd

from lib.base.names import BY_EDGE
from lib.tables import cells as cell_by_cell
from lib.tables import conclusions

COLUMNS = ("study", "kind", "task", "claim", "published",
           "own_ours", "own_low", "own_high", "own_others", "own_verdict", "own_rows",
           "ours", "low", "high", "others", "verdict", "rows", "cause")
NUMBERS = ("published", "own_ours", "own_low", "own_high", "own_others", "ours", "low", "high",
           "others")
OWN, RETRAINED = "own weights", "trained anew"
CELLS = ("cell", "pruned cell", "trained cell")         # kinds of claims that are single numbers


def judge(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The table of claims about post-training quantization: Edge's conclusions, then its cells.

    rows: as `tables.load` gives them; cells: data/published/edge_ptq.csv. Columns: COLUMNS. kind:
    conclusion, cell or pattern; task: of a cell; ours, low, high: our number and the interval (over
    seeds; with own_ before: on Edge's weights, over draws); others: the share of Edge's other
    numbers of this net in that interval; rows: how many tested it; cause: what, switched off alone,
    moves our number out of the interval.
    """
    cells = cells.reset_index(drop=True)
    own, retrained = _both(rows[(rows.split == "test") & _as_edge_rounded(rows)])
    told = conclusions.lines(own, retrained, cells)
    told += [{"task": cell.task, **cell_by_cell.line(cell, own, retrained, cells)}
             for cell in cells.itertuples()]
    return _table(told)


def judge_pruning(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The same of Edge's pruned nets, whose weights were not rounded: its cells.

    cells: data/published/edge_prune.csv; of few seeds it is a pattern.
    """
    as_edge = rows.pruner.isin(["", "edge"]) & (rows.quantizer == "") & (rows.tuned == "")
    tested = rows[(rows.split == "test") & as_edge]
    # A cell is found by a quantizer and its bits; here these are the pruning and its percentage.
    tested = tested.assign(quantizer=tested.pruner, bits=100 * tested.amount, pruner="",
                           amount=float("nan"), structure="", schedule="")
    own, retrained = _both(tested)
    cells = cells.reset_index(drop=True).assign(quantizer="edge", points=float("nan"))
    cells["bits"] = 100 * cells.amount
    told = []
    for cell in cells.itertuples():
        claim = f"{cell.task}/{cell.model}, pruned by {cell.bits:g} %: {cell.metric}"
        line = cell_by_cell.line(cell, own, retrained, cells)
        kind = {"cell": "pruned cell"}.get(line["kind"], line["kind"])
        told.append({"task": cell.task, **line, "claim": claim, "kind": kind})
    return _table(told)


def judge_trained(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The same of nets that were trained through Edge's quantizers.

    cells: data/published/edge_qat.csv, which Edge shows in a figure: `reading` is how well it can
    be read.
    """
    one_range = rows.granularity.isin(["", "tensor"]) & rows.a_bits.isna() & (rows.pruner == "")
    through = (rows.tuned == "ste") | ((rows.tuned == "") & (rows.quantizer == ""))
    own, retrained = _both(rows[(rows.split == "test") & one_range & through])
    cells = cells.reset_index(drop=True).assign(points=float("nan"))
    told = []
    for cell in cells.itertuples():
        line = cell_by_cell.line(cell, own, retrained, cells)
        kind = {"cell": "trained cell"}.get(line["kind"], line["kind"])
        told.append({"task": cell.task, **line, "kind": kind,
                     "claim": f"{line['claim']}, trained through"})
    return _table(told)


def judge_green(rows: pd.DataFrame, cells: pd.DataFrame, files: pd.DataFrame | None = None
                ) -> pd.DataFrame:
    """What Green printed of pruned and quantized transformers, beside ours on its split, where the
    data that it used are at hand; else what it printed that they lose, beside what the same nets
    lose on other series.

    cells: data/published/green_compressed.csv; its column `code` says what Green's code does;
    files: `tables.files` of its nets on other series, each as the file that it names.
    """
    files = pd.DataFrame() if files is None else files
    tested = rows[(rows.split == "test") & rows.score.notna()]
    told = []
    for cell in cells.itertuples():
        same = tested[(tested.task == cell.task) & (tested.model == cell.model)
                      & (tested.pruner == cell.pruner) & (tested.quantizer == cell.quantizer)]
        line = {"kind": "conclusion", "task": cell.task, "published": cell.score,
                "claim": f"{cell.model} {cell.technique}: {cell.metric}", "cause": cell.code,
                "rows": len(same), "own_rows": 0, "own_verdict": cell_by_cell.UNTESTED,
                "verdict": cell_by_cell.UNTESTED}
        if len(same):
            low, high = same.score_low.min(), same.score_high.max()
            holds = low <= cell.score <= high
            line |= {"ours": same.score.mean(), "low": low, "high": high,
                     "verdict": "generalizes" if holds else "does not generalize"}
        elif len(files):
            line |= _on_other_series(cell, files)
        told.append(line)
    return _table(told, "Green")


def _on_other_series(cell, files: pd.DataFrame) -> dict:
    """The points that a cell says are lost, beside those lost on other series: it holds where each
    of their intervals has it."""
    own = files[(files.net == cell.model) & (files.deploy == cell.deploy)
                & (files.pruner == cell.pruner) & (files.model == files.net)]
    if own.empty:
        return {}
    lost = cell.float_score - cell.score
    holds = ((own.low <= lost) & (lost <= own.high)).all()
    return {"claim": f"{cell.model} {cell.technique}: points of {cell.metric} lost",
            "published": lost, "ours": own.loss.mean(), "low": own.low.min(),
            "high": own.high.max(), "rows": len(own),
            "verdict": f"stand-in: on {' and '.join(own.task)} this loss "
                       f"{'holds' if holds else 'does not hold'}"}


def _both(tested: pd.DataFrame) -> tuple[cell_by_cell.Weights, cell_by_cell.Weights]:
    """Rows on Edge's own weights, and on nets trained anew by its recipe."""
    tested = tested.assign(mse=tested.score2.where(tested.metric2 == "rmse")**2)
    published = tested[tested.model.isin(BY_EDGE)]
    own = cell_by_cell.weights(published.assign(
        net=published.task + "/" + published.model.str.removesuffix("-edge"),
        repeat=published.draw.fillna(0)), "draws", "reproduced", "not reproduced")
    anew = tested[tested.recipe == "edge"]
    retrained = cell_by_cell.weights(
        anew.assign(net=anew.task + "/" + anew.model, repeat=anew.seed),
        "seeds", "generalizes", "does not generalize")
    return own, retrained


def _table(told: list[dict], study: str = "Edge") -> pd.DataFrame:
    table = pd.DataFrame(told).assign(study=study).reindex(columns=COLUMNS)
    return table.astype(dict.fromkeys(NUMBERS, float))


def by_verdict(judged: pd.DataFrame) -> pd.DataFrame:
    """How many claims got which kind of verdict: a line for the conclusions, for each task of the
    cells and for the patterns on each kind of weights, a column a verdict, then all of them, and
    the mean percentage of Edge's other numbers of the same net that lay in the intervals.

    What was reproduced and has a cause is counted apart. On Edge's weights there are no lines of
    what no row tests, for Edge kept none of its nets for images."""
    about = judged.task.where(judged.kind == "cell", judged.kind + "s")
    about = about.where(judged.kind != "pruned cell", judged.task + ", pruned")
    about = about.where(judged.kind != "trained cell", judged.task + ", trained through")
    about = about.where(judged.study == "Edge", "conclusions of " + judged.study)
    own = judged.own_verdict.map(word)
    caused = (own == "reproduced") & (judged.cause != "")
    here = pd.DataFrame({"about": about, "nets": OWN, "others": judged.own_others,
                         "verdict": own.where(~caused, "reproduced, cause found")})
    here = here[judged.own_rows.groupby(about).transform("sum") > 0]
    anew = pd.DataFrame({"about": about, "nets": RETRAINED, "others": judged.others,
                         "verdict": judged.verdict.map(word)})
    both = pd.concat([here, anew])
    by = [both["about"], both.nets]
    counts = pd.crosstab(by, both.verdict)
    counts["all"] = counts.sum(axis=1)
    counts["others inside, %"] = 100 * both.others.groupby(by).mean()
    return counts.reset_index().rename_axis(columns=None)


def word(verdict: str) -> str:
    """The kind of a verdict: what stands before its colon; a stand-in's says whether it holds."""
    kind = verdict.partition(":")[0]
    if kind == "stand-in":
        kind += ", does not hold" if verdict.endswith("does not hold") else ", holds"
    return kind


def _as_edge_rounded(rows: pd.DataFrame) -> pd.Series:
    """Rows of nets as trained, and of nets of which only the weights are rounded, with one range a
    tensor as Edge has it: nothing pruned, repaired, trained further or done to activations."""
    return (rows.granularity.isin(["", "tensor"]) & (rows.pruner == "") & (rows.repairs == "")
            & rows.a_bits.isna() & (rows.tuned == ""))
