"""What one prediction costs by counting: multiply-accumulates and bytes, layer by layer.

Columns: macs; macs_nonzero (those whose weight is not 0); products (how many multiplications each
of them takes: n where a weight is a sum of n points); arithmetic (integer where both operands are
codes on even grids, else float32 or float16); elements (values that are stored); weight_bytes (as
they are stored); read_bytes (what a batch has to read, zeros too; of a table that is looked up in,
the lines asked for); activation_bytes (in and out); w_bits, a_bits; sparsity (share of zero
weights).
"""

import copy
import logging
import math
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from lib.layers.fitted import fitted
from lib.layers.stored import Affine, Points
from lib.layers.walk import LAYERS, TRANSPOSED, Stored, kind, modules, stored

COLUMNS = ["layer", "type", "macs", "macs_nonzero", "products", "arithmetic", "elements",
           "weight_bytes", "read_bytes", "activation_bytes", "w_bits", "a_bits", "sparsity"]
RECURRENT = (nn.RNNBase, nn.RNNCellBase)
LOOKED_UP = (nn.Embedding, nn.EmbeddingBag)             # which multiply nothing
EVEN = (Affine, Points)                                 # codes that are multiplied as they are
COUNTED = (*LAYERS, *TRANSPOSED, *RECURRENT, *LOOKED_UP, nn.MultiheadAttention)


def layers(model: nn.Module, example: Tensor | tuple[Tensor, ...]) -> pd.DataFrame:
    """One line per module that multiplies or stores: multiply-accumulates and bytes of one example.

    example: a batch of one input, (1, …). Convolutions and linear, recurrent and attention layers
    multiply, and modules that tell their products of activations by `matmuls(x)`, as (batch, rows,
    inner, columns); biases, gates, norms and sums are not counted, and pass their activations on to
    the layer they are fused with. Of another kind of layer that has weights (Bilinear) no count is
    known: macs is missing. weight_bytes are everything stored, so their sum is the model's size.
    ValueError for another batch size.
    """
    inputs = example if isinstance(example, tuple) else (example,)
    inputs = tuple(fitted(part, model) for part in inputs)
    if len(inputs[0]) != 1:
        raise ValueError(f"layers counts for a batch of one example, got {len(inputs[0])}; "
                         "pass x[:1]")
    parts = dict(modules(model))
    lines = _lines(model, parts)
    modes = [(m, m.training) for m in model.modules()]
    hooks = _counting(parts, lines)
    model.eval()
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)          # it would call none of the layers
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for module, mode in modes:
            module.training = mode
        for hook in hooks:
            hook.remove()
    for line in lines.values():         # every weight of a layer serves as many products
        (nonzero, elements), extra = line.pop("weights"), line.pop("dense")
        line["macs_nonzero"] = line["macs"] and (
            extra + (line["macs"] - extra) * nonzero // elements)
    return pd.DataFrame(lines.values(), columns=COLUMNS)


def _counting(parts: dict[str, nn.Module], lines: dict[str, dict]) -> list:
    """The hooks that count. Attention multiplies by its last layer without calling it."""
    hooks = []
    for name, line in lines.items():
        hooks.append(parts[name].register_forward_hook(partial(_count, line), with_kwargs=True))
        if isinstance(parts[name], nn.MultiheadAttention):
            last = next(n for n, part in parts.items() if part is parts[name].out_proj)
            hooks.append(parts[name].register_forward_hook(partial(_count_last, lines[last])))
    return hooks


def macs(model: nn.Module, example: Tensor | tuple[Tensor, ...]) -> int | None:
    """Multiply-accumulates of one prediction; None for a model without layers to count, and where
    those of one layer are not known."""
    if not any(True for _ in model.parameters()):
        return None
    counted = layers(model, example).macs
    return None if counted.isna().any() else int(counted.sum())


def _lines(model: nn.Module, parts: dict[str, nn.Module]) -> dict[str, dict]:
    """A line without counts for each module that stores or multiplies, by its name."""
    tensors = stored(model)
    lines = {}
    for name, module in parts.items():
        own = [tensor for tensor in tensors if tensor.module == name]
        used = [tensor for tensor in tensors if name in {place for place, _ in tensor.places}]
        if used or hasattr(module, "matmuls"):
            lines[name] = _line(name, module, own, used)
    return lines


def _line(name: str, module: nn.Module, own: list[Stored], used: list[Stored]) -> dict:
    """own: what is stored here; used: that, and what is shared with a module before."""
    weights = [tensor for tensor in used if tensor.role == "weight"]
    shown = weights or [tensor for tensor in used if tensor.name.endswith("weight")] or [
        tensor for tensor in used if tensor.role != "buffer"]
    elements = sum(tensor.elements for tensor in shown)
    nonzero = sum(tensor.nonzero for tensor in shown)
    known = isinstance(module, COUNTED) or hasattr(module, "matmuls") or not weights
    a_bits = getattr(module, "a_bits", None) or 32
    read = 0 if isinstance(module, LOOKED_UP) else sum(tensor.dense_bytes for tensor in own)
    return {"layer": name, "type": kind(module), "macs": 0 if known else None,
            "products": _products(weights), "arithmetic": _arithmetic(weights, a_bits),
            "elements": sum(tensor.elements for tensor in own), "read_bytes": read,
            "weight_bytes": sum(tensor.size_bytes for tensor in own),
            "activation_bytes": 0.0, "w_bits": _bits(weights or used, a_bits), "a_bits": a_bits,
            "sparsity": 1 - nonzero / elements if elements else 0.0, "dense": 0,
            "weights": (nonzero, elements) if weights else (1, 1)}


def _bits(tensors: list[Stored], a_bits: int) -> int:
    """Bits of what is multiplied: of the codes, of floats, or of two activations."""
    if not tensors:
        return a_bits
    small = next((t.quantized for t in tensors if t.quantized is not None), None)
    return 8 * tensors[0].value.element_size() if small is None else small.bits


def _products(weights: list[Stored]) -> float:
    """Multiplications a weight takes, in the mean: as many as the points that it is a sum of."""
    elements = sum(tensor.elements for tensor in weights)
    codes = sum(tensor.elements if tensor.quantized is None else tensor.quantized.codes.numel()
                for tensor in weights)
    return codes / elements if elements else 1.0


def _arithmetic(weights: list[Stored], a_bits: int) -> str:
    """integer where whole numbers can be multiplied: rounded inputs meet weights that are codes on
    even grids, or each other. A code that stands for a level of a table has to become a float, of
    the kind that the model computes with."""
    if a_bits < 32 and all(isinstance(tensor.quantized, EVEN) for tensor in weights):
        return "integer"
    half = bool(weights) and all(tensor.value.element_size() == 2 for tensor in weights)
    return "float16" if half else "float32"


def _count(line: dict, module: nn.Module, args: tuple, keywords: dict, output) -> None:
    """Forward hook: add a call's multiply-accumulates and activation bytes to its line. `dense`
    are those of two activations, which no weight's zeros save."""
    if hasattr(module, "matmuls"):                 # products of two activations
        products = module.matmuls(*args, **keywords)
        count = dense = sum(math.prod(p) for p in products)
        moved = sum(b * (r * i + i * c + r * c) for b, r, i, c in products)
    elif isinstance(module, nn.MultiheadAttention):
        count, dense, moved = _attention(module, args, keywords, output[0])
    elif isinstance(module, RECURRENT):
        count, dense, moved = _recurrent(module, args, keywords, output)
    elif isinstance(module, (*LAYERS, *TRANSPOSED)):
        x = args[0] if args else keywords["input"]
        # An output value meets (in / groups)·kh·kw weights; transposed, an input value (out / …)
        served, dense = x if isinstance(module, TRANSPOSED) else output, 0
        count = served.numel() * module.weight[0].numel()
        moved = x.numel() + output.numel()
    elif isinstance(module, LOOKED_UP):
        line["read_bytes"] = min(line["weight_bytes"], line["read_bytes"] + _looked_up(
            args[0] if args else keywords["input"], line, module))
        return
    else:
        return
    line["macs"] += count
    line["dense"] += dense
    line["activation_bytes"] += moved * line["a_bits"] / 8


def _looked_up(indices: Tensor, line: dict, module: nn.Module) -> int:
    """Bytes of the lines that are asked for, each of them once."""
    return math.ceil(line["weight_bytes"] / module.num_embeddings * len(indices.unique()))


def _recurrent(module: nn.Module, args: tuple, keywords: dict, output) -> tuple[int, int, int]:
    """Every weight serves once a step, and no activations are multiplied with each other but
    element by element."""
    x = args[0] if args else keywords["input"]
    y = output if isinstance(output, Tensor) else output[0]
    x, y = (part.data if isinstance(part, PackedSequence) else part for part in (x, y))
    weights = [p for key, p in module.named_parameters(recurse=False) if "weight" in key]
    steps = x.numel() // x.shape[-1]
    return steps * sum(p.numel() for p in weights), 0, x.numel() + y.numel()


def _attention(module: nn.MultiheadAttention, args: tuple, keywords: dict, output: Tensor
               ) -> tuple[int, int, int]:
    """Products with weights and of activations, with activations alone, and values moved, without
    those of the layer that attention ends with."""
    named = dict(zip(("query", "key", "value"), args, strict=False)) | keywords
    asking, keys, values = (named[name] for name in ("query", "key", "value"))
    width = module.embed_dim
    tokens = keys.numel() // keys.shape[-1]         # of all examples together
    askers = asking.numel() // asking.shape[-1]
    batch = 1 if asking.dim() == 2 else asking.shape[0 if module.batch_first else 1]
    met = tokens // batch + (module.bias_k is not None) + module.add_zero_attn
    weighted = (askers * width + tokens * (module.kdim + module.vdim)) * width
    dense = 2 * askers * met * width                # q kᵀ, and the mean of values by it
    moved = asking.numel() + keys.numel() + values.numel() + output.numel()
    return weighted + dense, dense, moved


def _count_last(line: dict, module: nn.MultiheadAttention, args: tuple, output: tuple) -> None:
    line["macs"] += output[0].numel() * module.embed_dim
    line["activation_bytes"] += 2 * output[0].numel() * line["a_bits"] / 8


def ptflops_macs(model: nn.Module, inputs: tuple[int, ...]) -> float:
    """ptflops' own count for one example, as a second opinion; it also counts norms and biases."""
    from ptflops import get_model_complexity_info
    logging.getLogger("ptflops").setLevel(logging.ERROR)
    counted, _ = get_model_complexity_info(
        copy.deepcopy(model), tuple(inputs), as_strings=False, print_per_layer_stat=False,
        backend="pytorch", verbose=False)
    return float(counted)
