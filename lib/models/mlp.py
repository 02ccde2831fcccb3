"""Edge's multi-layer perceptrons, simple and complex."""

import math

import torch
from torch import Tensor, nn

from lib.models.net import Net, positive

NAMES = ("mlp_simple", "mlp_complex")


class MLP(Net):
    """(batch, …) -> (batch, outputs): flattened input, hidden layers with ReLU and dropout.

    logs: besides each input its signed logarithm, sign(x) log(1 + |x|), is given, standardised with
    the training part, so that ratios of counts become differences. periodic: columns (by number)
    that also enter as sines and cosines of FREQUENCIES learned multiples, so that a coordinate can
    matter in any way (Gorishniy et al. 2022, 2203.05556).
    """

    FREQUENCIES = 16
    elementwise = ("frequencies",)      # each scales one input, as a norm does

    def __init__(self, task, *, hidden: tuple[int, ...], dropout: float = 0.0,
                 logs: bool = False, periodic: tuple[int, ...] = ()) -> None:
        super().__init__(task)
        positive(**{f"hidden[{i}]": size for i, size in enumerate(hidden)})
        width = math.prod(task.inputs)
        self.logs = logs
        if logs:
            seen = signed_log(task.train.x)
            self.register_buffer("log_mean", seen.mean(0), persistent=False)
            self.register_buffer("log_std", seen.std(0).clamp_min(1e-6), persistent=False)
            width *= 2
        self.periodic = list(periodic)
        if periodic:
            self.frequencies = nn.Parameter(torch.randn(len(periodic), self.FREQUENCIES))
            width += 2 * self.frequencies.numel()
        layers: list[nn.Module] = []
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ReLU()]
            layers += [nn.Dropout(dropout)] if dropout else []
            width = size
        self.layers = nn.Sequential(*layers, nn.Linear(width, task.outputs))

    def forward(self, x: Tensor) -> Tensor:
        inputs = [self.normalise(x).flatten(1)]
        if self.logs:
            inputs.append(((signed_log(x) - self.log_mean) / self.log_std).flatten(1))
        if self.periodic:
            angles = 2 * torch.pi * inputs[0][:, self.periodic, None] * self.frequencies
            inputs += [angles.sin().flatten(1), angles.cos().flatten(1)]
        return self.layers(torch.cat(inputs, 1))


def signed_log(x: Tensor) -> Tensor:
    """sign(x) log(1 + |x|): grows with x everywhere, and tames heavy tails."""
    return x.sign() * x.abs().log1p()


MODELS = {"mlp_simple": (MLP, {"hidden": (10,)}),
          "mlp_complex": (MLP, {"hidden": (20, 40, 60, 30), "dropout": 0.1})}
