"""Masks: which weights stay. A mask is a parametrization, so that any training keeps its zeros."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lib.layers.walk import stored


class Mask(nn.Module):
    """w·kept, behind which a training moves the weights that stay alone. kept: booleans of the
    weight's shape."""

    def __init__(self, kept: Tensor) -> None:
        super().__init__()
        self.register_buffer("kept", kept)

    def forward(self, w: Tensor) -> Tensor:
        return w * self.kept

    def right_inverse(self, w: Tensor) -> Tensor:
        return w


@torch.no_grad()
def mask(model: nn.Module, kept: Mapping[str, Tensor]) -> None:
    """Let weights of `model` be 0, now and through any training, where `kept` is False. In place; a
    weight that has a mask keeps what both keep, so that masks nest.

    kept: a tensor's name (layer1.0.conv1.weight) -> booleans of its shape; a tensor that several
    modules share has the mask in all of them. ValueError for a name that is not there, another
    shape, a quantized tensor, and a layer that no parametrization can reach.
    """
    tensors = {tensor.name: tensor for tensor in stored(model)}
    for name, stays in kept.items():
        if name not in tensors or tensors[name].value.shape != stays.shape:
            raise ValueError(f"there is no tensor {name} of shape {tuple(stays.shape)} to mask; "
                             f"choose from: {', '.join(tensors)}")
        tensor = tensors[name]
        if tensor.quantized is not None:
            raise ValueError(f"{name} is quantized, and a training would change what its codes "
                             "mean; mask the model before quantizing it")
        for owner, key in tensor.places:
            _mask_one(model.get_submodule(owner), key, owner, stays.to(tensor.value.device))


def _mask_one(module: nn.Module, key: str, name: str, stays: Tensor) -> None:
    if isinstance(module, nn.RNNBase):
        raise ValueError(f"{name} ({type(module).__name__}) computes with a list of its weights, "
                         "so that no mask would follow its training; prune it after training")
    for part in _masks_of(module, key):
        part.kept &= stays
        return
    parametrize.register_parametrization(module, key, Mask(stays.clone()))


def masks(model: nn.Module) -> dict[str, Tensor]:
    """The masks of a model: tensor's name -> which of its weights stay."""
    found = {}
    for tensor in stored(model):
        for part in _masks_of(model.get_submodule(tensor.module), tensor.places[0][1]):
            found[tensor.name] = part.kept
    return found


def _masks_of(module: nn.Module, key: str) -> list[Mask]:
    if not parametrize.is_parametrized(module, key):
        return []
    return [part for part in module.parametrizations[key] if isinstance(part, Mask)]
