"""Taylor: a weight is worth what the loss changes when it goes, to first order (Molchanov 2019)."""

import torch
from torch import Tensor

from lib.prune.ranking import Ranking

NAMES = ("taylor",)


def taylor(w: Tensor, gradients: list[Tensor]) -> Tensor:
    """Mean of |g·w| over the batches whose loss has the gradients g (arXiv 1906.10771, which takes
    squares). Of a trained net the mean gradient is near 0: batches are looked at singly."""
    return torch.stack([(g * w).abs() for g in gradients]).mean(0)


METHODS = {"taylor": Ranking(taylor, "model")}
