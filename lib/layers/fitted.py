"""Inputs as a model can take them: in its dtype, on its device."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def fitted(x: Tensor, model: nn.Module) -> Tensor:
    """x on the model's device; floating-point x in the dtype of its parameters, if all have one (a
    half-precision model takes no 32-bit floats)."""
    parameters = [p for p in model.parameters() if p.is_floating_point()]
    if not parameters:
        return x
    dtypes = {p.dtype for p in parameters}
    one = dtypes.pop() if len(dtypes) == 1 and x.is_floating_point() else x.dtype
    return x.to(parameters[0].device, one)


@contextmanager
def fitting(model: nn.Module) -> Iterator[nn.Module]:
    """While it lasts, every tensor that the model is called with is fitted first."""
    def fit(_, args: tuple) -> tuple:
        return tuple(fitted(x, model) if isinstance(x, torch.Tensor) else x for x in args)

    hook = model.register_forward_pre_hook(fit)
    try:
        yield model
    finally:
        hook.remove()
