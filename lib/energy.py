"""What one prediction costs by counting: multiply-accumulates and bytes, layer by layer."""

import copy
import logging
import math

import pandas as pd
import torch
from torch import Tensor, nn

WHY_UNAVAILABLE = "unavailable: no energy counter is read in this version"


def layers(model: nn.Module, example: Tensor | tuple[Tensor, ...]) -> pd.DataFrame:
    """One line per layer that multiplies: its multiply-accumulates and bytes for one example.

    example: a batch of one input, (1, …). Columns: layer, type, macs, weight_bytes,
    activation_bytes (in and out), w_bits, a_bits, sparsity (share of zero weights). Convolutions,
    linear layers and a module's own `matmuls(x)`; biases, norms and additions are not counted.
    """
    lines: list[dict] = []
    hooks = [m.register_forward_hook(lambda m, x, y, name=name: lines.append(
        _line(name, m, x[0], y)), always_call=False)
        for name, m in model.named_modules()
        if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d) or hasattr(m, "matmuls")]
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            model(*example) if isinstance(example, tuple) else model(example)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return pd.DataFrame(lines, columns=["layer", "type", "macs", "weight_bytes", "activation_bytes",
                                        "w_bits", "a_bits", "sparsity"])


def macs(model: nn.Module, example: Tensor | tuple[Tensor, ...]) -> int | None:
    """Multiply-accumulates of one prediction; None for a model without layers to count."""
    if not any(True for _ in model.parameters()):
        return None
    return int(layers(model, example).macs.sum())


def _line(name: str, module: nn.Module, x: Tensor, y: Tensor) -> dict:
    a_bits = getattr(module, "a_bits", None) or 32
    if hasattr(module, "matmuls"):      # products of two activations: no weights
        products = module.matmuls(x)
        elements = sum(b * (r * i + i * c + r * c) for b, r, i, c in products)
        return {"layer": name, "type": type(module).__name__, "w_bits": a_bits, "a_bits": a_bits,
                "macs": sum(math.prod(p) for p in products), "weight_bytes": 0,
                "activation_bytes": elements * a_bits / 8, "sparsity": 0.0}
    small = getattr(module, "compressed", {}).get("weight")
    weight = module.weight
    inner = weight[0].numel()           # multiplications for one output value
    nonzero = small.nonzero if small else int(weight.count_nonzero())
    return {"layer": name, "type": type(module).__name__, "macs": y.numel() * inner,
            "weight_bytes": small.size_bytes if small else weight.numel() * 4,
            "activation_bytes": (x.numel() + y.numel()) * a_bits / 8,
            "w_bits": small.bits if small else 32, "a_bits": a_bits,
            "sparsity": 1 - nonzero / weight.numel()}


def ptflops_macs(model: nn.Module, inputs: tuple[int, ...]) -> float:
    """ptflops' own count for one example, as a second opinion; it also counts norms and biases."""
    from ptflops import get_model_complexity_info
    logging.getLogger("ptflops").setLevel(logging.ERROR)
    counted, _ = get_model_complexity_info(
        copy.deepcopy(model), tuple(inputs), as_strings=False, print_per_layer_stat=False,
        backend="pytorch", verbose=False)
    return float(counted)
