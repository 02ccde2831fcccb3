"""Optimizers, and how the learning rate goes over a training."""

import math
from collections.abc import Callable

import torch
from torch import nn

OPTIMIZERS = {          # fused: one kernel for all tensors, a fifth of the time on small nets
    "adam": lambda p, lr, decay: torch.optim.Adam(p, lr, weight_decay=decay, fused=True),
    "adamw": lambda p, lr, decay: torch.optim.AdamW(p, lr, weight_decay=decay, fused=True),
    "sgd": lambda p, lr, decay: torch.optim.SGD(p, lr, weight_decay=decay, momentum=0.9,
                                                nesterov=True, fused=True),
}
SCHEDULES = {       # share of lr at progress t in [0, 1)
    "constant": lambda t: 1.0,
    "cosine": lambda t: 0.5 * (1 + math.cos(math.pi * t)),
    # Smith & Topin 2019 (1708.07120): up for 30 %, then down to nearly nothing
    "onecycle": lambda t: 0.04 + 0.48 * (1 - math.cos(math.pi * t / 0.3)) if t < 0.3
    else 1e-4 + 0.5 * (1 + math.cos(math.pi * (t - 0.3) / 0.7)),
}


def optimizer_of(model: nn.Module, name: str, lr: float, weight_decay: float,
                 groups: Callable[[nn.Module], list[dict]] | None) -> torch.optim.Optimizer:
    """An optimizer of what `model` learns: all that takes a gradient, or the groups(model) told."""
    learnt = groups(model) if groups else [p for p in model.parameters() if p.requires_grad]
    return OPTIMIZERS[name](learnt, lr, weight_decay)


def full_rates(optimizer: torch.optim.Optimizer) -> tuple[float, ...]:
    """The learning rate of each group, of which a schedule gives a share."""
    return tuple(group["lr"] for group in optimizer.param_groups)


def set_rates(optimizer: torch.optim.Optimizer, rates: tuple[float, ...], share: float) -> None:
    """Every group learns at this share of its full rate."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate * share
