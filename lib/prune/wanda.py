"""Wanda: a weight is worth its magnitude times what it is multiplied with (Sun et al. 2023)."""

from torch import Tensor

from lib.prune.ranking import Ranking

NAMES = ("wanda",)


def wanda(w: Tensor, energy: Tensor) -> Tensor:
    """|w|·‖x‖₂, compared within the row that makes one output (arXiv 2306.11695). energy: the mean
    square of each input channel, spread over a kernel's places."""
    return w.abs() * energy.sqrt()


METHODS = {"wanda": Ranking(wanda, "row")}
