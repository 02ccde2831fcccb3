"""The earlier studies' quantizers, repaired: sets of 2^bits levels, and two ways to round to them.

A set: `mid_rise` and `mid_tread` grids anchored at 0 (0 lies between two levels, or is one),
`uniform` levels, `histogram` bins' means, `normal` quantiles, `kmeans` (the set of least
square error: clusters.py).
A rounding: `nearest`, or `stochastic`: up or down at random so that the mean is the weight.
A range: min to max, or with `_iqr` Tukey's fences (quartiles ± 1.5 of their distance), beyond which
weights are clamped. Always exactly 2^bits levels, sorted, every weight within the range half a
gap from one (Edge's own versions, which differ in each of these: edge.py).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lib.layers.codes import code_count, code_dtype
from lib.layers.layout import layout
from lib.layers.stored import Codebook, Normal, Quantized, ascending, normal_levels
from lib.quant.clusters import CHUNK, kmeans_levels, middles
from lib.quant.grid import grid, pack_affine, percentiles, to_codes

NAMES = ("mid_rise", "mid_rise_iqr", "mid_tread", "mid_tread_iqr",
         "nearest_uniform", "nearest_uniform_iqr", "stochastic_uniform", "stochastic_uniform_iqr",
         "nearest_histogram", "nearest_histogram_iqr", "stochastic_histogram",
         "stochastic_histogram_iqr", "nearest_normal", "stochastic_normal", "kmeans")
RANDOM = tuple(name for name in NAMES if name.startswith("stochastic_"))
MOST_TABLE_ENTRIES = 2**26      # 256 MB: a table far larger than the weights it serves is a mistake


def limits(s: Tensor, iqr: bool) -> tuple[Tensor, Tensor]:
    """(slices, 1) low and high of each slice: its min and max, or Tukey's fences within them.
    Where the quartiles coincide the fences say nothing: min and max."""
    low, high = s.amin(1, keepdim=True), s.amax(1, keepdim=True)
    if iqr:
        q1, q3 = percentiles(s, 25, 75)
        reach = 1.5 * (q3 - q1)
        low = torch.where(reach > 0, low.maximum(q1 - reach), low)
        high = torch.where(reach > 0, high.minimum(q3 + reach), high)
    return low, high


def histogram_levels(s: Tensor, low: Tensor, high: Tensor, base: int) -> Tensor:
    """(slices, base): the mean of what falls into each of `base` equal bins (its centre where
    nothing does); the outermost levels are the ends of the range, so that it is covered."""
    width = torch.where(high > low, (high - low) / base, 1)
    place = ((s - low) / width).clamp_(0, base)                                # (slices, n)
    bins = place.floor().clamp_(max=base - 1)
    place.sub_(bins)                                                           # 0 … 1 in its bin
    bins = bins.add_(base * torch.arange(len(s), device=s.device)[:, None]).flatten().long()
    count = torch.bincount(bins, minlength=base * len(s)).view(-1, base)
    total = torch.bincount(bins, weights=place.flatten(), minlength=base * len(s)).view(-1, base)
    mean = torch.where(count > 0, total / count.clamp(min=1), 0.5)
    levels = low + (torch.arange(base, device=s.device) + mean).float() * width
    levels[:, :1], levels[:, -1:] = low, high
    return ascending(levels)


def round_to(levels: Tensor, s: Tensor, stochastic: bool,
             generator: torch.Generator | None = None) -> Tensor:
    """Codes (slices, n) of s (slices, n) among sorted levels (slices, base)."""
    if not stochastic:
        return torch.searchsorted(middles(levels), s.contiguous(), out_int32=True)
    top = levels.shape[1] - 1
    upper = torch.searchsorted(levels, s.contiguous()).clamp_(1, top)          # (slices, n)
    high = levels.gather(1, upper)
    low = levels.gather(1, upper.sub_(1))
    up = _uniform(s, generator) * (high - low) < s - low       # chance (s − low)/(high − low)
    return upper.add_(up)


def _uniform(s: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(s.shape, generator=generator, device=s.device)


def quantize_set(name: str, w: Tensor, bits: int, axis: int | None, group: int | None,
                 generator: torch.Generator | None, kind: str, stochastic: bool, iqr: bool
                 ) -> Quantized:
    """Cut `w` into slices, choose each its set, round."""
    form, base = layout(w, axis, group), code_count(bits)
    s = form.split(w.detach()).float()
    low, high = limits(s, iqr)
    if kind in ("mid_rise", "mid_tread", "uniform"):
        scale, zero = grid(kind, low, high, base)
        shift = zero + _uniform(s, generator) - 0.5 if stochastic else zero
        return pack_affine(name, bits, form, to_codes(s, scale, shift, base), scale, zero, base)
    if len(s) * base > MOST_TABLE_ENTRIES:
        raise ValueError(f"{name}: {len(s)} tables of {base} levels outweigh the weights they are "
                         "for; take fewer bits or larger groups")
    codes = torch.empty(s.shape, dtype=code_dtype(base), device=s.device)
    table = torch.empty(len(s), 4 if kind == "normal" else base, device=s.device)
    rows, columns = max(1, CHUNK // max(base, s.shape[1])), min(CHUNK, s.shape[1])
    for i in range(0, len(s), rows):
        part, ends = s[i:i + rows], (low[i:i + rows], high[i:i + rows])
        if kind == "normal":
            spread = part.std(1, keepdim=True) if s.shape[1] > 1 else torch.zeros_like(part)
            table[i:i + rows] = torch.cat([part.mean(1, keepdim=True), spread, *ends], 1)
            levels = normal_levels(table[i:i + rows], base)
        else:
            levels = kmeans_levels(part, base) if kind == "kmeans" else histogram_levels(
                part, *ends, base)
            table[i:i + rows] = levels
        for j in range(0, s.shape[1], columns):
            piece = part[:, j:j + columns]
            codes[i:i + rows, j:j + columns] = round_to(levels, piece, stochastic, generator)
    result = Normal if kind == "normal" else Codebook
    return result(name, bits, form, base, form.join(codes), table)


def methods(function: Callable[..., Quantized], prefix: str, about: str, kinds: dict[str, bool]
            ) -> dict[str, Callable]:
    """Name -> quantizer for each rounding of each kind of set; True: with `_iqr` too. All are
    `function` with kind, stochastic and iqr fixed, and help that says which."""
    made = {}

    def make(name: str, **fixed) -> None:
        def method(w: Tensor, bits: int = 8, axis: int | None = 0, group: int | None = None,
                   generator: torch.Generator | None = None) -> Quantized:
            return function(name, w, bits, axis, group, generator, **fixed)

        method.__name__, method.__doc__ = name, about.format(name.removeprefix(prefix))
        made[name] = method

    for kind, fenced in kinds.items():
        alone = kind in ("mid_rise", "mid_tread", "kmeans")
        for rounding in ("",) if alone else ("nearest_", "stochastic_"):
            for tail in ("", "_iqr") if fenced else ("",):
                make(f"{prefix}{rounding}{kind}{tail}", kind=kind, iqr=bool(tail),
                     stochastic=rounding == "stochastic_")
    return made


METHODS = methods(quantize_set, "", "{}, repaired: 2^bits levels, sorted, clamped.", {
    "mid_rise": True, "mid_tread": True, "uniform": True, "histogram": True, "normal": False,
    "kmeans": False})
