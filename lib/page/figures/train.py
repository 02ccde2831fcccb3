"""How nets learned, and where they are wrong."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.page import style

WRITTEN = 5.0               # percent; smaller cells of a confusion matrix stay without a number


def schedule(progress: np.ndarray, share: np.ndarray) -> Figure:
    """The learning rate over a training: share of the highest rate at each progress from 0 to 1."""
    figure, (axis,) = style.panels(1, height=1.9, columns=1)
    axis.plot(progress, share, color=style.ACCENT)
    axis.set(xlabel="progress of training t", ylabel="share of the highest rate", ylim=(0, 1.1))
    return figure


def curves(history: pd.DataFrame) -> Figure:
    """Loss over epochs on training (grey) and validation (drawn out), a panel a net.

    history: task, model, epoch, train_loss, val_loss; several seeds and folds are averaged.
    """
    nets = list(history.groupby(["task", "model"], sort=False))
    figure, axes = style.panels(len(nets), height=1.9, columns=3)
    for axis, ((task, model), part) in zip(axes, nets, strict=True):
        mean = part.groupby("epoch")[["train_loss", "val_loss"]].mean()
        axis.plot(mean.index, mean.val_loss, color=style.ACCENT, linewidth=1.6, label="validation")
        axis.plot(mean.index, mean.train_loss, color=style.CONTEXT, linewidth=1.2, label="training")
        axis.set_title(f"{task}\n{model}", fontsize=9)
        axis.set(xlabel="epoch", ylabel="loss")
        axis.set_ylim(0, _top(mean))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _top(mean: pd.DataFrame) -> float:
    """The highest loss that is shown: a first epoch far above all others would flatten them."""
    later = mean.iloc[1 if len(mean) >= 5 else 0:].to_numpy()
    return 1.15 * float(np.nanmax(later)) if np.isfinite(later).any() else 1.0


def confusion(matrices: pd.DataFrame) -> Figure:
    """Where answers go: a line a true class, which sums to 100 %, a panel a net; errors stand out.

    matrices: task, model, true and given (names of classes, in their order), share (percent of the
    examples of that true class).
    """
    nets = list(matrices.groupby(["task", "model"], sort=False))
    most = max(part["true"].nunique() for _, part in nets)
    figure, axes = style.panels(len(nets), height=1.1 + 0.2 * most)
    for axis, ((task, model), part) in zip(axes, nets, strict=True):
        names = list(dict.fromkeys(part["true"]))
        wide = part.pivot_table(index="true", columns="given", values="share", observed=False)
        shares = wide.reindex(index=names, columns=names).fillna(0.0).to_numpy()
        right = np.eye(len(names), dtype=bool)
        few = len(names) <= 20
        texts = np.where((shares >= WRITTEN) & few, np.char.mod("%.0f", shares), "")
        deep = np.where(right, 0.4 * shares / 100, np.sqrt(shares / 100))
        # Of a hundred classes most cells are empty; drawn, they took two megabytes.
        style.heat(axis, np.where(shares > 0, deep, np.nan), texts,
                   np.where(right, style.SOFT, style.SECOND))
        axis.set_title(f"{task}\n{model}", fontsize=9)
        axis.set(xlabel="given", ylabel="true")
        axis.set_xticks(range(len(names)) if few else [], names if few else [], rotation=90)
        axis.set_yticks(range(len(names)) if few else [], names if few else [])
    return figure
