"""The earlier studies' quantizers, repaired: sets of 2^bits levels, and two ways to round to them.

A set: `mid_rise` and `mid_tread` grids anchored at 0 (0 lies between two levels, or is one),
`uniform` levels, `histogram` bins' means, `normal` quantiles, `kmeans` (the best possible set).
A rounding: `nearest`, or `stochastic`: up or down at random so that the mean is the weight.
A range: min to max, or with `_iqr` Tukey's fences (quartiles ± 1.5 of their distance), beyond which
weights are clamped. Always exactly 2^bits levels, sorted, every weight within the range half a
gap from one (Edge's own versions, which differ in each of these: edge.py).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from lib.layers.codes import code_count, code_dtype
from lib.layers.stored import Codebook, Normal, Quantized, ascending, layout, normal_levels
from lib.quant.grid import grid, pack_affine, percentiles, to_codes

NAMES = ("mid_rise", "mid_rise_iqr", "mid_tread", "mid_tread_iqr",
         "nearest_uniform", "nearest_uniform_iqr", "stochastic_uniform", "stochastic_uniform_iqr",
         "nearest_histogram", "nearest_histogram_iqr", "stochastic_histogram",
         "stochastic_histogram_iqr", "nearest_normal", "stochastic_normal", "kmeans")
RANDOM = tuple(name for name in NAMES if name.startswith("stochastic_"))
CHUNK = 2**20                   # values worked on at a time: 4 MB, so that memory stays small
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


def kmeans_levels(s: Tensor, base: int) -> Tensor:
    """(slices, base): Lloyd's algorithm (Lloyd 1982, Max 1960), exact when `base` values suffice.

    On sorted values a cluster is an interval, so a round costs a look-up per level in prefix sums.
    The start has equal shares of ∫ density^(1/3) (Panter and Dite, 1951), which the gaps between
    sorted values estimate as Σ gap^(2/3): the better the more levels, so that many need few rounds.
    Of slices beyond 2^20 values, 2^20 drawn ones and both ends are looked at.
    """
    if s.shape[1] > CHUNK:
        draw = torch.randint(s.shape[1], (CHUNK,), generator=torch.Generator().manual_seed(0))
        s = torch.cat([s[:, draw], s.amin(1, keepdim=True), s.amax(1, keepdim=True)], 1)
    ordered = ascending(s)                                                     # (slices, n)
    n = ordered.shape[1]
    gaps = ordered.diff(dim=1)
    rank = pad(gaps.ne(0).cumsum(1, dtype=torch.int32), (1, 0))
    few = rank[:, -1:] < base                                    # slices with few distinct values
    exact = ordered[:, -1:].repeat(1, base)
    exact.scatter_(1, rank.clamp_(max=base - 1).long(), ordered)
    if few.all():
        return exact
    share = gaps.pow_(2 / 3).cumsum(1, dtype=torch.double)                     # (slices, n − 1)
    wanted = share[:, -1:] * torch.arange(1, base, device=s.device) / base
    cut = torch.searchsorted(share, wanted).add_(1).clamp_(max=n)  # the first value above each cut
    # Sums of deviations from the middle value keep the digits that a mean far from 0 would cost.
    middle = ordered[:, n // 2, None].double()
    sums = pad((ordered - middle).cumsum(1, dtype=torch.double), (1, 0))
    for _ in range(max(4, 800 // base)):
        ends = pad(pad(cut, (1, 0)), (0, 1), value=n)                          # (slices, base + 1)
        count = ends.diff(dim=1)
        mean = sums.gather(1, ends).diff(dim=1).div_(count.clamp(min=1)).add_(middle).float()
        # An empty cluster takes the value at its cut, and so one of its neighbours' members.
        spare = ordered.gather(1, ends[:, :-1].clamp(max=n - 1))
        levels = ascending(torch.where(count > 0, mean, spare))
        before, cut = cut, torch.searchsorted(ordered, middles(levels), right=True)
        if torch.equal(before, cut):
            break
    return torch.where(few, exact, levels)


def middles(levels: Tensor) -> Tensor:
    """(slices, base − 1): where the nearest level changes."""
    return (levels[:, 1:].double() + levels[:, :-1]).div_(2).float()


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
