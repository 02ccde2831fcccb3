"""Multipoint quantization (Liu et al., AAAI 2021, arXiv 2002.09049): w ≈ Σ aᵢ·codesᵢ.

Each point rounds what the points before it left over, so n points of b bits make one grid of about
n·b bits, for n·b bits a weight and n times the multiplications. It can therefore equal an affine
code of n·b bits, never beat it by more than its finer choice of range: on N(0, 0.02²) weights of
128×128×3×3, 5 points of 4 bits leave a relative error of 2.4e-6 (20.14 bits a weight), 20-bit
affine 2.9e-6 with one range and 1.8e-6 with one a channel (20.03 bits): tests/bench/multipoint.py.
Its use is a multiplier of few bits, and giving some channels more points than others.
"""

import torch
from torch import Tensor

from lib.layers.codes import code_count, code_dtype
from lib.layers.layout import layout
from lib.layers.stored import Points, narrow
from lib.quant.edge import quantize_model
from lib.quant.rounding import output_error, second_moment

NAMES = ("multipoint", "edge_multipoint")
RANDOM = ("edge_multipoint",)

MOST_POINTS = 16


def multipoint(w: Tensor, bits: int = 4, axis: int | None = 0, group: int | None = None,
               generator: torch.Generator | None = None, inputs: Tensor | None = None,
               points: int | None = None, budget: float | None = None,
               tolerance: float = 0.01) -> Points:
    """As many points for each slice as it needs.

    points: so many for every slice; budget: bits a weight, tables included, each further point
    going to the slice with the largest error; else points are added until ‖error‖/‖signal‖ ≤
    tolerance in every slice. Errors are those of the outputs on `inputs` (rows, in·kh·kw) where
    these are given and a slice is a channel or everything, otherwise those of the weights.
    All points but a slice's last cover the whole range, since what they clip would be lost to the
    rest; the last is fitted in least squares.
    """
    form, base = layout(w, axis, group), code_count(bits)
    # From 3 bits on 0 is a code, so that pruned weights stay 0; at 1 and 2 that would cost more.
    zero = base / 2 if bits > 2 else (base - 1) / 2
    rest = form.split(w.detach()).float()                                      # (slices, n)
    pays = points is None and budget is not None
    afford = _affordable(rest, w.numel(), bits, budget) if pays else None
    blind = inputs is None or group is not None
    h = None if blind else second_moment(w, inputs)

    def power(r: Tensor) -> Tensor:                                            # (slices,)
        return r.square().sum(1) if blind else output_error(r, h).view(len(r), -1).sum(1)

    signal = power(rest).clamp(min=1e-37)
    errors, covers, fits = [], [], []
    for i in range(_most_points(points, afford, len(rest))):
        a = _cover(rest, base, zero)
        covers.append((a, _codes(rest, a, base, zero)))
        fits.append(_fit(rest, a, base, zero) if points in (None, i + 1) else covers[-1])
        errors.append((power(_left(rest, *fits[-1], zero)) / signal).sqrt())
        if points is None and not pays and (errors[-1] <= tolerance).all():
            break
        rest = _left(rest, *covers[-1], zero)
    error = torch.stack(errors, 1)                                             # (slices, most)
    count = _spend(error, afford) if pays else _enough(error, points, tolerance)
    return Points("multipoint", bits, form, base, *_chosen(count, covers, fits),
                  count.to(torch.uint8), narrow(torch.tensor([zero])))


def _affordable(rest: Tensor, weights: int, bits: int, budget: float) -> int:
    """How many points `budget` bits a weight pay for, all slices together."""
    slices, n = rest.shape
    afford = int((budget * weights / 8 - slices) / (n * bits / 8 + 4))
    if afford < slices:
        raise ValueError(f"budget={budget} bits a weight does not pay for one point of {bits} "
                         f"bits a slice; raise it above {bits + 40 / n:.3g}")
    return afford


def _most_points(points: int | None, afford: int | None, slices: int) -> int:
    """How many points of a slice are looked at."""
    if points is not None:
        if not 1 <= points <= 255:
            raise ValueError(f"points={points}: choose from 1 to 255")
        return points
    return MOST_POINTS if afford is None else min(255, 1 + 2 * -(-afford // slices))


def _enough(error: Tensor, points: int | None, tolerance: float) -> Tensor:
    """(slices,) counts: `points` each, or as many as bring the error to the tolerance."""
    if points is not None:
        return torch.full((len(error),), points)
    above = (error > tolerance).int().cumprod(1).sum(1)
    return 1 + above.clamp(max=error.shape[1] - 1)


def _chosen(count: Tensor, covers: list, fits: list) -> tuple[Tensor, Tensor]:
    """Codes and coefficients of every slice's `count` points, the last of each a fitted one."""
    owner = torch.repeat_interleave(count)                                     # (all points,)
    place = torch.arange(len(owner)) - (count.cumsum(0) - count)[owner]
    last = (place == count[owner] - 1)[:, None]
    cover_a, cover_codes = (torch.stack(part)[place, owner] for part in zip(*covers, strict=True))
    fit_a, fit_codes = (torch.stack(part)[place, owner] for part in zip(*fits, strict=True))
    return torch.where(last, fit_codes, cover_codes), torch.where(last, fit_a, cover_a)


def _codes(rest: Tensor, a: Tensor, base: int, zero: float) -> Tensor:
    codes = (rest / torch.where(a == 0, 1, a) + zero).round_().clamp_(0, base - 1)
    return codes.to(code_dtype(base))


def _left(rest: Tensor, a: Tensor, codes: Tensor, zero: float) -> Tensor:
    return rest - a * (codes - zero)


def _cover(rest: Tensor, base: int, zero: float) -> Tensor:
    """(slices, 1): the smallest |a| whose cells hold every value; negative if that is smaller."""
    low, high = -rest.amin(1, keepdim=True), rest.amax(1, keepdim=True)
    below, above = zero + 0.5, base - zero - 0.5          # a's cells reach from −below·a to above·a
    plus, minus = (high / above).maximum(low / below), (low / above).maximum(high / below)
    return torch.where(minus < plus, -minus, plus)


def _fit(rest: Tensor, a: Tensor, base: int, zero: float) -> tuple[Tensor, Tensor]:
    """Coefficient and codes of least squares: a = ⟨rest, c⟩/⟨c, c⟩ in turn with c = round(rest/a),
    from four starts, since on its own the alternation stays near where it began."""
    best, best_a = torch.full_like(a, torch.inf), a
    for start in (1.1, 1.0, 0.8, 0.6):
        trial = a * start
        for _ in range(3):
            c = _codes(rest, trial, base, zero) - zero
            error = (rest - trial * c).square().sum(1, keepdim=True)
            best_a = torch.where(error < best, trial, best_a)
            best = best.minimum(error)
            trial = (rest * c).sum(1, keepdim=True) / c.square().sum(1, keepdim=True).clamp(min=0.1)
    return best_a, _codes(rest, best_a, base, zero)


def _spend(error: Tensor, afford: int) -> Tensor:
    """(slices,) counts: one point each, then one after the other to the worst slice; as errors only
    fall, those are the slices of the largest errors in the table (slices, points so far)."""
    falling = error.cummin(1).values
    most = min(afford - len(error), falling[:, :-1].numel())
    worst = falling[:, :-1].flatten().topk(most).indices // (error.shape[1] - 1)
    return 1 + torch.bincount(worst, minlength=len(error))


def edge_multipoint(w: Tensor, bits: int = 4, axis: int | None = None, group: int | None = None,
                    generator: torch.Generator | None = None, points: int | None = None) -> Points:
    """Multipoint as Edge ran it: one set Q = K·linspace(−1, 1, 2^bits − 1) + mean for the layer,
    whatever `axis` says, with K = max w (not max |w|); bits + 1 points; each coefficient the best
    of at most 100 random multiples of γ = max(smallest gap/2/(2^(bits−1) − 1), 2⁻⁹), where the
    paper has min; no calibration data. It costs bits·(bits + 1) a weight: 20 at 4 bits, 72 at 8."""
    form, base, w = layout(w, None), code_count(bits) - 1, w.detach().float()
    if base < 2:
        raise ValueError("edge_multipoint: at 1 bit Edge's γ divides by 0; choose 2 bits or more")
    top, mean, half = w.max().item(), w.mean().item(), (base - 1) / 2
    if top == 0:
        raise ValueError("edge_multipoint: the largest weight is 0, so that its set has no width")
    step = top / half                                   # Q = mean + step·(code − half)
    zero = half - mean / step
    rest, codes, coefficients = w.reshape(1, -1), [], []
    for _ in range(points or bits + 1):
        size = rest.abs()
        gaps = size.unique().diff()
        if not len(gaps):
            raise ValueError("edge_multipoint: weights of one magnitude have no gap between them, "
                             "for which Edge's γ is infinite; multipoint has no such case")
        gap = gaps.min().item()
        gamma = max(gap / 2 / (2 ** (bits - 1) - 1), 2**-9)
        multiples = int((2**bits - 2) * size.max().item()) + 1
        tries = (torch.randperm(multiples, generator=generator)[:100] + 1) * gamma
        scores = [(rest - a * step * (_edge_codes(rest, a, step, zero, base) - zero)).norm()
                  for a in tries.tolist()]
        a = tries[torch.stack(scores).argmin()].item()
        codes.append(_edge_codes(rest, a, step, zero, base))
        coefficients.append([a * step])
        rest = rest - a * step * (codes[-1] - zero)
    return Points("edge_multipoint", bits, form, base, torch.cat(codes).to(code_dtype(base)),
                  torch.tensor(coefficients), torch.tensor([len(codes)], dtype=torch.uint8),
                  torch.tensor([zero]))


def _edge_codes(rest: Tensor, a: float, step: float, zero: float, base: int) -> Tensor:
    return (rest / (a * step)).add_(zero + 0.5).floor_().clamp_(0, base - 1)


edge_multipoint.lift = quantize_model
METHODS = {"multipoint": multipoint, "edge_multipoint": edge_multipoint}
