"""The weights nearest to zero, of all layers together."""

import torch
from torch import nn

from lib.layers.walk import compressible, stored

NAMES = ("magnitude_l1",)


def magnitude_l1(model: nn.Module, amount: float) -> dict[str, float]:
    """One threshold for the weights of all layers that methods compress (global magnitude).
    ValueError for weights that are not finite."""
    weights = {tensor.name: tensor.value for tensor in stored(model) if any(
        key in compressible(model.get_submodule(module)) for module, key in tensor.places)}
    if not weights:
        return {}
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinite values; look for where training failed")
    sizes = torch.cat([w.abs().flatten().to(torch.promote_types(w.dtype, torch.float32))
                       for w in weights.values()])
    count = round(amount * len(sizes))
    limit = float(sizes.kthvalue(count).values) if count else -1.0
    return dict.fromkeys(weights, limit)


METHODS = {"magnitude_l1": magnitude_l1}
