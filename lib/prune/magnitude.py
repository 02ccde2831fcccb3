"""The weights nearest to zero.

Single weights fall in one order by |w| and by w². Only where weights go together, as channels do,
the two differ: a sum of squares counts a few large weights for more. With `_layer` each layer loses
the same share, without it one threshold is taken for all layers (global magnitude).
"""

from torch import Tensor

from lib.prune.ranking import Ranking

NAMES = ("magnitude_l1", "magnitude_l2", "magnitude_l1_layer", "magnitude_l2_layer")


def magnitude_l1(w: Tensor) -> Tensor:
    return w.abs()


def magnitude_l2(w: Tensor) -> Tensor:
    return w.square()


METHODS = {"magnitude_l1": Ranking(magnitude_l1, "model"),
           "magnitude_l2": Ranking(magnitude_l2, "model"),
           "magnitude_l1_layer": Ranking(magnitude_l1, "layer"),
           "magnitude_l2_layer": Ranking(magnitude_l2, "layer")}
