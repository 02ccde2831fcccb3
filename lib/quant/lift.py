"""From a tensor to a model: one loop that replaces the weights of a copy.

A method is a function on one weight. What it needs is in its signature: `method(w, bits, axis,
group, generator)`; with a parameter `inputs`, the rows that the layer's weight is multiplied with;
or `method(model, ...)`, which returns the whole new model itself.
"""

import copy
import inspect
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lib.quant import affine, codebook, edge, multipoint
from lib.quant.tensor import Quantized

METHODS: dict[str, Callable] = {
    **codebook.METHODS, **affine.METHODS, **multipoint.METHODS, **edge.METHODS}

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
MOST_ROWS = 2**16       # of a layer's inputs: 128 positions of each of 512 images


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


def layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers whose weights are quantized: every Linear and convolution, by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, LAYERS)}


def bits_by_layer(bits: int | Mapping[str, int], names) -> dict[str, int]:
    """`bits` for every layer, or only for those that a mapping names; the others stay float."""
    if not isinstance(bits, Mapping):
        return dict.fromkeys(names, bits)
    if unknown := sorted(set(bits) - set(names)):
        raise ValueError(f"bits names {unknown}, but the layers are: {', '.join(names)}")
    return dict(bits)


def input_rows(layer: nn.Module, x: Tensor, most: int = MOST_ROWS) -> Tensor:
    """What multiplies the rows of the layer's weight: (rows, in·kh·kw), and for a grouped
    convolution (groups, rows, in·kh·kw/groups). Of a convolution's positions as many, the same
    random ones in each image, as make about `most` rows."""
    x = x.detach()
    if isinstance(layer, nn.Linear):
        rows = x.reshape(-1, x.shape[-1])
        pick = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:most]
        return rows[pick.to(x.device)] if len(rows) > most else rows
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = nn.functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
    kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    if isinstance(layer, nn.Conv1d):                                   # (n, c, l) as (n, c, 1, l)
        x, kernel = x.unsqueeze(2), (1, *kernel)
        stride, dilation = (1, *stride), (1, *dilation)
    pick, parts = None, []
    for part in x.split(16):                                           # unfolded images are large
        columns = nn.functional.unfold(part, kernel, dilation, 0, stride)    # (n, c·kh·kw, places)
        if pick is None:
            places = torch.randperm(columns.shape[2], generator=torch.Generator().manual_seed(0))
            pick = places[:max(1, most // len(x))].to(x.device)
        parts.append(columns[:, :, pick].transpose(1, 2).reshape(-1, columns.shape[1]))
    rows = torch.cat(parts)
    if layer.groups == 1:
        return rows
    return rows.reshape(len(rows), layer.groups, -1).transpose(0, 1)


def store(layer: nn.Module, q: Quantized) -> None:
    """Let the layer compute with what `q` decodes to, and remember `q`."""
    layer.weight.data.copy_(q.dequantize())
    layer.compressed = getattr(layer, "compressed", {}) | {"weight": q}


def run(model: nn.Module, inputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    """model(x), or model(*x) where inputs are a tuple."""
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def bare_copy(model: nn.Module) -> nn.Module:
    """A copy to work on, in evaluation mode; masks and other parametrizations become weights."""
    model = copy.deepcopy(model).eval()
    for module in list(model.modules()):
        for name in list(getattr(module, "parametrizations", {})):
            parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return model


@torch.no_grad()
def ptq(model: nn.Module, method: str, bits: int | Mapping[str, int] = 8, a_bits: int | None = None,
        axis: int | None = 0, group: int | None = None,
        calibration: Tensor | tuple[Tensor, ...] | None = None,
        generator: torch.Generator | None = None, **options) -> nn.Module:
    """A copy of `model` with quantized weights, each layer remembering its own: layer.compressed.

    bits: for all layers, or {layer: bits}, where layers not named stay float. Biases and
    normalisation stay float, except that `edge_*` quantize what Edge did. calibration: inputs of
    the model, which methods that look at a layer's inputs need: in one pass through the copy each
    layer is quantized as its input arrives, so every layer sees what the layers before it, already
    quantized, make of the calibration inputs.
    """
    function, small = _find(method), bare_copy(model)
    needs = inspect.signature(function).parameters
    wants = "inputs" in needs or "model" in needs
    needed = "model" in needs or wants and needs["inputs"].default is needs["inputs"].empty
    if needed and calibration is None:
        raise ValueError(f"{method} needs calibration=, some hundred inputs of the model "
                         "(task.calibration)")
    if method.startswith("edge_"):
        owners = [n for n, m in small.named_modules() if list(m.parameters(recurse=False))]
        edge.quantize_model(small, function, bits_by_layer(bits, owners), generator)
        return small.train(model.training)
    todo = bits_by_layer(bits, layers(small))
    how = {"axis": axis, "group": group, "generator": generator, **options}
    if wants and calibration is not None:
        def on_input(layer: nn.Module, args: tuple, name: str) -> None:
            if name in todo:
                rows = input_rows(layer, args[0])
                store(layer, function(layer.weight, inputs=rows, bits=todo.pop(name), **how))

        hooks = [layer.register_forward_pre_hook(lambda m, a, n=name: on_input(m, a, n))
                 for name, layer in layers(small).items()]
        run(small, calibration)
        for hook in hooks:
            hook.remove()
        if todo and needed:
            raise ValueError(f"no input reached {', '.join(todo)}; leave them out of bits=")
    for name, b in todo.items():
        layer = layers(small)[name]
        store(layer, function(layer.weight, bits=b, **how))
    return small.train(model.training)
