"""Affine quantization: value = scale·(code − zero), with 0 always exactly a level."""

import torch
from torch import Tensor

from lib.layers.codes import code_count
from lib.layers.layout import layout
from lib.layers.stored import Affine
from lib.quant.grid import choose_qparams, pack_affine, to_codes

NAMES = ("affine", "hqq")


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
