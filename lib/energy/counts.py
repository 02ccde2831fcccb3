"""What one prediction costs by counting: multiply-accumulates and bytes, layer by layer."""

import copy
import logging
import math
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

WHY_UNAVAILABLE = "unavailable: no energy counter is read in this version"
COLUMNS = ["layer", "type", "macs", "weight_bytes", "activation_bytes", "w_bits", "a_bits",
           "sparsity"]


def layers(model: nn.Module, example: Tensor | tuple[Tensor, ...]) -> pd.DataFrame:
    """One line per module that multiplies or stores: multiply-accumulates and bytes of one example.

    example: a batch of one input, (1, …). Columns: layer, type, macs, weight_bytes,
    activation_bytes (in and out), w_bits, a_bits, sparsity (share of zero weights).
    Convolutions and linear layers multiply, and modules that tell their products of activations by
    `matmuls(x)`, as (batch, rows, inner, columns); biases, norms and sums are not counted, and pass
    their activations on to the layer they are fused with. weight_bytes are everything stored
    (parameters, batch-norm statistics; a compressed tensor knows its own), so their sum is the
    model's size. ValueError for another batch size.
    """
    inputs = example if isinstance(example, tuple) else (example,)
    if len(inputs[0]) != 1:
        raise ValueError(f"layers counts for a batch of one example, got {len(inputs[0])}; "
                         "pass x[:1]")
    parts = {name: m for name, m in model.named_modules() if "parametrizations" not in name}
    lines = {name: line for name, m in parts.items() if (line := _stored(name, m))}
    modes = [(m, m.training) for m in model.modules()]
    hooks = [parts[name].register_forward_hook(partial(_count, line))
             for name, line in lines.items()]
    model.eval()
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for module, mode in modes:
            module.training = mode
        for hook in hooks:
            hook.remove()
    return pd.DataFrame(lines.values(), columns=COLUMNS)


def macs(model: nn.Module, example: Tensor | tuple[Tensor, ...]) -> int | None:
    """Multiply-accumulates of one prediction; None for a model without layers to count."""
    if not any(True for _ in model.parameters()):
        return None
    return int(layers(model, example).macs.sum())


def _stored(name: str, module: nn.Module) -> dict | None:
    """A module's own tensors as a line without counts; None if it neither stores nor multiplies."""
    own = dict(module.named_parameters(recurse=False))
    kind = type(module).__name__
    if parametrize.is_parametrized(module):        # a pruning mask: what counts is its product
        own |= {key: getattr(module, key) for key in module.parametrizations}
        kind = kind.removeprefix("Parametrized")
    weights = {"weight": own["weight"]} if "weight" in own else dict(own)
    own |= {key: value for key, value in module.named_buffers(recurse=False)
            if value.is_floating_point() and key not in module._non_persistent_buffers_set}
    if not own and not hasattr(module, "matmuls"):
        return None
    small = getattr(module, "compressed", {})
    size = sum(small[key].size_bytes if key in small else value.numel() * value.element_size()
               for key, value in own.items())
    elements = sum(value.numel() for value in weights.values())
    nonzero = sum(small[key].nonzero if key in small else int(value.count_nonzero())
                  for key, value in weights.items())
    a_bits = getattr(module, "a_bits", None) or 32
    return {"layer": name, "type": kind, "macs": 0, "weight_bytes": size, "activation_bytes": 0.0,
            "w_bits": small["weight"].bits if "weight" in small else a_bits if not own else 32,
            "a_bits": a_bits, "sparsity": 1 - nonzero / elements if elements else 0.0}


def _count(line: dict, module: nn.Module, inputs: tuple, output) -> None:
    """Forward hook: add a call's multiply-accumulates and activation bytes to its line."""
    if hasattr(module, "matmuls"):                 # products of two activations
        products = module.matmuls(*inputs)
        count = sum(math.prod(p) for p in products)
        moved = sum(b * (r * i + i * c + r * c) for b, r, i, c in products)
    elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
        count = output.numel() * module.weight[0].numel()     # (in / groups)·kh·kw for one value
        moved = inputs[0].numel() + output.numel()
    else:
        return
    line["macs"] += count
    line["activation_bytes"] += moved * line["a_bits"] / 8


def ptflops_macs(model: nn.Module, inputs: tuple[int, ...]) -> float:
    """ptflops' own count for one example, as a second opinion; it also counts norms and biases."""
    from ptflops import get_model_complexity_info
    logging.getLogger("ptflops").setLevel(logging.ERROR)
    counted, _ = get_model_complexity_info(
        copy.deepcopy(model), tuple(inputs), as_strings=False, print_per_layer_stat=False,
        backend="pytorch", verbose=False)
    return float(counted)
