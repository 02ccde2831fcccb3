"""Task: one data set, split, with the metric that judges it."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lib.base.metric import Metric
from lib.data.batches import ImageFiles

Index = Tensor | slice
Inputs = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class Split:
    """Examples of one part.

    stored: inputs as they are kept: floats, bytes of images, image files that are decoded when they
    are asked for, or a tuple of tensors (the model is called `model(*x)`); rows: which of them are
    this part's, (n,), or None for all, so that parts and tasks share what is stored.
    y: (n,) class numbers, standardised targets, or numbers of questions; group: (n,) subject
    numbers; ref: each example in words, where it is made of words."""

    stored: Inputs | ImageFiles
    y: Tensor
    group: Tensor | None = None
    ref: list[str] | None = None
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def x(self) -> Inputs:
        """All inputs, (n, *inputs), or a tuple of such; bytes become floats anew at each call, four
        times as large, and files are all decoded: `batch` costs no more than what it gives."""
        return self.batch(slice(None))

    def batch(self, index: Index) -> Inputs:
        """Inputs of the examples `index` (numbers or a slice of 0 … n-1): bytes / 255."""
        if self.rows is not None:
            index = self.rows[index.to(self.rows.device) if isinstance(index, Tensor) else index]
        if isinstance(self.stored, tuple):
            return tuple(_as_floats(part[index]) for part in self.stored)
        return _as_floats(self.stored[index])

    def to(self, device: torch.device) -> "Split":
        """This part with what lies in memory on `device`; image files stay where they are."""
        if device.type == "cpu" or isinstance(self.stored, ImageFiles):
            return replace(self, y=self.y.to(device))
        kept = self.stored if isinstance(self.stored, tuple) else (self.stored,)
        moved = tuple((part if self.rows is None else part[self.rows]).to(device) for part in kept)
        return replace(self, stored=moved if isinstance(self.stored, tuple) else moved[0],
                       y=self.y.to(device), rows=None)


def _as_floats(x: Tensor) -> Tensor:
    return x.float().div_(255) if x.dtype == torch.uint8 else x


@dataclass(frozen=True)
class Task:
    """What is to be learnt. Inputs are raw: the model normalises them with `mean` and `std`, both
    (C,) with C the channels or features; images are floats in [0, 1], NCHW."""

    name: str                              # "telescope", "california@edge"
    kind: str                              # tabular, image, series or text
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
        return self.train.batch(self.calibrating)

    @property
    def calibrating(self) -> Tensor:
        """The numbers of these inputs among the training part's."""
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(0))
        return order[:512]

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
