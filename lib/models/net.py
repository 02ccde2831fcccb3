"""What the nets of the study share: each normalises its own input, parts of it may be frozen."""

import torch
from torch import Tensor, nn

from lib.base.names import choose


class Net(nn.Module):
    """A module that takes raw inputs and computes (x - mean) / std itself.

    mean, std: (C,), spread over the other axes of an input (C, ...). They are non-persistent
    buffers, so a state_dict has the published keys and no others, and what is deployed is whole.
    A channel that never varies (std 0) is divided by 1.
    """

    frozen: tuple[str, ...] = ()     # children that stay in evaluation mode and take no gradient

    def __init__(self, task) -> None:
        super().__init__()
        spread = (-1, *[1] * (len(task.inputs) - 1))
        std = torch.where(task.std > 0, task.std, torch.ones_like(task.std))
        self.register_buffer("mean", task.mean.float().reshape(spread).clone(), persistent=False)
        self.register_buffer("std", std.float().reshape(spread).clone(), persistent=False)

    def normalise(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    def freeze(self, *children: str) -> None:
        """Keep these children as they are: no gradients, and batch-norm statistics stand still."""
        self.frozen = children
        for child in children:
            self.get_submodule(child).eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "Net":
        super().train(mode)
        for child in self.frozen:
            self.get_submodule(child).eval()
        return self


INITS = {
    "torch": None,                          # each layer's own default
    "kaiming": nn.init.kaiming_normal_,     # He et al. 2015 (1502.01852): var = 2 / fan_in
    "xavier": nn.init.xavier_normal_,       # Glorot & Bengio 2010: var = 2 / (fan_in + fan_out)
}


def initialise(model: nn.Module, init: str) -> None:
    """Draw the weights of all convolutions and linear layers anew, biases 0, by one of INITS."""
    draw = INITS[choose(init, tuple(INITS), "initialisation")]
    if draw is None:
        return
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            draw(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def image_channels(task, at_least: int = 1) -> int:
    """Channels of the task's images; ValueError if it has none, or images below `at_least` px."""
    if len(task.inputs) != 3:
        raise ValueError(f"this net takes images (channels, height, width), the task has inputs "
                         f"{tuple(task.inputs)}; choose an mlp, a transformer or a classical model")
    if min(task.inputs[1:]) < at_least:
        raise ValueError(f"this net halves images until {at_least} px become one, the task has "
                         f"{task.inputs[1]}×{task.inputs[2]}; choose resnet8, or enlarge them")
    return task.inputs[0]


def positive(**sizes: int) -> None:
    """ValueError for a size that is not a whole number from 1 up."""
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name}={size!r}: it must be a whole number from 1 up")
