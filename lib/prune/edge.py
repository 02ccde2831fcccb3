"""What the study Edge (github.com/mohitgulla/Edge) really pruned."""

import math

from torch import Tensor, nn

NAMES = ("edge",)


def edge(model: nn.Module, amount: float) -> dict[str, Tensor]:
    """As Edge computes it: in each tensor (all but the last of the model, which is a bias) the
    threshold is not a quantile but the level of rank ⌈amount·highest rank⌉, ranks counted from 0
    among distinct magnitudes, so that few levels lose far more than was asked, and something even
    at 0. Biases and batch-norm are pruned like weights. Returns which values of each stay."""
    kept = {}
    for name, value in list(model.named_parameters())[:-1]:
        sizes = value.detach().abs()
        levels = sizes.unique()
        kept[name] = sizes > levels[math.ceil(amount * (len(levels) - 1))]
    return kept


METHODS = {"edge": edge}
