"""Mixed precision: how many bits for which layer, so that a budget holds and least is lost."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lib.layers.inputs import Inputs, answer, gathered, run
from lib.quant.layers import layers
from lib.quant.lift import ptq


def _distance(outputs: Tensor, target: Tensor, measure: str) -> float:
    if measure == "mse":
        return float((outputs - target).square().mean() / target.square().mean().clamp(min=1e-30))
    p = target.flatten(1).log_softmax(1)
    return float((p.exp() * (p - outputs.flatten(1).log_softmax(1))).sum(1).mean())


def _answers(model: nn.Module, calibration: Inputs) -> tuple[Tensor, dict[str, int]]:
    """The model's outputs, and at how many positions each layer's weight serves an example."""
    positions: dict[str, int] = {}

    def count(layer: nn.Module, _, y: Tensor, name: str) -> None:
        positions[name] = y.numel() // len(y) // len(layer.weight) + positions.get(name, 0)

    hooks = [m.register_forward_hook(lambda m, a, y, n=name: count(m, a, y, n))
             for name, m in layers(model).items()]
    outputs = answer(run(model, calibration))
    for hook in hooks:
        hook.remove()
    return outputs, positions


@torch.no_grad()
def sensitivity(model: nn.Module, calibration,
                bits: Sequence[int] = (2, 3, 4, 6, 8), method: str = "affine",
                measure: str | None = None,
                levels: Sequence[int] | None = None, **options) -> pd.DataFrame:
    """One line a layer and bit width, of a model in which that layer alone is quantized: layer,
    bits, levels, weights, error, size_bytes, macs_bits. `levels` replaces `bits`: 3 is ternary.

    error: "kl" of the softmax of the outputs from the float model's, "mse" relative to their power
    (None: that for a single output); both on the calibration inputs, without labels. macs_bits: its
    multiplications for one example × bits. size_bytes: of all its codes, none left out for being 0.
    """
    if measure not in ("kl", "mse", None):
        raise ValueError(f"there is no measure {measure!r}; choose one of: kl, mse")
    if calibration is None:
        raise ValueError("sensitivity needs calibration, some hundred inputs of the model")
    training, calibration = model.training, gathered(calibration, model)
    target, positions = _answers(model.eval(), calibration)
    measure = measure or ("mse" if target.shape[-1] == 1 else "kl")
    lines = []
    for name, places in positions.items():
        for base in levels or [2**b for b in bits]:
            b = math.ceil(math.log2(base))
            if levels is not None:
                options["levels"] = base
            small = ptq(model, method, bits={name: b}, calibration=calibration, **options)
            layer = small.get_submodule(name)
            lines.append({"layer": name, "bits": b, "levels": base,
                          "weights": layer.weight.numel(),
                          "error": _distance(answer(run(small, calibration)), target, measure),
                          "size_bytes": layer.compressed["weight"].dense_bytes,
                          "macs_bits": layer.weight.numel() * places * b})
    model.train(training)
    return pd.DataFrame(lines)


def budget(table: pd.DataFrame, bits: int) -> int:
    """Bytes of `bits` a weight, tables included; where the smallest choices take more (their tables
    outweigh tiny layers), those of 2^bits levels for every layer."""
    whole = int(table.groupby("layer").weights.first().sum()) * bits // 8
    least = table.groupby("layer").size_bytes.min().sum()
    return whole if least <= whole else int(table[table.levels == 2**bits].size_bytes.sum())


def _choices(table: pd.DataFrame, budget: int, size: str, choice: str) -> dict[str, list[tuple]]:
    """{layer: [(size, error, choice), …]}, smallest first."""
    if not len(table) or not np.isfinite(table["error"]).all():
        raise ValueError("the table of layers is empty or holds errors that are not finite")
    choices = {layer: sorted(zip(rows[size].astype(int), rows["error"], rows[choice], strict=True))
               for layer, rows in table.groupby("layer", sort=False)}
    if (least := sum(options[0][0] for options in choices.values())) > budget:
        raise ValueError(f"the smallest choices take {least}, over the budget of {budget}; raise "
                         "it, or offer fewer bits")
    return choices


def allocate(table: pd.DataFrame, budget: int, choice: str = "bits",
             size: str = "size_bytes") -> dict[str, int]:
    """{layer: bits}, or with choice="levels" {layer: levels}, with the least sum of errors whose
    sizes sum to `budget` or less.

    Exact: layer after layer, of all combinations so far those that a smaller and better one does
    not beat are kept, which is dynamic programming over the sizes that do occur. `size` names the
    column: size_bytes or macs_bits. Layers' errors are taken to add up.
    """
    choices = _choices(table, budget, size, choice)
    rest = sum(options[0][0] for options in choices.values())   # the least that is still to come
    sizes, errors, trail = np.zeros(1, np.int64), np.zeros(1), []
    for options in choices.values():
        rest -= options[0][0]
        all_sizes = np.concatenate([sizes + o[0] for o in options])
        all_errors = np.concatenate([errors + o[1] for o in options])
        order = np.lexsort((all_errors, all_sizes))
        order = order[all_sizes[order] + rest <= budget]
        lowest = np.minimum.accumulate(all_errors[order])
        keep = order[np.r_[True, lowest[1:] < lowest[:-1]]]
        trail.append((keep // len(sizes), keep % len(sizes)))   # which option, after which before
        sizes, errors = all_sizes[keep], all_errors[keep]
    at, bits = int(errors.argmin()), {}
    for layer, (option, before) in zip(reversed(choices), reversed(trail), strict=True):
        bits[layer] = int(choices[layer][option[at]][2])
        at = int(before[at])
    return dict(reversed(bits.items()))


def greedy(table: pd.DataFrame, budget: int, choice: str = "bits",
           size: str = "size_bytes") -> dict[str, int]:
    """The same by always taking the step that lowers the error most for what it costs, from the
    smallest choices up. Fast and near, not always the best."""
    choices = _choices(table, budget, size, choice)
    at = {layer: options[0] for layer, options in choices.items()}
    while True:
        left = budget - sum(now[0] for now in at.values())
        steps = [((at[layer][1] - o[1]) / max(o[0] - at[layer][0], 1), layer, o)
                 for layer, options in choices.items() for o in options
                 if o[1] < at[layer][1] and o[0] - at[layer][0] <= left]
        if not steps:
            return {layer: int(now[2]) for layer, now in at.items()}
        _, layer, option = max(steps)
        at[layer] = option
