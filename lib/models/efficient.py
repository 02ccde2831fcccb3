"""An EfficientNet-style net for small images: inverted residuals with squeeze-excite."""

import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.net import Net, image_channels, initialise, positive

NAMES = ("effnet",)
EXPANSION = 4
SQUEEZED = 4                # a block's channels over those that its squeeze-excite looks through


class SqueezeExcite(nn.Module):
    """Each channel times a share that all channels' means decide (Hu et al. 2018, 1709.01507)."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, inner, 1)
        self.fc2 = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc2(F.silu(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()


class InvertedResidual(nn.Module):
    """1×1 up, a 3×3 of each channel alone, squeeze-excite, 1×1 down, beside a shortcut where the
    shape stays (Sandler et al. 2018, 1801.04381; Tan and Le 2019, 1905.11946)."""

    is_block = True

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        wide = EXPANSION * inputs
        self.expand = nn.Conv2d(inputs, wide, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.depthwise = nn.Conv2d(wide, wide, 3, stride, padding=1, groups=wide, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        self.excite = SqueezeExcite(wide, max(1, inputs // SQUEEZED))
        self.project = nn.Conv2d(wide, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.beside = stride == 1 and inputs == channels

    def forward(self, x: Tensor) -> Tensor:
        out = F.silu(self.bn1(self.expand(x)))
        out = F.silu(self.bn2(self.depthwise(out)))
        out = self.bn3(self.project(self.excite(out)))
        return out + x if self.beside else out


class EfficientNet(Net):
    """A 3×3 stem, three stages of two blocks with `width`, 2 width, 4 width channels, a head."""

    def __init__(self, task, *, width: int = 8, init: str = "kaiming") -> None:
        super().__init__(task)
        positive(width=width)
        self.stem = nn.Conv2d(image_channels(task), width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        stages, inputs = [], width
        for i in range(3):
            channels = width << i
            stages += [InvertedResidual(inputs, channels, 2 if i else 1),
                       InvertedResidual(channels, channels, 1)]
            inputs = channels
        self.blocks = nn.Sequential(*stages)
        self.linear = nn.Linear(inputs, task.outputs)
        initialise(self, init)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.silu(self.bn(self.stem(self.normalise(x)))))
        return self.linear(x.mean((2, 3)))


MODELS = {"effnet": (EfficientNet, {})}
