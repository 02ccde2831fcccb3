"""Asking twice: what a faster rung is unsure of is asked of the most accurate one again.

It pays only where that makes more requests right than it delays: of the requests at most the share
that a faster rung saves of the time may be asked again (1 - seconds of it / seconds of the best),
or the best rung alone would be the faster one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Escalation:
    """An answer whose two largest outputs lie closer than `margin` (of their softmax) is asked of
    the most accurate rung again, if there is still time."""

    margin: float


def margin(logits: Tensor) -> float:
    """Between the two likeliest classes, of their softmax; of several examples the least; 1 where
    there is but one output."""
    if logits.shape[-1] < 2:
        return 1.0
    likeliest = logits.softmax(-1).topk(2).values
    return float((likeliest[..., 0] - likeliest[..., 1]).min())


def that_pays(fast: Tensor, best: Tensor, targets: Tensor, most: float) -> Escalation | None:
    """The margin by which asking again makes the most requests right, of at most a share `most` of
    them; None where it makes none right that was wrong, on balance.

    fast, best: what two rungs answer to requests that neither learned from, (n, outputs) or
    (n, examples, outputs); targets: (n,) or (n, examples).
    """
    margins = torch.tensor([margin(logits) for logits in fast])
    gained = (best.argmax(-1) == targets).double() - (fast.argmax(-1) == targets).double()
    gained = gained.flatten(1).mean(1) if gained.dim() > 1 else gained      # of each request
    ordered, places = margins.sort(stable=True)
    total = gained[places].cumsum(0)[:int(most * len(margins))]
    if not len(total) or total.max() <= 0:
        return None
    last = int(total.argmax())
    following = ordered[last + 1] if last + 1 < len(ordered) else ordered[last] + 1
    return Escalation(float((ordered[last] + following) / 2))
