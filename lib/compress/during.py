"""What goes on during a training: masks that grow, and what a net is stored as when it is over."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from lib import prune
from lib.base.setting import Setting
from lib.layers.inputs import Inputs
from lib.prune.seen import Losses
from lib.quant import packing

AfterStep = Callable[[nn.Module, int], None]


def prepared(model: nn.Module, setting: Setting, epochs: int, steps: int, calibration: Inputs,
             losses: Losses, generator: torch.Generator | None = None
             ) -> tuple[nn.Module, AfterStep | None]:
    """A model to train in place of `model`, which may be changed, and what is to be done after each
    step: channels are gone at once, weights as the setting's schedule wants it.

    epochs, steps: of the training that follows, and of each epoch; the others as of `apply`.
    """
    given = {"calibration": calibration, "losses": losses, "generator": generator}
    if not setting.pruner:
        return model, None
    if setting.narrows:
        return prune.prune(model, setting.pruner, setting.amount, setting.structure, **given), None
    pruning = prune.Pruning(setting.pruner, setting.amount, setting.schedule, epochs, steps,
                            setting.structure, **given)
    pruning.begin(model)
    return model, pruning


def packed(model: nn.Module) -> tuple[Mapping, Tensor]:
    """A model as it is stored, masked or quantized or narrowed: a JSON-able header, and bytes."""
    return packing.described(model)


def unpacked(whole: nn.Module, header: Mapping, payload: Tensor) -> nn.Module:
    """What was `packed`, from a model that is built as that one was."""
    return packing.restored(whole, header, payload)


def code_of(setting: Setting) -> list[str]:
    """The modules of lib by which such a training is prepared."""
    methods = [f"lib.prune.{prune.file_of(setting.pruner).stem}"] if setting.pruner else []
    return ["lib.compress.during", *methods]
