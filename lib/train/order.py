"""In which order a training sees its examples."""

import torch
from torch import Tensor

TOGETHER = 100              # batches among which sentences of about one length are sought


def drawn(part, size: int, text: bool = False) -> Tensor:
    """The numbers of a part's examples as one epoch takes them, `size` at a time: at random, by
    torch's own generator; (n,).

    text: examples are numbers of word pieces, 0 behind a sentence's end. Then batches hold
    sentences of about one length, which spares computing what stands behind the shorter ones: of
    each TOGETHER batches at random, the sentences are put in order of their length and cut anew,
    and all full batches come in random order.
    """
    order = torch.randperm(len(part))
    full = len(order) // size
    if not text or full < 2:
        return order
    lengths = (part.x != 0).sum(1).cpu()
    pieces = order[:full * size].split(TOGETHER * size)
    sorted_pieces = [piece[lengths[piece].argsort(stable=True)] for piece in pieces]
    batches = torch.cat(sorted_pieces).reshape(full, size)
    return torch.cat([batches[torch.randperm(full)].flatten(), order[full * size:]])
