"""The one walk over what a model stores: sizes, files, sparsities and counts all come from here.

A layer may carry `compressed`, {tensor's name: Quantized}; `pruned`, names of tensors whose zeros
were chosen; and, for its class, `recomputed`, buffers that follow from build arguments, and
`elementwise`, parameters that scale values one by one as a norm's do.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from lib.layers import masks
from lib.layers.recomputed import recomputed
from lib.layers.stored import Quantized

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)      # their inputs meet the weight's rows
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
INSIDE = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)    # several weights, met inside only
NORMS = (nn.LayerNorm, nn.RMSNorm)              # their weights may have several axes


@dataclass(frozen=True, eq=False)
class Stored:
    """One stored tensor."""

    places: tuple[tuple[str, str], ...]     # (module's name, tensor's name): several if shared
    kind: str                               # of the module: Conv2d
    role: str                               # weight, bias, vector (a norm's, a token) or buffer
    value: Tensor                           # as the model computes with it in evaluation
    quantized: Quantized | None
    pruned: bool                            # whether its zeros were chosen

    @property
    def module(self) -> str:
        return self.places[0][0]

    @property
    def name(self) -> str:
        """As in a state_dict: layer1.0.conv1.weight."""
        return ".".join(filter(None, self.places[0]))

    @property
    def elements(self) -> int:
        return self.value.numel()

    @cached_property
    def nonzero(self) -> int:
        return int(self.value.count_nonzero()) if self.quantized is None else self.quantized.nonzero

    @cached_property
    def form(self) -> str:
        """dense, bitmask or indices: of weights, and of what was pruned, the smallest. A zero is a
        zero, whether a mask chose it or rounding made it: pruning is not credited with the form."""
        if self.quantized is not None:
            return self.quantized.form
        if self.role != "weight" and not self.pruned:
            return "dense"
        return masks.smallest(self.elements, self.nonzero, lambda k: k * self.value.element_size())

    @cached_property
    def size_bytes(self) -> int:
        """Values or packed codes, tables and places, as they are written."""
        if self.quantized is not None:
            return self.quantized.size_bytes
        kept = self.elements if self.form == "dense" else self.nonzero
        places = masks.place_bytes(self.form, self.elements, self.nonzero)
        return places + kept * self.value.element_size()

    @property
    def dense_bytes(self) -> int:
        """All values or codes, zeros too, and tables."""
        if self.quantized is not None:
            return self.quantized.dense_bytes
        return self.elements * self.value.element_size()

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.size_bytes / self.elements


def stored(model: nn.Module) -> list[Stored]:
    """Every tensor that a decoder needs, in the model's order, shared ones once.

    Buffers count too, those that no state_dict holds as well: a net's input statistics are needed
    as much as its weights. Recomputed tensors count as what comes out, without what they are made
    from. ValueError for a layer whose weight some unknown hook makes, and for one without values.
    """
    refuse_empty(model)
    found: dict[tuple, Stored] = {}
    for prefix, module in modules(model):
        for key, role, value, identity in _own(prefix, module):
            if identity in found:
                first = found[identity]
                small = first.quantized or getattr(module, "compressed", {}).get(key)
                pruned = first.pruned or key in getattr(module, "pruned", ())
                found[identity] = replace(first, places=(*first.places, (prefix, key)),
                                          quantized=small, pruned=pruned)
                continue
            made = len(identity) > 1            # and so not what its codes say, if it has any
            small = None if made else getattr(module, "compressed", {}).get(key)
            pruned = made or key in getattr(module, "pruned", ())
            found[identity] = Stored(((prefix, key),), kind(module), role, value, small, pruned)
    return list(found.values())


def compressible(module: nn.Module) -> tuple[str, ...]:
    """The names of the module's own weights that methods compress: those of linear layers, of
    convolutions of any kind, and of recurrent and attention modules."""
    if isinstance(module, (*LAYERS, *TRANSPOSED)):
        return ("weight",)
    if isinstance(module, INSIDE):
        return tuple(key for key, _ in module.named_parameters(recurse=False) if "weight" in key)
    return ()


def left_float(model: nn.Module) -> list[str]:
    """What stays float in a model of which something was quantized: "words (Embedding)" for a
    layer's weight, "inputs of encoder (LSTM)" where inputs of others are rounded."""
    tensors, names = stored(model), {}
    weights = [tensor for tensor in tensors if tensor.role == "weight"]
    some_weights = any(tensor.quantized is not None for tensor in tensors)
    some_inputs = any(getattr(module, "a_bits", None) for module in model.modules())
    for tensor in weights:
        name = f"{tensor.module} ({tensor.kind})".lstrip()
        if some_weights and tensor.quantized is None:
            names[name] = None
        module = model.get_submodule(tensor.module)
        looked_up = isinstance(module, nn.Embedding | nn.EmbeddingBag)
        if some_inputs and not looked_up and not getattr(module, "a_bits", None):
            names[f"inputs of {name}"] = None
    return list(names)


def check_codes(model: nn.Module) -> None:
    """ValueError for a layer whose codes do not decode to the weights that it computes with."""
    for prefix, module in modules(model):
        for key, small in getattr(module, "compressed", {}).items():
            value, name = getattr(module, key, None), f"{prefix}.{key}".lstrip(".")
            means = small.dequantize()
            if value is None or value.dtype != means.dtype or not torch.equal(
                    means.reshape(value.shape).to(value.device), value.detach()):
                raise ValueError(f"{name} was changed after it was quantized, and its codes mean "
                                 "something else; quantize the model again")


def refuse_empty(model: nn.Module) -> None:
    """ValueError for a model of which some tensor has no values yet."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise ValueError(f"{name} gets its shape from the first input; call the model once "
                             "before compressing or measuring it")
        if tensor.is_meta:
            raise ValueError(f"{name} is a meta tensor, which has no values; load the model's "
                             "weights first (to_empty and load_state_dict)")


def modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The model's modules by their first names, without the insides of parametrizations."""
    inside: set[int] = set()
    for name, module in model.named_modules():
        if id(module) in inside:
            continue
        if parametrize.is_parametrized(module):
            inside |= {id(part) for part in module.parametrizations.modules()}
        yield name, module


def kind(module: nn.Module) -> str:
    """The module's class, by the name it had before anything was parametrized."""
    return parametrize.type_before_parametrizations(module).__name__


def _own(prefix: str, module: nn.Module) -> Iterator[tuple[str, str, Tensor, tuple]]:
    """(key, role, value, identity) of a module's own tensors. What a layer recomputes is its own,
    whatever it shares beneath, so that its identity is (module, key)."""
    made = recomputed(module)
    beneath = {name for tensor in made.values() for name in tensor.beneath}
    plain = {key: p for key, p in module.named_parameters(recurse=False) if key not in beneath}
    if isinstance(module, LAYERS) and "weight" not in plain | made:
        raise ValueError(f"the weight of {prefix or 'the model'} is no parameter, so something "
                         "recomputes it that is not known here; make it one before compressing")
    for key, tensor in made.items():
        yield key, _role(module, key, tensor.value), tensor.value, (id(module), key)
    for key, parameter in plain.items():
        yield key, _role(module, key, parameter), parameter.detach(), (id(parameter),)
    for key, buffer in module.named_buffers(recurse=False):
        if key not in beneath and _is_needed(module, key):
            yield key, "buffer", buffer, (id(buffer),)


def _role(module: nn.Module, key: str, value: Tensor) -> str:
    """A weight has two axes or more. What has a first axis of 1 and no such name (a class token, a
    table of positions) is added to every example, and what a norm has scales: vectors."""
    scales = isinstance(module, NORMS) or key in getattr(module, "elementwise", ())
    if value.dim() >= 2 and not scales and ("weight" in key or len(value) > 1):
        return "weight"
    return "bias" if "bias" in key else "vector"


def _is_needed(module: nn.Module, key: str) -> bool:
    """Whether a decoder needs this buffer: batches counted serve training alone."""
    return key != "num_batches_tracked" and key not in getattr(module, "recomputed", ())
