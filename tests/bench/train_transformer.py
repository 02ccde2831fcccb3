"""Training speed of the T1 transformer: torch's own layers in a plain loop, against ours.

Three ways to train the same network (patch 4, d 32, 8 layers, 8 heads, feed-forward 256; batch 64,
dropout .2 in the layers and .1 on positions, Adam), in one process, a round of each in turn:

  plain       nn.TransformerEncoder, nn.Dropout, a DataLoader over single examples
  ours        lib.models and train.fit
  no dropout  ours with dropout 0: what masks could gain at most

    python tests/bench/train_transformer.py --threads 2 --rounds 5 --steps 8

Numbers are examples a second: median, lowest and highest round. Ratios are taken round by round.
"""

import argparse
import os
import statistics
import time

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--model", default="transformer_t1", help="one of the transformers")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--rounds", type=int, default=5, help="rounds of each way")
parser.add_argument("--steps", type=int, default=8, help="batches of 64 a round")
arguments = parser.parse_args()
os.environ |= {"OMP_NUM_THREADS": str(arguments.threads), "OMP_WAIT_POLICY": "PASSIVE"}

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from lib import models, train  # noqa: E402
from lib.base.metric import METRICS  # noqa: E402
from lib.data.task import Split, Task  # noqa: E402

BATCH = 64


class Plain(nn.Module):
    """The same network from torch's own layers, input (batch, length, 4) with the magnitude in."""

    def __init__(self, ours: nn.Module) -> None:
        super().__init__()
        block = ours.blocks[0]
        d, ff, p = ours.hidden.in_features, block.linear1.out_features, 0.2
        self.patch = nn.Conv1d(4, d, ours.patch.kernel_size, stride=ours.patch.stride)
        self.padding = ours.padding
        self.class_token = nn.Parameter(torch.randn(1, 1, d))
        self.register_buffer("positions", ours.positions)
        self.dropout = nn.Dropout(0.1)
        layer = nn.TransformerEncoderLayer(d, block.attention.heads, ff, p, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, len(ours.blocks))
        self.hidden, self.head = nn.Linear(d, ff), nn.Linear(ff, ours.head.out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = self.patch(F.pad(x.transpose(1, 2), (0, self.padding))).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1)
        tokens = self.encoder(self.dropout(tokens + self.positions))
        return self.head(self.hidden(tokens[:, 0]))


def plain_round(model: nn.Module, loader: DataLoader, optimizer) -> float:
    """Seconds of one epoch, the plain way."""
    model.train()
    start = time.perf_counter()
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return time.perf_counter() - start


def our_round(model: nn.Module) -> float:
    """Seconds of one epoch of `train.fit`, validation not counted."""
    history = train.fit(model, task, epochs=1, lr=1e-3, batch_size=BATCH, keep="last")
    return history.seconds.sum()


torch.manual_seed(0)
n = BATCH * arguments.steps
x, y = torch.randn(n, 3, 151), torch.randint(9, (n,))
part = Split(x, y)
task = Task("noise", "series", METRICS["accuracy"], tuple("abcdefghi"), (3, 151), 9, "made here",
            torch.zeros(3), torch.ones(3), part, Split(x[:BATCH], y[:BATCH]), part, "noise")
with_magnitude = torch.cat([x, x.norm(dim=1, keepdim=True)], 1).transpose(1, 2).contiguous()
loader = DataLoader(TensorDataset(with_magnitude, y), BATCH, shuffle=True, drop_last=True)
ours = models.build(arguments.model, task)
no_dropout = models.build(arguments.model, task, dropout=0.0, position_dropout=0.0)
plain = Plain(ours)
adam = torch.optim.Adam(plain.parameters(), 1e-3)
counts = {sum(p.numel() for p in model.parameters()) for model in (ours, no_dropout, plain)}
assert len(counts) == 1, f"not the same network: {counts}"
ways = {"plain": lambda: plain_round(plain, loader, adam),
        "ours": lambda: our_round(ours), "no dropout": lambda: our_round(no_dropout)}
speeds: dict[str, list[float]] = {name: [] for name in ways}
for turn in range(arguments.rounds + 1):
    for name, epoch in ways.items():
        speed = n / epoch()
        if turn:                                        # the first round warms up
            speeds[name].append(speed)

print(f"{arguments.model}: {counts.pop()} parameters, batch {BATCH}, {arguments.threads} "
      f"threads, {arguments.rounds} rounds of {arguments.steps} batches")
for name, values in speeds.items():
    ratios = [value / plain for value, plain in zip(values, speeds["plain"], strict=True)]
    print(f"{name:<12} {statistics.median(values):7.0f} examples/s  "
          f"({min(values):.0f} to {max(values):.0f})   {statistics.median(ratios):.2f}× plain "
          f"({min(ratios):.2f} to {max(ratios):.2f})")
