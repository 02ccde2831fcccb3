"""Real bytes: codes packed to the bit, and a model's file that has the size we state."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.layers import files
from lib.layers.codes import CHUNK, pack, unpack
from lib.layers.files import build_arguments, described, save
from lib.layers.stored import Quantized
from lib.quant import activations, graph

__all__ = ["CHUNK", "build_arguments", "described", "entropy_bound", "load", "pack", "restored",
           "save", "unpack"]
REBUILD = {"Activation": activations.rebuild, "Folded": graph.rebuild}


def entropy_bound(q: Quantized) -> int:
    """Bytes that an ideal entropy coder of single codes would need: −Σ log₂ p(code) bits with the
    frequencies of the whole tensor, and the tables as they are."""
    counts = torch.bincount(q.codes.reshape(-1).long()).double()
    bits = -(counts * (counts / counts.sum()).clamp(min=1e-300).log2()).sum().item()
    return math.ceil(bits / 8 - 1e-9) + q.table_bytes


def load(model: nn.Module, path: str | Path) -> nn.Module:
    """A copy of `model`, which must be built as the saved one was, with what the file holds: codes,
    masks, folded norms, and the roundings and smoothings of what enters its layers."""
    return files.load(model, path, REBUILD)


def restored(model: nn.Module, header: dict, payload: Tensor) -> nn.Module:
    """The same from what `described` gave, without a file."""
    return files.restored(model, header, payload, REBUILD)
