"""Rounding that looks at the layer's inputs: GPTQ and AdaRound.

Both keep the grid of `affine` and choose the codes so that ‖(W − Ŵ)·X‖² is small. With
H = XᵀX of the inputs' rows that error is Σ over outputs of e·H·eᵀ, so the rows themselves are
needed no more, and a step costs as little for a million rows as for one.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lib.layers.codes import code_count
from lib.layers.layout import Layout, layout
from lib.layers.stored import Affine, narrow
from lib.quant.grid import choose_qparams, fake_quantize, pack_affine

NAMES = ("gptq", "adaround")
STRETCH = 0.1       # h may pass 0 and 1 by so much before it is cut, so that both are reached


def second_moment(w: Tensor, inputs: Tensor) -> Tensor:
    """H = XᵀX/rows, (groups, n, n), of inputs (rows, n) or, for a grouped convolution,
    (groups, rows, n), where n = in·kh·kw/groups is the length of a row of w."""
    columns = w[0].numel()
    if not isinstance(inputs, Tensor) or inputs.dim() not in (2, 3) or inputs.shape[-1] != columns \
            or inputs.shape[-2] == 0 or (inputs.dim() == 3 and len(w) % len(inputs)):
        raise ValueError(f"inputs of shape {tuple(getattr(inputs, 'shape', ()))} do not meet a "
                         f"weight of shape {tuple(w.shape)}; they must be (rows, {columns})")
    x = (inputs if inputs.dim() == 3 else inputs[None]).float()
    h = x.transpose(1, 2) @ x / x.shape[1]
    if not h.isfinite().all():
        raise ValueError("the layer's inputs hold NaN or infinite values; look at the calibration")
    return h


def output_error(error: Tensor, h: Tensor) -> Tensor:
    """e·H·eᵀ for each row e of error (out, n): (out,), the mean square error of that output."""
    e = error.reshape(len(h), -1, h.shape[-1])                     # (groups, out/groups, n)
    return ((e @ h) * e).sum(2).reshape(-1)


def _start(w: Tensor, inputs: Tensor, bits, axis, group, levels, symmetric, clip):
    form, base = layout(w, axis, group), code_count(bits, levels)
    if w.dim() < 2:
        raise ValueError(f"a weight of shape {tuple(w.shape)} has no rows that meet inputs")
    h = second_moment(w, inputs)
    s = form.split(w.detach()).float()
    return form, base, h, s, *choose_qparams(s, base, symmetric, clip)


def _rows(values: Tensor, form: Layout) -> Tensor:
    """Slices' values (slices, 1) spread over what they serve: (out, in·kh·kw)."""
    return form.join(values.expand(-1, form.length).contiguous()).flatten(1)


def _upper_factor(h: Tensor, order: Tensor, damping: float) -> Tensor:
    """(groups, n, n): upper Cholesky factor of the inverse of the damped H, columns in `order`."""
    diagonal = h.diagonal(dim1=1, dim2=2)
    ridge = (damping * diagonal.mean(1)).clamp(min=1e-12)
    h = (h + torch.diag_embed(ridge[:, None].expand_as(diagonal))).double()
    h = h.gather(1, order[:, :, None].expand_as(h)).gather(2, order[:, None].expand_as(h))
    try:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
        factor = torch.linalg.cholesky(inverse, upper=True).float()
    except torch.linalg.LinAlgError:
        factor = torch.full((), torch.nan)
    if not factor.isfinite().all():
        raise ValueError(f"some inputs of the layer depend on others, so with damping={damping} "
                         "XᵀX has no inverse; take damping=0.01 or more inputs")
    return factor


def gptq(w: Tensor, inputs: Tensor, bits: int = 4, axis: int | None = 0, group: int | None = None,
         generator: torch.Generator | None = None, levels: int | None = None,
         symmetric: bool = False, clip: str = "mse", act_order: bool = False,
         damping: float = 0.01, block: int = 128, away: Tensor | None = None) -> Affine:
    """Round column by column, each error passed on to the columns not yet rounded.

    w[:, j:] −= (w_j − q_j)/U_jj · U[j, j:], U the upper Cholesky factor of (H + damping·mean
    diag(H)·1)⁻¹; the columns beyond a `block` are updated once a block. act_order takes the columns
    with the largest inputs first. away: booleans of w's shape, of weights that were pruned: they
    take no error, and stay 0. Frantar et al. 2022, arXiv 2210.17323.
    """
    form, base, h, s, scale, zero = _start(w, inputs, bits, axis, group, levels, symmetric, clip)
    groups, n = len(h), h.shape[1]
    diagonal = h.diagonal(dim1=1, dim2=2)
    order = (diagonal.argsort(1, descending=True) if act_order
             else torch.arange(n, device=w.device).expand(groups, n))             # (groups, n)

    def ordered(rows: Tensor) -> Tensor:                       # (groups, out/groups, n), permuted
        rows = rows.reshape(groups, -1, n)
        return rows.gather(2, order[:, None].expand_as(rows))

    factor = _upper_factor(h, order, damping)
    rest, step, centre = (ordered(v) for v in (
        w.detach().float().reshape(len(w), -1), _rows(scale, form), _rows(zero, form)))
    pruned = None if away is None else ordered(away.reshape(len(w), -1))
    codes = torch.empty_like(rest)
    for begin in range(0, n, block):
        end = min(begin + block, n)
        errors = torch.zeros_like(rest[:, :, begin:end])
        for j in range(begin, end):
            code = (rest[:, :, j] / step[:, :, j] + centre[:, :, j]).round().clamp(0, base - 1)
            if pruned is not None:
                code = torch.where(pruned[:, :, j], centre[:, :, j], code)
            error = rest[:, :, j] - (code - centre[:, :, j]) * step[:, :, j]
            error = error / factor[:, j, j, None]
            rest[:, :, j:end] -= error[:, :, None] * factor[:, None, j, j:end]
            codes[:, :, j], errors[:, :, j - begin] = code, error
        rest[:, :, end:] -= errors @ factor[:, begin:end, end:]
    codes = codes.gather(2, order.argsort(1)[:, None].expand_as(codes)).reshape(form.shape)
    return pack_affine("gptq", bits, form, form.split(codes), scale, zero, base)


class SoftRounding(nn.Module):
    """A weight whose codes may still move between two neighbours: a parametrization.

    code = floor + h, h = clamp(1.2·sigmoid(v) − 0.1, 0, 1), starting where the weight is, or for
    weights beyond the grid at its end; value = scale·eᵍ·(code − zero − o). v, g and o are trained.
    away: booleans of w's shape, of weights that were pruned: their code stays `zero`, and o stays
    0, so that it means 0.
    """

    def __init__(self, w: Tensor, form: Layout, base: int, scale: Tensor, zero: Tensor,
                 away: Tensor | None = None) -> None:
        super().__init__()
        self.form, self.base, self.hard = form, base, False
        place = form.split(w.detach()).float() / scale + zero
        floor = place.floor().clamp(0, base - 2)
        self.stays = None if away is None else ~form.split(away)
        if away is not None:
            floor = torch.where(self.stays, floor, zero)
        self.v = nn.Parameter(torch.logit(
            ((place - floor).clamp(0, 1) + STRETCH) / (1 + 2 * STRETCH)))
        self.g = nn.Parameter(torch.zeros_like(scale))
        self.o = nn.Parameter(torch.zeros_like(scale))
        for name, value in (("floor", floor), ("scale", scale), ("zero", zero)):
            self.register_buffer(name, value)

    def h(self) -> Tensor:
        if self.hard:
            h = (self.v >= 0).to(self.v)
        else:
            h = (self.v.sigmoid() * (1 + 2 * STRETCH) - STRETCH).clamp(0, 1)
        return h if self.stays is None else h * self.stays

    def shift(self) -> Tensor:
        """o, (slices, 1): how far 0 lies beside its code; not at all, if pruned weights are 0."""
        return self.o if self.stays is None else 0 * self.o

    def values(self) -> Tensor:
        """(slices, n)."""
        return (self.floor + self.h() - self.zero - self.shift()) * (self.scale * self.g.exp())

    def forward(self, w: Tensor) -> Tensor:
        return self.form.join(self.values())

    @torch.no_grad()
    def quantized(self, method: str, bits: int) -> Affine:
        """With hard codes, and tables in 16 bits where that costs less than 0.1 % of a step."""
        tables = self.scale * self.g.exp(), self.zero + self.shift()
        scale, zero = (_compact(t) for t in tables)
        up = self.v >= 0
        codes = self.form.join(self.floor + (up if self.stays is None else up & self.stays))
        return Affine(method, bits, self.form, self.base, codes, scale, zero)


def _compact(values: Tensor) -> Tensor:
    half = values.half().float()
    return narrow(half if ((half - values).abs() <= 1e-3 * values.abs().clamp(max=1)).all()
                  else values)


def indecision(soft: Iterable[SoftRounding], done: float) -> Tensor:
    """Mean of 1 − |2h − 1|^β over all weights, `done` of the way (0…1): β falls from 20 to 2, when
    all h but 0 and 1 cost. The first tenth is free; from eight tenths on β stays."""
    if done < 0.1:
        return torch.zeros(())
    beta = max(2.0, 20 - 18 * (done - 0.1) / 0.7)
    parts = [(1 - (2 * s.h() - 1).abs().pow(beta)).sum() for s in soft]
    return torch.stack(parts).sum() / sum(s.v.numel() for s in soft)


def half_cosine(done: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * done))


@torch.enable_grad()
def adaround(w: Tensor, inputs: Tensor, bits: int = 4, axis: int | None = 0,
             group: int | None = None, generator: torch.Generator | None = None,
             levels: int | None = None, symmetric: bool = False, clip: str = "mse",
             steps: int = 500, lr: float = 0.1, weight: float = 10.0) -> Affine:
    """Learn for each weight whether to round up or down: minimise Σ e·H·eᵀ relative to rounding to
    nearest, plus weight·indecision, by Adam. An output that nearest serves better keeps nearest.

    All inputs are in H, so steps are exact and few: 500, where the paper takes 10 000 of 32
    examples. Nagel et al. 2020, arXiv 2004.10568.
    """
    form, base, h, s, scale, zero = _start(w, inputs, bits, axis, group, levels, symmetric, clip)
    soft = SoftRounding(w, form, base, scale, zero)
    target = w.detach().float().reshape(len(w), -1)
    nearest = form.join(fake_quantize(s, scale, zero, base)).flatten(1)
    plain = output_error(nearest - target, h)
    if plain.sum() > 0:
        optimizer = torch.optim.Adam([soft.v], lr=lr)
        share = 1 / plain.clamp(min=1e-6 * plain.max()) / len(w)
        for i in range(steps):
            error = output_error(form.join(soft.values()).flatten(1) - target, h)
            loss = (error * share).sum() + weight * indecision([soft], i / steps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        soft.hard = True
        chosen = form.join(soft.values()).flatten(1)
        better = (output_error(chosen - target, h) < plain)[:, None]
        chosen = torch.where(better, chosen, nearest).reshape(form.shape)
        codes = (form.split(chosen) / scale + zero).round().clamp(0, base - 1)
    return pack_affine("adaround", bits, form, codes, scale, zero, base)


METHODS = {"gptq": gptq, "adaround": adaround}
