"""A network's layers, as quantizers see them: which there are, what enters, what is stored."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lib.layers import recomputed
from lib.layers.stored import Quantized
from lib.layers.walk import LAYERS

MOST_ROWS = 2**16       # of a layer's inputs: 128 positions of each of 512 images


def layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers whose weights are quantized: every Linear and convolution, by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, LAYERS)}


def sharing(model: nn.Module) -> dict[str, list[str]]:
    """For each layer, by name, the names of all layers that have the very same weight."""
    by_weight: dict[int, list[str]] = {}
    for name, layer in layers(model).items():
        by_weight.setdefault(id(layer.weight), []).append(name)
    return {name: names for names in by_weight.values() for name in names}


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

    def unfold(part: Tensor) -> Tensor:                                # (n, places, c·kh·kw)
        return nn.functional.unfold(part, kernel, dilation, 0, stride).transpose(1, 2)

    places = torch.randperm(unfold(x[:1]).shape[1], generator=torch.Generator().manual_seed(0))
    places = places[:max(1, most // len(x))].to(x.device)
    rows = torch.cat([unfold(part)[:, places].flatten(0, 1) for part in x.split(16)])
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
    return recomputed.bare_copy(model).eval()
