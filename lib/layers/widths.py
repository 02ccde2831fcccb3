"""Widths: layers that lost channels, and how a net built whole is made as narrow.

Such a layer carries `narrowed`. What describes it is the shape of its weight.
"""

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lib.layers.walk import LAYERS, TRANSPOSED

OWN = ("weight", "bias", "running_mean", "running_var")


def widths(model: nn.Module) -> dict[str, list[int]]:
    """The narrowed layers: name -> shape of the weight."""
    return {name: list(module.weight.shape) for name, module in model.named_modules()
            if getattr(module, "narrowed", False)}


@torch.no_grad()
def narrow(model: nn.Module, shapes: Mapping[str, object]) -> None:
    """Make layers of `model` as narrow as these shapes of weights, in place. What its tensors hold
    then is not meant: they wait for values.

    ValueError for a layer that is not there or cannot have that shape: more channels than it was
    built with, another kernel, a kind of layer that no pruning narrows.
    """
    for name, shape in shapes.items():
        module = model.get_submodule(name)
        known = isinstance(module, (*LAYERS, *TRANSPOSED, _BatchNorm)) and module.weight is not None
        if not known or not _fits(shape, module.weight.shape):
            raise ValueError(f"{name} ({type(module).__name__}) cannot have a weight of shape "
                             f"{shape}")
        outputs = shape[1] * module.groups if isinstance(module, TRANSPOSED) else shape[0]
        module.weight.data = module.weight.data[tuple(slice(size) for size in shape)].clone()
        for key in OWN[1:]:
            value = getattr(module, key, None)
            if value is not None:
                value.data = value.data[:outputs].clone()
        _tell(module, shape, outputs)
        module.narrowed = True


def _fits(shape: object, whole: torch.Size) -> bool:
    """Is this the shape of a weight with no more channels than `whole`, and the same kernel?"""
    if not isinstance(shape, list) or len(shape) != len(whole):
        return False
    return all(type(size) is int and 1 <= size <= most for size, most in zip(
        shape, whole, strict=True)) and shape[2:] == list(whole[2:])


def _tell(module: nn.Module, shape: list[int], outputs: int) -> None:
    """Set what the layer itself says of its widths, and calls its kernel with."""
    if isinstance(module, _BatchNorm):
        module.num_features = outputs
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = shape
    else:
        if module.groups == module.out_channels and shape[1] == 1:      # one kernel a channel
            module.groups = shape[0]
        inputs = shape[0] if isinstance(module, TRANSPOSED) else shape[1] * module.groups
        module.in_channels, module.out_channels = inputs, outputs
