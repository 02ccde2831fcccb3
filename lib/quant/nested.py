"""Nested precision: one set of codes that serves several widths by dropping low bits.

A weight has 8-bit codes. At a width of r bits a code is rounded to its r highest bits, so that the
narrow net lies within the wide one and no second copy of the weights is kept. What each width has
of its own is small: steps, and the statistics, scales and shifts of batch-norm. One training serves
all widths, the wide ones teaching the narrow (Any-precision: Yu et al. 2021, arXiv 1911.07346;
MatQuant: Nair et al. 2025, arXiv 2502.06786).
"""

import copy
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from lib.layers.layout import Layout, layout
from lib.layers.stored import Affine
from lib.quant.grid import choose_qparams
from lib.quant.layers import bare_copy, layers, settle
from lib.quant.learned import LEAST, share_of_step

WIDTHS = (8, 4, 2)
WIDEST = 8


def high_bits(codes: Tensor, bits: int) -> Tensor:
    """The codes of `bits` bits that 8-bit codes are rounded to."""
    return (codes / 2 ** (WIDEST - bits)).round().clamp(0, 2**bits - 1)


class RoundedToWidth(torch.autograd.Function):
    """t·(c·2^(8−r) − 128), c = clamp(round(code/2^(8−r)), 0, 2^r − 1), code the 8-bit code of x on
    the grid of step s: what is left of r bits, with steps t of this width's own.

    x: (slices, n); s, t: (slices, 1). Gradients: of x t/s within the grid; of t the sum over what
    shares it of c·2^(8−r) − 128, times `share`, and where t is s, at 8 bits, LSQ's; of s as it
    decides the codes none.
    """

    @staticmethod
    def forward(ctx, x: Tensor, wide: Tensor, own: Tensor, bits: int, share: float) -> Tensor:
        place = x / wide + 2 ** (WIDEST - 1)
        code = place.round().clamp(0, 2**WIDEST - 1)
        level = high_bits(code, bits) * 2 ** (WIDEST - bits) - 2 ** (WIDEST - 1)
        inside = (place >= -0.5) & (place <= 2**WIDEST - 0.5)
        of_own = level if bits < WIDEST else level - torch.where(
            inside, place - 2 ** (WIDEST - 1), 0)
        ctx.save_for_backward(of_own, inside, own / wide)
        ctx.share = share
        return level * own

    @staticmethod
    def backward(ctx, gradient: Tensor):
        of_own, inside, ratio = ctx.saved_tensors
        of_own = (gradient * of_own).sum(1, keepdim=True) * ctx.share
        return gradient * inside * ratio, None, of_own, None, None


class NestedRounding(nn.Module):
    """A weight at one of several widths, which `set_width` chooses; a parametrization."""

    def __init__(self, form: Layout, scale: Tensor, widths: Sequence[int]) -> None:
        super().__init__()
        self.form, self.width = form, WIDEST
        self.steps = nn.ParameterDict({str(bits): nn.Parameter(scale.clone()) for bits in widths})
        self.register_buffer("least", LEAST * scale)

    def forward(self, w: Tensor) -> Tensor:
        # A step counts low bits that are gone as well: what tells the levels apart is `part` steps.
        part = 2 ** (WIDEST - self.width)
        share = share_of_step(self.form.length, 2**self.width) / part**2
        wide = self.steps[str(WIDEST)]
        own = self.steps[str(self.width)]
        return self.form.join(RoundedToWidth.apply(self.form.split(w), wide.detach(), own,
                                                   self.width, share))

    def right_inverse(self, w: Tensor) -> Tensor:
        return w

    @torch.no_grad()
    def quantized(self, w: Tensor) -> Affine:
        """The weight at the present width, as `ptq` would store it."""
        part = 2 ** (WIDEST - self.width)
        place = self.form.split(w) / self.steps[str(WIDEST)] + 2 ** (WIDEST - 1)
        codes = high_bits(place.round().clamp(0, 2**WIDEST - 1), self.width)
        zero = torch.tensor([[2 ** (self.width - 1)]], dtype=torch.uint8)
        return Affine("nested", self.width, self.form, 2**self.width, self.form.join(codes),
                      part * self.steps[str(self.width)].detach(), zero)


class SwitchedNorm(nn.Module):
    """A batch-norm for each width."""

    def __init__(self, norm: _BatchNorm, widths: Sequence[int]) -> None:
        super().__init__()
        self.width = WIDEST
        self.norms = nn.ModuleDict({str(bits): copy.deepcopy(norm) for bits in widths})

    def forward(self, x: Tensor) -> Tensor:
        return self.norms[str(self.width)](x)


@torch.no_grad()
def nest(model: nn.Module, widths: Sequence[int] = WIDTHS) -> nn.Module:
    """A copy of `model` to be trained for several widths at once; it computes at the widest.

    widths: bits, 8 among them. ValueError: other widths, no layer, a layer that is quantized.
    """
    if WIDEST not in widths or not all(1 <= bits <= WIDEST for bits in widths):
        raise ValueError(f"widths={tuple(widths)}: bits from 1 to 8, with 8, whose codes all share")
    ready = bare_copy(model).train(model.training)
    named = layers(ready)
    if not named:
        raise ValueError(f"{type(model).__name__} has no Linear or convolution to nest")
    for name, layer in named.items():
        if getattr(layer, "compressed", {}):
            raise ValueError(f"{name or 'the model'} is quantized already; nest the float model")
        form = layout(layer.weight, 0)
        # Where two bits are enough for most weights, eight have levels to spare: the range is the
        # one that is best for the narrowest.
        slices = form.split(layer.weight.detach()).float()
        narrow, _ = choose_qparams(slices, 2 ** min(widths) + 1, symmetric=True, clip="mse")
        scale = narrow * 2 ** (min(widths) - WIDEST)
        rounding = NestedRounding(form, scale, widths)
        parametrize.register_parametrization(layer, "weight", rounding, unsafe=True)
    for name, module in list(ready.named_modules()):
        if isinstance(module, _BatchNorm):
            owner, _, key = name.rpartition(".")
            setattr(ready.get_submodule(owner), key, SwitchedNorm(module, widths))
    return ready


def set_width(model: nn.Module, bits: int) -> None:
    """Let a nested model compute at `bits`."""
    for module in model.modules():
        if isinstance(module, NestedRounding | SwitchedNorm):
            module.width = bits


def nested_loss(loss: Callable, widths: Sequence[int] = WIDTHS, classes: bool = True) -> Callable:
    """loss(model, x, y) at the widest width, and what each narrower one answers otherwise than it:
    the mean over widths. classes: by Kullback-Leibler divergence, else by square distance."""
    def all_widths(model: nn.Module, x, y: Tensor) -> Tensor:
        answers: list[Tensor] = []
        total = 0.0
        for bits in sorted(widths, reverse=True):
            set_width(model, bits)
            found = _Kept(model)
            if not answers:
                total = loss(found, x, y)
                answers.append(found.answer.detach())
                continue
            found(*x) if isinstance(x, tuple) else found(x)
            total = total + _far(found.answer, answers[0], classes)
        set_width(model, WIDEST)
        return total / len(widths)

    return all_widths


class _Kept(nn.Module):
    """A model that remembers its answer."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.answer = model, None

    def forward(self, *x: Tensor) -> Tensor:
        self.answer = self.model(*x)
        return self.answer


def _far(found: Tensor, wanted: Tensor, classes: bool) -> Tensor:
    if not classes:
        return F.mse_loss(found, wanted)
    return F.kl_div(found.float().log_softmax(1), wanted.float().log_softmax(1),
                    reduction="batchmean", log_target=True)


@torch.no_grad()
def at_width(model: nn.Module, bits: int) -> nn.Module:
    """A copy of a nested model at one width, as `ptq` would leave it, of the same answers."""
    done = copy.deepcopy(model)
    set_width(done, bits)
    for layer in list(done.modules()):
        if not parametrize.is_parametrized(layer, "weight"):
            continue
        rounding = layer.parametrizations["weight"][-1]
        if isinstance(rounding, NestedRounding):
            q = rounding.quantized(layer.parametrizations["weight"].original.detach())
            settle(layer, q)
    for name, module in list(done.named_modules()):
        if isinstance(module, SwitchedNorm):
            owner, _, key = name.rpartition(".")
            setattr(done.get_submodule(owner), key, module.norms[str(bits)])
    return done
