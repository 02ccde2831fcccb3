"""Task: one data set, split, with the metric that judges it."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lib.base.metric import Metric


@dataclass(frozen=True)
class Split:
    """Examples of one part. x: (n, *inputs), or a tuple of such (the model is called `model(*x)`);
    y: (n,) class numbers, or standardised targets; group: (n,) subject numbers; ref: answers."""

    x: Tensor | tuple[Tensor, ...]
    y: Tensor
    group: Tensor | None = None
    ref: list[str] | None = None

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Task:
    """What is to be learnt. Inputs are raw: the model normalises them with `mean` and `std`, both
    (C,) with C the channels or features; images are floats in [0, 1], NCHW."""

    name: str                              # "telescope", "california@edge"
    kind: str                              # tabular, image or series
    metric: Metric = field(repr=False)     # METRICS["accuracy"] (percent), METRICS["r2"]
    classes: tuple[str, ...]               # names; empty for regression
    inputs: tuple[int, ...]                # shape of one example
    outputs: int
    source: str                            # one line: where from, licence; says "synthetic" if so
    mean: Tensor
    std: Tensor
    train: Split = field(repr=False)
    val: Split = field(repr=False)
    test: Split = field(repr=False)
    hash: str                              # of the data as split: the cache key of all made from it
    fold: int | None = None
    target_mean: float = 0.0               # original target = y · target_std + target_mean
    target_std: float = 1.0
    features: tuple[str, ...] = ()         # names of tabular columns

    @property
    def calibration(self) -> Tensor | tuple[Tensor, ...]:
        """512 fixed training inputs (all, if there are fewer), drawn once without replacement."""
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(0))[:512]
        x = self.train.x
        return tuple(part[order] for part in x) if isinstance(x, tuple) else x[order]

    @property
    def scale(self) -> tuple[float, float]:
        """(mean, std) of the original target, which is y · std + mean."""
        return self.target_mean, self.target_std

    def score(self, outputs: Tensor, split: Split) -> Tensor:
        """What each example adds to the metric: see `Metric.per_example`."""
        return torch.from_numpy(self.metric.per_example(outputs, split.y, self.scale))

    def total(self, scores: Tensor) -> float:
        """The metric, from what the examples add."""
        return self.metric.total(scores.numpy())
