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
from lib.layers.stored import layout
from lib.quant.activations import Activation, attach, in_order, layer_bits
from lib.quant.fold import fold_batch_norm
from lib.quant.grid import choose_qparams
from lib.quant.layers import bits_by_layer, layers, run, sharing, store
from lib.quant.rounding import SoftRounding, half_cosine, indecision

NAMES = ("brecq",)
RANDOM = NAMES          # it picks its batches at random
PIECE = 128             # examples at a time where nothing is trained


class _Reached(Exception):
    """Stops a pass through the model where its rest is not needed."""


def units(model: nn.Module, calibration) -> list[str]:
    """What is reconstructed as one, in the order of calling: modules that say is_block, and every
    layer outside of them."""
    blocks = [n for n, m in model.named_modules() if getattr(m, "is_block", False)]
    found: dict[str, None] = {}
    for name in in_order(model, calibration):
        owners = [b for b in blocks if name.startswith(f"{b}.")]
        found.setdefault(min(owners, key=len) if owners else name)
    return list(found)


def _pieces(x) -> list:
    if isinstance(x, tuple):
        return list(zip(*(part.split(PIECE) for part in x), strict=True))
    return list(x.split(PIECE))


@torch.no_grad()
def _arriving(model: nn.Module, unit: nn.Module, calibration) -> Tensor:
    """What enters `unit` when the model sees the calibration inputs, (n, ...)."""
    seen: list[Tensor] = []

    def catch(_, args: tuple) -> None:
        seen.append(args[0].clone())
        raise _Reached

    hook = unit.register_forward_pre_hook(catch)
    try:
        for piece in _pieces(calibration):
            try:
                run(model, piece)
            except _Reached:
                pass
    finally:
        hook.remove()
    return torch.cat(seen)


@torch.enable_grad()
def importance(model: nn.Module, names: list[str], calibration,
               generator: torch.Generator | None, draws: int = 4) -> dict[str, Tensor]:
    """How much the model's answer depends on each value that the named units put out, (n, ...).

    The mean of squared gradients of r·outputs, as in BRECQ's Fisher weights: r = onehot(y) − p with
    y drawn from the model's own softmax p where outputs are (n, classes), otherwise random signs.
    Each example's sum enters by its root, and half of the weight is spread evenly: few examples
    near the border of two classes would have it all. The mean is 1; no labels are used.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    for piece in _pieces(calibration):
        outs: dict[str, Tensor] = {}

        def keep(_, args: tuple, y: Tensor, name: str, outs=outs) -> Tensor:
            outs[name] = y.requires_grad_()
            return y.clone()                                   # a leaf may not be changed in place

        hooks = [model.get_submodule(n).register_forward_hook(
            lambda m, a, y, n=n, keep=keep: keep(m, a, y, n)) for n in names]
        z = run(model, piece)
        for hook in hooks:
            hook.remove()
        if not z.isfinite().all():
            raise ValueError("the model's outputs on the calibration inputs are NaN or infinite; "
                             "look at these inputs and at the weights")
        squares = {n: torch.zeros_like(y) for n, y in outs.items()}
        for _ in range(draws):
            if z.dim() == 2 and z.shape[1] > 1:
                p = z.detach().softmax(1)
                r = -p.scatter_add(1, torch.multinomial(p, 1, generator=generator),
                                   -torch.ones(len(p), 1))
            else:
                r = torch.randint(0, 2, z.shape, generator=generator) * 2.0 - 1
            slopes = torch.autograd.grad(z, list(outs.values()), r, retain_graph=True)
            for n, slope in zip(outs, slopes, strict=True):
                squares[n] += slope.square()
        for n, square in squares.items():
            found[n].append(square)
    weights = {}
    for n in names:
        square = torch.cat(found.pop(n))
        each = square.flatten(1).mean(1).clamp(min=1e-30).view(-1, *[1] * (square.dim() - 1))
        square = square / each.sqrt()
        square = square / square.mean().clamp(min=1e-30)
        weights[n] = (0.5 + 0.5 * square.clamp(max=20)).half()
    return weights


def _soften(layer: nn.Module, base: int, axis: int | None, group: int | None, clip: str) -> None:
    """Let the layer compute with a SoftRounding of its weight, and give it a bias to train."""
    form = layout(layer.weight, axis, group)
    scale, zero = choose_qparams(form.split(layer.weight.detach()).float(), base, clip=clip)
    soft = SoftRounding(layer.weight, form, base, scale, zero)
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
    members = list(unit.modules())
    soft = [m for m in members if isinstance(m, SoftRounding)]
    active = [m for m in members if isinstance(m, Activation) and m.bits is not None]
    biases = [m.bias for m in members if "weight" in getattr(m, "parametrizations", {})]
    groups = [{"params": [s.v for s in soft], "lr": lr},
              {"params": [p for s in soft for p in (s.g, s.o)], "lr": 2e-3},
              {"params": biases, "lr": 1e-3 * float(target.std().clamp(min=1e-6))}]
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
        groups.append({"params": [a.scale], "lr": 1e-3 * float(a.scale)})
        a.scale.requires_grad_()
    optimizer = torch.optim.Adam(groups)
    decay = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        [lambda i: 1.0] + [lambda i: half_cosine(i / max(1, steps))] * (len(groups) - 1))
    # Drawing a mask took a quarter of a step's time: one is drawn, and entered anywhere each time.
    size = batch * x[0].numel()
    mask = torch.rand(2 * size, generator=generator) < mix
    for i in range(steps):
        pick = torch.randint(len(x), (batch,), generator=generator)
        entering = x[pick]
        if mix < 1:
            at = int(torch.randint(size, (), generator=generator))
            entering = torch.where(mask[at:at + size].view_as(entering), entering, clean[pick])
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
    if shared := [n for n, twins in sharing(small).items() if len(twins) > 1]:
        raise ValueError(f"brecq rounds each layer for itself, but {', '.join(shared)} share a "
                         "weight; take gptq, or give each layer its own")
    wanted = bits_by_layer(bits, named)
    bases = {n: code_count(b) for n, b in wanted.items()}
    if levels is not None:
        bases = {n: code_count(None, k) for n, k in bits_by_layer(levels, wanted).items()}
    if missed := [n for n in bases if n not in order]:
        raise ValueError(f"no input reached {', '.join(missed)}; leave them out of bits=")
    a_wanted = {} if a_bits is None else layer_bits(order, a_bits)
    weights = importance(plain, units(plain, calibration), calibration, generator)
    for name in units(small, calibration):
        unit, original = small.get_submodule(name), plain.get_submodule(name)
        x, clean = (_arriving(m, u, calibration) for m, u in ((small, unit), (plain, original)))
        with torch.no_grad():
            target = torch.cat([original(part) for part in clean.split(PIECE)])
        inside = [n for n in order if n == name or n.startswith(f"{name}.")]
        for n in inside:
            if n in a_wanted:
                before = getattr(named[n], "activation", None)
                attach(named[n], Activation(a_wanted[n], a_method, before and before.smooth))
        chosen = [n for n in inside if n in bases]
        for n in chosen:
            _soften(named[n], bases[n], axis, group, clip)
        if chosen:
            reconstruct(unit, x, clean, target, weights.pop(name), steps, batch, lr, weight, mix,
                        drop, generator)
        for n in chosen:
            _harden(named[n], wanted[n])
    return small.requires_grad_(True).train(model.training)


@torch.no_grad()
def _harden(layer: nn.Module, bits: int) -> None:
    """Replace the layer's SoftRounding by what it was rounded to."""
    q = layer.parametrizations.weight[0].quantized("brecq", bits)
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    store(layer, q)


METHODS: dict[str, Callable] = {"brecq": brecq}
