"""Layout: how a weight is cut into slices, each with a table of its own.

A weight (out, ...) is seen as (out, in·kh·kw): axis=None one slice, axis=0 one per output, group=g
every row in runs of g.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """How a weight of `shape` and `dtype` is cut into slices (slices, n)."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    axis: int | None = 0
    group: int | None = None

    @property
    def length(self) -> int:
        """n, the values in a slice. A group longer than its row is the row."""
        numel = math.prod(self.shape)
        row = numel if self.axis is None else numel // self.shape[0]
        return min(self.group or row, row)

    def split(self, w: Tensor) -> Tensor:
        """(slices, n). A row that groups do not divide has its last group's values repeated in
        turn, so that no range, mean or set of values is changed by the filling."""
        if self.axis is None:
            return w.reshape(1, -1)
        rows, g = w.reshape(self.shape[0], -1), self.length      # (out, in·kh·kw)
        rest = rows.shape[1] % g
        if rest:
            fill = torch.arange(g - rest, device=w.device) % rest + rows.shape[1] - rest
            rows = torch.cat([rows, rows[:, fill]], 1)
        return rows.reshape(-1, g)

    def join(self, slices: Tensor) -> Tensor:
        """The inverse of `split`: a tensor of `shape`, of the slices' dtype."""
        if self.axis is None:
            return slices.reshape(self.shape)
        columns = math.prod(self.shape[1:])
        return slices.reshape(self.shape[0], -1)[:, :columns].reshape(self.shape)


def layout(w: Tensor, axis: int | None = 0, group: int | None = None) -> Layout:
    """Check that `w` can be quantized so, and say how. ValueError for anything that cannot."""
    if not isinstance(w, Tensor) or not w.is_floating_point():
        raise ValueError(f"weights must be a floating-point tensor, not {getattr(w, 'dtype', w)!r}")
    if w.numel() == 0:
        raise ValueError(f"a tensor of shape {tuple(w.shape)} has no values to quantize")
    if not w.detach().float().isfinite().all():
        raise ValueError("the weights hold NaN or infinite values; look for where training failed")
    if axis not in (None, 0) or (group is not None and (axis is None or group < 1)):
        raise ValueError(f"axis={axis}, group={group}: axis is None or 0, a group needs 0")
    return Layout(tuple(w.shape) or (1,), w.dtype, axis, group)
