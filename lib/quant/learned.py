"""Rounding that a training can go through: one function, and what it stands before.

Between `qat_prepare` and `qat_convert` a layer's weight passes a parametrization, and its input an
`Activation`, that round in the forward pass and let gradients through in the backward one.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lib.layers.layout import Layout
from lib.layers.stored import Affine, Quantized, narrow
from lib.quant.activations import Activation


class RoundedByStep(torch.autograd.Function):
    """s·(clamp(round(x/s + z), 0, base − 1) − z), with the gradients of LSQ (Esser et al. 2020,
    arXiv 1902.08153): of x 1 within the grid and 0 beyond it; of s, for each value, code − z −
    (x/s where x is within the grid), summed over what shares s and multiplied by `share`.

    x: (slices, n) and s, z: (slices, 1), or any shape and scalars. Of the forward pass x/s + z
    alone is kept, which takes two thirds of the time that autograd's own graph does.
    """

    @staticmethod
    def forward(ctx, x: Tensor, scale: Tensor, zero: Tensor, base: int, share: float) -> Tensor:
        place = x / scale + zero
        ctx.save_for_backward(place, scale, zero)
        ctx.base, ctx.share = base, share
        return (place.round().clamp(0, base - 1) - zero) * scale

    @staticmethod
    def backward(ctx, gradient: Tensor):
        place, scale, zero = ctx.saved_tensors
        inside = (place >= -0.5) & (place <= ctx.base - 0.5)
        code = place.round().clamp(0, ctx.base - 1)
        of_scale = code - zero - torch.where(inside, place - zero, 0)
        of_scale = (gradient * of_scale).sum_to_size(scale.shape) * ctx.share
        return gradient * inside, of_scale, None, None, None


LEAST = 1 / 16              # of where a step starts: the least it may become


def share_of_step(count: int, base: int) -> float:
    """What a step's gradient is multiplied by: LSQ's 1/√(values that share the step · levels to one
    side), and from three levels on 2/levels.

    LSQ starts at 2·mean|x|/√levels, which with many levels is far more than the range asks for. A
    step that starts within the range is smaller by about √levels, and moves by the square of that
    less: at 8 bits it would else pass zero within a few steps of SGD.
    """
    levels = max(1, base // 2)
    return (count * levels) ** -0.5 * min(1.0, 2 / levels)


class LearnedRounding(nn.Module):
    """A weight on a grid whose steps are learned; a parametrization.

    w: the weight; form: what shares a step; base: how many codes; scale, zero: (slices, 1), where
    the steps start, and the codes that mean 0, which stay; away: booleans of w's shape, of weights
    that were pruned, which stay 0.
    """

    def __init__(self, form: Layout, base: int, scale: Tensor, zero: Tensor,
                 away: Tensor | None = None) -> None:
        super().__init__()
        self.form, self.base = form, base
        self.scale = nn.Parameter(scale.clone())
        self.register_buffer("least", LEAST * scale)
        self.register_buffer("zero", zero.clone())
        self.register_buffer("away", away)

    def slices(self, w: Tensor) -> Tensor:
        w = w if self.away is None else w.masked_fill(self.away, 0)
        share = share_of_step(self.form.length, self.base)
        return RoundedByStep.apply(self.form.split(w), self.scale, self.zero, self.base, share)

    def forward(self, w: Tensor) -> Tensor:
        return self.form.join(self.slices(w))

    def right_inverse(self, w: Tensor) -> Tensor:
        return w

    @torch.no_grad()
    def quantized(self, w: Tensor, method: str, bits: int) -> Affine:
        w = w if self.away is None else w.masked_fill(self.away, 0)
        place = self.form.split(w) / self.scale + self.zero
        codes = self.form.join(place.round().clamp(0, self.base - 1))
        zero = self.zero[:1] if (self.zero == self.zero[:1]).all() else self.zero
        return Affine(method, bits, self.form, self.base, codes, self.scale.detach().clone(),
                      narrow(zero))


class Instead(torch.autograd.Function):
    """`rounded` in place of x, whose gradient is that of the result times `slope`."""

    @staticmethod
    def forward(ctx, x: Tensor, rounded: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return rounded

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return gradient * ctx.saved_tensors[0], None, None


class StraightThrough(nn.Module):
    """A weight rounded anew in each forward pass by any quantizer; a parametrization.

    The gradient passes as if nothing had happened, within the range of the levels (clipped), or
    everywhere, multiplied by the range of the levels over that of the weights (slope="ranges"), as
    the study Edge has it. quantize(w) -> Quantized.
    """

    def __init__(self, quantize: Callable[[Tensor], Quantized], slope: str = "clipped") -> None:
        super().__init__()
        if slope not in ("clipped", "ranges"):
            raise ValueError(f"there is no slope {slope!r}; choose clipped or ranges")
        self.quantize, self.slope = quantize, slope

    def forward(self, w: Tensor) -> Tensor:
        with torch.no_grad():
            rounded = self.quantize(w).dequantize()
            if self.slope == "ranges":
                span = (w.max() - w.min()).clamp(min=1e-37)
                slope = (rounded.max() - rounded.min()) / span
            else:
                slope = ((w >= rounded.min()) & (w <= rounded.max())).to(w.dtype)
        return Instead.apply(w, rounded, slope)

    def right_inverse(self, w: Tensor) -> Tensor:
        return w

    @torch.no_grad()
    def quantized(self, w: Tensor, method: str, bits: int) -> Quantized:
        return self.quantize(w)


class LearnedActivation(Activation):
    """An `Activation` whose step is learned while a training goes through it."""

    def __init__(self, bits: int, method: str, smooth: Tensor | None, scale: Tensor, zero: Tensor
                 ) -> None:
        super().__init__(bits, method, smooth)
        del self.scale
        self.scale = nn.Parameter(scale.clone())
        self.register_buffer("least", LEAST * scale)
        self.zero = zero.clone()

    def _rounded(self, x: Tensor) -> Tensor:
        share = share_of_step(x[0].numel(), self.base)
        return RoundedByStep.apply(x, self.scale, self.zero, self.base, share)

    def settled(self) -> Activation:
        """What it has learned, as an Activation that learns no more."""
        done = Activation(self.bits, self.method, self.smooth)
        done.scale, done.zero = self.scale.detach().clone(), self.zero.clone()
        return done

