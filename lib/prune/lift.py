"""Pruning a model: a method says which weights of a copy stay, the others become zeros.

A method is a `Ranking` of weights, or a function `method(model, amount) -> {tensor's name: which
values stay}`; a file of this folder that has NAMES and METHODS adds methods, and names in RANDOM
those that draw at random. A pruned weight that had been quantized stays quantized: its codes then
mean zeros.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.layers.discovery import Found
from lib.layers.inputs import gathered
from lib.layers.recomputed import bare_copy, remember_pruned
from lib.layers.walk import Stored, refuse_empty, stored
from lib.prune import choice
from lib.prune.channels import narrowed
from lib.prune.ranking import Ranking
from lib.prune.seen import Losses

METHODS: Mapping = Found("lib.prune", Path(__file__).parent)
EARLIER = {"l1": "magnitude_l1"}        # names of before


def file_of(method: str) -> Path:
    """The file that defines a method. ValueError for a name that is not there."""
    return METHODS.file_of(_known(method))


def is_random(method: str) -> bool:
    """Whether a method draws at random, so that it is repeated with several generators."""
    name = _known(method)
    return name in getattr(METHODS.module_of(name), "RANDOM", ())


def _known(method: str) -> str:
    method = EARLIER.get(method, method)
    if method not in METHODS:
        raise ValueError(f"there is no pruning {method!r}; choose one of: {', '.join(METHODS)}")
    return method


@torch.no_grad()
def prune(model: nn.Module, method: str = "magnitude_l1", amount: float = 0.5,
          structure: str = "unstructured", calibration=None, losses: Losses | None = None,
          generator: torch.Generator | None = None) -> nn.Module:
    """A copy of `model` without about a share `amount` of its weights: those of least worth.

    structure: "unstructured", single weights are 0; "2:4", half of each four neighbours in a row
    are (amount 0.5); "channel", whole channels are gone, from the tensors too, so that a multiple
    of 8 stays, of 16 by "channel-16" (`channels.narrowed`).
    calibration: inputs of the model in any form that `inputs.gathered` knows, for methods that look
    at them; losses(model): its loss on each of some batches, for methods that look at gradients.
    Weights behind masks or norms are plain weights in the copy. Equal magnitudes go together, so a
    quantized model may lose more than was asked: `sparsity` says what was reached. ValueError:
    unknown method or structure, an amount outside of 0 … 1, what a method needs and was not given.
    """
    _check(method, amount, structure)
    refuse_empty(model)
    thin = bare_copy(model)
    looked = choice.Looked(thin, gathered(calibration, model), losses, generator)
    multiple = choice.multiple_of(structure)
    if multiple:
        return narrowed(thin, METHODS[_known(method)], method, amount, looked, multiple)
    tensors = {tensor.name: tensor for tensor in stored(thin)}
    for name, stays in _kept(looked, method, amount, structure).items():
        _cut(thin, tensors[name], stays)
    return thin


@torch.no_grad()
def kept(model: nn.Module, method: str, amount: float, structure: str = "unstructured",
         calibration=None, losses: Losses | None = None,
         generator: torch.Generator | None = None) -> dict[str, Tensor]:
    """The masks that `prune` would take, for `mask(model, …)`: tensor's name -> which values stay.
    What masks took before counts in `amount`, and stays away."""
    _check(method, amount, structure)
    if choice.multiple_of(structure):
        raise ValueError("channels are removed, not masked; call prune")
    looked = choice.Looked(model, gathered(calibration, model), losses, generator)
    return _kept(looked, method, amount, structure)


def _check(method: str, amount: float, structure: str) -> None:
    function = METHODS[_known(method)]
    if not 0 <= amount < 1:
        raise ValueError(f"amount={amount}: choose a share from 0 to below 1")
    if (choice.multiple_of(structure) or structure == "2:4") and not isinstance(function, Ranking):
        raise ValueError(f"{method} prunes single weights; take structure='unstructured'")
    if structure == "2:4" and amount not in (0, 0.5):
        raise ValueError(f"amount={amount}: 2:4 takes half of the weights; take amount=0.5")


def _kept(looked: choice.Looked, method: str, amount: float, structure: str) -> dict[str, Tensor]:
    function = METHODS[_known(method)]
    if not isinstance(function, Ranking):
        return function(looked.model, amount)
    tensors = choice.weights(looked.model)
    if not tensors or (amount == 0 and structure == "2:4"):
        return {}
    found = choice.scores(function, method, tensors, looked)
    return choice.kept(function, found, tensors, amount, structure)


def _cut(model: nn.Module, tensor: Stored, stays: Tensor) -> None:
    """Let the tensor's values be 0 where they do not stay, in place."""
    value, small = tensor.value, None           # value shares its memory with the parameter
    if tensor.quantized is None:
        value[~stays] = 0
    else:
        try:
            small = tensor.quantized.without(~stays.reshape(tensor.quantized.layout.shape))
        except ValueError as error:
            raise ValueError(f"{tensor.name} cannot be pruned as it is stored ({error}); prune "
                             "before quantizing") from error
        value.copy_(small.dequantize().reshape(value.shape))
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
