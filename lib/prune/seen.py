"""What some rankings look at beside the weights: a layer's inputs, a loss's gradients."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lib.layers.inputs import Inputs, entering, run
from lib.layers.walk import LAYERS

Losses = Callable[[nn.Module], Iterable[Tensor]]    # a model -> its loss on each of some batches


@torch.no_grad()
def energies(model: nn.Module, calibration: Inputs) -> dict[str, Tensor]:
    """By a layer's name the mean square of what its weight is multiplied with: (1, in) of a Linear,
    (out, in/groups, 1, …) of a convolution, whose borders are left out of account."""
    found: dict[str, list[Tensor]] = {}

    def watch(layer: nn.Module, args: tuple, keywords: dict, name: str) -> None:
        found.setdefault(name, []).append(_mean_square(layer, entering(args, keywords).float()))

    hooks = [module.register_forward_pre_hook(partial(watch, name=name), with_kwargs=True)
             for name, module in model.named_modules() if isinstance(module, LAYERS)]
    training = model.training
    model.eval()
    try:
        run(model, calibration)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return {name: torch.stack(parts).mean(0) for name, parts in found.items()}


def _mean_square(layer: nn.Module, x: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return x.square().reshape(-1, x.shape[-1]).mean(0, keepdim=True)
    spatial = layer.weight.dim() - 2
    x = x if x.dim() == layer.weight.dim() else x[None]         # one example without a batch
    channels = x.square().mean((0, *range(2, 2 + spatial)))     # (in,)
    groups = channels.reshape(layer.groups, -1)                 # (groups, in/groups)
    rows = groups.repeat_interleave(len(layer.weight) // layer.groups, 0)
    return rows.reshape(*rows.shape, *[1] * spatial)


@torch.enable_grad()
def gradients(model: nn.Module, losses: Losses) -> dict[int, list[Tensor]]:
    """By a parameter's identity the gradient of each batch's loss, of the parameter's shape."""
    training, found = model.training, {}
    learnt = [p for p in model.parameters() if p.requires_grad]
    model.eval()
    try:
        for loss in losses(model):
            parts = torch.autograd.grad(loss, learnt, allow_unused=True)
            for parameter, gradient in zip(learnt, parts, strict=True):
                if gradient is not None:
                    found.setdefault(id(parameter), []).append(gradient)
    finally:
        model.train(training)
    return found


def parameter(module: nn.Module, key: str) -> Tensor:
    """What a training moves: the parameter itself, or the one beneath its parametrizations."""
    if parametrize.is_parametrized(module, key):
        return module.parametrizations[key].original
    return getattr(module, key)
