"""What the study Edge (github.com/mohitgulla/Edge) really computed, to recompute its table.

The same names as in codebook.py, with `edge_` before them. One range whatever `axis` says, taken
from all the values handed over: for the nearest and stochastic methods Edge handed over a layer's
weight and bias (and batch-norm's) together, for mid-rise each alone; `quantize_model` does so too.
Differences from the repaired twins: mid-rise does not clamp, so it has 2^bits + 1 levels, with
`_iqr` many more; no set holds 0; the normal set was left unsorted, so that weights at its minimum
land on its lowest quantile; a tensor whose first axis has length 1 is hardly quantized.
Where Edge's code makes NaN (a range of zero width), these raise ValueError.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from lib.layers.codes import code_count
from lib.layers.layout import layout
from lib.layers.stored import Affine, Codebook, Normal, Quantized, normal_levels
from lib.quant.codebook import methods
from lib.quant.grid import grid

NAMES = ("edge_mid_rise", "edge_mid_rise_iqr", "edge_nearest_uniform", "edge_nearest_uniform_iqr",
         "edge_stochastic_uniform", "edge_stochastic_uniform_iqr", "edge_nearest_histogram",
         "edge_stochastic_histogram", "edge_nearest_normal", "edge_stochastic_normal")
RANDOM = tuple(name for name in NAMES if name.startswith("edge_stochastic_"))
APART = ("mid_rise", "multipoint", "edge_own_")     # in the names of those that take each parameter
                                                    # alone; edge_own_: edge_switched.py


def fences(w: Tensor) -> tuple[float, float]:
    """Quartiles (midpoints between neighbours) ± 1.5 of their distance; not cut at min and max."""
    q1, q3 = np.percentile(w.cpu().numpy(), [25, 75], method="midpoint")
    return float(q1 - 1.5 * (q3 - q1)), float(q3 + 1.5 * (q3 - q1))


def _nan(name: str, why: str) -> ValueError:
    return ValueError(f"{name}: {why}, for which Edge's code computes NaN; "
                      f"{name.removeprefix('edge_')} has no such case")


def _mid_rise(name: str, w: Tensor, bits: int, iqr: bool) -> Quantized:
    """delta·(⌊w/delta⌋ + ½) with delta = range/2^bits."""
    form, levels, w = layout(w, None), code_count(bits), w.detach().float()
    if w.dim() and len(w) == 1:
        # Edge asks for len(w) == 1 to spot a single value, and so gives every weight of a
        # one-output layer its own step: w/2^bits, hence w·(1 + ½/2^bits).
        if (w == 0).any():
            raise _nan(name, "a weight of 0 in a tensor whose first axis has length 1")
        delta = w / levels
        table, codes = (delta * ((w / delta).floor() + 0.5)).unique(return_inverse=True)
        base = max(2, len(table))
        table = torch.nn.functional.pad(table, (0, base - len(table)))[None]
        return Codebook(name, bits, form, base, codes, table)
    low, high = fences(w) if iqr else (w.min(), w.max())
    delta = torch.as_tensor((high - low) / levels, dtype=torch.float32, device=w.device)
    if not delta > 0:
        raise _nan(name, "a range of zero width")
    cells = (w / delta).floor()
    first = cells.min()
    base = max(2, int(cells.max() - first) + 1)
    codes = cells - first
    return Affine(name, bits, form, base, codes, delta.view(1, 1), -(first + 0.5).view(1, 1))


def _even_set(name: str, w: Tensor, bits: int, kind: str, iqr: bool, chance: Tensor | float
              ) -> Quantized:
    """linspace(low, high, 2^bits), or the centres of 2^bits equal bins (numpy widens a bin range
    of zero width by ½ on either side)."""
    form, base, w = layout(w, None), code_count(bits), w.detach().float()
    low, high = (torch.tensor([[end]]) for end in (fences(w) if iqr else (w.min(), w.max())))
    if kind == "histogram":
        low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
        half = (high - low) / base / 2
        low, high = low + half, high - half
    scale, zero = grid("uniform", low.float(), high.float(), base)
    codes = (w / scale.view(()) + zero.view(()) + chance).floor().clamp(0, base - 1)
    return Affine(name, bits, form, base, codes, scale, zero)


def normal_set(name: str, w: Tensor, bits: int, chance: Tensor | float, unsorted: bool = True,
               statistics: Tensor | None = None) -> Normal:
    """Quantiles i/(2^bits − 1) of N(mean, std) with min and max appended at the end, and left
    there unless not `unsorted`; statistics: (1, 4), to take in place of those of `w`."""
    form, base, w = layout(w, None), code_count(bits), w.detach().float()
    if w.numel() < 2 or not w.std() > 0:
        raise _nan(name, "a standard deviation of zero")
    if statistics is None:
        statistics = torch.stack([w.mean(), w.std(), w.min(), w.max()])[None]
    levels = normal_levels(statistics, base)[0]
    upper = torch.searchsorted(levels, w.contiguous()).clamp(1, base - 1)
    low, high = levels[upper - 1], levels[upper]
    place = ((w - low) / (high - low).clamp(min=1e-37)).clamp(0, 1)     # 0 at low, 1 at high
    codes = upper - 1 + (place + chance).floor().clamp(0, 1).long()
    if unsorted and base > 2:   # the first of the set, which Edge takes for its lowest
        first = statistics[0, 0] + statistics[0, 1] * torch.special.ndtri(
            torch.tensor(1 / (base - 1), dtype=torch.double))
        codes[w <= levels[0]] = int((statistics[0, 2:] < first).sum())
    return Normal(name, bits, form, base, codes, statistics)


def _as_edge(name: str, w: Tensor, bits: int, axis, group, generator: torch.Generator | None,
             kind: str, stochastic: bool, iqr: bool) -> Quantized:
    if kind == "mid_rise":
        return _mid_rise(name, w, bits, iqr)
    # ⌊place + ½⌋ rounds to the nearest, halves up as Edge does; ⌊place + U[0,1)⌋ at random.
    chance = torch.rand(w.shape, generator=generator, device=w.device) if stochastic else 0.5
    if kind == "normal":
        return normal_set(name, w, bits, chance)
    return _even_set(name, w, bits, kind, iqr, chance)


def quantize_model(model: nn.Module, method: Callable, bits: Mapping[str, int],
                   generator: torch.Generator | None) -> nn.Module:
    """Replace, in place, what Edge replaced: every parameter, biases and batch-norm's γ and β too,
    but no running statistics; for multipoint only weights (γ too) and neither the first nor the
    last parameter of the model (the last is a bias: the output layer is quantized). `bits` names
    the layers to act on; parameters of unnamed modules stay. A parameter that several modules share
    is replaced once."""
    order, done = [name for name, _ in model.named_parameters()], {}
    for prefix, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if method.__name__ == "edge_multipoint":
            own = {key: p for key, p in own.items() if key != "bias"
                   and f"{prefix}.{key}".lstrip(".") not in (order[0], order[-1])}
        if prefix not in bits:
            continue
        shared_before = {key: done[id(p)] for key, p in own.items() if id(p) in done}
        if shared_before:
            module.compressed = getattr(module, "compressed", {}) | shared_before
        own = {key: p for key, p in own.items() if key not in shared_before}
        if not own:
            continue
        if any(word in method.__name__ for word in APART):
            parts = {key: method(p, bits[prefix], generator=generator) for key, p in own.items()}
        else:
            shared = method(torch.cat([p.detach().flatten() for p in own.values()]), bits[prefix],
                            generator=generator)
            codes = shared.codes.split([p.numel() for p in own.values()])
            parts = {key: replace(shared, codes=part.view(p.shape), layout=layout(p, None))
                     for (key, p), part in zip(own.items(), codes, strict=True)}
        for key, q in parts.items():
            own[key].data.copy_(q.dequantize())
            done[id(own[key])] = q
        module.compressed = getattr(module, "compressed", {}) | parts
    return model


METHODS = methods(_as_edge, "edge_", "{} as Edge's code computes it; one range.", {
    "mid_rise": True, "uniform": True, "histogram": False, "normal": False})
for method in METHODS.values():
    method.lift = quantize_model
