"""Even grids: value = scale·(code − zero), the arithmetic that most methods share.

Everything acts on slices (slices, n) that share a scale; `quantize` lifts it to a weight.
"""

import numpy as np
import torch
from torch import Tensor

from lib.layers.stored import Affine, narrow


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
    kind, s = "symmetric" if symmetric else "mid_tread", s.float()
    low, high = s.amin(1, keepdim=True), s.amax(1, keepdim=True)
    if clip == "percentile":
        ends = percentiles(s, 100 - percentile, percentile)
        low, high = low.maximum(ends[0]), high.minimum(ends[1])
    scale, zero = grid(kind, low, high, base)
    if clip != "mse":
        return scale, zero
    best = (fake_quantize(s, scale, zero, base) - s).square().sum(1, keepdim=True)
    for part in torch.linspace(0.985, 0.3, 47).tolist():
        trial = grid(kind, low * part, high * part, base)
        error = (fake_quantize(s, *trial, base) - s).square().sum(1, keepdim=True)
        scale = torch.where(error < best, trial[0], scale)
        zero = torch.where(error < best, trial[1], zero)
        best = best.minimum(error)
    return scale, zero


def grid(kind: str, low: Tensor, high: Tensor, base: int) -> tuple[Tensor, Tensor]:
    """(slices, 1) scale and zero of an even grid that covers low … high: scale·(code − zero).

    uniform starts at low; mid_tread, with the range moved out to 0, at the multiple of the step
    nearest to low; mid_rise half a step above the multiple below it; all with the step
    (high − low)/(base − 1). symmetric reaches from −max|·| to max|·| in ⌊(base − 1)/2⌋ steps each.
    Where low = high that value is a level: scale 1, zero −low.
    """
    steps = base - 1
    if kind == "symmetric":
        low, high, steps = torch.zeros_like(low), high.maximum(-low), steps // 2
    elif kind == "mid_tread":
        low, high = low.clamp(max=0), high.clamp(min=0)
    width = high.double() - low
    # 1e-37: the smallest step whose inverse is finite in float32.
    scale = torch.where(width > 0, width / steps, 1.0).clamp(min=1e-37).float()
    start = low / scale
    if kind == "symmetric":
        return scale, torch.full_like(scale, steps)
    if kind == "mid_tread":
        return scale, (-start).round().clamp(0, steps)
    return scale, -torch.where(width > 0, start.floor() + 0.5, start) if kind == "mid_rise" \
        else -start


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
    codes = form.join(codes)
    return Affine(method, bits, form, base, codes, scale.float(), narrow(zero))
