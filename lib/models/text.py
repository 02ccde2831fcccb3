"""Encoders of text: word pieces in, an answer a sentence, or where it stands, out (Devlin et al.
2018, 1810.04805)."""

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.dropout import Dropout
from lib.models.net import positive
from lib.models.transformer import Attention

NAMES = ("minilm", "bert", "distilbert", "bert_tiny")
EPSILON = 1e-12                         # of BERT's layer norms
VOCABULARY, POSITIONS, KINDS = 30522, 512, 2
FAR = -1e4                              # a score that no softmax sees, in half precision too
SEPARATOR = 102                         # the word piece that ends a text
# What parts are called in the published weights of BERT and of DistilBERT, and here.
PUBLISHED = {
    "embeddings.word_embeddings": "words", "embeddings.position_embeddings": "positions",
    "embeddings.token_type_embeddings": "kinds", "embeddings.LayerNorm": "norm",
    "attention.self.query": "attention.q", "attention.self.key": "attention.k",
    "attention.self.value": "attention.v", "attention.output.dense": "attention.out",
    "attention.output.LayerNorm": "norm1", "intermediate.dense": "linear1",
    "output.dense": "linear2", "output.LayerNorm": "norm2",
    "attention.q_lin": "attention.q", "attention.k_lin": "attention.k",
    "attention.v_lin": "attention.v", "attention.out_lin": "attention.out",
    "sa_layer_norm": "norm1", "ffn.lin1": "linear1", "ffn.lin2": "linear2",
    "output_layer_norm": "norm2"}
LAYER_NORM = {"gamma": "weight", "beta": "bias"}        # as the oldest of these files call them


class TextAttention(Attention):
    """Attention that leaves out what stands behind a sentence's end.

    x: (batch, pieces, d); hidden: (batch, 1, pieces, 1), 0 for a piece and FAR where there is none.
    While it trains, torch's fused attention computes the same and keeps no score of a pair of
    pieces, of which 32 paragraphs have 25 million a layer; so none of these is dropped out.
    """

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        q, k, v = (layer(x).transpose(1, 2).unflatten(1, (self.heads, -1))
                   for layer in (self.q, self.k, self.v))       # (batch, heads, d / heads, pieces)
        if self.training:
            mask = hidden.transpose(2, 3).to(q.dtype)           # (batch, 1, 1, pieces)
            mixed = F.scaled_dot_product_attention(
                q.transpose(2, 3), k.transpose(2, 3), v.transpose(2, 3), mask)
            return self.out(mixed.transpose(1, 2).flatten(2))
        scores = k.transpose(2, 3) @ (q * q.shape[2] ** -0.5)   # (batch, heads, pieces, askers)
        mixed = v @ (scores + hidden).softmax(2)
        return self.out(mixed.flatten(1, 2).transpose(1, 2))

    def matmuls(self, x: Tensor, hidden: Tensor) -> list[tuple[int, int, int, int]]:
        """Its products of activations, as (batch, rows, inner, columns), for counting."""
        return super().matmuls(x, x)


class TextBlock(nn.Module):
    """Attention, then a two-layer net for each piece; after each: dropout, sum, layer norm."""

    is_block = True

    def __init__(self, d: int, heads: int, ff: int, dropout: float) -> None:
        super().__init__()
        self.attention = TextAttention(d, heads, dropout=0.0)
        self.norm1, self.norm2 = (nn.LayerNorm(d, eps=EPSILON) for _ in range(2))
        self.linear1, self.linear2 = nn.Linear(d, ff), nn.Linear(ff, d)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        x = self.norm1(x + self.dropout(self.attention(x, hidden)))
        inner = self.linear2(F.gelu(self.linear1(x)))
        return self.norm2(x + self.dropout(inner))


class TextTransformer(nn.Module):
    """(batch, pieces) numbers of word pieces, 0 where a sentence has ended -> (batch, outputs).

    The mean of the last layer's pieces goes into one linear layer. Of a task with two outputs a
    piece, where an answer begins and where it ends, that layer takes each piece instead, and only
    the second text, the paragraph, can hold the answer: (batch, 2 · pieces). While it trains,
    pieces behind the longest sentence of a batch are not computed.
    """

    def __init__(self, task, d: int = 384, heads: int = 12, layers: int = 6, ff: int = 1536,
                 dropout: float = 0.1) -> None:
        super().__init__()
        positive(d=d, heads=heads, layers=layers, ff=ff)
        if len(task.inputs) != 1 or task.kind != "text":
            raise ValueError(f"this net takes word pieces, the task is of kind {task.kind}; choose "
                             "a task such as sst2")
        self.words = nn.Embedding(VOCABULARY, d, padding_idx=0)
        self.positions, self.kinds = nn.Embedding(POSITIONS, d), nn.Embedding(KINDS, d)
        self.norm, self.dropout = nn.LayerNorm(d, eps=EPSILON), Dropout(dropout)
        self.blocks = nn.ModuleList(TextBlock(d, heads, ff, dropout) for _ in range(layers))
        self.finds_spans = task.outputs == 2 * task.inputs[0]
        self.head = nn.Linear(d, 2 if self.finds_spans else task.outputs)
        for table in (self.words, self.positions, self.kinds):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x = x[:, :max(1, int((x != 0).sum(1).max()))]
        there = (x != 0).to(self.head.weight.dtype)             # (batch, pieces)
        hidden = (1 - there)[:, None, :, None] * FAR
        places = torch.arange(x.shape[1], device=x.device)
        tokens = self.words(x) + self.positions(places)
        if self.finds_spans:
            ends = (x == SEPARATOR).to(there.dtype)
            second = (ends.cumsum(1) - ends).clamp(max=1)       # (batch, pieces): behind the first
            tokens = tokens + torch.lerp(*self.kinds.weight, second[:, :, None])
        else:
            tokens = tokens + self.kinds.weight[0]
        tokens = self.dropout(self.norm(tokens))
        for block in self.blocks:
            tokens = block(tokens, hidden)
        if self.finds_spans:
            elsewhere = (1 - second * there * (1 - ends)) * FAR
            found = self.head(self.dropout(tokens)) + elsewhere[:, :, None]
            return found.transpose(1, 2).flatten(1)
        mean = (tokens * there[:, :, None]).sum(1) / there.sum(1, keepdim=True).clamp(min=1)
        return self.head(self.dropout(mean))

    def start_from(self, published: Mapping[str, Tensor]) -> None:
        """Take the weights of a published encoder of this size, by BERT's or DistilBERT's names;
        the head stays as it is. DistilBERT tells no first text from a second one, which is a table
        of zeros here. ValueError where one is missing or of another shape."""
        given = {_own_name(name): value for name, value in published.items()}
        if any(name.startswith("distilbert.") for name in published):
            given.setdefault("kinds.weight", torch.zeros_like(self.kinds.weight))
        own = {name: value for name, value in self.state_dict().items()
               if not name.startswith("head.")}
        wrong = [name for name, value in own.items()
                 if name not in given or given[name].shape != value.shape]
        if wrong:
            raise ValueError(f"the published weights do not fit this encoder: {wrong[0]} is "
                             f"missing or of another shape ({len(wrong)} of {len(own)} in all)")
        self.load_state_dict({name: given[name] for name in own}, strict=False)


def _own_name(published: str) -> str:
    """What a published tensor is called here: "bert.encoder.layer.0.output.dense.weight" is
    "blocks.0.linear2.weight"."""
    parts = re.sub(r"^(distil)?bert\.", "", published)
    parts = re.sub(r"^(encoder|transformer)\.layer\.", "blocks.", parts)
    block = re.match(r"blocks\.\d+\.", parts)
    before = block[0] if block else ""
    inner, _, kind = parts.removeprefix(before).rpartition(".")
    return f"{before}{PUBLISHED.get(inner, inner)}.{LAYER_NORM.get(kind, kind)}"


MODELS = {"minilm": (TextTransformer, {}),
          "bert": (TextTransformer, {"d": 768, "layers": 12, "ff": 3072}),
          "distilbert": (TextTransformer, {"d": 768, "ff": 3072}),
          "bert_tiny": (TextTransformer, {"d": 128, "heads": 2, "layers": 2, "ff": 512})}
