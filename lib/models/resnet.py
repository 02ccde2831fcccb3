"""Residual nets: He et al.'s for CIFAR (ResNet-8 … 56) and for ImageNet (ResNet-18, -34, -50)."""

import torch.nn.functional as F
from torch import Tensor, nn

from lib.base.names import choose
from lib.models.net import Net, image_channels, initialise, positive

NAMES = ("resnet8", "resnet14", "resnet20", "resnet32", "resnet44", "resnet56",
         "resnet20-akamaster", "resnet18", "resnet34", "resnet50", "resnet50-torchvision")
FIXED = ("depth", "kind", "blocks")                      # part of a name, not options


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut. Keys as published: conv1, bn1, conv2, bn2.

    A shortcut that must shrink subsamples and pads with zero channels ("A", no parameters), or is
    a 1×1 convolution ("B"). shortcut=False leaves it out: the plain net of He et al. (1512.03385).
    """

    is_block = True
    expansion = 1

    def __init__(self, inputs: int, channels: int, stride: int, shortcut: bool, option: str):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut, self.stride, self.pad = shortcut, stride, channels - inputs
        if shortcut and option == "B":
            _downsample(self, inputs, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.beside(x)) if self.shortcut else F.relu(out)

    def beside(self, x: Tensor) -> Tensor:
        if hasattr(self, "downsample"):
            return self.downsample(x)
        if self.stride > 1 or self.pad:
            x = F.pad(x[:, :, ::self.stride, ::self.stride],
                      (0, 0, 0, 0, self.pad // 2, self.pad - self.pad // 2))
        return x


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions beside a shortcut; four times the channels come out."""

    is_block = True
    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int, shortcut: bool, option: str):
        super().__init__()
        outputs = channels * self.expansion
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = shortcut
        if shortcut:
            _downsample(self, inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(out)))))
        if not self.shortcut:
            return F.relu(out)
        return F.relu(out + (self.downsample(x) if hasattr(self, "downsample") else x))


def _downsample(block: nn.Module, inputs: int, outputs: int, stride: int) -> None:
    if stride > 1 or inputs != outputs:
        block.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                                         nn.BatchNorm2d(outputs))


def _stage(kind, inputs: int, channels: int, blocks: int, stride: int, shortcut: bool,
           option: str) -> nn.Sequential:
    first = kind(inputs, channels, stride, shortcut, option)
    return nn.Sequential(first, *(kind(channels * kind.expansion, channels, 1, shortcut, option)
                                  for _ in range(blocks - 1)))


class CifarResNet(Net):
    """depth = 6 n + 2 layers in three stages of `width`, 2 width, 4 width channels.

    The keys are those of github.com/akamaster/pytorch_resnet_cifar10, whose weights fit.
    frozen: the first layer and so many stages stay as they were drawn, and are not trained.
    """

    def __init__(self, task, *, depth: int, width: int = 16, shortcut: bool = True,
                 init: str = "kaiming", frozen: int = 0) -> None:
        super().__init__(task)
        positive(width=width)
        if frozen not in range(4):
            raise ValueError(f"frozen={frozen!r}: this net has 3 stages; choose 0, 1, 2 or 3")
        channels, n = image_channels(task), (depth - 2) // 6
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(Block, width, width, n, 1, shortcut, "A")
        self.layer2 = _stage(Block, width, 2 * width, n, 2, shortcut, "A")
        self.layer3 = _stage(Block, 2 * width, 4 * width, n, 2, shortcut, "A")
        self.linear = nn.Linear(4 * width, task.outputs)
        initialise(self, init)
        if frozen:
            self.freeze("conv1", "bn1", *(f"layer{stage}" for stage in range(1, frozen + 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(self.normalise(x))))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class ResNet(Net):
    """ResNet-18, -34, -50 for large images, with torchvision's keys, so its weights fit.

    stem="cifar": a 3×3 convolution without pooling, for images below 64 px. head="edge": Edge's
    2048-1024-classes in place of one layer; frozen=True trains nothing but the head.
    """

    def __init__(self, task, *, kind, blocks: tuple[int, ...], width: int = 64,
                 shortcut: bool = True, init: str = "kaiming", stem: str = "imagenet",
                 head: str = "linear", frozen: bool = False) -> None:
        super().__init__(task)
        positive(width=width)
        choose(head, ("linear", "edge"), "head")
        large = choose(stem, ("imagenet", "cifar"), "stem") == "imagenet"
        self.conv1 = nn.Conv2d(image_channels(task), width, 7 if large else 3, 2 if large else 1,
                               padding=3 if large else 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if large else nn.Identity()
        inputs = width
        for i, count in enumerate(blocks):
            stage = _stage(kind, inputs, width << i, count, 2 if i else 1, shortcut, "B")
            self.add_module(f"layer{i + 1}", stage)
            inputs = (width << i) * kind.expansion
        self.fc = nn.Linear(inputs, task.outputs) if head == "linear" else nn.Sequential(
            nn.Linear(inputs, 1024), nn.ReLU(), nn.Linear(1024, task.outputs))
        initialise(self, init)
        if frozen:
            self.freeze("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(self.normalise(x)))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


FIFTY = (ResNet, {"kind": Bottleneck, "blocks": (3, 4, 6, 3)})
MODELS = {
    **{f"resnet{d}": (CifarResNet, {"depth": d}) for d in (8, 14, 20, 32, 44, 56)},
    "resnet20-akamaster": (CifarResNet, {"depth": 20}),
    "resnet18": (ResNet, {"kind": Block, "blocks": (2, 2, 2, 2)}),
    "resnet34": (ResNet, {"kind": Block, "blocks": (3, 4, 6, 3)}),
    "resnet50": FIFTY,
    "resnet50-torchvision": FIFTY,
}
