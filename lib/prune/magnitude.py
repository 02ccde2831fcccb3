"""The weights nearest to zero, of all layers together."""

import torch
from torch import nn

from lib.layers.walk import LAYERS, stored

NAMES = ("magnitude_l1",)


def magnitude_l1(model: nn.Module, amount: float) -> dict[str, float]:
    """One threshold for the weights of all Linears and convolutions (global magnitude)."""
    weights = {tensor.name: tensor.value for tensor in stored(model) if tensor.role == "weight"
               and isinstance(model.get_submodule(tensor.module), LAYERS)}
    if not weights:
        return {}
    sizes = torch.cat([w.abs().flatten() for w in weights.values()])
    count = round(amount * len(sizes))
    limit = float(sizes.kthvalue(count).values) if count else -1.0
    return dict.fromkeys(weights, limit)


METHODS = {"magnitude_l1": magnitude_l1}
