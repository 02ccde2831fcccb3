"""Tables become figures: the house style, captions, alternative text."""

import base64
import io
import re
from html import escape

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML, display
from matplotlib.figure import Figure
from PIL import Image

from lib.base import paths

PALETTE = "colorblind"
WIDTH = 7.2                 # inches; about the text's width in the report
SCORE = {"accuracy": "test accuracy, %", "r2": "test R²"}

matplotlib.rcParams["svg.hashsalt"] = "greenbits"       # the same figure is the same file
sns.set_theme(context="paper", font_scale=1.15, style="whitegrid", palette=PALETTE, rc={
    "figure.figsize": (WIDTH, 4.2), "figure.dpi": 110, "savefig.dpi": 160,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "grid.color": "#e6e6e6", "legend.frameon": False})


def show(figure: Figure, name: str, caption: str, alt: str) -> None:
    """Save a figure as PNG and SVG under figures/<profile>/ and show it with its caption.

    name: file stem, "02_curves"; caption: what a reader should see, numbers formatted from tables;
    alt: what the picture shows, for those who cannot see it.
    """
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", name):
        raise ValueError(f"a figure's name is its notebook's number and words: {name!r}")
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None}, bbox_inches="tight")
    figure.savefig(png, format="png", metadata={"Software": None}, bbox_inches="tight")
    plt.close(figure)
    small = _few_colors(png)
    for kind, content in (("svg", svg.getvalue()), ("png", small)):
        paths.write_atomic(paths.figure_folder() / f"{name}.{kind}", content)
    image = base64.b64encode(small).decode()
    display(HTML(f'<figure id="{name}"><img src="data:image/png;base64,{image}" '
                 f'alt="{escape(alt, quote=True)}"><figcaption>{_text(caption)}</figcaption>'
                 "</figure>"))


def _few_colors(png: io.BytesIO) -> bytes:
    """The same picture with 256 colours: a third of the bytes, and every page carries it along."""
    small = io.BytesIO()
    Image.open(png).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        small, "png", optimize=True)
    return small.getvalue()


def show_table(frame: pd.DataFrame, caption: str, digits: int = 2, fold: str = "") -> None:
    """A table with its caption; floats with `digits` decimals, missing values as a dash.

    fold: a line in whose place the table comes when a reader clicks on it; for long ones."""
    table = frame.to_html(index=False, border=0, na_rep="–", classes="data",
                          float_format=lambda v: f"{v:.{digits}f}")
    table = table.replace(">", f"><caption>{_text(caption)}</caption>", 1)
    display(HTML(f'<div class="table">{table}</div>' if not fold else
                 f'<details class="table"><summary>{_text(fold)}</summary>{table}</details>'))


def _text(caption: str) -> str:
    """HTML of a caption; `names` in backticks become code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(caption))


def examples(task, count: int = 12) -> tuple[Figure, str, str, str]:
    """Some test examples drawn: (figure, name, caption, alt), ready for `show`."""
    count = min(count, len(task.test))
    draw = {"image": _images, "series": _series, "tabular": _columns}[task.kind]
    figure = draw(task, count)
    kind = {"image": "images", "series": "windows of acceleration, one line per axis",
            "tabular": "columns, each value standardised"}[task.kind]
    words = re.sub(r"[^a-z0-9]+", "_", task.name.lower())[:40]
    synthetic = " (synthetic)" if "synthetic" in task.source else ""
    return (figure, f"01_examples_{words}", f"Test examples of {task.name}{synthetic}: {kind}.",
            f"What test examples of {task.name} look like: {kind}")


def _title(task, index: int) -> str:
    return task.classes[int(task.test.y[index])] if task.classes else ""


def _images(task, count: int) -> Figure:
    columns = min(count, 6)
    figure, axes = plt.subplots(-(-count // columns), columns, squeeze=False,
                                figsize=(WIDTH, 1.45 * -(-count // columns)))
    for i, axis in enumerate(axes.flat):
        axis.axis("off")
        if i < count:
            image = task.test.x[i].permute(1, 2, 0).numpy()
            axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
            axis.set_title(_title(task, i), fontsize=8, weight="normal", loc="center")
    return figure


def _series(task, count: int) -> Figure:
    figure, axes = plt.subplots(2, 3, figsize=(WIDTH, 3.4), sharex=True, layout="constrained")
    first = {int(y): i for i, y in reversed(list(enumerate(task.test.y)))}
    for axis, (_, i) in zip(axes.flat, sorted(first.items()), strict=False):
        axis.plot(task.test.x[i].T.numpy(), linewidth=0.9)
        axis.set_title(_title(task, i), fontsize=9, weight="normal")
    return figure


def _columns(task, count: int) -> Figure:
    shown = min(task.inputs[0], 12)
    values = ((task.test.x[:400] - task.mean) / task.std)[:, :shown].numpy()
    frame = pd.DataFrame(values, columns=list(task.features[:shown])).melt(
        var_name="column", value_name="standard deviations from the mean")
    figure, axis = plt.subplots(figsize=(WIDTH, 0.6 + 0.24 * shown))
    sns.boxplot(frame, x="standard deviations from the mean", y="column", ax=axis, fliersize=1,
                linewidth=0.8, color="C0")
    axis.set(xlim=(-4, 6), ylabel="")
    return figure


def baselines(summary: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """Scores by task: our nets, the models of scikit-learn, and what was published before.

    summary: task, model, metric, score, low, high, kind (net or rival), as `tables.summary` gives
    it; published: task, metric, score. Accuracy and R² have a panel each.
    """
    metrics = [m for m in ("accuracy", "r2") if (summary.metric == m).any()]
    tasks = {m: list(dict.fromkeys(summary[summary.metric == m].task)) for m in metrics}
    figure, axes = plt.subplots(
        1, len(metrics), squeeze=False, figsize=(WIDTH, 1.2 + 0.42 * max(map(len, tasks.values()))),
        gridspec_kw={"width_ratios": [1.6, 1][:len(metrics)]})
    marks = {"net": ("o", "C0", "our net"), "rival": ("|", "C1", "scikit-learn's"),
             "earlier": ("D", "C2", "published before")}
    for metric, axis in zip(metrics, axes[0], strict=True):
        place = {t: -i for i, t in enumerate(tasks[metric])}
        earlier = published[published.task.isin(place)] if len(published) else published
        for kind, frame in (*summary[summary.metric == metric].groupby("kind"),
                            *([("earlier", earlier)] if len(earlier) else [])):
            mark, color, text = marks[kind]
            y = frame.task.map(place) - {"net": 0.0, "rival": -0.18, "earlier": 0.18}[kind]
            axis.plot(frame.score, y, mark, color=color, label=text, markersize=7)
            if kind == "net":
                axis.hlines(y, frame.low, frame.high, color=color, linewidth=2, alpha=0.6)
        axis.set(yticks=list(place.values()), yticklabels=list(place), xlabel=SCORE[metric])
        axis.margins(y=0.25 / max(1, len(place)) + 0.05)
        axis.grid(axis="y", visible=False)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="upper center", ncols=3, fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 0.93))
    return figure


def baseline_table(summary: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """What `baselines` draws as text, the best of each task first; numbers with fit digits.

    A t interval may reach beyond what a metric can be; it ends there."""
    most = summary.metric.map({"accuracy": 100.0, "r2": 1.0})
    earlier = published[["task", "model", "score"]].rename(columns={"score": "published"})
    frame = summary.assign(high=summary.high.clip(upper=most)).merge(
        earlier, on=["task", "model"], how="left")
    frame = frame.sort_values(["metric", "task", "score"], ascending=[True, True, False])
    form = frame.metric.map({"accuracy": "{:.2f}", "r2": "{:.4f}"})

    def text(column: str, forms) -> list[str | float]:
        return [np.nan if pd.isna(v) else f.format(v) for v, f in zip(frame[column], forms,
                                                                      strict=True)]

    recipe = frame.setting.str.partition("recipe=")[2].replace("", "ours")
    return pd.DataFrame({
        "task": frame.task, "model": frame.model, "recipe": recipe.where(frame.kind == "net"),
        "score": text("score", form), "95 % interval": [
            f"{low} – {high}" for low, high in zip(text("low", form), text("high", form),
                                                   strict=True)],
        "over": [over if over == "examples" else f"{over} ({runs})"
                 for runs, over in zip(frame.runs, frame.over, strict=True)],
        "published": text("published", form),
        **{name: text(column, [f] * len(frame)) for name, column, f in (
            ("params", "params", "{:,.0f}"), ("bytes", "size_bytes", "{:,.0f}"),
            ("MACs", "macs", "{:,.0f}"))}})


def curves(history: pd.DataFrame) -> Figure:
    """Loss over epochs on training and validation, one panel per net; columns as `fit` gives them,
    with task and model."""
    frame = history.assign(net=history.task + " · " + history.model).rename(
        columns={"train_loss": "training", "val_loss": "validation"})
    grid = sns.relplot(
        frame.melt(["net", "epoch"], ["training", "validation"], "part", "loss"), x="epoch",
        y="loss", hue="part", col="net", col_wrap=3, kind="line", errorbar=None, height=2.1,
        aspect=1.2, facet_kws={"sharey": False, "sharex": False, "legend_out": False})
    grid.set_titles("{col_name}", size=8)
    sns.move_legend(grid, "lower center", bbox_to_anchor=(0.5, 1), ncols=2, title=None)
    grid.figure.tight_layout()
    return grid.figure


def by_bits(summary: pd.DataFrame) -> pd.DataFrame:
    """A summary of rows with the parts of its settings as columns: quantizer, bits and KiB; the
    model's name without its sizes, and the sizes apart. Ternary weights take log₂ 3 bits."""
    name = summary.model.str.partition(" ")
    codes = summary.setting.str.extract(r" b=(\d+)(?: levels=(\d+))?").astype(float)
    return summary.assign(model=name[0], sizes=name[2], KiB=summary.size_bytes / 1024,
                          quantizer=summary.setting.str.split().str[0],
                          bits=np.log2(codes[1]).fillna(codes[0]))


def compression(table: pd.DataFrame, x: str, control: pd.DataFrame | None = None) -> Figure:
    """Score against bits or KiB, a panel a net, a line a quantizer; Edge's own are dashed.

    table: task, model, quantizer, bits, KiB, score, low, high, as `by_bits` gives them, one line
    with quantizer "baseline" a net; control: dense nets of the same tasks, drawn in black. Over
    KiB, what loses more than 30 points (0.4 of R²) is left out below.
    """
    nets = list(dict.fromkeys(zip(table.task, table.model, strict=True)))
    names = [q for q in dict.fromkeys(table.quantizer) if q != "baseline"]
    twins = list(dict.fromkeys(q.removeprefix("edge_") for q in names))
    colors = dict(zip(twins, sns.color_palette(
        "tab10" if len(twins) <= 10 else "husl", len(twins)), strict=True))
    columns = min(2, len(nets))
    figure, axes = plt.subplots(-(-len(nets) // columns), columns, squeeze=False,
                                figsize=(WIDTH, 1.2 + 3.1 * -(-len(nets) // columns)))
    for axis, net in zip(axes.flat, nets, strict=False):
        part = table[(table.task == net[0]) & (table.model == net[1])]
        base = part[part.quantizer == "baseline"].nlargest(1, "size_bytes").iloc[0]
        axis.axhline(base.score, color="0.3", linestyle=":", linewidth=1)
        for name in names:
            line = part[part.quantizer == name].sort_values("bits")
            color = colors[name.removeprefix("edge_")]
            axis.plot(line[x], line.score, "--" if name.startswith("edge_") else "-", marker="o",
                      markersize=3.5, linewidth=1.2, color=color, label=name)
            axis.vlines(line[x], line.low, line.high, color=color, linewidth=0.8, alpha=0.5)
        if control is not None:
            dense = control[control.task == net[0]].sort_values("KiB")
            axis.plot(dense.KiB, dense.score, "k-s", markersize=4, label="dense nets")
            axis.vlines(dense.KiB, dense.low, dense.high, color="k", linewidth=0.8)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:g}")
        if x == "bits":
            axis.set_xticks(sorted(part.bits.dropna().unique()))
        axis.set(title=f"{net[0]} · {net[1]}", ylabel=SCORE[base.metric],
                 xlabel={"bits": "bits a weight", "KiB": "size, KiB"}[x])
        deepest = base.score - {"accuracy": 30, "r2": 0.4}[base.metric]
        if x == "KiB" or base.metric == "r2":       # a collapse would flatten all that matters
            best = max(part.score.max(), base.score)
            margin = 0.08 * (best - deepest)
            axis.set_ylim(max(axis.get_ylim()[0], deepest), min(axis.get_ylim()[1], best + margin))
    for axis in axes.flat[len(nets):]:
        axis.axis("off")
    return _legend_below(figure)


def _legend_below(figure: Figure) -> Figure:
    """The figure with the legend of its first panel, which holds for all, under the panels."""
    handles, texts = figure.axes[0].get_legend_handles_labels()
    rows = -(-len(texts) // 3)
    figure.tight_layout(rect=(0, (0.1 + 0.19 * rows) / figure.get_figheight(), 1, 1))
    figure.legend(handles, texts, loc="lower center", ncols=3, fontsize=8.5)
    return figure


def sensitivity(table: pd.DataFrame) -> Figure:
    """Layers × bits, shaded by the logarithm of `error` (lib.quant.allocate.sensitivity)."""
    wide = table.pivot(index="layer", columns="bits", values="error").reindex(table.layer.unique())
    figure, axis = plt.subplots(figsize=(WIDTH * 0.75, 1 + 0.24 * len(wide)))
    sns.heatmap(np.log10(wide.clip(lower=1e-9)), ax=axis, cmap="rocket_r", annot=wide, fmt=".1g",
                annot_kws={"fontsize": 8}, cbar=False)
    axis.set(xlabel="bits a weight", ylabel="")
    return figure


def ladder(steps: pd.DataFrame, whole: pd.Series) -> Figure:
    """Scores of repairs in their order, from top to bottom, a panel a net: net, rung, bits, score,
    low, high, metric; whole: each net's score as trained. Rungs named "control…" stand aside."""
    rungs = list(dict.fromkeys(steps.rung))
    figure, axes = plt.subplots(1, len(whole), sharey=True, squeeze=False,
                                figsize=(WIDTH, 1.2 + 0.4 * len(rungs)))
    for axis, (net, score) in zip(axes[0], whole.items(), strict=True):
        groups = steps[steps.net == net].groupby("bits")
        for i, (bits, part) in enumerate(groups):
            y = -part.rung.map(rungs.index) + 0.12 * (i - (len(groups) - 1) / 2)
            kept = ~part.rung.str.startswith("control")
            axis.plot(part.score[kept], y[kept], "-o", color=f"C{i}", lw=1, label=f"{bits} bits")
            axis.plot(part.score[~kept], y[~kept], "o", color=f"C{i}", markerfacecolor="white")
            axis.hlines(y, part.low, part.high, color=f"C{i}", linewidth=2, alpha=0.5)
            axis.annotate(f"{part.score.iloc[0]:.1f}", (part.score.iloc[0], y.iloc[0]),
                          (4 + 26 * i, 7), textcoords="offset points", fontsize=8, color=f"C{i}")
        axis.axvline(score, color="0.3", linestyle=":", label="as trained")
        axis.set(yticks=[-i for i in range(len(rungs))], yticklabels=rungs,
                 xlabel=SCORE[steps.metric.iloc[0]])
        axis.set_title(f"{net}\n{score:.1f} as trained", fontsize=10)
        axis.margins(x=0.1, y=0.08)
    return _legend_below(figure)
