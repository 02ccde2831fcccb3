"""Metric: all that the study knows of one way to score answers. Nothing else asks which it is.

Outputs are a model's, (n, k); y holds class numbers (n,), or standardised targets; scale = (mean,
std) turns these back into the target's own unit. A new metric is one more entry of METRICS.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from lib.base import resampling


@dataclass(frozen=True)
class Metric:
    """One way to score a model's answers, and how its values are written down and compared.

    label: for an axis; digits: decimals that are shown; tolerance: a net whose score is at most so
    much lower counts as kept; best: what a model that is always right gets.
    per_example(outputs, y, scale): what each example adds, (n,), or (n, 2) for a ratio of sums;
    total(scores): the metric, from those; interval(scores): its 95 % interval over examples;
    loss(outputs, y, label_smoothing=0.0): what a training lowers;
    second(outputs, y, scale): name and value of the score beside this one;
    stored(scores): what is kept of them on disk; paired(base, new, base_score): what each example
    adds to the second model's loss, (n,), from what is kept of both and the first one's score; the
    mean is the loss, base_score − new_score; paired_interval(paired): its 95 % interval over
    examples. What is None here is a task's own: `task.metric` has it.
    """

    name: str
    label: str
    digits: int
    tolerance: float
    best: float
    per_example: Callable = field(repr=False)
    total: Callable[[np.ndarray], float] = field(repr=False)
    interval: Callable[[np.ndarray], tuple[float, float]] = field(repr=False)
    loss: Callable = field(repr=False)
    second: Callable[..., tuple[str, float]] = field(repr=False)
    stored: Callable[[np.ndarray], np.ndarray] = field(repr=False)
    paired: Callable[[np.ndarray, np.ndarray, float], np.ndarray] = field(repr=False)
    paired_interval: Callable[[np.ndarray], tuple[float, float]] = field(repr=False)

    def text(self, value: float) -> str:
        """A score as people read it: "91.75"."""
        return f"{value:.{self.digits}f}"


def _right(outputs, y, scale) -> np.ndarray:
    """1.0 where the class with the highest output is the right one, else 0.0; (n,)."""
    return (outputs.argmax(1) == y).double().numpy()


def _percent(scores: np.ndarray) -> float:
    return 100 * float(scores.mean())


def _interval_of_percent(scores: np.ndarray) -> tuple[float, float]:
    """Wilson's."""
    if not set(np.unique(scores)) <= {0.0, 1.0}:
        raise ValueError("the interval of an accuracy needs scores of 0 and 1.")
    low, high = resampling.of_share(int(scores.sum()), len(scores))
    return 100 * low, 100 * high


def _cross_entropy(outputs, y, label_smoothing: float = 0.0):
    """Mean cross-entropy in nats."""
    from torch.nn import functional
    return functional.cross_entropy(outputs, y, label_smoothing=label_smoothing)


def _macro_f1(outputs, y, scale) -> tuple[str, float]:
    """Mean over classes of F1, the harmonic mean of precision and recall, in percent."""
    from sklearn.metrics import f1_score
    return "macro_f1", 100 * f1_score(y, outputs.argmax(1), average="macro", zero_division=0)


def _lost_points(base: np.ndarray, new: np.ndarray, base_score: float) -> np.ndarray:
    """100 where only `base` was right, -100 where only `new` was, else 0."""
    return 100 * (base.astype(float) - new.astype(float))


def _interval_of_lost_points(paired: np.ndarray) -> tuple[float, float]:
    low, high = resampling.of_difference((paired > 0).sum(), (paired < 0).sum(), len(paired))
    return 100 * low, 100 * high


def _squares(outputs, y, scale) -> np.ndarray:
    """Squared error, and squared deviation from the examples' mean, in the target's unit²; (n, 2).
    """
    mean, std = scale
    target = y.double() * std + mean
    error = outputs.double().reshape(-1) * std + mean - target
    deviation = target - target.mean()
    return np.stack([error.square().numpy(), deviation.square().numpy()], 1)


def _share_explained(scores: np.ndarray) -> float:
    """R² = 1 - Σ squared errors / Σ squared deviations."""
    return 1 - float(scores[:, 0].sum() / scores[:, 1].sum())


def _interval_of_share_explained(scores: np.ndarray) -> tuple[float, float]:
    low, high = resampling.of_ratio(scores)
    return 1 - high, 1 - low


def _squared_error(outputs, y, label_smoothing: float = 0.0):
    """Mean squared error of standardised targets; there are no labels that could be smoothed."""
    from torch.nn import functional
    return functional.mse_loss(outputs.reshape(-1), y.to(outputs.dtype))


def _rmse(outputs, y, scale) -> tuple[str, float]:
    """Root of the mean squared error, in the target's unit."""
    return "rmse", float(np.sqrt(_squares(outputs, y, scale)[:, 0].mean()))


def _errors(scores: np.ndarray) -> np.ndarray:
    """The squared errors (n,); the deviations are the data's, whatever the model."""
    return scores[:, 0].astype(np.float32)


def _lost_share(base: np.ndarray, new: np.ndarray, base_score: float) -> np.ndarray:
    """(new - base) / mean squared deviation, which is mean(base) / (1 - R² of base)."""
    mean = base.mean(dtype=float)
    if mean == 0:
        raise ValueError("the first model makes no error at all, so the examples' mean squared "
                         "deviation cannot be told from its errors; compare the scores alone.")
    return (new.astype(float) - base.astype(float)) / mean * (1 - base_score)


def _interval_of_mean_percent(scores: np.ndarray) -> tuple[float, float]:
    low, high = resampling.of_mean(100 * scores)
    return max(low, 0.0), min(high, 100.0)


def _cells(outputs, y, scale) -> np.ndarray:
    """2 · right class + answer, of two classes: 0 to 3, (n,)."""
    if outputs.shape[1] != 2:
        raise ValueError(f"Matthews' correlation is of two classes, not {outputs.shape[1]}.")
    return (2 * y + outputs.argmax(1)).double().numpy()


def _matthews(cells: np.ndarray) -> float:
    """(tp tn − fp fn) / √((tp + fp)(tp + fn)(tn + fp)(tn + fn)); 0 where one class alone is right,
    or is answered (Matthews 1975)."""
    return _of_counts(np.bincount(cells.astype(int), minlength=4))


def _of_counts(counts: np.ndarray) -> float:
    tn, fp, fn, tp = counts.astype(float)
    margins = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return float((tp * tn - fp * fn) / np.sqrt(margins)) if margins else 0.0


def _shares_of_matthews(cells: np.ndarray) -> np.ndarray:
    """What each example adds to the correlation, whose mean it is: jackknife pseudo-values (Tukey
    1958), moved by their small bias; (n,)."""
    cells = cells.astype(int)
    counts, whole = np.bincount(cells, minlength=4), _matthews(cells)
    without = [_of_counts(np.maximum(counts - one, 0)) for one in np.eye(4, dtype=int)]
    values = (len(cells) * whole - (len(cells) - 1) * np.array(without))[cells]
    return values - values.mean() + whole


def _interval_of_matthews(cells: np.ndarray) -> tuple[float, float]:
    low, high = resampling.of_mean(_shares_of_matthews(cells))
    return max(low, -1.0), min(high, 1.0)


def _accuracy(outputs, y, scale) -> tuple[str, float]:
    return "accuracy", _percent(_right(outputs, y, scale))


def _lost_correlation(base: np.ndarray, new: np.ndarray, base_score: float) -> np.ndarray:
    return _shares_of_matthews(base) - _shares_of_matthews(new)


METRICS = {metric.name: metric for metric in (
    Metric("accuracy", "accuracy, %", digits=2, tolerance=1.0, best=100.0,
           per_example=_right, total=_percent, interval=_interval_of_percent,
           loss=_cross_entropy, second=_macro_f1,
           stored=np.uint8, paired=_lost_points, paired_interval=_interval_of_lost_points),
    Metric("r2", "R²", digits=4, tolerance=0.01, best=1.0,
           per_example=_squares, total=_share_explained, interval=_interval_of_share_explained,
           loss=_squared_error, second=_rmse,
           stored=_errors, paired=_lost_share, paired_interval=resampling.of_mean),
    Metric("mcc", "Matthews correlation", digits=3, tolerance=0.01, best=1.0,
           per_example=_cells, total=_matthews, interval=_interval_of_matthews,
           loss=_cross_entropy, second=_accuracy,
           stored=np.uint8, paired=_lost_correlation, paired_interval=resampling.of_mean),
    Metric("f1", "F1 of words, %", digits=2, tolerance=1.0, best=100.0,
           total=_percent, interval=_interval_of_mean_percent,
           per_example=None, loss=None, second=None,        # of the task, which knows the texts
           stored=np.float32, paired=_lost_points, paired_interval=resampling.of_mean),
)}
