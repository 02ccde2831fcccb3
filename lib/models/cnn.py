"""Edge's convolutional nets: six convolutions, and ResNet-9."""

from torch import Tensor, nn

from lib.models.net import Net, image_channels, initialise, positive

NAMES = ("cnn_edge", "resnet9")


def conv(inputs: int, outputs: int, norm: bool = True, pool: int = 0) -> nn.Sequential:
    """3×3 convolution with bias, batch-norm, ReLU, and max-pooling if asked for."""
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1)]
    layers += [nn.BatchNorm2d(outputs)] if norm else []
    layers += [nn.ReLU()]
    return nn.Sequential(*layers, *([nn.MaxPool2d(pool)] if pool else []))


class CNN(Net):
    """Convolutions of 32-64-128-128-256-256 channels in three pooled pairs, then 512 hidden units.

    Batch-norm after all convolutions but the second, dropout 0.2, 0.3, 0.3. On 3×32×32 inputs and
    100 classes 3.28 M parameters and 135 M multiplications. (Edge, train_cifar.ipynb.) width: the
    first 32, to which all other sizes keep their ratio.
    """

    def __init__(self, task, *, width: int = 32, init: str = "torch") -> None:
        super().__init__(task)
        positive(width=width)
        channels, w = image_channels(task, at_least=8), width
        self.features = nn.Sequential(
            conv(channels, w), conv(w, 2 * w, norm=False, pool=2),
            conv(2 * w, 4 * w), conv(4 * w, 4 * w, pool=2), nn.Dropout(0.2),
            conv(4 * w, 8 * w), conv(8 * w, 8 * w, pool=2), nn.Dropout(0.3))
        side = (task.inputs[1] // 8) * (task.inputs[2] // 8)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8 * w * side, 16 * w), nn.ReLU(),
                                  nn.Dropout(0.3), nn.Linear(16 * w, task.outputs))
        initialise(self, init)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(self.normalise(x)))


class Residual(nn.Module):
    """Two convolutions around which the input is added; not if `shortcut` is False."""

    is_block = True

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.convs = nn.Sequential(conv(channels, channels), conv(channels, channels))
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convs(x) if self.shortcut else self.convs(x)


class ResNet9(Net):
    """Convolutions of 64-128-256-512 channels with two residual pairs; convolutions have a bias.

    On 3×32×32 inputs and 100 classes 6.62 M parameters and 379 M multiplications. (Edge,
    train_cifar.ipynb, after a tutorial's net.) width: the first 64; the others keep their ratio.
    """

    def __init__(self, task, *, width: int = 64, shortcut: bool = True,
                 init: str = "torch") -> None:
        super().__init__(task)
        positive(width=width)
        channels, w = image_channels(task, at_least=8), width
        self.features = nn.Sequential(
            conv(channels, w), conv(w, 2 * w, pool=2), Residual(2 * w, shortcut),
            conv(2 * w, 4 * w, pool=2), conv(4 * w, 8 * w, pool=2), Residual(8 * w, shortcut))
        self.pool = nn.AdaptiveMaxPool2d(1)         # 4×4 max-pooling on 32×32 inputs
        self.head = nn.Linear(8 * w, task.outputs)
        initialise(self, init)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.features(self.normalise(x))).flatten(1))


MODELS = {"cnn_edge": (CNN, {}), "resnet9": (ResNet9, {})}
