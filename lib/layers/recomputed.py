"""Tensors that a layer recomputes before each call: masks, norms and other parametrizations.

What is stored of such a tensor, for computing, is what comes out: the weight behind its mask, not
the weight and the mask. Known are torch's parametrizations, and the hooks of torch.nn.utils.prune,
weight_norm and spectral_norm.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


@dataclass(frozen=True, eq=False)
class Recomputed:
    """One recomputed tensor: its value as the layer computes with it in evaluation, and the names
    of the layer's own tensors that it is made from (none for a parametrization, which has a module
    of its own)."""

    value: Tensor
    beneath: tuple[str, ...]


@torch.no_grad()
def recomputed(module: nn.Module) -> dict[str, Recomputed]:
    """The tensors that `module` recomputes, by name."""
    found = {}
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, BasePruningMethod):
            key = hook._tensor_name
            value, beneath = hook.apply_mask(module), (f"{key}_orig", f"{key}_mask")
        elif isinstance(hook, WeightNorm):
            key = hook.name
            value, beneath = hook.compute_weight(module), (f"{key}_v", f"{key}_g")
        elif isinstance(hook, SpectralNorm):
            key = hook.name
            value = hook.compute_weight(module, do_power_iteration=False)
            beneath = (f"{key}_orig", f"{key}_u", f"{key}_v")
        else:
            continue
        found[key] = Recomputed(value.detach(), beneath)
    if parametrize.is_parametrized(module):
        for key, parametrization in module.parametrizations.items():
            found[key] = Recomputed(_at_rest(module, key, parametrization), ())
    return found


def _at_rest(module: nn.Module, key: str, parametrization: nn.Module) -> Tensor:
    """The parametrized tensor in evaluation: in training, a look at a spectral norm moves it."""
    modes = [(m, m.training) for m in parametrization.modules()]
    parametrization.eval()
    try:
        return getattr(module, key).detach().clone()
    finally:
        for part, mode in modes:
            part.training = mode


def bare_copy(model: nn.Module) -> nn.Module:
    """A copy to work on: what was recomputed is a plain parameter, and whatever zeros it has count
    as chosen (`remember_pruned`). `model` and its modules' modes stay as they are."""
    # A weight that a hook recomputed has a gradient's history, which deepcopy refuses to copy.
    memo = {id(value): value.detach().clone() for module in model.modules()
            for value in vars(module).values() if isinstance(value, Tensor) and not value.is_leaf}
    bare = copy.deepcopy(model, memo)
    for module in list(bare.modules()):
        found = recomputed(module)
        if not found:
            continue
        _remove_hooks(module)
        if parametrize.is_parametrized(module):
            # remove_parametrizations would take the weight from the original too: a deep copy
            # shares the class that parametrizing made, where the weight is a property.
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
        for key, tensor in found.items():
            for name in tensor.beneath:
                delattr(module, name)
            vars(module).pop(key, None)
            module.register_parameter(key, nn.Parameter(tensor.value.clone()))
            remember_pruned(module, key)
        if isinstance(module, nn.RNNBase):      # it calls its weights by a list of its own
            module._flat_weights = [getattr(module, key) for key in module._flat_weights_names]
    return bare


def _remove_hooks(module: nn.Module) -> None:
    """Take away the hooks that recompute, and those that SpectralNorm adds for saved states."""
    ours = (BasePruningMethod, WeightNorm, SpectralNorm)
    for hooks in (module._forward_pre_hooks, module._state_dict_hooks,
                  module._load_state_dict_pre_hooks):
        for number, hook in list(hooks.items()):
            function = getattr(hook, "hook", hook)       # torch wraps some of its state hooks
            if isinstance(function, ours) or type(function).__name__.startswith("SpectralNorm"):
                del hooks[number]


def remember_pruned(module: nn.Module, key: str) -> None:
    """Let the zeros of module.key count as chosen, so that it may be stored by its mask."""
    module.pruned = tuple(dict.fromkeys((*getattr(module, "pruned", ()), key)))
