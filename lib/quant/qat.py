"""Quantization-aware training: a model that rounds as it will, and learns nonetheless.

    ready = qat_prepare(model, "lsq", bits=4, a_bits=4, calibration=x)
    train.fit(ready, task, …)
    small = qat_convert(ready)          # the very Quantized tensors of `ptq`, the same answers
"""

import copy
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lib.layers.codes import code_count
from lib.layers.inputs import gathered, run
from lib.layers.stored import Affine, Quantized
from lib.quant import zeros
from lib.quant.activations import Activation, attach, in_order, layer_bits
from lib.quant.layers import bare_copy, bits_by_layer, layers, settle
from lib.quant.learned import LearnedActivation, LearnedRounding, StraightThrough
from lib.quant.lift import METHODS, needs_inputs
from lib.quant.lsq import lsq
from lib.quant.nested import NestedRounding

ROUNDINGS = (LearnedRounding, StraightThrough)


@torch.no_grad()
def qat_prepare(model: nn.Module, method: str = "lsq", bits: int | Mapping[str, int] = 4,
                a_bits: int | None = None, axis: int | None = 0, group: int | None = None,
                calibration=None, levels: int | Mapping[str, int] | None = None,
                slope: str = "clipped") -> nn.Module:
    """A copy of `model` whose weights, and inputs of layers, are rounded in every forward pass, and
    learn through it.

    method: "lsq", grids whose steps are learned; or a quantizer of `quant.METHODS` that acts on one
    weight and needs no inputs, computed anew in each pass, its gradient passed straight through
    (slope: `StraightThrough`). Where a layer is quantized already to an even grid (by GPTQ, by
    block reconstruction), "lsq" starts from that grid and those weights, and where its inputs are
    rounded already from those steps. a_bits, bits, axis, group, levels, calibration: as of `ptq`;
    the first and the last layer's inputs get 8 bits or more. Pruned weights stay 0.
    ValueError: no layer, a method that cannot be trained through, no calibration for a_bits.
    """
    ready, calibration = bare_copy(model).train(model.training), gathered(calibration, model)
    named = layers(ready)
    if not named:
        raise ValueError(f"{type(model).__name__} has no Linear or convolution to train through")
    if isinstance(levels, Mapping):
        bits = {name: (count - 1).bit_length() for name, count in levels.items()}
    for name, wanted in bits_by_layer(bits, named).items():
        own = levels[name] if isinstance(levels, Mapping) else levels
        rounding = _rounding(named[name], name, method, wanted, own, axis, group, slope)
        named[name].qat = (method, wanted)
        vars(named[name]).pop("compressed", None)       # what it says changes from now on
        parametrize.register_parametrization(named[name], "weight", rounding, unsafe=True)
    if a_bits is not None:
        _prepare_inputs(ready, a_bits, calibration)
    return ready


def _rounding(layer: nn.Module, name: str, method: str, bits: int, levels: int | None,
              axis: int | None, group: int | None, slope: str) -> nn.Module:
    weight, away = layer.weight.detach(), zeros.gone(layer)
    start = getattr(layer, "compressed", {}).get("weight")
    if method != "lsq":
        return StraightThrough(_again(name, method, bits, axis, group, away), slope)
    base = code_count(bits, levels)
    if not isinstance(start, Affine) or start.base != base:
        start = lsq(weight, bits, axis, group, levels=levels)
    count = len(start.layout.split(weight))
    scale, zero = (table.float().expand(count, 1) for table in (start.scale, start.zero))
    return LearnedRounding(start.layout, base, scale, zero, away)


def _again(name: str, method: str, bits: int, axis: int | None, group: int | None,
           away: Tensor | None) -> Callable[[Tensor], Quantized]:
    """The quantizer of one weight, as a function of that weight alone; what it draws comes from the
    global generator, which a training seeds."""
    known = METHODS.get(method)
    if not known or needs_inputs(known):
        trainable = [one for one in METHODS if not needs_inputs(METHODS[one])]
        raise ValueError(f"{name}: there is no training through {method!r}, which rounds by a "
                         f"layer's inputs or is not there; choose one of: {', '.join(trainable)}")
    quantize = partial(known, bits=bits, axis=axis, group=group)
    if away is None:
        return quantize
    return lambda w: zeros.with_zeros(quantize(w), w, away)


def _prepare_inputs(model: nn.Module, a_bits: int, calibration) -> None:
    """Round what enters each layer by a step that is learned, starting from a range chosen on the
    calibration inputs, or from where the layer's own rounding stands."""
    order = in_order(model, calibration) if calibration is not None else []
    missing = [name for name in layers(model) if _start_of(model, name) is None]
    if missing and calibration is None:
        raise ValueError("a_bits needs calibration=, some hundred inputs of the model "
                         "(task.calibration)")
    names = order or list(layers(model))
    wanted = layer_bits(names, a_bits)
    for name in [name for name in names if name in missing]:
        layer = model.get_submodule(name)
        before = getattr(layer, "activation", None)
        attach(layer, Activation(wanted[name], "mse", before and before.smooth))
    if missing:
        training = model.training
        run(model.eval(), calibration)
        model.train(training)
    for name in names:
        start = _start_of(model, name)
        if start is not None:
            attach(model.get_submodule(name), LearnedActivation(
                start.bits, start.method, start.smooth, start.scale, start.zero))


def _start_of(model: nn.Module, name: str) -> Activation | None:
    """The rounding of a layer's input that has a step already."""
    found = getattr(model.get_submodule(name), "activation", None)
    return found if found is not None and found.bits and found.scale is not None else None


def groups(model: nn.Module, lr: float, weight_decay: float, optimizer: str) -> list[dict]:
    """Parameters for `fit(groups=…)`: steps do not decay, and learn relatively to their size.

    Under SGD that is what LSQ's factor on their gradient is for. Adam moves whatever it is given by
    the rate itself, so that each tensor of steps gets the rate times their mean.
    """
    steps = [p for m in model.modules() for p in _steps(m)]
    ours = {id(step) for step in steps}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in ours]
    found = [{"params": rest, "lr": lr, "weight_decay": weight_decay}]
    for step in steps:
        own = lr * float(step.detach().abs().mean()) if optimizer.startswith("adam") else lr
        found.append({"params": [step], "lr": own, "weight_decay": 0.0})
    return found


@torch.no_grad()
def keep_steps(model: nn.Module, _: int = 0) -> None:
    """For `fit(after_step=…)`: no step falls below a small share of where it started, so that none
    becomes zero or negative, from where it would not come back."""
    for module in model.modules():
        for step in _steps(module):
            step.copy_(torch.maximum(step, module.least))


def _steps(module: nn.Module) -> list[nn.Parameter]:
    if isinstance(module, LearnedRounding | LearnedActivation):
        return [module.scale]
    return list(module.steps.values()) if isinstance(module, NestedRounding) else []


@torch.no_grad()
def qat_convert(model: nn.Module) -> nn.Module:
    """What a prepared model has learned, as `ptq` would leave it: quantized weights that remember
    their codes, and inputs rounded by steps that learn no more. A copy, of the same answers."""
    done = copy.deepcopy(model)
    for layer in list(done.modules()):
        if not parametrize.is_parametrized(layer, "weight"):
            continue
        rounding = layer.parametrizations["weight"][-1]
        if not isinstance(rounding, ROUNDINGS):
            continue
        settle(layer, _learned(layer, rounding))
        del layer.qat
    for layer in list(done.modules()):
        if isinstance(getattr(layer, "activation", None), LearnedActivation):
            layer.activation = layer.activation.settled()
    return done


def _learned(layer: nn.Module, rounding: nn.Module) -> Quantized:
    """A layer's weight as its rounding leaves it."""
    method, bits = layer.qat
    beneath = layer.parametrizations["weight"].original
    for part in list(layer.parametrizations["weight"])[:-1]:        # a mask, if it has one
        beneath = part(beneath)
    return rounding.quantized(beneath.detach(), method, bits)
