"""Sets that do not fit in memory: images that stay in their files until a batch is drawn."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from lib.data.sources import DataError

# Bytes of decoded pixels up to which a folder of images is held in memory: decoding takes some
# hundred images a second a core, indexing bytes a hundred thousand, and 1 GB is what CIFAR-10,
# CIFAR-100 and Fashion-MNIST together would take twice. Small machines have 4.
LARGEST_IN_MEMORY = 10**9
AT_A_TIME = 1000        # examples, where a set is read once from end to end


@dataclass(frozen=True)
class ImageFiles:
    """Image files that are indexed like an array (n, C, H, W) of bytes and decoded at each call.

    content: a hash of all files; all are resized (bilinearly) to `size`, (width, height); grey: one
    channel, else three."""

    files: tuple[Path, ...]
    content: str
    size: tuple[int, int]
    grey: bool

    dtype = torch.uint8

    @property
    def shape(self) -> tuple[int, int, int, int]:
        width, height = self.size
        return len(self.files), 1 if self.grey else 3, height, width

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """The images of these numbers, (b, C, H, W) uint8."""
        chosen = self.files[index] if isinstance(index, slice) else [
            self.files[i] for i in index.tolist()]
        pixels = np.empty((len(chosen), *self.shape[1:]), np.uint8)
        for place, file in zip(pixels, chosen, strict=True):
            place[:] = np.atleast_3d(self._decoded(file)).transpose(2, 0, 1)
        return torch.from_numpy(pixels)

    def _decoded(self, file: Path) -> Image.Image:
        try:
            with Image.open(file) as image:
                image = image.convert("L" if is_grey(image) else "RGB")
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            raise _unreadable(file, error) from error
        if image.size != self.size:
            image = image.resize(self.size, Image.Resampling.BILINEAR)
        return image if self.grey else image.convert("RGB")


def opened(files: list[Path], content: str) -> tuple[ImageFiles, int]:
    """The files as one set, of the first's size and grey only if all are, and how many have another
    size; only their heads are read. DataError for one that is no image."""
    sizes, grey = [], True
    for file in files:
        try:
            with Image.open(file) as image:
                sizes.append(image.size)
                grey = grey and is_grey(image)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            raise _unreadable(file, error) from error
    resized = sum(size != sizes[0] for size in sizes)
    return ImageFiles(tuple(files), content, sizes[0], grey), resized


def is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L")


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(f"{file} is not a readable image ({type(error).__name__}): replace or remove "
                     "it.")
