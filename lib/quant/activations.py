"""Activations in few bits, simulated: what enters a layer is rounded to a grid, in float kernels.

A layer gets a submodule `activation` that its input passes first, and `a_bits` beside its
`compressed`. The first and the last layer get at least 8 bits, as is usual.
"""

import torch
from torch import Tensor, nn

from lib.layers.codes import code_count
from lib.layers.inputs import Inputs, entering, first, run
from lib.quant.grid import choose_qparams, fake_quantize
from lib.quant.layers import entered, layers, refuse_quantized, users

RANGES = ("mse", "minmax", "percentile", "dynamic")
MOST_VALUES = 2**20         # of a layer's inputs that its range is chosen from


class Activation(nn.Module):
    """Fake quantization of a layer's input: scale·(clamp(round(x/scale) + zero, 0, 2^bits − 1)
    − zero).

    One scale and zero for all inputs, chosen by `method` (clip of `affine`) from the first input
    that comes; "dynamic": each example's own, from its least and largest value. smooth
    (features,): x is divided by it first. bits=None: nothing is rounded. drop: the share of values
    left alone while training (QDrop), drawn from `generator`.
    """

    def __init__(self, bits: int | None = None, method: str = "mse",
                 smooth: Tensor | None = None) -> None:
        super().__init__()
        if method not in RANGES:
            raise ValueError(
                f"there is no a_method {method!r}; choose one of: {', '.join(RANGES)}")
        self.bits, self.method, self.drop, self.generator = bits, method, 0.0, None
        self.base = None if bits is None else code_count(bits)
        for name, value in (("smooth", smooth), ("scale", None), ("zero", None)):
            self.register_buffer(name, value)

    @property
    def build_arguments(self) -> dict:
        """What a file says of it; its buffers are stored like any others."""
        return {"bits": self.bits, "method": self.method}

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        flat = x.reshape(1, -1)
        flat = flat[:, ::max(1, flat.shape[1] // MOST_VALUES)]
        if not flat.isfinite().all():
            raise ValueError("a layer's inputs hold NaN or infinite values; look at the "
                             "calibration inputs")
        self.scale, self.zero = (t.squeeze() for t in choose_qparams(
            flat, self.base, clip=self.method))

    def forward(self, x: Tensor) -> Tensor:
        dtype = x.dtype
        # Half floats hold neither the codes of 16 bits nor x/scale: the grid is in 32 bits or more.
        x = x.to(torch.promote_types(dtype, torch.float32))
        if self.smooth is not None:
            x = x / self.smooth
        if self.bits is not None:
            x = self._rounded(x)
        return x.to(dtype)

    def _rounded(self, x: Tensor) -> Tensor:
        if self.method == "dynamic":
            flat = x.flatten(1)
            return fake_quantize(flat, *choose_qparams(flat, self.base), self.base).view_as(x)
        if self.scale is None:
            self.calibrate(x)
        place = x / self.scale + self.zero
        code = (place + (place.round() - place).detach()).clamp(0, self.base - 1)   # x's gradient
        rounded = (code - self.zero) * self.scale
        if self.drop:
            left = torch.rand(x.shape, generator=self.generator) < self.drop
            rounded = torch.where(left, x, rounded)
        return rounded


def _enter(layer: nn.Module, args: tuple, keywords: dict) -> tuple[tuple, dict]:
    if args:
        return (layer.activation(args[0]), *args[1:]), keywords
    return (), keywords | {"input": layer.activation(entering(args, keywords))}


def attach(layer: nn.Module, activation: Activation) -> None:
    """Let every input of the layer pass `activation` first."""
    if not isinstance(getattr(layer, "activation", None), Activation):
        layer.register_forward_pre_hook(_enter, with_kwargs=True)
    layer.activation = activation
    if activation.bits is not None:
        layer.a_bits = activation.bits


def rebuild(model: nn.Module, name: str, arguments: dict) -> None:
    """Attach an empty Activation to the layer of which a file names one, `layer.activation`."""
    owner, _, key = name.rpartition(".")
    if key != "activation" or owner not in entered(model):
        raise ValueError(f"{name} is no place for what rounds a layer's inputs")
    layer = model.get_submodule(owner)
    attach(layer, Activation(**arguments))


def in_order(model: nn.Module, calibration: Inputs) -> list[str]:
    """The names of the layers that the inputs reach, in the order in which they are called."""
    names: dict[str, None] = {}
    hooks = [m.register_forward_pre_hook(lambda m, a, n=name: names.setdefault(n))
             for name, m in entered(model).items()]
    try:
        with torch.no_grad():
            run(model, first(calibration, 1))
    finally:
        for hook in hooks:
            hook.remove()
    return list(names)


def layer_bits(names: list[str], a_bits: int) -> dict[str, int]:
    """a_bits for every layer, but at least 8 for the first and the last."""
    ends = {names[0], names[-1]} if names else set()
    return {name: max(a_bits, 8) if name in ends else a_bits for name in names}


@torch.no_grad()
def quantize_activations(model: nn.Module, a_bits: int, calibration,
                         a_method: str = "mse") -> None:
    """Round what enters each layer of `model`, in place. One pass: each layer's range is chosen
    from what the layers before it, already rounded, make of the calibration inputs."""
    if calibration is None:
        raise ValueError("a_bits needs calibration=, some hundred inputs of the model "
                         "(task.calibration)")
    for name, bits in layer_bits(in_order(model, calibration), a_bits).items():
        layer = model.get_submodule(name)
        before = getattr(layer, "activation", None)
        attach(layer, Activation(bits, a_method, before and before.smooth))
    run(model, calibration)


@torch.no_grad()
def smooth_inputs(model: nn.Module, calibration, alpha: float = 0.5) -> None:
    """Move outliers from inputs to weights in every Linear of `model`, in place: X/s, s·W with
    s_j = max|X_j|^α / max|W_j|^(1−α). No output changes.

    s is kept as a division at the layer's input: in a post-norm transformer what a norm puts out
    is also the residual, so its own scale cannot take it over. Where the input is then quantized,
    1/s joins 1/step and costs no more than its floats. Xiao et al. 2022, arXiv 2211.10438.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"smooth={alpha}: choose alpha from 0 to 1")
    if calibration is None:
        raise ValueError("smooth needs calibration=, some hundred inputs of the model")
    linear = {name: m for name, m in layers(model).items() if isinstance(m, nn.Linear)}
    for layer, peak in _peaks(linear, model, calibration).items():
        weight = layer.weight.float().abs().amax(0)
        s = peak.pow(alpha) / weight.pow(1 - alpha)
        s = torch.where((peak > 0) & (weight > 0), s, 1.0).clamp(1e-5, 1e5)
        layer.weight.copy_(layer.weight * s)
        before = getattr(layer, "activation", None)
        if before is not None and before.smooth is not None:
            s = s * before.smooth               # the weight was multiplied by both
        attach(layer, Activation(smooth=s))


def _peaks(linear: dict[str, nn.Linear], model: nn.Module, calibration: Inputs
           ) -> dict[nn.Module, Tensor]:
    """For each of these layers the largest absolute value of each of its input's features.
    ValueError for layers that smoothing would make wrong."""
    owners = users(model)
    for name, layer in linear.items():
        refuse_quantized(layer, name, "smoothing its inputs")
        if getattr(getattr(layer, "activation", None), "bits", None) is not None:
            raise ValueError(f"the inputs of {name or 'the model'} are rounded already; smooth the "
                             "model before rounding anything")
        if owners[id(layer.weight)] > 1:
            raise ValueError(f"{name} shares its weight with another layer, whose inputs differ; "
                             "give each its own before smoothing")
    peaks: dict[nn.Module, Tensor] = {}

    def watch(layer: nn.Module, args: tuple, keywords: dict) -> None:
        x = entering(args, keywords).float()
        peak = x.abs().reshape(-1, x.shape[-1]).amax(0)
        peaks[layer] = peak.maximum(peaks[layer]) if layer in peaks else peak

    hooks = [m.register_forward_pre_hook(watch, with_kwargs=True) for m in linear.values()]
    run(model, calibration)
    for hook in hooks:
        hook.remove()
    return peaks
