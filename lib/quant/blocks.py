"""Block reconstruction: rounding chosen so that whole blocks, not single layers, come out right.

BRECQ (Li et al. 2021, arXiv 2102.05426): batch-norm folded, AdaRound's relaxation, block after
block on the already quantized inputs, steps and biases trained along. QDrop (Wei et al. 2022,
arXiv 2203.05740): half of the values entering a block are the float model's, and half of the
activations stay unrounded, drawn anew each step.
"""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lib.layers.codes import code_count
from lib.layers.inputs import PIECE, Inputs, entering, pieces, run
from lib.layers.layout import layout
from lib.quant.activations import Activation, attach, in_order, layer_bits
from lib.quant.fold import fold_batch_norm
from lib.quant.grid import choose_qparams
from lib.quant.importance import importance
from lib.quant.layers import bits_by_layer, layers, store, users
from lib.quant.rounding import SoftRounding, half_cosine, indecision
from lib.quant.zeros import gone

NAMES = ("brecq",)
RANDOM = NAMES          # it picks its batches at random


class _Reached(Exception):
    """Stops a pass through the model where its rest is not needed."""


def units(model: nn.Module, calibration: Inputs) -> list[str]:
    """What is reconstructed as one, in the order of calling: modules that say is_block, and every
    layer outside of them."""
    blocks = [n for n, m in model.named_modules() if getattr(m, "is_block", False)]
    found: dict[str, None] = {}
    for name in in_order(model, calibration):
        owners = [b for b in blocks if name.startswith(f"{b}.")]
        found.setdefault(min(owners, key=len) if owners else name)
    return list(found)


@torch.no_grad()
def _arriving(model: nn.Module, name: str, calibration: Inputs) -> Tensor:
    """What enters the unit when the model sees the calibration inputs, (n, ...)."""
    seen: list[Tensor] = []
    unit = model.get_submodule(name)

    def catch(_, args: tuple, keywords: dict) -> None:
        if len(args) + len(keywords) != 1:
            raise ValueError(f"{name} takes several inputs, and brecq reconstructs what has one; "
                             "take gptq")
        seen.append(entering(args, keywords, name).clone())
        raise _Reached

    hook = unit.register_forward_pre_hook(catch, with_kwargs=True)
    try:
        for piece in pieces(calibration):
            try:
                run(model, piece)
            except _Reached:
                pass
    finally:
        hook.remove()
    return torch.cat(seen)


def _soften(layer: nn.Module, base: int, axis: int | None, group: int | None, clip: str) -> None:
    """Let the layer compute with a SoftRounding of its weight, and give it a bias to train."""
    form = layout(layer.weight, axis, group)
    scale, zero = choose_qparams(form.split(layer.weight.detach()).float(), base, clip=clip)
    soft = SoftRounding(layer.weight, form, base, scale, zero, gone(layer))
    parametrize.register_parametrization(layer, "weight", soft, unsafe=True)
    if layer.bias is None:
        layer.bias = nn.Parameter(torch.zeros(form.shape[0]))
    layer.bias.requires_grad_(True)


@torch.enable_grad()
def reconstruct(unit: nn.Module, x: Tensor, clean: Tensor, target: Tensor, weights: Tensor,
                steps: int, batch: int, lr: float, weight: float, mix: float, drop: float,
                generator: torch.Generator | None) -> None:
    """Train the soft roundings, steps and biases in `unit` so that its output meets `target`.

    Loss: mean square error, by `weights`, relative to that of the first, hard, rounding, plus
    weight·indecision.
    x: what enters behind quantized layers; clean: in the float model; each value is x's with
    probability `mix`. The roundings' rate stays, the others' fall to 0 by a half cosine.
    """
    soft = [m for m in unit.modules() if isinstance(m, SoftRounding)]
    active = [m for m in unit.modules() if isinstance(m, Activation) and m.bits is not None]
    with torch.no_grad():
        for s in soft:
            s.hard = True
        rounded = unit(x[:PIECE])                   # also lets new activations choose their range
        first = ((rounded - target[:PIECE]).square() * weights[:PIECE]).mean().clamp(min=1e-30)
        for s in soft:
            s.hard = False
    active = [a for a in active if a.scale is not None]          # a dynamic one has none to learn
    for a in active:
        a.drop, a.generator = drop, generator
        a.scale.requires_grad_()
    optimizer, decay = _optimizer(unit, soft, active, float(target.std().clamp(min=1e-6)), lr,
                                  steps)
    # Drawing a mask took a quarter of a step's time: one is drawn, and entered anywhere each time.
    mask = torch.rand(2 * batch * x[0].numel(), generator=generator) < mix
    for i in range(steps):
        pick = torch.randint(len(x), (batch,), generator=generator)
        entering = x[pick] if mix == 1 else _mixed(x[pick], clean[pick], mask, generator)
        error = ((unit(entering) - target[pick]).square() * weights[pick]).mean()
        loss = error / first + weight * indecision(soft, i / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    for s in soft:
        s.hard = True
    for a in active:
        a.drop, a.generator, a.scale = 0.0, None, a.scale.detach()


def _mixed(x: Tensor, clean: Tensor, mask: Tensor, generator: torch.Generator | None) -> Tensor:
    """x where a piece of the mask, from a random place on, says so; clean elsewhere."""
    at = int(torch.randint(x.numel(), (), generator=generator))
    return torch.where(mask[at:at + x.numel()].view_as(x), x, clean)


def _optimizer(unit: nn.Module, soft: list[SoftRounding], active: list[Activation], spread: float,
               lr: float, steps: int) -> tuple[torch.optim.Adam, torch.optim.lr_scheduler.LambdaLR]:
    """Adam over roundings, steps, biases (rates by the outputs' spread) and activations' scales."""
    biases = [m.bias for m in unit.modules() if "weight" in getattr(m, "parametrizations", {})]
    groups = [{"params": [s.v for s in soft], "lr": lr},
              {"params": [p for s in soft for p in (s.g, s.o)], "lr": 2e-3},
              {"params": biases, "lr": 1e-3 * spread}]
    groups += [{"params": [a.scale], "lr": 1e-3 * float(a.scale.detach())}
               for a in active]
    optimizer = torch.optim.Adam(groups)
    falls = [lambda i: half_cosine(i / max(1, steps))] * (len(groups) - 1)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, [lambda i: 1.0, *falls])


def brecq(model: nn.Module, bits: int | Mapping[str, int] = 4, a_bits: int | None = None,
          axis: int | None = 0, group: int | None = None, calibration=None,
          generator: torch.Generator | None = None,
          levels: int | Mapping[str, int] | None = None, steps: int = 1500, batch: int = 8,
          lr: float = 0.1, weight: float = 10.0, mix: float = 0.5, drop: float = 0.5,
          clip: str = "mse", a_method: str = "mse") -> nn.Module:
    """A copy of `model`, batch-norm folded, whose layers are quantized block after block.

    bits, levels: for all layers or {layer: …}; layers that a mapping does not name stay float.
    a_bits: what enters the layers is rounded too (the first and the last at 8 bits or more).
    steps: of `batch` examples, for each block. ValueError: no calibration, no finite output.
    """
    if calibration is None:
        raise ValueError("brecq needs calibration=, some hundred inputs of the model "
                         "(task.calibration)")
    plain = fold_batch_norm(model).eval().requires_grad_(False)
    small = copy.deepcopy(plain)
    named, order = layers(small), in_order(small, calibration)
    bases = _bases(wanted := bits_by_layer(bits, named), levels)
    _refuse(small, bases, order)
    a_wanted = {} if a_bits is None else layer_bits(order, a_bits)
    weights = importance(plain, units(plain, calibration), calibration, generator)
    for name in units(small, calibration):
        unit, original = small.get_submodule(name), plain.get_submodule(name)
        x, clean = (_arriving(net, name, calibration) for net in (small, plain))
        target = _outputs(original, clean, name)
        inside = [n for n in order if n == name or n.startswith(f"{name}.")]
        for n in filter(a_wanted.get, inside):
            before = getattr(named[n], "activation", None)
            attach(named[n], Activation(a_wanted[n], a_method, before and before.smooth))
        chosen = [n for n in inside if n in bases]
        if not chosen:
            continue
        for n in chosen:
            _soften(named[n], bases[n], axis, group, clip)
        reconstruct(unit, x, clean, target, weights.pop(name), steps, batch, lr, weight, mix, drop,
                    generator)
        for n in chosen:
            _harden(named[n], wanted[n])
    return small.requires_grad_(True).train(model.training)


def _bases(bits: dict[str, int], levels: int | Mapping[str, int] | None) -> dict[str, int]:
    """How many codes each layer gets."""
    if levels is None:
        return {name: code_count(b) for name, b in bits.items()}
    return {name: code_count(None, count) for name, count in bits_by_layer(levels, bits).items()}


@torch.no_grad()
def _outputs(unit: nn.Module, x: Tensor, name: str) -> Tensor:
    found = [unit(part) for part in x.split(PIECE)]
    if not isinstance(found[0], Tensor):
        raise ValueError(f"{name} puts out a {type(found[0]).__name__}, and brecq reconstructs "
                         "what puts out one tensor; take gptq")
    return torch.cat(found)


def _refuse(model: nn.Module, chosen: Mapping[str, int], reached: list[str]) -> None:
    """ValueError for layers that no input reaches, for those that share a weight, and for those
    that compute in other floats than 32-bit ones."""
    owners = users(model)
    own = {name: model.get_submodule(name).weight for name in chosen}
    if shared := [name for name, weight in own.items() if owners[id(weight)] > 1]:
        raise ValueError(f"brecq rounds each layer for itself, but {', '.join(shared)} share a "
                         "weight; take gptq, or give each layer its own")
    if missed := [n for n in chosen if n not in reached]:
        raise ValueError(f"no input reached {', '.join(missed)}; leave them out of bits=")
    if other := [name for name, weight in own.items() if weight.dtype != torch.float32]:
        raise ValueError(f"brecq trains in 32-bit floats, and {other[0] or 'the model'} holds "
                         f"{str(own[other[0]].dtype).removeprefix('torch.')}; pass model.float()")
    if not chosen:
        raise ValueError("brecq found no Linear or convolution to quantize; take affine")


@torch.no_grad()
def _harden(layer: nn.Module, bits: int) -> None:
    """Replace the layer's SoftRounding by what it was rounded to."""
    q = layer.parametrizations.weight[0].quantized("brecq", bits)
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    store(layer, q)


METHODS: dict[str, Callable] = {"brecq": brecq}
