"""Transformers for series: patches of a signal as tokens, a class token, post-norm layers."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.dropout import Dropout
from lib.models.net import Net, positive

NAMES = ("transformer_small", "transformer_base", "transformer_t1", "transformer_t2")


class Attention(nn.Module):
    """What `asking` tokens draw from all: softmax(q kᵀ / √(d/heads)) v, in several heads.

    asking: (batch, askers, d) and tokens: (batch, tokens, d) -> (batch, askers, d).

    q, k, v and out are separate Linears, so each can be quantized or pruned like any other layer;
    torch's own attention packs three of them into one parameter of no layer.
    (Vaswani et al. 2017, 1706.03762.)
    """

    def __init__(self, d: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(d, d) for _ in range(4))
        self.dropout = Dropout(dropout)
        for layer in (self.q, self.k, self.v, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, asking: Tensor, tokens: Tensor) -> Tensor:
        # tokens last: with 4 numbers a head, v @ weights then takes a fifth of weights @ v's time
        q, k, v = (layer(x).transpose(1, 2).unflatten(1, (self.heads, -1))
                   for layer, x in ((self.q, asking), (self.k, tokens), (self.v, tokens)))
        scores = k.transpose(2, 3) @ (q * q.shape[2] ** -0.5)      # (batch, heads, tokens, askers)
        mixed = v @ self.dropout(scores.softmax(2))
        return self.out(mixed.flatten(1, 2).transpose(1, 2))

    def matmuls(self, asking: Tensor, tokens: Tensor) -> list[tuple[int, int, int, int]]:
        """Its products of activations, as (batch, rows, inner, columns), for counting."""
        batch, n, d = tokens.shape
        return [(batch * self.heads, n, d // self.heads, asking.shape[1]),
                (batch * self.heads, d // self.heads, n, asking.shape[1])]


class EncoderBlock(nn.Module):
    """Attention, then a two-layer net for each token; after each: dropout, sum, layer norm.

    first_only: compute the first token alone. Where nothing reads the others, as after the last
    layer of a classifier, that gives the same answer for a fraction of the work.
    """

    is_block = True

    def __init__(self, d: int, heads: int, ff: int, dropout: float, first_only: bool) -> None:
        super().__init__()
        self.first_only = first_only
        self.attention = Attention(d, heads, dropout)
        self.norm1 = nn.LayerNorm(d)
        self.linear1, self.linear2 = nn.Linear(d, ff), nn.Linear(ff, d)
        self.norm2 = nn.LayerNorm(d)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        asking = x[:, :1] if self.first_only else x
        x = self.norm1(asking + self.dropout(self.attention(asking, x)))
        inner = self.dropout(F.relu(self.linear1(x)))
        return self.norm2(x + self.dropout(self.linear2(inner)))


def sinusoids(tokens: int, d: int) -> Tensor:
    """Sines and cosines of the position, (tokens, d), moved to mean 0 and scaled to std 0.1."""
    position = torch.arange(tokens).unsqueeze(1)
    angles = position * torch.exp(torch.arange(0, d, 2) * (-math.log(10_000) / d))
    table = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :d]
    return (table - table.mean()) / (10 * table.std())


class SeriesTransformer(Net):
    """(batch, channels, length) -> (batch, outputs).

    A channel for the magnitude |a| of the raw signal is added (it does not depend on how the sensor
    is turned), normalised by what the channels' statistics say of it: E|a|² = Σ (mean² + std²).
    A tail shorter than a patch is padded with 0, the mean. Head: Linear(d, ff), Linear(ff, outputs)
    with nothing between, as in Green-Computing-Project (github.com/habibirani), whose parameter
    counts the sizes repeat.
    """

    recomputed = ("positions",)         # they follow from the sizes, so no file holds them

    def __init__(self, task, *, patch: int, d: int, layers: int, heads: int, ff: int,
                 dropout: float = 0.2, position_dropout: float = 0.1,
                 magnitude: bool = True) -> None:
        if len(task.inputs) != 2:
            raise ValueError(f"a transformer takes series (channels, length), the task has inputs "
                             f"{tuple(task.inputs)}; choose another model")
        positive(patch=patch, d=d, layers=layers, heads=heads, ff=ff)
        if d % heads:
            raise ValueError(f"d={d} does not divide into heads={heads}")
        super().__init__(task)
        channels, length = task.inputs
        self.magnitude = magnitude
        square = self.mean.square() + self.std.square()
        self.register_buffer("typical", square.sum().sqrt(), persistent=False)
        self.register_buffer("spread", self.std.square().mean().sqrt(), persistent=False)
        self.padding = -length % patch
        self.patch = nn.Conv1d(channels + magnitude, d, patch, stride=patch)
        self.class_token = nn.Parameter(torch.randn(1, 1, d))
        tokens = (length + self.padding) // patch + 1
        self.register_buffer("positions", sinusoids(tokens, d), persistent=False)
        self.dropout = Dropout(position_dropout)
        self.blocks = nn.Sequential(*(EncoderBlock(d, heads, ff, dropout, i == layers - 1)
                                      for i in range(layers)))
        self.hidden, self.head = nn.Linear(d, ff), nn.Linear(ff, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        signal = self.normalise(x)
        if self.magnitude:
            size = (x.square().sum(1, keepdim=True).sqrt() - self.typical) / self.spread
            signal = torch.cat([signal, size], 1)
        patches = self.patch(F.pad(signal, (0, self.padding))).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1)
        tokens = self.blocks(self.dropout(tokens + self.positions))
        return self.head(self.hidden(tokens[:, 0]))


GREEN = {"d": 32, "heads": 8, "ff": 256, "patch": 4}     # T1 and T2 of Green-Computing-Project
MODELS = {
    "transformer_small": (SeriesTransformer,
                          {"patch": 12, "d": 32, "layers": 2, "heads": 4, "ff": 64}),
    "transformer_base": (SeriesTransformer,
                         {"patch": 8, "d": 32, "layers": 4, "heads": 4, "ff": 128}),
    "transformer_t1": (SeriesTransformer, GREEN | {"layers": 8}),
    "transformer_t2": (SeriesTransformer, GREEN | {"layers": 12, "heads": 16}),
}
