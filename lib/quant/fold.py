"""What a network's layers can do for each other before and after rounding.

Batch-norm folding and cross-layer equalization change no output, only the weights' ranges; bias
correction and re-estimated batch-norm repair, from calibration inputs, what rounding shifted.
Each returns a new model.
"""

from functools import partial

import torch
from torch import Tensor, fx, nn

from lib.layers.inputs import examples, gathered, pieces, run
from lib.layers.walk import LAYERS
from lib.quant.graph import Folded, argument, chain, once, only_reader
from lib.quant.layers import bare_copy, layers, refuse_quantized

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# max(c·x) = c·max(x) for c > 0: a channel's scale passes through all of these.
HOMOGENEOUS = (nn.ReLU, nn.Identity, nn.Dropout, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
HOMOGENEOUS_CALLS = ("relu", "relu_", "dropout", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d")


@torch.no_grad()
def fold_batch_norm(model: nn.Module) -> nn.Module:
    """Fold each batch-norm into the layer before it, in evaluation mode exactly:
    w′ = w·γ/√(var + ε), b′ = (b − mean)·γ/√(var + ε) + β. The norm becomes an identity.

    Norms that follow anything but a Linear or convolution used once, with no other reader, stay,
    and so do those over another number of channels than the layer puts out. ValueError if a model
    with batch-norm cannot be traced, and for a layer that is quantized already.
    """
    folded = bare_copy(model)
    if not any(isinstance(m, NORMS) for m in folded.modules()):
        return folded.train(model.training)
    graph, modules = chain(folded)
    alone = once(folded, graph)
    for node in graph.nodes:
        norm = modules.get(node.target) if node.op == "call_module" else None
        before = argument(node) if isinstance(norm, NORMS) else None
        if not isinstance(before, fx.Node) or before.op != "call_module" \
                or not isinstance(modules[before.target], LAYERS) or only_reader(before) is None \
                or not {node.target, before.target} <= alone or norm.running_var is None \
                or norm.num_features != len(modules[before.target].weight):
            continue
        layer = modules[before.target]
        refuse_quantized(layer, before.target, "folding a batch-norm into it")
        refuse_quantized(norm, node.target, "folding it away")
        _take_over(layer, norm)
        parent, _, name = node.target.rpartition(".")
        whole = Folded() if isinstance(layer, nn.Linear) else nn.Identity()
        setattr(folded.get_submodule(parent), name, whole)
    return folded.train(model.training)


def _take_over(layer: nn.Module, norm: nn.Module) -> None:
    """Let the layer do what the norm after it did, in 32-bit floats at least."""
    gain = (norm.running_var.to(_wide(norm.running_var)) + norm.eps).rsqrt()   # (out,)
    if norm.affine:
        gain = gain * norm.weight
    offset = 0 if layer.bias is None else layer.bias
    shift = (offset - norm.running_mean) * gain + (norm.bias if norm.affine else 0)
    layer.weight.copy_(layer.weight * gain.view(-1, *[1] * (layer.weight.dim() - 1)))
    layer.bias = nn.Parameter(shift.to(layer.weight.dtype))


def _wide(values: Tensor) -> torch.dtype:
    return torch.promote_types(values.dtype, torch.float32)


@torch.no_grad()
def cross_layer_equalize(model: nn.Module, rounds: int = 10) -> nn.Module:
    """Give the two sides of each ReLU equal ranges (Nagel et al. 2019, arXiv 1906.04721).

    Output channel i of a layer, divided by s = √(r₁ᵢ/r₂ᵢ), is undone in the next layer's input
    channel i; r are the channel's largest absolute weights on either side. Fold batch-norm first:
    only layers joined by nothing but ReLU, pooling and identities are paired. ValueError for a
    model that cannot be traced, and for a layer that is quantized already.
    """
    equal = bare_copy(model)
    graph, modules = chain(equal)
    alone, pairs = once(equal, graph), []
    for node in graph.nodes:
        first = modules.get(node.target) if node.op == "call_module" else None
        if not isinstance(first, LAYERS) or node.target not in alone:
            continue
        reader = only_reader(node)
        while reader is not None and _is_homogeneous(reader, modules):
            reader = only_reader(reader)
        second = modules.get(reader.target) if reader and reader.op == "call_module" else None
        if type(second) is type(first) and reader.target in alone \
                and (second.weight.shape[1] == len(first.weight) or _depthwise(second)):
            for layer, name in ((first, node.target), (second, reader.target)):
                refuse_quantized(layer, name, "equalizing")
                _refuse_smoothed(layer, name)
            pairs.append((first, second))
    for _ in range(rounds):
        for first, second in pairs:
            out = first.weight.flatten(1).abs().amax(1)                        # (channels,)
            w = second.weight if _depthwise(second) else second.weight.transpose(0, 1)
            into = w.flatten(1).abs().amax(1)
            s = torch.where((out > 0) & (into > 0), (out / into).sqrt(), 1).clamp(1e-6, 1e6)
            first.weight.div_(s.view(-1, *[1] * (first.weight.dim() - 1)))
            if first.bias is not None:
                first.bias.div_(s)
            w.mul_(s.view(-1, *[1] * (w.dim() - 1)))
    return equal.train(model.training)


def _is_homogeneous(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return isinstance(modules[node.target], HOMOGENEOUS)
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return node.op in ("call_function", "call_method") and name in HOMOGENEOUS_CALLS


def _depthwise(layer: nn.Module) -> bool:
    """Whether each output channel has an input channel of its own: one channel alone is plain."""
    groups = getattr(layer, "groups", 1)
    return groups > 1 and groups == layer.in_channels == len(layer.weight)


def _refuse_smoothed(layer: nn.Module, name: str) -> None:
    if getattr(layer, "activation", None) is not None:
        raise ValueError(f"what enters {name} is smoothed or rounded by its old range; equalize "
                         "the model before that")


@torch.no_grad()
def correct_bias(model: nn.Module, original: nn.Module, calibration) -> nn.Module:
    """Shift the biases so that every layer's mean output, channel by channel, is the original's on
    the calibration inputs (arXiv 1906.04721, measured instead of derived). One pass each; a layer
    is corrected before the next one sees its output. Layers without a bias get one. A layer that is
    called several times is corrected after the others, by the mean over its calls."""
    fixed, calibration = bare_copy(model), gathered(calibration, model)
    means, changed = _mean_outputs(bare_copy(original), calibration), layers(fixed)
    again = [name for name, (_, calls) in means.items() if calls > 1]

    def shift(layer: nn.Module, _, y: Tensor, name: str) -> Tensor:
        last = _channels_last(layer, y)
        change = means[name][0] - last.flatten(0, -2).mean(0)
        _add_to_bias(layer, change)
        return last + change if isinstance(layer, nn.Linear) else (last + change).movedim(-1, 1)

    hooks = [changed[name].register_forward_hook(partial(shift, name=name))
             for name in means if name not in again]
    run(fixed, calibration)
    for hook in hooks:
        hook.remove()
    for name in again:
        _add_to_bias(changed[name], means[name][0] - _mean_outputs(fixed, calibration)[name][0])
    return fixed.train(model.training)


def _channels_last(layer: nn.Module, y: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return y
    return y.movedim(1 if y.dim() == layer.weight.dim() else 0, -1)


def _mean_outputs(model: nn.Module, calibration) -> dict[str, tuple[Tensor, int]]:
    """Each layer's mean output, (channels,), over all its calls, and how many calls these were."""
    found: dict[str, tuple[Tensor, int]] = {}

    def record(layer: nn.Module, _, y: Tensor, name: str) -> None:
        mean = _channels_last(layer, y).flatten(0, -2).mean(0)
        before, calls = found.get(name, (mean, 0))
        found[name] = (before + (mean - before) / (calls + 1), calls + 1)

    hooks = [layer.register_forward_hook(partial(record, name=name))
             for name, layer in layers(model).items()]
    run(model, calibration)
    for hook in hooks:
        hook.remove()
    return found


def _add_to_bias(layer: nn.Module, change: Tensor) -> None:
    layer.bias = nn.Parameter(change if layer.bias is None else layer.bias + change)
    if "bias" in getattr(layer, "compressed", {}):                  # its codes say another one
        layer.compressed = {k: q for k, q in layer.compressed.items() if k != "bias"}


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, calibration, batch: int = 128) -> nn.Module:
    """Running means and variances measured anew on the calibration inputs, the average over their
    batches: the control that says how much of a repair is nothing but shifted statistics."""
    fresh, calibration = bare_copy(model), gathered(calibration, model)
    norms = [m for m in fresh.modules() if isinstance(m, NORMS)]
    if not norms:
        return fresh.train(model.training)
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None                                   # a plain average
        norm.train()
    count = max(1, examples(calibration) // batch)  # equal ones: one example alone has no variance
    for piece in pieces(calibration, -(-examples(calibration) // count)):
        run(fresh, piece)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    return fresh.train(model.training)
