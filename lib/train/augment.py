"""Augmentation of a whole batch at once: x (n, ...) -> x of the same shape, drawn anew each call.

Random numbers come from the global state, which `fit` forks and seeds.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def crop(x: Tensor, pad: int = 4) -> Tensor:
    """Each image shifted by up to `pad` pixels, mirrored at the border. x: (n, c, h, w)."""
    n, _, h, w = x.shape
    padded = F.pad(x, (pad, pad, pad, pad), mode="reflect").permute(0, 2, 3, 1)
    rows = torch.randint(2 * pad + 1, (n, 1, 1), device=x.device) + torch.arange(
        h, device=x.device)[None, :, None]
    cols = torch.randint(2 * pad + 1, (n, 1, 1), device=x.device) + torch.arange(
        w, device=x.device)[None, None, :]
    image = torch.arange(n, device=x.device)[:, None, None]
    return padded[image, rows, cols].permute(0, 3, 1, 2)        # (n, h, w, c) -> (n, c, h, w)


def crop2(x: Tensor) -> Tensor:
    """`crop` by up to two pixels, for small or centred images."""
    return crop(x, 2)


def flip(x: Tensor) -> Tensor:
    """Half of the images mirrored left to right. x: (n, c, h, w)."""
    chosen = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
    return torch.where(chosen, x.flip(3), x)


def cutout(x: Tensor, share: float = 0.25) -> Tensor:
    """A square of `share` of the side set to the batch's mean (DeVries & Taylor 2017,
    1708.04552); it may reach over the border. x: (n, c, h, w)."""
    n, _, h, w = x.shape
    half = max(1, round(share * h)) / 2
    y0 = torch.rand(n, 1, 1, device=x.device) * h
    x0 = torch.rand(n, 1, 1, device=x.device) * w
    inside = ((torch.arange(h, device=x.device)[None, :, None] + 0.5 - y0).abs() < half) & (
        (torch.arange(w, device=x.device)[None, None, :] + 0.5 - x0).abs() < half)
    return torch.where(inside[:, None], x.mean((0, 2, 3), keepdim=True), x)


def rotate(x: Tensor, degrees: float = 30.0) -> Tensor:
    """The sensor worn turned about a random axis by N(0, degrees). x: (n, 3, length)."""
    axis = F.normalize(torch.randn(len(x), 3, device=x.device), dim=1)
    angle = torch.randn(len(x), 1, 1, device=x.device) * (degrees * torch.pi / 180)
    a, b, c = axis.unbind(1)
    zero = torch.zeros_like(a)
    cross = torch.stack([zero, -c, b, c, zero, -a, -b, a, zero], 1).reshape(-1, 3, 3)
    turn = torch.eye(3, device=x.device) + angle.sin() * cross + (1 - angle.cos()) * cross @ cross
    return turn @ x                                             # Rodrigues' formula


def jitter(x: Tensor, share: float = 0.05) -> Tensor:
    """Noise of `share` of each channel's standard deviation. x: (n, c, length)."""
    return x + share * x.std((0, 2), keepdim=True) * torch.randn_like(x)


def scale(x: Tensor, share: float = 0.1) -> Tensor:
    """Each window's amplitude times N(1, share). x: (n, c, length)."""
    return x * (1 + share * torch.randn(len(x), 1, 1, device=x.device))


def shift(x: Tensor, share: float = 0.1) -> Tensor:
    """Each window rolled in time by up to `share` of its length. x: (n, c, length)."""
    n, _, length = x.shape
    by = torch.randint(-int(share * length), int(share * length) + 1, (n, 1), device=x.device)
    index = (torch.arange(length, device=x.device) + by) % length
    return x.gather(2, index[:, None].expand_as(x))


AUGMENTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    f.__name__: f for f in (crop, crop2, flip, cutout, rotate, jitter, scale, shift)}


def augmentation(names: tuple[str, ...]) -> Callable[[Tensor], Tensor]:
    """The named augmentations, one after the other."""
    for name in names:
        if name not in AUGMENTATIONS:
            raise ValueError(f"there is no augmentation {name!r}; choose from: "
                             f"{', '.join(AUGMENTATIONS)}")

    def change(x: Tensor) -> Tensor:
        for name in names:
            x = AUGMENTATIONS[name](x)
        return x

    return change
