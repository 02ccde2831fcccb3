"""What goes on during a training: masks that grow, and what a net is stored as when it is over."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib import prune, quant
from lib.base.possible import NESTED, NESTED_WIDTHS, WITHIN
from lib.base.setting import Setting
from lib.compress.steps import SENSITIVITY_BY, levels, quantized, widths
from lib.layers.inputs import Inputs
from lib.prune.seen import Losses
from lib.quant import nested, packing, qat, unfold


class Prepared(NamedTuple):
    """A model to train; what `fit` is to do after each step, and by which groups it learns, where
    that is not as usual."""

    model: nn.Module
    after_step: Callable[[nn.Module, int], None] | None = None
    groups: Callable[[nn.Module], list[dict]] | None = None


def prepared(model: nn.Module, setting: Setting, how: Mapping, steps: int, calibration: Inputs,
             losses: Losses, generator: torch.Generator | None = None,
             rounded: nn.Module | None = None) -> Prepared:
    """What to train in place of `model`, which may be changed: channels are gone at once, weights
    as the setting's schedule wants it; a quantizer stands where it is to be trained through.

    how: arguments of `fit` for the training that follows; steps: of each of its epochs; rounded:
    what the setting's quantizer makes of `model`, where that is at hand; the others as of `apply`.
    """
    given = {"calibration": calibration, "losses": losses, "generator": generator}
    if setting.stage in WITHIN:
        if setting.pruner and len(setting.stages) == 1:
            model = prune.prune(model, setting.pruner, setting.amount, setting.structure, **given)
        learnt = partial(qat.groups, lr=how["lr"], weight_decay=how.get("weight_decay", 0.0),
                         optimizer=how.get("optimizer", "adam"))
        if setting.stage == NESTED:
            return Prepared(nested.nest(model, NESTED_WIDTHS), qat.keep_steps, learnt)
        ready = _through(model, setting, calibration, generator, rounded)
        return Prepared(ready, qat.keep_steps, learnt)
    if not setting.pruner:
        return Prepared(model)
    if setting.narrows:
        return Prepared(prune.prune(model, setting.pruner, setting.amount, setting.structure,
                                    **given))
    pruning = prune.Pruning(setting.pruner, setting.amount, setting.schedule, how["epochs"], steps,
                            setting.structure, **given)
    pruning.begin(model)
    return Prepared(model, pruning)


def _through(model: nn.Module, setting: Setting, calibration: Inputs,
             generator: torch.Generator | None, rounded: nn.Module | None) -> nn.Module:
    """The model behind its quantizer; "lsq" starts from what the setting's one makes of it, with
    norms where that has none any more."""
    method = setting.quantizer
    if setting.stage == "lsq":
        method = "lsq"
        if rounded is None:
            rounded = quantized(model, setting, calibration, generator)
        model = unfold.unfold_batch_norm(rounded, model, calibration)
    return quant.qat_prepare(
        model, method, bits=widths(model, setting, calibration), a_bits=setting.a_bits,
        axis=None if setting.granularity == "tensor" else 0, group=setting.group,
        calibration=calibration, levels=levels(model, setting, calibration),
        slope="ranges" if method.startswith("edge_") else "clipped")


def finished(model: nn.Module, setting: Setting) -> nn.Module:
    """A prepared model when its training is over: what was trained through has become codes; a
    nested one is as it was trained, for `at_width` to choose from."""
    if setting.stage in WITHIN and setting.stage != NESTED:
        return unfold.fold_unfolded(quant.qat_convert(model))
    return model


def packed(model: nn.Module, setting: Setting) -> tuple[dict, dict[str, Tensor]]:
    """A finished model as it is stored, masked or quantized or narrowed: a JSON-able header, and
    tensors; of a nested one all that it has learned."""
    if setting.stage == NESTED:
        return {}, _tensors(model)
    header, payload = packing.described(model)
    return header, {"payload": payload}


def unpacked(whole: nn.Module, setting: Setting, header: dict, arrays: Mapping[str, Tensor]
             ) -> nn.Module:
    """What was `packed`, from a model that is built as that one was; of a nested one what it is at
    the setting's bits."""
    if setting.stage != NESTED:
        return packing.restored(whole, header, arrays["payload"])
    ready = nested.nest(whole, NESTED_WIDTHS)
    for name, value in _tensors(ready).items():
        value.copy_(arrays[name])
    return nested.at_width(ready, setting.bits)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers, those too that no state_dict holds: a net that others trained
    has input statistics of its own."""
    return {name: value.detach() for name, value in (*model.named_parameters(),
                                                     *model.named_buffers())}


def nested_loss(loss: Callable, classes: bool) -> Callable:
    """`loss` at the widest width, and how far the others answer from it (`quant.nested`)."""
    return nested.nested_loss(loss, NESTED_WIDTHS, classes)


def is_random(setting: Setting) -> bool:
    """Whether what a setting asks for, beyond trainings, draws at random: levels, or weights."""
    rounds = bool(setting.afterwards.quantizer) and quant.is_random(setting.quantizer)
    picks = bool(setting.pruner) and not setting.trains and prune.is_random(setting.pruner)
    return rounds or picks


def code_of(setting: Setting) -> list[str]:
    """The modules of lib by which a setting's net is compressed, and its training prepared."""
    methods = [f"lib.prune.{prune.file_of(setting.pruner).stem}"] if setting.pruner else []
    quantizers = [setting.quantizer] if setting.quantizer else []
    if setting.allocation:
        quantizers.append(SENSITIVITY_BY)
    methods += [f"lib.quant.{quant.file_of(name).stem}" for name in quantizers]
    return ["lib.compress.during", *methods]
