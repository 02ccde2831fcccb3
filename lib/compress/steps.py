"""The one path from what was asked for to a smaller model: each step by name, in a fixed order."""

from collections.abc import Callable

import pandas as pd
import torch
from torch import nn

from lib import prune, quant
from lib.base.setting import Setting
from lib.layers.inputs import Inputs, first, gathered
from lib.layers.recomputed import bare_copy
from lib.prune.seen import Losses
from lib.quant import allocate, fold
from lib.quant.activations import in_order
from lib.quant.layers import layers

SMOOTHING = 0.5             # SmoothQuant's alpha, as its authors take it (arXiv 2211.10438)
# Mixed precision: who rounds the one layer whose sensitivity is looked at, to how many values, on
# how many inputs.
SENSITIVITY_BY = "gptq"
SENSITIVITY_LEVELS = (3, 4, 6, 8, 16, 64, 256)
SENSITIVITY_INPUTS = 256


def apply(model: nn.Module, setting: Setting, calibration: Inputs | None = None,
          generator: torch.Generator | None = None,
          sensitivity: Callable[[], pd.DataFrame] | None = None, losses: Losses | None = None
          ) -> nn.Module:
    """A copy of `model` with what `setting` asks of weights and activations.

    In order: batch-norm folded, layers equalized; pruned and quantized, in the setting's order
    (smoothed first, if asked); biases corrected, batch-norm's statistics measured anew.
    calibration: some hundred inputs, for what looks at inputs; generator: for what draws at random;
    sensitivity: gives the table that a budget is spent by, where it is at hand already; losses: a
    model's loss on each of some batches, for what looks at gradients.
    ValueError: what the methods refuse.
    """
    repairs, calibration = setting.repairs.split(), gathered(calibration, model)
    small = bare_copy(model)
    if "folded" in repairs:
        small = fold.fold_batch_norm(small)
    if "equalized" in repairs:
        small = fold.cross_layer_equalize(small)
    whole = small
    steps = {"prune": lambda net: _pruned(net, setting, calibration, generator, losses),
             "quantize": lambda net: quantized(net, setting, calibration, generator, sensitivity)}
    for step in (setting.order or "prune quantize").split():
        small = steps[step](small)
    if "corrected" in repairs:
        small = fold.correct_bias(small, whole, calibration)
    if "reestimated" in repairs:
        small = fold.reestimate_batch_norm(small, calibration)
    return small


def asked(setting: Setting) -> bool:
    """Does this setting ask anything of a trained net's weights or activations?"""
    return bool(setting.quantizer or setting.a_bits or setting.pruner or setting.repairs)


def _pruned(model: nn.Module, setting: Setting, calibration: Inputs | None,
            generator: torch.Generator | None, losses: Losses | None) -> nn.Module:
    if not setting.pruner:
        return model
    return prune.prune(model, setting.pruner, setting.amount, setting.structure, calibration,
                       losses, generator)


def quantized(model: nn.Module, setting: Setting, calibration: Inputs | None,
              generator: torch.Generator | None,
              sensitivities: Callable[[], pd.DataFrame] | None = None) -> nn.Module:
    """A copy of `model` with what the setting asks of quantization."""
    if not setting.quantizer:
        return model
    options: dict = {}
    if setting.levels:
        options["levels"] = levels(model, setting, calibration)
    if setting.steps:
        options["steps"] = setting.steps
    if "smooth" in setting.repairs.split():
        options["smooth"] = SMOOTHING
    if setting.a_bits:
        options |= {"a_bits": setting.a_bits, "a_method": setting.a_quantizer}
    if setting.allocation:
        table = sensitivities() if sensitivities else sensitivity(model, calibration)
        options["levels"] = spent(table, *setting.allocation)
    bits = widths(model, setting, calibration)
    return quant.ptq(model, setting.quantizer, bits=bits, calibration=calibration,
                     axis=None if setting.granularity == "tensor" else 0, group=setting.group,
                     generator=generator, **options)


def widths(model: nn.Module, setting: Setting, calibration: Inputs | None) -> int | dict[str, int]:
    """Bits for all layers, or by layer where the first and the last get others."""
    bits = (setting.levels - 1).bit_length() if setting.levels else setting.bits or 8
    if not setting.ends:
        return bits
    named = list(layers(model))
    order = in_order(model, calibration) if calibration is not None else named
    return dict.fromkeys(named, bits) | dict.fromkeys((order[0], order[-1]), setting.ends)


def levels(model: nn.Module, setting: Setting, calibration: Inputs | None
           ) -> int | dict[str, int] | None:
    """How many levels, for all layers or by layer; None where bits are asked for."""
    if not setting.ends or not setting.levels:
        return setting.levels
    most = 2**setting.ends
    return {name: most if bits == setting.ends else setting.levels
            for name, bits in widths(model, setting, calibration).items()}


def sensitivity(model: nn.Module, calibration: Inputs) -> pd.DataFrame:
    """How far the answers move when one layer alone gets few levels, one line a layer and number of
    levels (`quant.allocate.sensitivity`): by the outputs' divergence, or for a single output by its
    square error."""
    few = first(gathered(calibration, model), SENSITIVITY_INPUTS)
    return allocate.sensitivity(model, few, method=SENSITIVITY_BY, clip="mse",
                                levels=SENSITIVITY_LEVELS)


def spent(table: pd.DataFrame, bits: int, how: str) -> dict[str, int]:
    """{layer: levels} for the bytes of `bits` a weight; how: exact, or greedy."""
    choose = {"exact": allocate.allocate, "greedy": allocate.greedy}[how]
    return choose(table, allocate.budget(table, bits), "levels")
