"""The report's own: every baseline, and what each technique loses at most."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.base.metric import METRICS
from lib.page import style

MARKS = {"rival": ("|", style.SOFT, "scikit-learn's"),
         "earlier": ("D", style.SECOND, "published before"),
         "net": ("o", style.ACCENT, "our net")}
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

    summary: task, model, recipe, kind, metric, score, low, high, over, runs, params, size_bytes,
    macs; published: task, model, score. A t interval may reach beyond what a metric can be; it ends
    there.
    """
    best = summary.metric.map({name: metric.best for name, metric in METRICS.items()})
    earlier = published[["task", "model", "score"]].rename(columns={"score": "published"})
    frame = summary.assign(high=summary.high.clip(upper=best)).merge(
        earlier, on=["task", "model"], how="left")
    frame = frame.sort_values(["metric", "task", "score"], ascending=[True, True, False])
    low, high = _scores(frame, "low"), _scores(frame, "high")
    recipe = frame.recipe.replace("", "ours").where(frame.kind == "net")
    return pd.DataFrame({
        "task": frame.task, "model": frame.model, "recipe": recipe,
        "score": _scores(frame, "score"), "95 % interval": low + " – " + high,
        "over": frame.over.where(frame.over == "examples",
                                 frame.over + " (" + frame.runs.astype(str) + ")"),
        "published": _scores(frame, "published"),
        "params": _counts(frame.params), "bytes": _counts(frame.size_bytes),
        "MACs": _counts(frame.macs)})


def _scores(frame: pd.DataFrame, column: str) -> pd.Series:
    """A column of scores as text, with the digits of each line's metric; NaN stays NaN."""
    return pd.Series([np.nan if pd.isna(value) else METRICS[metric].text(value)
                      for value, metric in zip(frame[column], frame.metric, strict=True)],
                     index=frame.index, dtype=object)


def _counts(column: pd.Series) -> pd.Series:
    return column.map(lambda value: np.nan if pd.isna(value) else f"{value:,.0f}").astype(object)


def answer_table(points: pd.DataFrame) -> pd.DataFrame:
    """The smallest candidates of each net as text: by the mean loss, and by its interval's end.

    points: `tables.in_points(tables.answers(...))`.
    """
    chosen = points[points.by_mean | points.by_interval]
    by = np.select([chosen.by_mean & chosen.by_interval, chosen.by_mean], ["both", "mean"],
                   "interval")
    another = chosen.model.where(chosen.model != chosen.net, "")
    smaller = (another + " " + chosen.sizes).str.strip().replace("", np.nan)
    told = chosen.technique.where(smaller.isna(), chosen.technique + ": " + smaller.fillna(""))
    low, high = chosen.low.map("{:z.2f}".format), chosen.high.map("{:z.2f}".format)
    return pd.DataFrame({
        "task": chosen.task, "net": chosen.net, "smallest": told, "by": by,
        "KiB": chosen.KiB.map(_kib), "of": chosen.base_KiB.map(_kib),
        "loss": chosen.loss.map("{:z.2f}".format), "95 % interval": low + " – " + high,
        "over": chosen.over})


def earlier_table(summary: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """What earlier studies published, and the same model of ours on the same split; a dash where
    there is none.

    summary: as for `baseline_table`, of our recipe; published: study, task, model, metric, score.
    """
    ours = summary[["task", "model", "metric", "score", "low", "high", "over"]]
    both = published.merge(ours, on=["task", "model", "metric"], how="left",
                           suffixes=("_published", ""))
    low, high = _scores(both, "low"), _scores(both, "high")
    return pd.DataFrame({"study": both.study, "task": both.task, "model": both.model,
                         "published": _scores(both, "score_published"),
                         "ours": _scores(both, "score"), "95 % interval": low + " – " + high,
                         "over": both.over})


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


def _kib(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _loss(points: float) -> str:
    return f"{points:z.2f}" if points < 100 else f"{points:,.0f}"


def _nets(count: int) -> str:
    return f" ({count} net{'s' * (count > 1)})"


def _bits(value: object) -> str:
    if isinstance(value, str):
        return value
    words = style.bits(value)
    return words if "levels" in words else f"{words} bits"
