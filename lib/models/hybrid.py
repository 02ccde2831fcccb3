"""A convolutional net whose feature map a recurrent one reads, row after row."""

import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.net import Net, image_channels, positive

NAMES = ("cnn_rnn",)


class CnnRnn(Net):
    """Two 3×3 convolutions, each halving the image; a GRU over its rows, whose last state answers
    (after the hybrids of Visin et al. 2015, 1505.00393, with one direction)."""

    def __init__(self, task, *, width: int = 8, units: int = 32) -> None:
        super().__init__(task)
        positive(width=width, units=units)
        self.conv1 = nn.Conv2d(image_channels(task, 4), width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(2 * width)
        self.rnn = nn.GRU(2 * width * (task.inputs[2] // 4), units, batch_first=True)
        self.linear = nn.Linear(units, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(self.normalise(x)))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        rows = x.permute(0, 2, 1, 3).flatten(2)             # (batch, rows, channels · columns)
        return self.linear(self.rnn(rows)[0][:, -1])


MODELS = {"cnn_rnn": (CnnRnn, {})}
