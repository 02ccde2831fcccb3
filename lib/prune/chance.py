"""Weights at random: the control that any other ranking has to beat (ShrinkBench's rule)."""

import torch
from torch import Tensor

from lib.prune.ranking import Ranking

NAMES = ("random",)
RANDOM = NAMES


def random(w: Tensor, generator: torch.Generator | None = None) -> Tensor:
    return torch.rand(w.shape, generator=generator).to(w.device)


METHODS = {"random": Ranking(random, "layer")}
