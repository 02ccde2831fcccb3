"""The grid that learned steps (LSQ) start from."""

from dataclasses import replace

import torch
from torch import Tensor

from lib.layers.stored import Affine
from lib.quant.affine import affine

NAMES = ("lsq",)


def lsq(w: Tensor, bits: int = 4, axis: int | None = 0, group: int | None = None,
        generator: torch.Generator | None = None, levels: int | None = None) -> Affine:
    """Before any training: `affine`, its range shrunk to the least square error. What LSQ is about
    comes with `qat_prepare(model, "lsq")` (Esser et al. 2020, arXiv 1902.08153)."""
    return replace(affine(w, bits, axis, group, levels=levels, clip="mse"), method="lsq")


METHODS = {"lsq": lsq}
