"""Edge's quantizers with one thing switched off, to see what a number of its table is due to.

`edge_sorted_*`: the normal set is sorted before weights are rounded to it. `edge_own_*`: a layer's
bias has its own range, apart from the weight's. `edge_zero_*`: the set is moved by the least that
makes 0 a level. `edge_clamped_*`: mid-rise keeps to 2^bits levels. `edge_whole_*`: mid-rise gives
the weights of a layer of one output one step, as it does all others. All else is Edge's (edge.py).
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from lib.layers.codes import code_count
from lib.layers.layout import layout
from lib.layers.stored import Affine, Codebook, Normal, Quantized
from lib.quant import edge

NAMES = ("edge_sorted_nearest_normal", "edge_sorted_stochastic_normal",
         "edge_own_nearest_uniform", "edge_own_stochastic_uniform", "edge_own_nearest_histogram",
         "edge_own_stochastic_histogram", "edge_own_nearest_normal", "edge_own_stochastic_normal",
         "edge_zero_nearest_uniform", "edge_zero_stochastic_uniform", "edge_zero_nearest_histogram",
         "edge_zero_stochastic_histogram", "edge_zero_nearest_normal",
         "edge_zero_stochastic_normal", "edge_zero_mid_rise", "edge_clamped_mid_rise",
         "edge_whole_mid_rise")
RANDOM = tuple(name for name in NAMES if "_stochastic_" in name)


def _without(name: str, w: Tensor, bits: int, generator: torch.Generator | None) -> Quantized:
    """One of NAMES on the values that share a range."""
    _, switch, rest = name.split("_", 2)
    method = edge.METHODS[f"edge_{rest}"]
    if switch == "whole" and w.dim():
        flat = method(w.detach().flatten(), bits, generator=generator)
        return replace(flat, method=name, codes=flat.codes.view(w.shape), layout=layout(w, None))
    if switch == "own" and w.numel() == 1:      # a range of zero width holds its value
        table = w.detach().float().expand(2)[None]
        return Codebook(name, bits, layout(w, None), 2, torch.zeros_like(w), table)
    if switch == "sorted":
        chance = _chance(rest, w, generator)
        return edge.normal_set(name, w, bits, chance, unsorted=False)
    if switch == "zero" and rest.endswith("normal"):
        return _normal_with_zero(name, w, bits, _chance(rest, w, generator))
    q = method(w, bits, generator=generator)
    if switch == "zero" and isinstance(q, Affine):
        return _with_zero(name, w, q, _chance(rest, w, generator))
    if switch == "clamped" and isinstance(q, Affine):
        return _clamped(name, q)
    return replace(q, method=name)


def _chance(rest: str, w: Tensor, generator: torch.Generator | None) -> Tensor | float:
    if rest.startswith("stochastic"):
        return torch.rand(w.shape, generator=generator, device=w.device)
    return 0.5


def _with_zero(name: str, w: Tensor, q: Affine, chance: Tensor | float) -> Affine:
    """An even set moved by at most half a step, so that a whole code means 0."""
    zero = q.zero.round()
    codes = (w.detach().float() / q.scale.view(()) + zero.view(()) + chance).floor()
    return replace(q, method=name, zero=zero, codes=codes.clamp(0, q.base - 1))


def _normal_with_zero(name: str, w: Tensor, bits: int, chance: Tensor | float) -> Normal:
    """Quantiles about a mean moved by the least that makes one of them 0; unsorted as Edge's."""
    q = edge.normal_set(name, w, bits, chance)
    if q.base < 3:                      # no quantile at all: min and max alone
        return q
    places = torch.arange(1, q.base - 1, dtype=torch.double) / (q.base - 1)
    inner = q.statistics[0, 0] + q.statistics[0, 1] * torch.special.ndtri(places)
    nearest = inner[inner.abs().argmin()].float()
    statistics = q.statistics - nearest * torch.tensor([[1.0, 0, 0, 0]])
    return edge.normal_set(name, w, bits, chance, statistics=statistics)


def _clamped(name: str, q: Affine) -> Affine:
    """The 2^bits middle cells of mid-rise; what lies outside goes to the outermost."""
    levels = code_count(q.bits)
    lowest = max(0, (q.base - levels + 1) // 2)
    codes = (q.codes.float() - lowest).clamp(0, levels - 1)
    return replace(q, method=name, base=levels, codes=codes, zero=q.zero - lowest)


def _method(name: str) -> Callable[..., Quantized]:
    def method(w: Tensor, bits: int = 8, axis: int | None = 0, group: int | None = None,
               generator: torch.Generator | None = None) -> Quantized:
        return _without(name, w, bits, generator)

    method.__name__ = name
    method.__doc__ = f"{name}: Edge's quantizer with one thing switched off; one range."
    method.lift = edge.quantize_model
    return method


METHODS = {name: _method(name) for name in NAMES}
