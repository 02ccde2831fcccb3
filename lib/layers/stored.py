"""Quantized: one weight as a decoder receives it: codes, and the tables that turn them to values.

Whatever is stored is stored in the dtype it has here, so `size_bytes` and `dequantize` can never
disagree.
"""

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lib.layers import masks
from lib.layers.codes import code_bytes, code_dtype
from lib.layers.layout import Layout


def narrow(values: Tensor) -> Tensor:
    """The same values in the narrowest of uint8, float16 and float32 that holds each exactly."""
    for dtype in (torch.uint8, torch.float16):
        limits = (torch.iinfo if dtype is torch.uint8 else torch.finfo)(dtype)
        if values.min() >= limits.min and values.max() <= limits.max:
            if (values.to(dtype).to(values.dtype) == values).all():
                return values.to(dtype)
    return values.float()


@dataclass(frozen=True, eq=False)
class Quantized:
    """What every method returns. Codes run from 0 to base − 1."""

    method: str
    bits: int                  # as asked for; what is stored is `bits_per_weight`
    layout: Layout
    base: int
    codes: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", self.codes.to(code_dtype(self.base)))

    def values(self) -> Tensor:
        """(slices, n) float32."""
        raise NotImplementedError

    @property
    def tables(self) -> dict[str, Tensor]:
        """What a decoder needs beside the codes: a subclass's own fields, as they are stored."""
        common = {field.name for field in fields(Quantized)}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in common}

    def table_of_levels(self) -> Tensor:
        """What each code means, (slices, base) float32, where that is a table."""
        raise ValueError(f"{self.method} has no table of levels: its weights are sums")

    def without(self, gone: Tensor) -> "Quantized":
        """The same weights, but 0 where `gone`, booleans of the weight's shape. A level that no
        other weight uses becomes 0. ValueError for a slice where no level can mean 0."""
        table, codes = self.table_of_levels(), self.layout.split(self.codes).long()
        away = self.layout.split(gone)
        used = torch.zeros_like(table).scatter_add_(1, codes, (~away).to(table.dtype)) > 0
        table = table.where(used, 0)
        zeros = table == 0
        if not zeros.any(1)[away.any(1)].all():
            raise ValueError("no level means 0, and each is that of a weight which stays")
        codes = torch.where(away, zeros.int().argmax(1, keepdim=True), codes)
        return Codebook(self.method, self.bits, self.layout, self.base, self.layout.join(codes),
                        narrow(table))

    def dequantize(self) -> Tensor:
        """A tensor of the weight's shape and dtype."""
        return self.layout.join(self.values()).to(self.layout.dtype).contiguous()

    @property
    def table_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self.tables.values())

    @property
    def dense_bytes(self) -> int:
        """Packed codes, all of them, and every table."""
        return code_bytes(self.codes.numel(), self.base) + self.table_bytes

    @property
    def size_bytes(self) -> int:
        """What is stored, tables included: all codes, or those that do not mean 0 and their
        places, whichever is smaller."""
        form, count = self.form, self.codes.numel()
        kept = count if form == "dense" else int(self.kept().sum())
        return masks.place_bytes(form, count, kept) + code_bytes(kept, self.base) + self.table_bytes

    def kept(self) -> Tensor | None:
        """Which codes do not mean 0: booleans of the codes' shape; None where no single code can
        mean 0."""
        return self.layout.join(self.values()) != 0

    def code_of_zero(self) -> Tensor:
        """(slices, 1): in each slice a code that means 0, or 0 where none does."""
        return self.table_of_levels().eq(0).int().argmax(1, keepdim=True)

    @cached_property
    def form(self) -> str:
        """The smallest mask form of the codes."""
        kept = self.kept()
        if kept is None:
            return "dense"
        return masks.smallest(kept.numel(), int(kept.sum()), lambda k: code_bytes(k, self.base))

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.size_bytes / math.prod(self.layout.shape)

    @property
    def nonzero(self) -> int:
        return int(self.dequantize().count_nonzero())

    @property
    def levels(self) -> int:
        """Most distinct values in any slice."""
        ordered = ascending(self.values())
        return 1 + int(ordered.diff(dim=1).ne(0).sum(1).max()) if ordered.shape[1] > 1 else 1


@dataclass(frozen=True, eq=False)
class Affine(Quantized):
    """value = scale·(code − zero). codes: the weight's shape; scale, zero: (slices or 1, 1)."""

    scale: Tensor
    zero: Tensor

    def values(self) -> Tensor:
        return (self.layout.split(self.codes) - self.zero.float()) * self.scale.float()

    def table_of_levels(self) -> Tensor:
        codes = torch.arange(self.base, device=self.codes.device)
        table = (codes - self.zero.float()) * self.scale.float()
        return table.expand(len(self.layout.split(self.codes)), -1).contiguous()

    def code_of_zero(self) -> Tensor:
        codes = self.zero.float().round().clamp(0, self.base - 1).to(self.codes.dtype)
        return codes.expand(len(self.layout.split(self.codes)), 1)

    def without(self, gone: Tensor) -> Quantized:
        zero = self.zero.float()
        if not ((zero == zero.round()) & (zero >= 0) & (zero < self.base)).all():
            return super().without(gone)                        # no code means 0: a table is due
        codes = self.layout.split(self.codes)
        codes = torch.where(self.layout.split(gone), zero.to(codes.dtype), codes)
        return replace(self, codes=self.layout.join(codes))


@dataclass(frozen=True, eq=False)
class Codebook(Quantized):
    """value = table[slice, code]. codes: the weight's shape; table: (slices, base)."""

    table: Tensor

    def values(self) -> Tensor:
        return self.table_of_levels().gather(1, self.layout.split(self.codes).long())

    def table_of_levels(self) -> Tensor:
        return self.table.float()


@dataclass(frozen=True, eq=False)
class Normal(Quantized):
    """value = table[slice, code], the table being a function of four numbers, which are all that
    is stored: the quantiles i/(base − 1) of N(mean, std), 0 < i < base − 1, with min and max.
    codes: the weight's shape; statistics: (slices, 4): mean, std, min, max."""

    statistics: Tensor

    def values(self) -> Tensor:
        return self.table_of_levels().gather(1, self.layout.split(self.codes).long())

    def table_of_levels(self) -> Tensor:
        return normal_levels(self.statistics, self.base)


def normal_levels(statistics: Tensor, base: int) -> Tensor:
    """The sorted levels (slices, base) of `Normal`."""
    mean, std, low, high = statistics.double().split(1, 1)            # (slices, 1) each
    inner = torch.arange(1, base - 1, dtype=torch.double, device=mean.device) / (base - 1)
    return ascending(torch.cat([mean + std * torch.special.ndtri(inner), low, high], 1).float())


def ascending(rows: Tensor) -> Tensor:
    """Each row sorted. numpy sorts floats five times as fast as torch, which also keeps indices."""
    return torch.from_numpy(np.sort(rows.detach().cpu().numpy(), axis=1)).to(rows.device)


@dataclass(frozen=True, eq=False)
class Points(Quantized):
    """value = Σ coefficient·(code − zero) over a slice's points. codes: (points, n), those of
    slice 0 first; coefficient: (points, 1); count: (slices,), each one's points; zero: (1,)."""

    coefficient: Tensor
    count: Tensor
    zero: Tensor

    def values(self) -> Tensor:
        owner = torch.repeat_interleave(self.count.long())      # (points,): whose point it is
        points = (self.codes - self.zero.float()) * self.coefficient.float()
        total = points.new_zeros(len(self.count), self.codes.shape[1])
        return total.index_add_(0, owner, points)

    def kept(self) -> None:
        return None
