"""A network's layers, as quantizers see them: which there are, what enters, what is stored."""

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lib.layers import recomputed
from lib.layers.inputs import Inputs, first, run
from lib.layers.stored import Quantized
from lib.layers.walk import LAYERS, TRANSPOSED, compressible, refuse_empty

MOST_ROWS = 2**16       # of a layer's inputs: 128 positions of each of 512 images
Weight = tuple[str, str]        # the layer's name, and its weight's: ("encoder", "weight_hh_l0")


def layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers whose inputs meet the rows of their weight, by name: Linears and convolutions.
    What an attention module computes with by itself is none of them, as no input is seen to enter
    it."""
    inside = {id(m.out_proj) for m in model.modules() if isinstance(m, nn.MultiheadAttention)}
    return {name: m for name, m in model.named_modules()
            if isinstance(m, LAYERS) and id(m) not in inside}


def entered(model: nn.Module) -> dict[str, nn.Module]:
    """The layers whose one input can be rounded: these, and transposed convolutions."""
    own = layers(model)
    return {name: m for name, m in model.named_modules()
            if name in own or isinstance(m, TRANSPOSED)}


def weights(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """The layers whose weights are quantized, by name, and their weights' names: of linear layers,
    of convolutions of any kind, of recurrent and of attention modules."""
    found = {name: compressible(module) for name, module in model.named_modules()}
    return {name: keys for name, keys in found.items() if keys}


def sharing(model: nn.Module) -> dict[Weight, list[Weight]]:
    """For each weight all places, (layer, its weight), where the very same one is."""
    by_weight: dict[int, list[Weight]] = {}
    for name, keys in weights(model).items():
        for key in keys:
            found = getattr(model.get_submodule(name), key)
            by_weight.setdefault(id(found), []).append((name, key))
    return {place: places for places in by_weight.values() for place in places}


def users(model: nn.Module) -> Counter:
    """How many modules have each parameter as their own, by its identity."""
    return Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))


def bits_by_layer(bits: int | Mapping[str, int], names) -> dict[str, int]:
    """`bits` for every layer, or only for those that a mapping names; the others stay float."""
    if not isinstance(bits, Mapping):
        return dict.fromkeys(names, bits)
    if unknown := sorted(set(bits) - set(names)):
        raise ValueError(f"bits names {unknown}, but the layers are: {', '.join(names)}")
    return dict(bits)


@torch.no_grad()
def calls(model: nn.Module, calibration: Inputs) -> Counter:
    """How often each weight of `layers` is called in one pass, by its identity: a layer may be
    called again, and layers may share a weight. In the order of the first calls."""
    counted: Counter = Counter()
    hooks = [layer.register_forward_pre_hook(lambda m, _: counted.update([id(m.weight)]))
             for layer in layers(model).values()]
    try:
        run(model, first(calibration, 1))
    finally:
        for hook in hooks:
            hook.remove()
    return counted


def input_rows(layer: nn.Module, x: Tensor, most: int = MOST_ROWS) -> Tensor:
    """What multiplies the rows of the layer's weight: (rows, in·kh·kw), and for a grouped
    convolution (groups, rows, in·kh·kw/groups). Of a convolution's positions as many, the same
    random ones in each image, as make about `most` rows."""
    x = x.detach()
    if isinstance(layer, nn.Linear):
        rows = x.reshape(-1, x.shape[-1])
        pick = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:most]
        return rows[pick.to(x.device)] if len(rows) > most else rows
    x = x if x.dim() == layer.weight.dim() else x[None]                # one image without a batch
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = nn.functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
    if isinstance(layer, nn.Conv3d):
        rows = _rows_of_volumes(layer, x, most)
    else:
        rows = _rows_of_images(layer, x, most)
    if layer.groups == 1:
        return rows
    return rows.reshape(len(rows), layer.groups, -1).transpose(0, 1)


def _rows_of_images(layer: nn.Module, x: Tensor, most: int) -> Tensor:
    kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    if isinstance(layer, nn.Conv1d):                                   # (n, c, l) as (n, c, 1, l)
        x, kernel = x.unsqueeze(2), (1, *kernel)
        stride, dilation = (1, *stride), (1, *dilation)

    def unfold(part: Tensor) -> Tensor:                                # (n, places, c·kh·kw)
        return nn.functional.unfold(part, kernel, dilation, 0, stride).transpose(1, 2)

    places = torch.randperm(unfold(x[:1]).shape[1], generator=torch.Generator().manual_seed(0))
    places = places[:max(1, most // len(x))].to(x.device)
    return torch.cat([unfold(part)[:, places].flatten(0, 1) for part in x.split(16)])


def _rows_of_volumes(layer: nn.Conv3d, x: Tensor, most: int) -> Tensor:
    """(rows, c·kd·kh·kw): torch unfolds no volumes, so that windows are views here."""
    for axis, (kernel, stride, dilation) in enumerate(
            zip(layer.kernel_size, layer.stride, layer.dilation, strict=True), start=2):
        x = x.unfold(axis, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
    windows = x.movedim(1, 4).flatten(1, 3)             # (n, places, c, kd, kh, kw)
    places = torch.randperm(windows.shape[1], generator=torch.Generator().manual_seed(0))
    places = places[:max(1, most // len(x))].to(x.device)
    return windows[:, places].flatten(0, 1).flatten(1)


def store(layer: nn.Module, q: Quantized, key: str = "weight") -> None:
    """Let the layer compute with what `q` decodes to, and remember `q`."""
    getattr(layer, key).data.copy_(q.dequantize())
    layer.compressed = getattr(layer, "compressed", {}) | {key: q}


def settle(layer: nn.Module, q: Quantized) -> None:
    """Let a layer whose weight passes parametrizations have `q` in place of them and of it."""
    layer.__class__ = parametrize.type_before_parametrizations(layer)
    del layer.parametrizations
    layer.register_parameter("weight", nn.Parameter(q.dequantize()))
    store(layer, q)


def refuse_quantized(layer: nn.Module, name: str, doing: str) -> None:
    """ValueError for a layer whose codes would mean something else after `doing`."""
    if getattr(layer, "compressed", {}):
        raise ValueError(f"{name or 'the model'} is quantized already, and {doing} would change "
                         f"what its codes mean; do that before quantizing")


def bare_copy(model: nn.Module) -> nn.Module:
    """A copy to work on, in evaluation mode; masks and other parametrizations become weights."""
    refuse_empty(model)
    return recomputed.bare_copy(model).eval()

