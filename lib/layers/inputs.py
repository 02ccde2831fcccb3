"""Calibration inputs, in whatever form people have them, and what the model answers.

Inside, inputs are a tensor, a tuple of tensors (the model's arguments) or a dict of them (its
keywords), each with the examples along its first axis.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lib.layers.fitted import fitted

Inputs = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
PIECE = 128             # examples at a time where nothing is trained


def gathered(calibration, model: nn.Module) -> Inputs | None:
    """Inputs from a tensor, an array, a tuple of these (the model's arguments), a dict of these
    (its keywords), or a DataLoader or a list of batches, each of such a form. A batch of a loader
    that holds one tensor more than the model's forward requires ends with its labels.

    ValueError for anything else, for no examples, and for parts that are not equally long.
    """
    if calibration is None:
        return None
    if isinstance(calibration, DataLoader | list):
        batches = [_batch(batch, model) for batch in calibration]
        if len({type(batch) for batch in batches}) > 1:
            raise ValueError("the calibration's batches differ in their form; give each the same")
        found = _joined(batches)
    else:
        found = _one(calibration)
    sizes = {len(part) if part.dim() else 0 for part in _parts(found)}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"the calibration's parts hold {sorted(sizes)} examples; each needs the "
                         "same number along its first axis, and at least one")
    return found


def _one(value) -> Inputs:
    if isinstance(value, tuple):
        return tuple(_tensor(part) for part in value)
    if isinstance(value, Mapping):
        return {str(key): _tensor(part) for key, part in value.items()}
    return _tensor(value)


def _tensor(value) -> Tensor:
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.from_numpy(np.ascontiguousarray(value))
    if not isinstance(value, Tensor):
        raise ValueError(f"calibration holds a {type(value).__name__}; give a tensor, an array, a "
                         "tuple or dict of these, a DataLoader or a list of batches")
    return value


def _batch(batch, model: nn.Module) -> Inputs:
    """One batch of a loader, without labels. ValueError where it does not say which are inputs."""
    if not isinstance(batch, tuple | list):
        return _one(batch)
    needed = _required(model)
    if needed is None or len(batch) - needed not in (0, 1):
        raise ValueError(f"a batch of {len(batch)} tensors does not say which are the model's "
                         "inputs; pass the inputs alone, as a tensor or a tuple of them")
    inputs = tuple(_tensor(part) for part in batch[:needed])
    return inputs[0] if needed == 1 else inputs


def _required(model: nn.Module) -> int | None:
    """How many arguments the model's forward cannot do without; None where it takes any number."""
    if isinstance(model, nn.Sequential):
        return 1
    parameters = inspect.signature(model.forward).parameters.values()
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return None
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in plain and p.default is p.empty for p in parameters)


def _joined(batches: list[Inputs]) -> Inputs:
    """Batches of one form as one."""
    if not batches:
        raise ValueError("the calibration holds no batch; give some hundred inputs")
    first = batches[0]
    try:
        if isinstance(first, tuple):
            return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
        if isinstance(first, dict):
            return {key: torch.cat([batch[key] for batch in batches]) for key in first}
        return torch.cat(batches)
    except (RuntimeError, KeyError, ValueError) as error:
        raise ValueError(f"the calibration's batches do not fit together ({error}); give batches "
                         "whose shapes differ in the first axis alone") from error


def _parts(inputs: Inputs) -> tuple[Tensor, ...]:
    if isinstance(inputs, dict):
        return tuple(inputs.values())
    return inputs if isinstance(inputs, tuple) else (inputs,)


def each_part(inputs: Inputs, act: Callable[[Tensor], Tensor]) -> Inputs:
    """The same inputs, each tensor as `act` makes it."""
    if isinstance(inputs, dict):
        return {key: act(part) for key, part in inputs.items()}
    return tuple(map(act, inputs)) if isinstance(inputs, tuple) else act(inputs)


def first(inputs: Inputs, count: int) -> Inputs:
    """The first `count` examples."""
    return each_part(inputs, lambda part: part[:count])


def examples(inputs: Inputs) -> int:
    return len(_parts(inputs)[0])


def pieces(inputs: Inputs, size: int = PIECE) -> list[Inputs]:
    """The inputs, `size` examples at a time."""
    return [each_part(inputs, lambda part, i=i: part[i:i + size])
            for i in range(0, examples(inputs), size)]


def run(model: nn.Module, inputs: Inputs) -> object:
    """model(x), model(*x) or model(**x), with floating-point inputs in the model's own dtype and
    all on its device."""
    inputs = each_part(inputs, lambda part: fitted(part, model))
    with _own_steps():
        if isinstance(inputs, dict):
            return model(**inputs)
        return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


@contextmanager
def _own_steps() -> Iterator[None]:
    """torch's fused attention calls no layer inside it, so no hook would see what enters them."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def answer(outputs: object) -> Tensor:
    """The one tensor that a model answers with: its output, or the `logits` or the only
    floating-point tensor in it. ValueError where that is not clear."""
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, Mapping) and isinstance(outputs.get("logits"), Tensor):
        return outputs["logits"]
    parts = outputs.values() if isinstance(outputs, Mapping) else outputs
    found = [part for part in parts if isinstance(part, Tensor) and part.is_floating_point()] \
        if isinstance(outputs, Mapping | tuple | list) else []
    if len(found) != 1:
        raise ValueError(f"the model puts out a {type(outputs).__name__} with {len(found)} "
                         "tensors, which does not say its answer; wrap it in a module that "
                         "returns that tensor alone")
    return found[0]


def entering(args: tuple, keywords: dict, name: str = "a layer") -> Tensor:
    """A layer's input, however it was called: layer(x) or layer(input=x)."""
    found = args[0] if args else keywords.get("input")
    if not isinstance(found, Tensor):
        raise ValueError(f"{name} was called without an input tensor; call it as layer(x)")
    return found
