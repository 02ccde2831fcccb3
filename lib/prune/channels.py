"""Whole channels gone: a thinner net of the same kind, which needs no mask and no sparse kernel.

Which tensors belong to one channel is resolved by torch-pruning (Fang et al. 2023, DepGraph, arXiv
2301.12900). What it finds is not believed but tried: a group of channels is removed only if the
net without them answers as the whole net does with all their weights at 0. So the channels of a
residual stream whose shortcut pads (ResNet-20's), of a layer norm, of attention heads and of the
outputs stay whole, and those inside a block go.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lib.layers.inputs import Inputs, answer, first, run
from lib.layers.walk import LAYERS, TRANSPOSED
from lib.prune.choice import Looked, scores, weights
from lib.prune.ranking import Ranking

EXAMPLES = 2            # inputs that a trial of a removal looks at
CLOSE = 1e-3            # of the outputs' deviation: how far two nets of one function may lie apart


@dataclass(frozen=True)
class Part:
    """One layer's share in a group of channels. places: numbers along its outputs or its inputs;
    channels: to which of the group's channels each belongs."""

    layer: str
    side: str                       # outputs or inputs
    places: list[int]
    channels: list[int]


@torch.no_grad()
def narrowed(model: nn.Module, ranking: Ranking, name: str, amount: float, looked: Looked,
             multiple: int) -> nn.Module:
    """A copy of `model` without about a share `amount` of the channels of each group that can go.

    ranking: how much a weight is worth; a channel is worth the sum over its weights. Scope "model":
    compared over all groups, each group's mean being 1; else within its group. What stays of a
    group is a multiple of `multiple` channels, the nearest, and at least one multiple. The layers
    that became narrower carry `narrowed`. ValueError: no calibration, a quantized layer, or no
    group of which channels can go.
    """
    if looked.calibration is None:
        raise ValueError("channels are found by calling the model: pass calibration=, some hundred "
                         "of its inputs (task.calibration)")
    if quantized := [layer for layer, m in model.named_modules() if getattr(m, "compressed", {})]:
        raise ValueError(f"{quantized[0] or 'the model'} is quantized already; remove channels "
                         "before quantizing")
    example = first(looked.calibration, EXAMPLES)
    tensors = weights(model)
    worth = scores(ranking, name, tensors, looked)
    by_layer = {module: worth[key] for key, t in tensors.items() for module, _ in t.places}
    roots = [layer for layer, module in model.named_modules() if isinstance(module, LAYERS)]
    values = {}
    for root in _free(model, roots, example):
        values[root] = _worth(_group(copy.deepcopy(model), root, None, example)[1], by_layer)
    if not values:
        raise ValueError(f"no channels of {type(model).__name__} can be removed without changing "
                         "what the others compute; take structure='unstructured'")
    before = {layer: m.weight.shape for layer, m in model.named_modules() if _has_width(m)}
    for root, goes in _going(values, amount, ranking.scope, multiple).items():
        tried = _removed(model, root, goes, example) if goes else None
        model = tried[0] if tried else model
    for layer, shape in before.items():
        module = model.get_submodule(layer)
        module.narrowed = getattr(module, "narrowed", False) or module.weight.shape != shape
    return model


def _has_width(module: nn.Module) -> bool:
    return isinstance(module, (*LAYERS, *TRANSPOSED, _BatchNorm)) and module.weight is not None


def _free(model: nn.Module, roots: list[str], example: Inputs) -> list[str]:
    """Of these layers those that begin a group of channels that can go, each group once."""
    found, covered = [], set()
    for root in roots:
        count = len(model.get_submodule(root).weight)
        if root in covered or count < 4:
            continue
        tried = _removed(model, root, [0, count // 2, count - 1], example)  # apart, so that shifted
        if tried is not None:                                               # channels are noticed
            found.append(root)
            covered |= {part.layer for part in tried[1] if part.side == "outputs"}
    return found


def _group(model: nn.Module, root: str, channels: list[int] | None, example: Inputs
           ) -> tuple[object, list[Part]]:
    """torch-pruning's group of the outputs `channels` (None: all) of a layer of `model`, and the
    same as plain parts. ValueError for a kind of layer whose part in it is not known here."""
    import torch_pruning  # two seconds, for this structure alone

    names = {id(module): layer for layer, module in model.named_modules()}
    given = example if isinstance(example, dict) else (
        example if isinstance(example, tuple) else (example,))
    with torch.enable_grad():           # the graph is traced by autograd
        for parameter in model.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        graph = torch_pruning.DependencyGraph().build_dependency(
            model, example_inputs=given, output_transform=answer, verbose=False)
    module = model.get_submodule(root)
    prune_outputs = graph.get_pruner_of_module(module).prune_out_channels
    channels = list(range(len(module.weight))) if channels is None else channels
    group = graph.get_pruning_group(module, prune_outputs, channels)
    if not graph.check_pruning_group(group) and len(channels) < len(module.weight):
        raise ValueError("a layer of the group would have no channels left")
    parts = []
    for item in group:
        target = item.dep.target.module
        if id(target) not in names:
            if isinstance(target, nn.Parameter):
                raise ValueError("a parameter outside of any layer depends on these channels")
            continue                    # an operation without weights
        if next(target.parameters(recurse=False), None) is None:
            continue
        if not _has_width(target):
            raise ValueError(f"what a {type(target).__name__} does with its channels is not known")
        side = "outputs" if graph.is_out_channel_pruning_fn(item.dep.handler) else "inputs"
        if isinstance(target, _BatchNorm):
            side = "outputs"
        parts.append(Part(names[id(target)], side, list(item.idxs), list(item.root_idxs)))
    return group, parts


def _removed(model: nn.Module, root: str, channels: list[int], example: Inputs
             ) -> tuple[nn.Module, list[Part]] | None:
    """A copy of `model` without these outputs of a layer and all that belongs to them, and what was
    removed; None where the others would then compute something else."""
    thin = copy.deepcopy(model)
    learning = {name: p.requires_grad for name, p in thin.named_parameters()}
    try:
        group, parts = _group(thin, root, channels, example)
        group.prune(record_history=False)
        same = _alike(_silenced(model, parts), thin, example)
    except Exception:           # noqa: BLE001  whatever tracing or calling the net stumbles over
        return None
    for name, parameter in thin.named_parameters():
        parameter.requires_grad_(learning[name])
    return (thin, parts) if same else None


def _silenced(model: nn.Module, parts: list[Part]) -> nn.Module:
    """A copy in which all weights of the parts are 0, so that their channels say nothing."""
    silent = copy.deepcopy(model)
    for part in parts:
        module = silent.get_submodule(part.layer)
        if part.side == "inputs" and not _is_depthwise(module):
            module.weight[:, part.places] = 0
            continue
        module.weight[part.places] = 0
        if module.bias is not None:
            module.bias[part.places] = 0
    return silent


def _is_depthwise(module: nn.Module) -> bool:
    return getattr(module, "groups", 1) > 1 and module.weight.shape[1] == 1


def _alike(model: nn.Module, other: nn.Module, example: Inputs) -> bool:
    one, two = (answer(run(net.eval(), example)) for net in (model, other))
    return one.shape == two.shape and bool(
        (one - two).abs().max() <= CLOSE * one.std() + 1e-6)


def _worth(parts: list[Part], by_layer: Mapping[str, Tensor]) -> Tensor:
    """(channels,): the sum of the scores of all weights that a channel takes with it."""
    count = 1 + max(channel for part in parts for channel in part.channels)
    total = torch.zeros(count)
    for part in parts:
        if part.layer not in by_layer:
            continue                    # a norm
        score = by_layer[part.layer].cpu()
        rows = score if part.side == "outputs" else score.transpose(0, 1)
        each = rows.reshape(len(rows), -1).sum(1)[part.places]
        total.index_add_(0, torch.tensor(part.channels), each)
    return total


def _going(values: Mapping[str, Tensor], amount: float, scope: str, multiple: int
           ) -> dict[str, list[int]]:
    """Root -> which of its channels go."""
    if scope == "model":
        scaled = {root: worth / worth.mean().clamp(min=1e-12) for root, worth in values.items()}
        every = torch.cat(list(scaled.values()))
        count = round(amount * len(every))
        limit = every.kthvalue(count).values if count else -torch.inf
        stays = {root: int((worth > limit).sum()) for root, worth in scaled.items()}
    else:
        stays = {root: round((1 - amount) * len(worth)) for root, worth in values.items()}
    goes = {}
    for root, worth in values.items():
        left = max(1, round(stays[root] / multiple)) * multiple
        least = worth.argsort(stable=True)
        goes[root] = sorted(least[:max(0, len(worth) - left)].tolist())
    return goes
