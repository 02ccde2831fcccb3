"""Mask forms: of a tensor with many zeros only the rest is stored, with where it belongs.

dense: all values; bitmask: one bit a place and the values that are not 0; indices: ⌈log₂ count⌉
bits for each of these, and they themselves. Indices win where fewer than about one place in
log₂ count is left (1 of 20 in a million).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lib.layers.codes import code_bytes, pack, unpack

FORMS = ("dense", "bitmask", "indices")


def place_bytes(form: str, count: int, kept: int) -> int:
    """Bytes that say where `kept` of `count` values belong."""
    if form == "dense":
        return 0
    return code_bytes(count, 2) if form == "bitmask" else code_bytes(kept, _index_base(count))


def smallest(count: int, kept: int, value_bytes: Callable[[int], int]) -> str:
    """The form with the fewest bytes for `count` values of which `kept` are not 0; dense where it
    is as small as another. value_bytes(k): what k values take."""
    sizes = {form: place_bytes(form, count, kept)
             + value_bytes(count if form == "dense" else kept) for form in FORMS}
    return min(sizes, key=sizes.get)


def pack_places(form: str, kept: Tensor) -> Tensor:
    """(bytes,) uint8 from kept, booleans of any shape, in their flat order."""
    flat = kept.reshape(-1).cpu()
    if form == "bitmask":
        return pack(flat.to(torch.uint8), 2)
    return pack(flat.nonzero()[:, 0].int(), _index_base(len(flat)))


def unpack_places(form: str, packed: Tensor, count: int, kept: int) -> Tensor:
    """(count,) booleans. ValueError if they are not `kept` many places below `count`."""
    if form == "bitmask":
        places = unpack(packed, count, 2).bool()
    else:
        indices = unpack(packed, kept, _index_base(count)).long()
        if kept and int(indices.max()) >= count:
            raise ValueError(f"an index lies beyond the {count} values of its tensor")
        places = torch.zeros(count, dtype=torch.bool).index_fill_(0, indices, True)
    if int(places.sum()) != kept:
        raise ValueError(f"{int(places.sum())} places are marked for {kept} values")
    return places


def _index_base(count: int) -> int:
    return max(2, count)
