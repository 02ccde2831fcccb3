"""MobileNetV2, which the Real-time study planned: inverted residuals with linear bottlenecks."""

from torch import Tensor, nn

from lib.base.names import choose
from lib.models.net import Net, image_channels, initialise

NAMES = ("mobilenetv2", "mobilenetv2-torchvision")
# Expansion, channels, blocks, stride of the first: table 2 of Sandler et al. 2018 (1801.04381).
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
          (6, 160, 3, 2), (6, 320, 1, 1))
FIRST, LAST, MULTIPLE = 32, 1280, 8


class Normed(nn.Sequential):
    """A convolution, its norm and, unless plain, ReLU6."""

    def __init__(self, inputs: int, channels: int, size: int, stride: int = 1, groups: int = 1):
        super().__init__(
            nn.Conv2d(inputs, channels, size, stride, size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(channels), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """1×1 up, a 3×3 of each channel alone, 1×1 down without a nonlinearity, beside a shortcut where
    the shape stays. Keys as torchvision's: conv.0.0, conv.0.1, …"""

    is_block = True

    def __init__(self, inputs: int, channels: int, stride: int, expansion: int):
        super().__init__()
        wide = inputs * expansion
        up = [Normed(inputs, wide, 1)] if expansion > 1 else []
        self.conv = nn.Sequential(*up, Normed(wide, wide, 3, stride, wide),
                                  nn.Conv2d(wide, channels, 1, bias=False),
                                  nn.BatchNorm2d(channels))
        self.beside = stride == 1 and inputs == channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.beside else self.conv(x)


class MobileNetV2(Net):
    """Torchvision's keys, so that its weights fit. width: a share of the published channels, in
    percent (50: half); stem="cifar": the first stride and that of the second stage left out, for
    images of 32 px."""

    def __init__(self, task, *, width: int = 100, stem: str = "imagenet", dropout: float = 0.2,
                 init: str = "kaiming") -> None:
        super().__init__(task)
        large = choose(stem, ("imagenet", "cifar"), "stem") == "imagenet"
        inputs, last = _scaled(FIRST, width), _scaled(LAST, max(100, width))
        layers: list[nn.Module] = [Normed(image_channels(task), inputs, 3, 2 if large else 1)]
        for place, (expansion, channels, blocks, stride) in enumerate(STAGES):
            for number in range(blocks):
                first = stride if number == 0 and (large or place != 1) else 1
                layers.append(InvertedResidual(inputs, _scaled(channels, width), first, expansion))
                inputs = _scaled(channels, width)
        self.features = nn.Sequential(*layers, Normed(inputs, last, 1))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, task.outputs))
        initialise(self, init)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(self.normalise(x)).mean((2, 3)))


def _scaled(channels: int, width: int) -> int:
    """So many percent of the channels, to the nearest multiple of 8, and not below 90 % of that."""
    if width < 1:
        raise ValueError(f"width={width}: give percent of the published channels, 1 or more")
    wanted = channels * width / 100
    found = max(MULTIPLE, int(wanted + MULTIPLE / 2) // MULTIPLE * MULTIPLE)
    return found + MULTIPLE if found < 0.9 * wanted else found


MODELS = dict.fromkeys(NAMES, (MobileNetV2, {}))
