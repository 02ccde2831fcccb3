"""size: what a model is as it is stored."""

import numpy as np
from torch import nn

from lib.layers.walk import left_float, stored

SIZES = ("params", "nonzero", "size_bytes", "bits_per_weight", "a_bits_mean", "sparsity")
EARLIER = {"w_bits": "bits_per_weight"}         # names of before


def size(model: nn.Module) -> dict:
    """params, nonzero, size_bytes, bits_per_weight, a_bits_mean, sparsity and arithmetic of a model
    as it is stored (`walk.stored`).

    bits_per_weight: stored bytes of weights, tables and masks included, × 8 / weights; sparsity:
    the share of zeros among weights; both None for a model that has none. a_bits_mean: over the
    layers whose inputs are rounded, each the same; 32 where none are. left_float: what stays float
    in a model of which something was quantized. Models of scikit-learn have no parameters that
    could be compared: None.
    """
    if not any(True for _ in model.parameters()):
        return dict.fromkeys((*SIZES, *EARLIER)) | {"left_float": []}
    tensors = stored(model)
    parameters = [tensor for tensor in tensors if tensor.role != "buffer"]
    weights = [tensor for tensor in tensors if tensor.role == "weight"]
    count = sum(tensor.elements for tensor in weights)
    a_bits = [m.a_bits for m in model.modules() if getattr(m, "a_bits", None)]
    simulated = bool(a_bits) or any(tensor.quantized is not None for tensor in tensors)
    bits = 8 * sum(t.size_bytes for t in weights) / count if count else None
    return {"params": sum(tensor.elements for tensor in parameters),
            "nonzero": sum(tensor.nonzero for tensor in parameters),
            "size_bytes": sum(tensor.size_bytes for tensor in tensors),
            "bits_per_weight": bits, "w_bits": bits,
            "a_bits_mean": float(np.mean(a_bits)) if a_bits else 32.0,
            "sparsity": 1 - sum(t.nonzero for t in weights) / count if count else None,
            "arithmetic": "simulated" if simulated else "float",
            "left_float": left_float(model)}
