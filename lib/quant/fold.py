"""What a network's layers can do for each other before and after rounding.

Batch-norm folding and cross-layer equalization change no output, only the weights' ranges; bias
correction and re-estimated batch-norm repair, from calibration inputs, what rounding shifted.
Each returns a new model.
"""

import torch
from torch import Tensor, fx, nn

from lib.quant.layers import LAYERS, bare_copy, layers, run

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
# max(c·x) = c·max(x) for c > 0: a channel's scale passes through all of these.
HOMOGENEOUS = (nn.ReLU, nn.Identity, nn.Dropout, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
HOMOGENEOUS_CALLS = ("relu", "relu_", "dropout", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d")


def _chain(model: nn.Module) -> tuple[fx.Graph, dict[str, nn.Module]]:
    """The model's computation as a graph, and its modules by name."""
    try:
        graph = fx.Tracer().trace(model)
    except Exception as error:
        raise ValueError(f"{type(model).__name__} cannot be traced ({error}); its forward must not "
                         "branch on values or shapes") from error
    return graph, dict(model.named_modules())


def _only_reader(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _calls(graph: fx.Graph) -> dict[str, int]:
    return {t: sum(n.op == "call_module" and n.target == t for n in graph.nodes)
            for t in {n.target for n in graph.nodes if n.op == "call_module"}}


@torch.no_grad()
def fold_batch_norm(model: nn.Module) -> nn.Module:
    """Fold each batch-norm into the layer before it, in evaluation mode exactly:
    w′ = w·γ/√(var + ε), b′ = (b − mean)·γ/√(var + ε) + β. The norm becomes an identity.

    Norms that follow anything but a Linear or convolution used once, with no other reader, stay.
    ValueError if a model with batch-norm cannot be traced.
    """
    folded = bare_copy(model)
    if not any(isinstance(m, NORMS) for m in folded.modules()):
        return folded.train(model.training)
    graph, modules = _chain(folded)
    calls = _calls(graph)
    for node in graph.nodes:
        norm = modules.get(node.target) if node.op == "call_module" else None
        before = node.args[0] if isinstance(norm, NORMS) else None
        if not isinstance(before, fx.Node) or before.op != "call_module" \
                or not isinstance(modules[before.target], LAYERS) or _only_reader(before) is None \
                or calls[node.target] > 1 or calls[before.target] > 1 or norm.running_var is None:
            continue
        layer = modules[before.target]
        gain = (norm.running_var + norm.eps).rsqrt()                           # (out,)
        if norm.affine:
            gain = gain * norm.weight
        offset = 0 if layer.bias is None else layer.bias
        shift = (offset - norm.running_mean) * gain + (norm.bias if norm.affine else 0)
        layer.weight.mul_(gain.view(-1, *[1] * (layer.weight.dim() - 1)))
        layer.bias = nn.Parameter(shift)
        parent, _, name = node.target.rpartition(".")
        setattr(folded.get_submodule(parent), name, nn.Identity())
    return folded.train(model.training)


@torch.no_grad()
def cross_layer_equalize(model: nn.Module, rounds: int = 10) -> nn.Module:
    """Give the two sides of each ReLU equal ranges (Nagel et al. 2019, arXiv 1906.04721).

    Output channel i of a layer, divided by s = √(r₁ᵢ/r₂ᵢ), is undone in the next layer's input
    channel i; r are the channel's largest absolute weights on either side. Fold batch-norm first:
    only layers joined by nothing but ReLU, pooling and identities are paired.
    """
    equal = bare_copy(model)
    graph, modules = _chain(equal)
    calls, pairs = _calls(graph), []
    for node in graph.nodes:
        first = modules.get(node.target) if node.op == "call_module" else None
        if not isinstance(first, LAYERS) or calls[node.target] > 1:
            continue
        reader = _only_reader(node)
        while reader is not None and _is_homogeneous(reader, modules):
            reader = _only_reader(reader)
        second = modules.get(reader.target) if reader and reader.op == "call_module" else None
        if type(second) is type(first) and calls[reader.target] == 1 \
                and (second.weight.shape[1] == len(first.weight) or _depthwise(second)):
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
    return getattr(layer, "groups", 1) == len(layer.weight)


@torch.no_grad()
def correct_bias(model: nn.Module, original: nn.Module,
                 calibration: Tensor | tuple[Tensor, ...]) -> nn.Module:
    """Shift the biases so that every layer's mean output, channel by channel, is the original's on
    the calibration inputs (arXiv 1906.04721, measured instead of derived). One pass each; a layer
    is corrected before the next one sees its output. Layers without a bias get one."""
    fixed, original = bare_copy(model), bare_copy(original)
    means: dict[str, Tensor] = {}

    def channels_last(layer: nn.Module, y: Tensor) -> Tensor:
        return y if isinstance(layer, nn.Linear) else y.movedim(1, -1)

    def record(layer: nn.Module, _, y: Tensor, name: str) -> None:
        means[name] = channels_last(layer, y).flatten(0, -2).mean(0)

    def shift(layer: nn.Module, _, y: Tensor, name: str) -> Tensor:
        last = channels_last(layer, y)
        change = means[name] - last.flatten(0, -2).mean(0)
        layer.bias = nn.Parameter(change if layer.bias is None else layer.bias + change)
        if "bias" in getattr(layer, "compressed", {}):              # its codes say another one
            layer.compressed = {k: q for k, q in layer.compressed.items() if k != "bias"}
        return last + change if isinstance(layer, nn.Linear) else (last + change).movedim(-1, 1)

    for net, act in ((original, record), (fixed, shift)):
        hooks = [layer.register_forward_hook(lambda m, a, y, n=name, act=act: act(m, a, y, n))
                 for name, layer in layers(net).items()]
        run(net, calibration)
        for hook in hooks:
            hook.remove()
    return fixed.train(model.training)


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, calibration: Tensor | tuple[Tensor, ...],
                          batch: int = 128) -> nn.Module:
    """Running means and variances measured anew on the calibration inputs, the average over their
    batches: the control that says how much of a repair is nothing but shifted statistics."""
    fresh = bare_copy(model)
    norms = [m for m in fresh.modules() if isinstance(m, NORMS)]
    if not norms:
        return fresh.train(model.training)
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None                                   # a plain average
        norm.train()
    parts = calibration if isinstance(calibration, tuple) else (calibration,)
    pieces = max(1, len(parts[0]) // batch)         # equal ones: one example alone has no variance
    for part in zip(*(p.chunk(pieces) for p in parts), strict=True):
        fresh(*part)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    return fresh.train(model.training)
