"""The report's own: every baseline, and what each technique loses at most."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.base.metric import METRICS
from lib.base.said import written
from lib.page import style
from lib.tables.rows import setting_of

MARKS = {"rival": ("|", style.SOFT, "scikit-learn's"),
         "earlier": ("D", style.SECOND, "published before"),
         "net": ("o", style.ACCENT, "our net")}
JOULES = {"microjoules": "µJ an answer", "share": "of the net as trained",
          "answers": "answers until paid back"}
SHIFT = {"net": 0.0, "rival": -0.22, "earlier": 0.22}       # of a line's height


def baselines(summary: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """Test scores by task: our nets, scikit-learn's models, what was published; a panel a metric.

    summary: task, model, metric, score, low, high, kind (net or rival), as `tables.summary` gives
    it; published: task, metric, score.
    """
    metrics = [name for name in METRICS if (summary.metric == name).any()]
    tasks = {name: list(dict.fromkeys(summary[summary.metric == name].task)) for name in metrics}
    most = max(map(len, tasks.values()))
    figure, axes = style.panels(len(metrics), height=1.2 + 0.36 * most)
    for axis, name in zip(axes, metrics, strict=True):
        place = {task: -i for i, task in enumerate(tasks[name])}
        frame = summary[summary.metric == name]
        parts = {kind: frame[frame.kind == kind] for kind in ("rival", "net")}
        parts["earlier"] = published[published.task.isin(list(place))]
        for kind, (mark, color, words) in MARKS.items():
            part = parts[kind]
            y = part.task.map(place) - SHIFT[kind]
            axis.plot(part.score, y, mark, color=color, markersize=5, label=words)
            if kind == "net":
                axis.hlines(y, part.low, part.high.clip(upper=METRICS[name].best), color=color,
                            linewidth=1.6, alpha=0.6)
        axis.set_yticks(list(place.values()), list(place))
        axis.set(xlabel=f"test {METRICS[name].label}", ylim=(-len(place) + 0.4, 0.6))
        axis.grid(axis="y", visible=False)
        style.at_most(axis, METRICS[name].best)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    style.lower(axes, [len(tasks[name]) / most for name in metrics])
    return figure


def baseline_table(summary: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """What `baselines` draws as text, the best of each task first; numbers with fit digits.

    summary: `tables.summary`'s columns and kind; published: task, model, score, each of one split.
    A t interval may reach beyond what a metric can be; it ends there. A net of another study's
    recipe that was built or trained otherwise than that says is called a stand-in.
    """
    best = summary.metric.map({name: metric.best for name, metric in METRICS.items()})
    earlier = published[["task", "model", "score"]].rename(columns={"score": "published"})
    frame = summary.assign(high=summary.high.clip(upper=best)).merge(
        earlier, on=["task", "model"], how="left")
    frame = frame.sort_values(["metric", "task", "score"], ascending=[True, True, False])
    low, high = _scores(frame, "low"), _scores(frame, "high")
    recipes = pd.Series([_recipe(line) for line in frame.itertuples()], frame.index, dtype=object)
    one_split = pd.Series(np.where(frame.over == "folds", " (one split)", ""), frame.index)
    return pd.DataFrame({
        "task": frame.task, "model": frame.model,
        "recipe": recipes.where(frame.kind == "net"),
        "score": _scores(frame, "score"), "95 % interval": low + " – " + high,
        "over": _over(frame), "n": _counts(frame.n),
        "published": _scores(frame, "published") + one_split,
        "params": _counts(frame.params), "bytes": _counts(frame.size_bytes),
        "MACs": _counts(frame.macs)})


def _recipe(line) -> str:
    """By whose recipe a net was trained, and what was changed of it."""
    changed = replace(setting_of(line).net, recipe="")
    if not line.recipe:
        return "its author's"
    if line.recipe == "ours":
        return f"ours: {changed}" if changed.asked else "ours"
    whose = "Edge's" if line.recipe == "edge" else line.recipe
    return f"{whose}, stand-in: {changed}" if changed.asked else whose


def _over(frame: pd.DataFrame) -> pd.Series:
    """What an interval is over, and how many runs where there are several."""
    several = frame.over + " (" + frame.runs.map("{:.0f}".format) + ")"
    return frame.over.where(frame.over == "examples", several)


def _scores(frame: pd.DataFrame, column: str) -> pd.Series:
    """A column of scores as text, with the digits of each line's metric; NaN stays NaN."""
    return pd.Series([np.nan if pd.isna(value) else METRICS[metric].text(value)
                      for value, metric in zip(frame[column], frame.metric, strict=True)],
                     index=frame.index, dtype=object)


def _counts(column: pd.Series) -> pd.Series:
    return column.map(lambda value: np.nan if pd.isna(value) else f"{value:,.0f}").astype(object)


def answer_table(chosen: pd.DataFrame) -> pd.DataFrame:
    """What is offered of each net, as text: what it loses where it was chosen, and where it was
    not.

    chosen: `tables.chosen(points, folds)`.
    """
    size = chosen.KiB.map(written) + " of " + chosen.base_KiB.map(written)
    alike = chosen.alike.map("{:.0f}".format) + " of " + chosen.folds.map("{:.0f} alike".format)
    on = chosen.chosen_on + (": " + alike).where(chosen.alike.notna(), "")
    table = pd.DataFrame({
        "net": chosen.task + " " + chosen.net, "offered": _offered(chosen), "by": chosen.by,
        "KiB": size, "loss": with_interval(chosen, "loss", "low", "high"),
        "over": _over(chosen) + ", n " + _counts(chosen.n), "chosen on": on,
        "read": with_interval(chosen, "read", "read_low", "read_high")})
    same = table.duplicated([name for name in table if name != "by"], keep=False)
    return table.assign(by=table.by.where(~same, "both")).drop_duplicates(ignore_index=True)


def _offered(chosen: pd.DataFrame) -> pd.Series:
    """What is offered, in words: the technique, and the net where that is another than it is for.

    chosen: net, model, sizes, technique.
    """
    another = chosen.model.where(chosen.model != chosen.net, "")
    smaller = (another + " " + chosen.sizes).str.strip().replace("", np.nan)
    return chosen.technique.where(smaller.isna(), chosen.technique + ": " + smaller.fillna(""))


def with_interval(frame: pd.DataFrame, *columns: str) -> pd.Series:
    """"0.50 [-0.25, 1.25]"; NaN where there is no number, the number alone without an interval."""
    mean, low, high = (frame[name].map("{:z.2f}".format) for name in columns)
    told = mean + (" [" + low + ", " + high + "]").where(frame[columns[1]].notna(), "")
    return told.astype(object).where(frame[columns[0]].notna(), np.nan)


def earlier_table(summary: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """What earlier studies published, each of one split and seed, and the same model of ours on the
    same split; a dash where there is none.

    summary: as for `baseline_table`, of our recipe; published: study, task, model, metric, score.
    """
    ours = summary[["task", "model", "metric", "score", "low", "high", "n"]].assign(
        over=_over(summary))
    both = published.merge(ours, on=["task", "model", "metric"], how="left",
                           suffixes=("_published", ""))
    low, high = _scores(both, "low"), _scores(both, "high")
    return pd.DataFrame({"study": both.study, "task": both.task, "model": both.model,
                         "published": _scores(both, "score_published"),
                         "ours": _scores(both, "score"), "95 % interval": low + " – " + high,
                         "over": both.over, "n": _counts(both.n)})


def matrix(losses: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Technique × bits: the worst loss over nets, as a table and its shades, for `show.table`.

    losses: technique, bits_asked (text or number), task, net, loss in points (of R² hundredths);
    techniques, and bits that are text, keep the order in which they come. A cell with fewer nets
    than the fullest one of its bits says how many.

    >>> frame, shade = matrix(losses); show.table(frame, "…", shade=shade)      # doctest: +SKIP
    """
    nets = losses.task.astype(str) + " " + losses.net.astype(str)
    cells = losses.assign(net=nets).groupby(["technique", "bits_asked"], sort=False).agg(
        worst=("loss", "max"), nets=("net", "nunique")).reset_index()
    few = cells.nets < cells.groupby("bits_asked").nets.transform("max")
    cells["text"] = cells.worst.map(_loss) + cells.nets.map(_nets).where(few, "")
    cells["depth"] = (cells.worst / style.MOST_POINTS).clip(0, 1)
    order = list(dict.fromkeys(losses.technique))
    columns = list(dict.fromkeys(losses.bits_asked))
    if pd.api.types.is_numeric_dtype(losses.bits_asked):
        columns.sort()
    wide = {what: cells.pivot(index="technique", columns="bits_asked", values=what)
            .reindex(index=order, columns=columns).reset_index(names="technique")
            for what in ("text", "depth")}
    for frame in wide.values():
        frame.columns = ["technique", *map(_bits, columns)]
    return wide["text"], wide["depth"].drop(columns="technique")


def pruned_matrix(losses: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ranking, pattern, schedule and training × share of the weights asked to go: as `matrix`, of
    nets that were pruned and not rounded.

    losses: task, net, loss in points and every field of Setting.
    """
    pruned = losses[(losses.pruner != "") & (losses.quantizer == "")]
    pruned = pruned.sort_values(["structure", "tuned", "schedule", "pruner", "amount"],
                                ascending=[False, True, True, True, True], kind="stable")
    words = [", ".join(word for word in (
        line.pruner, "" if line.structure == "unstructured" else line.structure,
        "" if line.schedule == "one-shot" else line.schedule, line.tuned) if word)
        for line in pruned.itertuples()]
    shares = sorted(pruned.amount.unique())
    text, depth = matrix(pruned.assign(technique=words, bits_asked=pruned.amount))
    names = ["technique", *(f"{100 * share:g} %" for share in shares)]
    return text.set_axis(names, axis=1), depth.set_axis(names[1:], axis=1)


def joules_table(found: pd.DataFrame) -> pd.DataFrame:
    """`tables.of_answers` as text, a line an offer: what each process tells stands side by side."""
    told = found.assign(
        microjoules=found.microjoules.map(written),
        share=found.share.map(written) + " %",
        answers=[np.nan if pd.isna(count) else f"{count:,.0f}" for count in found.answers])
    table = pd.DataFrame({"net": told.task + " " + told.net, "technique": _offered(told),
                          **{name: told[name] for name in ("process", *JOULES)}})
    wide = table.pivot(index=["net", "technique"], columns="process", values=list(JOULES))
    wide = wide.reindex(table.set_index(["net", "technique"]).index.unique())
    wide.columns = [f"{JOULES[name]}, {process}" for name, process in wide.columns]
    return wide.reset_index()


def _loss(points: float) -> str:
    return f"{points:z.2f}" if points < 100 else f"{points:,.0f}"


def _nets(count: int) -> str:
    return f" ({count} net{'s' * (count > 1)})"


def _bits(value: object) -> str:
    if isinstance(value, str):
        return value
    words = style.bits(value)
    return words if "levels" in words else f"{words} bits"
