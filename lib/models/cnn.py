"""Edge's convolutional nets: six convolutions, and ResNet-9."""

from torch import Tensor, nn

from lib.models.net import Net, image_channels


def conv(inputs: int, outputs: int, norm: bool = True, pool: int = 0) -> nn.Sequential:
    """3×3 convolution with bias, batch-norm, ReLU, and max-pooling if asked for."""
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1)]
    layers += [nn.BatchNorm2d(outputs)] if norm else []
    layers += [nn.ReLU()]
    return nn.Sequential(*layers, *([nn.MaxPool2d(pool)] if pool else []))


class CNN(Net):
    """Convolutions of 32-64-128-128-256-256 channels in three pooled pairs, then 512 hidden units.

    Batch-norm after all convolutions but the second, dropout 0.2, 0.3, 0.3. On 3×32×32 inputs and
    100 classes 3.28 M parameters and 135 M multiplications. (Edge, train_cifar.ipynb.)
    """

    def __init__(self, task) -> None:
        super().__init__(task)
        channels = image_channels(task, at_least=8)
        self.features = nn.Sequential(
            conv(channels, 32), conv(32, 64, norm=False, pool=2),
            conv(64, 128), conv(128, 128, pool=2), nn.Dropout(0.2),
            conv(128, 256), conv(256, 256, pool=2), nn.Dropout(0.3))
        side = (task.inputs[1] // 8) * (task.inputs[2] // 8)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(256 * side, 512), nn.ReLU(),
                                  nn.Dropout(0.3), nn.Linear(512, task.outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(self.normalise(x)))


class Residual(nn.Module):
    """Two convolutions around which the input is added."""

    is_block = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(conv(channels, channels), conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convs(x)


class ResNet9(Net):
    """Convolutions of 64-128-256-512 channels with two residual pairs; convolutions have a bias.

    On 3×32×32 inputs and 100 classes 6.62 M parameters and 379 M multiplications. (Edge,
    train_cifar.ipynb, after a tutorial's net.)
    """

    def __init__(self, task) -> None:
        super().__init__(task)
        channels = image_channels(task, at_least=16)
        self.features = nn.Sequential(
            conv(channels, 64), conv(64, 128, pool=2), Residual(128),
            conv(128, 256, pool=2), conv(256, 512, pool=2), Residual(512))
        self.pool = nn.AdaptiveMaxPool2d(1)         # 4×4 max-pooling on 32×32 inputs
        self.head = nn.Linear(512, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.features(self.normalise(x))).flatten(1))
