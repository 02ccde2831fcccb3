"""Affine quantization: value = scale·(code − zero), with 0 always exactly a level.

Everything acts on slices (slices, n) that share a scale; `quantize` lifts it to a weight.
"""

import numpy as np
import torch
from torch import Tensor

from lib.quant.tensor import Affine, code_count, code_dtype, layout, narrow


def choose_qparams(s: Tensor, base: int, symmetric: bool = False, clip: str = "minmax",
                   percentile: float = 99.9) -> tuple[Tensor, Tensor]:
    """(slices, 1) scale and whole-numbered zero of a grid of `base` levels for s (slices, n).

    asymmetric: scale = (max − min)/(base − 1), both ends moved out to 0 if need be;
    symmetric: scale = max|s|/⌊(base − 1)/2⌋ (base ≥ 3, one code unused if base is even).
    clip: "minmax"; "percentile" cuts what lies beyond the given percentile on either side;
    "mse" tries the full range shrunk by 0…70 % and keeps, slice by slice, the least square error.
    """
    if symmetric and base < 3:
        raise ValueError("a symmetric grid that holds 0 needs 3 levels; use symmetric=False")
    if clip not in ("minmax", "percentile", "mse"):
        raise ValueError(f"there is no clip {clip!r}; choose one of: minmax, percentile, mse")
    s = s.float()
    low, high = s.amin(1, keepdim=True).clamp(max=0), s.amax(1, keepdim=True).clamp(min=0)
    if clip == "percentile":
        ends = percentiles(s, 100 - percentile, percentile)
        low, high = low.maximum(ends[0].clamp(max=0)), high.minimum(ends[1].clamp(min=0))
    scale, zero = _grid(low, high, base, symmetric)
    if clip != "mse":
        return scale, zero
    best = (fake_quantize(s, scale, zero, base) - s).square().sum(1, keepdim=True)
    for part in torch.linspace(0.985, 0.3, 47).tolist():
        trial = _grid(low * part, high * part, base, symmetric)
        error = (fake_quantize(s, *trial, base) - s).square().sum(1, keepdim=True)
        scale = torch.where(error < best, trial[0], scale)
        zero = torch.where(error < best, trial[1], zero)
        best = best.minimum(error)
    return scale, zero


def _grid(low: Tensor, high: Tensor, base: int, symmetric: bool) -> tuple[Tensor, Tensor]:
    if symmetric:
        scale = _step(high.maximum(-low), (base - 1) // 2)
        return scale, torch.full_like(scale, (base - 1) // 2)
    scale = _step(high.double() - low.double(), base - 1)
    return scale, (-low / scale).round().clamp(0, base - 1)


def _step(width: Tensor, steps: int) -> Tensor:
    """width/steps in float32. Slices of zeros get 1, and no step is so small that 1/step is inf."""
    return torch.where(width > 0, width.double() / steps, 1.0).clamp(min=1e-37).float()


def percentiles(s: Tensor, *percents: float, method: str = "linear") -> Tensor:
    """(percents, slices, 1). torch.quantile refuses over 16 M values."""
    ends = np.percentile(s.detach().cpu().numpy(), percents, axis=1, keepdims=True, method=method)
    return torch.from_numpy(ends).to(s)


def to_codes(s: Tensor, scale: Tensor, zero: Tensor, base: int) -> Tensor:
    """code = clamp(round(s/scale + zero), 0, base − 1), as whole floats (slices, n)."""
    return (s / scale).add_(zero).round_().clamp_(0, base - 1)


def fake_quantize(s: Tensor, scale: Tensor, zero: Tensor, base: int) -> Tensor:
    """Quantize and dequantize at once: (slices, n) -> (slices, n)."""
    return to_codes(s, scale, zero, base).sub_(zero).mul_(scale)


def pack_affine(method: str, bits: int, form, codes: Tensor, scale: Tensor, zero: Tensor,
                base: int) -> Affine:
    """An Affine from float codes (slices, n); a zero that all slices share is stored once."""
    if (zero == zero[:1]).all():
        zero = zero[:1]
    codes = form.join(codes).to(code_dtype(base))
    return Affine(method, bits, form, base, codes, scale.float(), narrow(zero))


def affine(w: Tensor, bits: int = 8, axis: int | None = 0, group: int | None = None,
           generator: torch.Generator | None = None, levels: int | None = None,
           symmetric: bool = False, clip: str = "minmax", percentile: float = 99.9) -> Affine:
    """Round to the nearest level of the grid that `choose_qparams` gives each slice."""
    form, base = layout(w, axis, group), code_count(bits, levels)
    s = form.split(w.detach()).float()
    scale, zero = choose_qparams(s, base, symmetric, clip, percentile)
    return pack_affine("affine", bits, form, to_codes(s, scale, zero, base), scale, zero, base)


def hqq(w: Tensor, bits: int = 4, axis: int | None = 0, group: int | None = None,
        generator: torch.Generator | None = None, levels: int | None = None, p: float = 0.7,
        rounds: int = 20) -> Affine:
    """Half-quadratic quantization (Badri and Shaji, 2023): the zero, no longer whole, that
    minimises ‖s/scale + zero − code‖ₚ, p < 1, so that a few outlying weights do not decide it.

    In turn: codes given the zero; the part of the error that ℓₚ forgives, by soft threshold with
    weight β = 10·1.01^round; the zero that leaves the mean of the rest at 0. Errors are taken in
    steps, so that β means the same at every scale. Per slice the best round is kept (round 0 is
    min-max), and 0 need not be a level.
    """
    form, base = layout(w, axis, group), code_count(bits, levels)
    s = form.split(w.detach()).float()
    scale, zero = choose_qparams(s, base)
    steps = s / scale                                                          # (slices, n)
    best, best_zero = torch.full_like(zero, torch.inf), zero
    for i in range(rounds):
        codes = (steps + zero).round_().clamp_(0, base - 1)
        error = (steps - codes).add_(zero)
        size = error.abs()
        loss = size.pow(p).sum(1, keepdim=True)
        best_zero = torch.where(loss < best, zero, best_zero)
        best = best.minimum(loss)
        shrunk = size - size.clamp(min=1e-8).pow(p - 1) / (10 * 1.01**i)
        forgiven = error.sign().mul_(shrunk.clamp_(min=0))
        zero = (codes - steps).add_(forgiven).mean(1, keepdim=True)
    return pack_affine("hqq", bits, form, to_codes(s, scale, best_zero, base), scale, best_zero,
                       base)


METHODS = {"affine": affine, "hqq": hqq}
