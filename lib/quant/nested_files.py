"""One file for all widths of a nested network: its codes once, and what each width has of its own.

The weights of a network that `nested.nest` has trained take 8 bits for all widths together, because
the codes of a narrow one are those of the widest, rounded to their high bits. Steps and norms, of
which each width has its own, are stored for each. The file is that of the widest net, which
`packing.load` reads as any other, with some tensors more.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lib.layers.stored import Affine
from lib.quant import packing
from lib.quant.layers import layers, store
from lib.quant.nested import high_bits

STEP = "step of "           # before a layer's name: its weight's step at a narrow width


def save(nets: Mapping[int, nn.Module], path: str | Path) -> int:
    """Write the widths of one nested network, {bits: net as `nested.at_width` leaves it}, and
    return the bytes of what is stored: codes, and every width's steps, norms and other floats.

    ValueError: a net that is not the widest one with fewer bits.
    """
    widest = max(nets)
    packing.save(nets[widest], path)
    with safe_open(path, "pt") as file:
        about, tensors = file.metadata(), {"payload": file.get_tensor("payload")}
    for bits, net in nets.items():
        if bits != widest:
            tensors |= {f"{bits} {name}": value for name, value in _own(net, bits, nets[widest])}
    save_file(tensors, path, about)
    return sum(value.numel() * value.element_size() for value in tensors.values())


def load(model: nn.Module, path: str | Path, bits: int) -> nn.Module:
    """A copy of `model`, which must be built as the saved network was, at one of the file's widths.
    ValueError: another width, or as of `packing.load`."""
    whole = packing.load(model, path)
    with safe_open(path, "pt") as file:
        narrow = {int(name.split()[0]) for name in file.keys() if name != "payload"}
        own = {name.removeprefix(f"{bits} "): file.get_tensor(name) for name in file.keys()
               if name.startswith(f"{bits} ")}
    widest = {q.bits for _, _, q in _rounded(whole)}
    if bits in widest:
        return whole
    if not own:
        widths = sorted(narrow | widest, reverse=True)
        raise ValueError(f"{path} has no width of {bits} bits; it has: "
                         f"{', '.join(map(str, widths))}")
    for name, layer, q in _rounded(whole):
        store(layer, _narrowed(q, bits, own.pop(STEP + name)))
    whole.load_state_dict(own, strict=False)
    return whole


def _own(net: nn.Module, bits: int, widest: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What a narrow net has that the widest has not, with what it is called in the file."""
    if [name for name, _, _ in _rounded(net)] != [name for name, _, _ in _rounded(widest)]:
        raise ValueError(f"the net at {bits} bits has other layers than the widest; give the "
                         "widths of one nested network")
    weights = set()
    for (name, _, q), (_, _, wide) in zip(_rounded(net), _rounded(widest), strict=True):
        again = _narrowed(wide, bits, q.scale)
        if not torch.equal(again.dequantize(), q.dequantize()):
            raise ValueError(f"the codes of {name} at {bits} bits are not the high bits of those "
                             f"at {wide.bits}; give the widths of one nested network")
        weights.add(f"{name}.weight")
        yield STEP + name, q.scale
    wide = widest.state_dict()
    for name, value in net.state_dict().items():
        if name not in weights and not torch.equal(value, wide[name]):
            yield name, value.contiguous()


def _rounded(net: nn.Module) -> list[tuple[str, nn.Module, Affine]]:
    """The layers whose weights have codes on an even grid, by name, and these."""
    found = [(name, layer, getattr(layer, "compressed", {}).get("weight"))
             for name, layer in layers(net).items()]
    return [(name, layer, q) for name, layer, q in found if isinstance(q, Affine)]


def _narrowed(wide: Affine, bits: int, step: Tensor) -> Affine:
    """The weight of so many of the high bits of `wide`, with a step of its own."""
    codes = high_bits(wide.codes, bits)
    zero = torch.full_like(wide.zero, 2 ** (bits - 1))
    return replace(wide, bits=bits, base=2**bits, codes=codes, scale=step, zero=zero)
