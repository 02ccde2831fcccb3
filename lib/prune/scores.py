"""Pruning: the weights nearest to zero become zeros. A threshold for each tensor, then a copy.

A pruned weight that had been quantized stays quantized: its codes then mean zeros.
"""

import copy
import math

import torch
from torch import nn


def layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Every Linear and convolution with its name."""
    return [(name, m) for name, m in model.named_modules()
            if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)]


def _l1(model: nn.Module, amount: float) -> dict[str, float]:
    """One threshold for the weights of all Linears and convolutions (global magnitude)."""
    weights = {f"{name}.weight".lstrip("."): m.weight.detach() for name, m in layers(model)}
    sizes = torch.cat([w.abs().flatten() for w in weights.values()])
    count = round(amount * len(sizes))
    limit = float(sizes.kthvalue(count).values) if count else -1.0
    return dict.fromkeys(weights, limit)


def _edge(model: nn.Module, amount: float) -> dict[str, float]:
    """As Edge computes it: in each tensor (all but the last of the model, which is a bias) the
    threshold is not a quantile but the level of rank ⌈amount·highest rank⌉, ranks counted from 0
    among distinct magnitudes, so that few levels lose far more than was asked, and something even
    at 0. Biases and batch-norm are pruned like weights."""
    limits = {}
    for name, value in list(model.named_parameters())[:-1]:
        levels = value.detach().abs().unique()
        limits[name] = float(levels[math.ceil(amount * (len(levels) - 1))])
    return limits


METHODS = {"l1": _l1, "edge": _edge}


@torch.no_grad()
def prune(model: nn.Module, method: str = "l1", amount: float = 0.5) -> nn.Module:
    """A copy of `model` in which about a share `amount` of the weights, the smallest, are 0.

    Equal magnitudes go together, so a quantized model may lose more than was asked: `sparsity`
    says what was reached. ValueError: unknown method, an amount outside of 0 … 1.
    """
    if method not in METHODS:
        raise ValueError(f"there is no pruning {method!r}; choose one of: {', '.join(METHODS)}")
    if not 0 <= amount < 1:
        raise ValueError(f"amount={amount}: choose a share from 0 to below 1")
    thin = copy.deepcopy(model)
    for path, limit in METHODS[method](model, amount).items():
        owner, _, name = path.rpartition(".")
        layer = thin.get_submodule(owner)
        value, compressed = getattr(layer, name), getattr(layer, "compressed", {})
        if name in compressed:
            layer.compressed = compressed | {name: compressed[name].without(limit)}
        value.data[value.abs() <= limit] = 0
    return thin


def sparsity(model: nn.Module) -> float:
    """The share of zeros among the weights of all Linears and convolutions."""
    weights = [m.weight for _, m in layers(model)]
    return 1 - sum(int(w.count_nonzero()) for w in weights) / sum(w.numel() for w in weights)
