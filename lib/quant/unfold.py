"""Norms for the time of a training, where they had been folded away.

What is reconstructed block by block has its batch-norms folded into its layers, and without norms a
training through few levels does not hold: of ResNet-20 at two bits of weights and inputs, which
answered 87 % right, SGD at a tenth of the net's rate made chance within twenty steps.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from lib.layers.inputs import Inputs, run
from lib.layers.stored import Affine
from lib.quant.fold import NORMS
from lib.quant.graph import Folded, argument, chain
from lib.quant.layers import bare_copy, store


@torch.no_grad()
def unfold_batch_norm(model: nn.Module, whole: nn.Module, calibration: Inputs) -> nn.Module:
    """A copy of `model` with a norm in each place where `whole` has one and `model` no more.

    The norm takes away mean and deviation of what comes there from the calibration inputs, and
    gives them back as its shift and scale: in evaluation mode nothing changes.
    """
    ready, places = bare_copy(model), {}
    for name, norm in whole.named_modules():
        if isinstance(norm, NORMS) and isinstance(ready.get_submodule(name), nn.Identity):
            places[name] = norm
    seen: dict[str, Tensor] = {}
    hooks = [ready.get_submodule(name).register_forward_pre_hook(
        lambda module, args, name=name: seen.__setitem__(name, args[0])) for name in places]
    try:
        if places:
            run(ready, calibration)
    finally:
        for hook in hooks:
            hook.remove()
    for name, before in places.items():
        values = seen[name].transpose(0, 1).flatten(1)                  # (channels, …)
        norm = type(before)(before.num_features, before.eps, before.momentum).to(values)
        variance = values.var(1, unbiased=False)
        norm.running_mean.copy_(values.mean(1))
        norm.running_var.copy_(variance)
        norm.bias.copy_(norm.running_mean)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.unfolded = True
        owner, _, key = name.rpartition(".")
        setattr(ready.get_submodule(owner), key, norm)
    return ready.train(model.training)


@torch.no_grad()
def fold_unfolded(model: nn.Module) -> nn.Module:
    """A copy of a quantized model without the norms of `unfold_batch_norm`, of the same answers but
    for rounding: s′ = s·γ/√(var + ε) for the steps of an output channel, b′ as of
    `fold_batch_norm`. The codes stay. A norm after steps that several channels share stays too.
    """
    folded = bare_copy(model).train(model.training)
    if not any(getattr(module, "unfolded", False) for module in folded.modules()):
        return folded
    graph, modules = chain(folded)
    for node in graph.nodes:
        norm = modules.get(node.target) if node.op == "call_module" else None
        if not getattr(norm, "unfolded", False):
            continue
        layer = modules[argument(node).target]
        q = getattr(layer, "compressed", {}).get("weight")
        if not isinstance(q, Affine) or q.layout.axis is None:
            continue
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()       # (channels,)
        rows = len(q.layout.split(q.codes)) // len(gain)                # slices of each channel
        q = replace(q, scale=q.scale.float() * gain.repeat_interleave(rows)[:, None])
        before = 0 if layer.bias is None else layer.bias
        layer.bias = nn.Parameter((before - norm.running_mean) * gain + norm.bias)
        store(layer, q)
        owner, _, key = node.target.rpartition(".")
        setattr(folded.get_submodule(owner), key,
                Folded() if isinstance(layer, nn.Linear) else nn.Identity())
    return folded
