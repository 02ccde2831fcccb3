"""From a tensor to a model: one loop that replaces the weights of a copy.

A method is a function on one weight. What it needs is in its signature: `method(w, bits, axis,
group, generator)`; with a parameter `inputs`, the rows that the layer's weight is multiplied with;
or `method(model, ...)`, which returns the whole new model itself.
"""

import inspect
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from lib.quant import affine, blocks, codebook, edge, multipoint, rounding
from lib.quant.activations import quantize_activations, smooth_inputs
from lib.quant.layers import bare_copy, bits_by_layer, input_rows, layers, run, store
from lib.layers.stored import Quantized

METHODS: dict[str, Callable] = {
    **codebook.METHODS, **affine.METHODS, **multipoint.METHODS, **edge.METHODS,
    **rounding.METHODS, **blocks.METHODS}


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
    needs = inspect.signature(function).parameters
    if "model" in needs:
        raise ValueError(f"{method} acts on a whole model: use ptq(model, {method!r}, ...)")
    if "inputs" in needs and needs["inputs"].default is needs["inputs"].empty \
            and options.get("inputs") is None:
        raise ValueError(f"{method} needs inputs=, the rows (n, in·kh·kw) that w meets")
    return function(w, bits=bits, axis=axis, group=group, generator=generator, **options)


@torch.no_grad()
def ptq(model: nn.Module, method: str, bits: int | Mapping[str, int] = 8, a_bits: int | None = None,
        axis: int | None = 0, group: int | None = None,
        calibration: Tensor | tuple[Tensor, ...] | None = None,
        generator: torch.Generator | None = None, a_method: str = "mse",
        smooth: float | None = None, **options) -> nn.Module:
    """A copy of `model` with quantized weights, each layer remembering its own: layer.compressed.

    bits: for all layers, or {layer: bits}, where layers not named stay float; levels={layer: …}
    takes its place with methods that have levels. Biases and normalisation stay float, except that
    `edge_*` quantize what Edge did. calibration: inputs of the model, for methods that look at a
    layer's inputs: in one pass through the copy each layer is quantized as its input arrives, so it
    sees what the layers before it, already quantized, make of the calibration inputs.
    a_bits: what enters the layers is rounded too, simulated: layer.a_bits; a_method: mse, minmax,
    percentile or dynamic; smooth: SmoothQuant's alpha, before anything is rounded.
    """
    function, small = _find(method), bare_copy(model)
    needs, levels = inspect.signature(function).parameters, options.get("levels")
    if isinstance(levels, Mapping):
        bits = {name: (count - 1).bit_length() for name, count in levels.items()}
    wants = "inputs" in needs
    needed = "model" in needs or wants and needs["inputs"].default is needs["inputs"].empty
    if needed and calibration is None:
        raise ValueError(f"{method} needs calibration=, some hundred inputs of the model "
                         "(task.calibration)")
    if smooth is not None:
        smooth_inputs(small, calibration, smooth)
    if "model" in needs:
        return function(small, bits, a_bits=a_bits, axis=axis, group=group, a_method=a_method,
                        calibration=calibration, generator=generator,
                        **options).train(model.training)
    if method.startswith("edge_"):
        owners = [n for n, m in small.named_modules() if list(m.parameters(recurse=False))]
        edge.quantize_model(small, function, bits_by_layer(bits, owners), generator)
        todo = {}
    else:
        todo = bits_by_layer(bits, layers(small))

    def quantized(layer: nn.Module, name: str, **more) -> Quantized:
        own = {"levels": levels[name]} if isinstance(levels, Mapping) else {}
        return function(layer.weight, bits=todo.pop(name), axis=axis, group=group,
                        generator=generator, **options | own | more)

    if wants and calibration is not None:
        def on_input(layer: nn.Module, args: tuple, name: str) -> None:
            if name in todo:
                store(layer, quantized(layer, name, inputs=input_rows(layer, args[0])))

        hooks = [layer.register_forward_pre_hook(lambda m, a, n=name: on_input(m, a, n))
                 for name, layer in layers(small).items()]
        run(small, calibration)
        for hook in hooks:
            hook.remove()
        if todo and needed:
            raise ValueError(f"no input reached {', '.join(todo)}; leave them out of bits=")
    for name in list(todo):
        store(layers(small)[name], quantized(layers(small)[name], name))
    if a_bits is not None:
        quantize_activations(small, a_bits, calibration, a_method)
    return small.train(model.training)
