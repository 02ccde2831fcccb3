"""From a tensor to a model: one loop that replaces the weights of a copy.

A method is a function on one weight. What it needs is in its signature: `method(w, bits, axis,
group, generator)`; with a parameter `inputs`, the rows that the layer's weight is multiplied with;
or `method(model, ...)`, which returns the whole new model itself. One that treats a model's tensors
in its own way carries a `lift(model, method, bits by module, generator)`. A file of this folder
that has NAMES and METHODS adds methods; in RANDOM it names those that draw at random.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.layers.discovery import Found
from lib.layers.inputs import entering, gathered, run
from lib.layers.stored import Quantized
from lib.quant import zeros
from lib.quant.activations import quantize_activations, smooth_inputs
from lib.quant.layers import (
    Weight,
    bare_copy,
    bits_by_layer,
    calls,
    input_rows,
    layers,
    sharing,
    store,
    weights,
)

METHODS: Mapping[str, Callable] = Found("lib.quant", Path(__file__).parent)


def file_of(method: str) -> Path:
    """The file that defines a method. ValueError for a name that is not there."""
    _find(method)
    return METHODS.file_of(method)


def is_random(method: str) -> bool:
    """Whether a method draws at random, so that it is repeated with several generators."""
    _find(method)
    return method in getattr(METHODS.module_of(method), "RANDOM", ())


def _find(method: str) -> Callable:
    if method not in METHODS:
        raise ValueError(f"there is no quantizer {method!r}; choose one of: {', '.join(METHODS)}")
    return METHODS[method]


def quantize(w: Tensor, method: str, bits: int = 8, axis: int | None = 0,
             group: int | None = None, generator: torch.Generator | None = None,
             **options) -> Quantized:
    """Quantize one weight (out, ...), seen as (out, in·kh·kw), leaving it untouched.

    axis: 0 (a table for each output) or None (one for all); group: a table for every `group`
    values of a row. `options` go to the method: levels= or clip= of affine, inputs= of gptq.
    ValueError: unknown method, weights that are empty, not floating-point or not finite, bits.
    """
    function = _find(method)
    if "model" in inspect.signature(function).parameters:
        raise ValueError(f"{method} acts on a whole model: use ptq(model, {method!r}, ...)")
    if needs_inputs(function) and options.get("inputs") is None:
        raise ValueError(f"{method} needs inputs=, the rows (n, in·kh·kw) that w meets")
    return function(w, bits=bits, axis=axis, group=group, generator=generator, **options)


def needs_inputs(function: Callable) -> bool:
    """Whether the method cannot do without a layer's inputs (or, for a whole model, its own)."""
    parameters = inspect.signature(function).parameters
    return "model" in parameters or (
        "inputs" in parameters and parameters["inputs"].default is inspect.Parameter.empty)


@torch.no_grad()
def ptq(model: nn.Module, method: str, bits: int | Mapping[str, int] = 8, a_bits: int | None = None,
        axis: int | None = 0, group: int | None = None, calibration=None,
        generator: torch.Generator | None = None, a_method: str = "mse",
        smooth: float | None = None, **options) -> nn.Module:
    """A copy of `model` with quantized weights, each layer remembering its own: layer.compressed.

    bits: for all layers, or {layer: bits}, where layers not named stay float; levels={layer: …}
    takes its place with methods that have levels. Biases and normalisation stay float, except that
    `edge_*` quantize what Edge did. calibration: inputs of the model in any form that
    `inputs.gathered` knows, for methods that look at a layer's inputs: in one pass through the copy
    each layer is quantized as its last input arrives, so it sees what the layers before it, already
    quantized, make of the calibration inputs. Where these cannot be seen (recurrent, attention and
    transposed weights) such methods leave the layer float, as all leave embeddings:
    `layers.walk.left_float` names them.
    Zeros that a pruning chose stay zeros (`zeros.with_zeros`), but under `edge_*`, whose code knows
    of none.
    a_bits: what enters the layers is rounded too, simulated: layer.a_bits; a_method: mse, minmax,
    percentile or dynamic; smooth: SmoothQuant's alpha, before anything is rounded.
    """
    function, small, calibration = _find(method), bare_copy(model), gathered(calibration, model)
    if needs_inputs(function) and calibration is None:
        raise ValueError(f"{method} needs calibration=, some hundred inputs of the model "
                         "(task.calibration)")
    if isinstance(options.get("levels"), Mapping):
        bits = {name: (count - 1).bit_length() for name, count in options["levels"].items()}
    if smooth is not None:
        smooth_inputs(small, calibration, smooth)
    if "model" in inspect.signature(function).parameters:
        return function(small, bits, a_bits=a_bits, axis=axis, group=group, a_method=a_method,
                        calibration=calibration, generator=generator,
                        **options).train(model.training)
    if hasattr(function, "lift"):
        owners = [n for n, m in small.named_modules() if list(m.parameters(recurse=False))]
        function.lift(small, function, bits_by_layer(bits, owners), generator)
    else:
        _each_layer(small, function, bits, calibration,
                    {"axis": axis, "group": group, "generator": generator} | options)
    if a_bits is not None:
        quantize_activations(small, a_bits, calibration, a_method)
    return small.train(model.training)


def _each_layer(model: nn.Module, function: Callable, bits: int | Mapping[str, int], calibration,
                options: dict) -> None:
    """Quantize the layers' weights in place, a weight that several layers share once."""
    todo, twins, levels = _todo(model, function, bits), sharing(model), options.get("levels")

    def quantize_weight(place: Weight, **more) -> None:
        name, key = place
        own = {"levels": levels[name]} if isinstance(levels, Mapping) else {}
        weight = getattr(model.get_submodule(name), key)
        away = zeros.gone(model.get_submodule(name), key)
        if away is not None and "away" in inspect.signature(function).parameters:
            own["away"] = away
        try:
            q = function(weight, bits=todo[place], **options | own | more)
            q = q if away is None else zeros.with_zeros(q, weight, away)
        except ValueError as error:
            raise ValueError(f"{name or 'the model'}: {error}") from error
        for twin in twins[place]:
            todo.pop(twin, None)
            store(model.get_submodule(twin[0]), q, twin[1])

    if "inputs" in inspect.signature(function).parameters and calibration is not None:
        _as_inputs_arrive(model, todo, calibration, quantize_weight)
        if todo and needs_inputs(function):
            names = ", ".join(name or "the model" for name, _ in todo)
            raise ValueError(f"no input reached {names}; leave them out of bits=")
    for place in list(todo):
        if place in todo:
            quantize_weight(place)


def _todo(model: nn.Module, function: Callable, bits: int | Mapping[str, int]) -> dict[Weight, int]:
    """The weights to quantize, and their bits. ValueError where a layer is asked for whose inputs
    the method cannot see, and where one shared weight is asked for in two widths."""
    named = weights(model)
    if not named and not isinstance(bits, Mapping):
        raise ValueError(f"{type(model).__name__} has no layer whose weights are quantized: no "
                         "Linear, convolution, recurrent or attention module of torch")
    wanted = bits_by_layer(bits, named)
    if needs_inputs(function):
        seen = layers(model)
        unseen = [f"{n} ({type(model.get_submodule(n)).__name__})" for n in wanted if n not in seen]
        wanted = {name: b for name, b in wanted.items() if name in seen}
        if unseen and (isinstance(bits, Mapping) or not wanted):
            raise ValueError(f"{function.__name__} looks at what enters a layer, which is not seen "
                             f"of {', '.join(unseen)}; leave them out of bits=, or take affine")
    todo = {(name, key): b for name, b in wanted.items() for key in named[name]}
    for place, places in sharing(model).items():
        if len({todo[twin] for twin in places if twin in todo}) > 1:
            raise ValueError(f"{', '.join(name for name, _ in places)} share {place[1]}, which "
                             "cannot have several widths; ask for the same bits")
    return todo


def _as_inputs_arrive(model: nn.Module, todo: dict[Weight, int], calibration,
                      quantize_weight: Callable) -> None:
    """One pass, in which each weight is quantized when the last of its inputs has come."""
    left, rows = calls(model, calibration), {}

    def on_input(layer: nn.Module, args: tuple, keywords: dict, name: str) -> None:
        if (name, "weight") not in todo:
            return
        found = rows.setdefault(id(layer.weight), [])
        found.append(input_rows(layer, entering(args, keywords, name)))
        left[id(layer.weight)] -= 1
        if left[id(layer.weight)] <= 0:
            quantize_weight((name, "weight"), inputs=torch.cat(rows.pop(id(layer.weight)), -2))

    hooks = [layer.register_forward_pre_hook(partial(on_input, name=name), with_kwargs=True)
             for name, layer in layers(model).items()]
    try:
        run(model, calibration)
    finally:
        for hook in hooks:
            hook.remove()
    for name, layer in layers(model).items():       # a call less than the first example made
        if (name, "weight") in todo and id(layer.weight) in rows:
            quantize_weight((name, "weight"), inputs=torch.cat(rows.pop(id(layer.weight)), -2))
