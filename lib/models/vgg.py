"""VGG-16 as Edge used it: the published features frozen, a small head of its own."""

from torch import Tensor, nn

from lib.base.names import choose
from lib.models.net import Net, image_channels, initialise

NAMES = ("vgg16",)
CHANNELS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


class VGG16(Net):
    """Simonyan & Zisserman 2014 (1409.1556), configuration D, with torchvision's keys.

    head="edge": 25088-4096-256-classes, without the softmax that Edge put before the
    cross-entropy; "official": 25088-4096-4096-classes. Images are pooled to 7×7 first.
    """

    def __init__(self, task, *, head: str = "edge", frozen: bool = True,
                 init: str = "torch") -> None:
        hidden = {"edge": 256, "official": 4096}[choose(head, ("edge", "official"), "head")]
        super().__init__(task)
        layers, inputs = [], image_channels(task, at_least=32)
        for outputs in CHANNELS:          # 0: halve the image
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()] if outputs else [
                nn.MaxPool2d(2)]
            inputs = outputs or inputs
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(25088, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, hidden), nn.ReLU(),
            nn.Dropout(), nn.Linear(hidden, task.outputs))
        initialise(self, init)
        if frozen:
            self.freeze("features")

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(self.normalise(x))).flatten(1))


MODELS = {"vgg16": (VGG16, {})}
