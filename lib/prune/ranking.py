"""A ranking: how much each weight is worth, and among which weights it is compared.

A method's `score` looks at one weight tensor. What else it needs is in its signature: `energy`, the
mean square of what each weight is multiplied with; `gradients`, a list of the loss's gradients, one
a batch; `generator`, to draw with. All have shapes that spread to the weight's.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

SCOPES = ("model", "layer", "row")


class Ranking(NamedTuple):
    """score(w, …) -> a score for each weight, of w's shape: the least go. scope: what loses the
    asked share: the whole model, each layer, or each row of weights that make one output."""

    score: Callable[..., Tensor]
    scope: str
