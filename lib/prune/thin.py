"""Pruning a model: a method says a threshold for each tensor, a copy loses what lies below.

A method is a function `method(model, amount) -> {tensor's name: limit}`; a file of this folder that
has NAMES and METHODS adds methods. A pruned weight that had been quantized stays quantized: its
codes then mean zeros.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from lib.layers.discovery import Found
from lib.layers.recomputed import bare_copy, remember_pruned
from lib.layers.walk import Stored, refuse_empty, stored

METHODS: Mapping[str, Callable] = Found("lib.prune", Path(__file__).parent)
EARLIER = {"l1": "magnitude_l1"}        # names of before


def file_of(method: str) -> Path:
    """The file that defines a method. ValueError for a name that is not there."""
    return METHODS.file_of(_known(method))


def _known(method: str) -> str:
    method = EARLIER.get(method, method)
    if method not in METHODS:
        raise ValueError(f"there is no pruning {method!r}; choose one of: {', '.join(METHODS)}")
    return method


@torch.no_grad()
def prune(model: nn.Module, method: str = "magnitude_l1", amount: float = 0.5,
          structure: str = "unstructured") -> nn.Module:
    """A copy of `model` in which about a share `amount` of the weights, the smallest, are 0.

    Weights behind masks or norms are plain weights in the copy. Equal magnitudes go together, so a
    quantized model may lose more than was asked: `sparsity` says what was reached. ValueError:
    unknown method, an amount outside of 0 … 1, a structure other than "unstructured".
    """
    function = METHODS[_known(method)]
    if not 0 <= amount < 1:
        raise ValueError(f"amount={amount}: choose a share from 0 to below 1")
    if structure != "unstructured":
        raise ValueError(f"there is no structure {structure!r}: single weights are pruned, so "
                         "choose unstructured")
    refuse_empty(model)
    thin = bare_copy(model)
    tensors = {tensor.name: tensor for tensor in stored(thin)}
    for name, limit in function(thin, amount).items():
        _cut(thin, tensors[name], limit)
    return thin


def _cut(model: nn.Module, tensor: Stored, limit: float) -> None:
    """Let the tensor's values of magnitude `limit` or less be 0, in place."""
    value, small = tensor.value, None           # value shares its memory with the parameter
    if tensor.quantized is None:
        value[value.abs() <= limit] = 0
    else:
        try:
            small = tensor.quantized.without(limit)
        except ValueError as error:
            raise ValueError(f"{tensor.name} cannot be pruned as it is stored ({error}); prune "
                             "before quantizing") from error
        value.copy_(small.dequantize())
    for module, key in tensor.places:
        owner = model.get_submodule(module)
        remember_pruned(owner, key)
        if small is not None:
            owner.compressed = getattr(owner, "compressed", {}) | {key: small}


def sparsity(model: nn.Module) -> float:
    """The share of zeros among the model's weights; 0 for a model without any."""
    weights = [tensor for tensor in stored(model) if tensor.role == "weight"]
    count = sum(tensor.elements for tensor in weights)
    return 1 - sum(tensor.nonzero for tensor in weights) / count if count else 0.0
