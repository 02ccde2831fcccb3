"""Chosen zeros stay zeros: what a mask took away is not rounded back to something else."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from lib.layers.stored import Affine, Codebook, Quantized, narrow
from lib.quant.grid import to_codes


def gone(layer: nn.Module, key: str = "weight") -> Tensor | None:
    """Which weights of a layer a pruning took, booleans of its shape; None where none did."""
    if key not in getattr(layer, "pruned", ()):
        return None
    return getattr(layer, key).detach() == 0


def with_zeros(q: Quantized, w: Tensor, away: Tensor) -> Quantized:
    """`q`, quantized from `w`, with weights that are exactly 0 where `away`.

    Where 0 is a level already, their codes mean it. An even grid without a 0 is moved by less than
    half a step, until it has one, and the rest is rounded anew. In a table the level nearest to 0
    becomes 0, for all that have it. ValueError for sums of points in which nothing means 0.
    """
    if not q.dequantize()[away].any():
        return q
    if isinstance(q, Affine):
        zero = q.zero.float().round().clamp(0, q.base - 1)
        scale = q.scale.float().expand(-1, 1)
        if not (zero == q.zero.float()).all():
            slices = q.layout.split(w.detach()).float()
            codes = to_codes(slices, scale, zero, q.base)
            q = replace(q, codes=q.layout.join(codes), zero=narrow(zero))
        return q.without(away)
    table, split = q.table_of_levels(), q.layout.split(away)
    nearest = table.abs().argmin(1, keepdim=True)                       # (slices, 1)
    needed = split.any(1, keepdim=True)
    zeroed = table.scatter(1, nearest, 0).where(needed, table)
    codes = torch.where(split, nearest, q.layout.split(q.codes).long())
    return Codebook(q.method, q.bits, q.layout, q.base, q.layout.join(codes), narrow(zeroed))
