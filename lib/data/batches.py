"""Sets that do not fit in memory: images that stay in their files until a batch is drawn."""

import math
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from lib.data.sources import DataError

# Bytes of decoded pixels up to which a folder of images is held in memory: decoding takes some
# hundred images a second a core, indexing bytes a hundred thousand, and 1 GB is what CIFAR-10,
# CIFAR-100 and Fashion-MNIST together would take twice. Small machines have 4.
LARGEST_IN_MEMORY = 10**9
AT_A_TIME = 1000        # examples, where a set is read once from end to end
# By content, whatever a file's name ends in; Pillow would run Ghostscript for an EPS.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
DEEP = ("I;16", "I;16B", "I;16L")       # Pillow's modes of grey with 16 bits
LARGEST_SIZE = 2**19    # pixels of an image as a net gets it: 512 of these are 3.2 GB of floats
DECODING = 2            # of what follows; what was counted by another one is counted anew


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
        with read(file) as image:
            image = on_white(ImageOps.exif_transpose(image) if "exif" in image.info else image)
        if image.size != self.size:
            image = image.resize(self.size, Image.Resampling.BILINEAR)
        return image if self.grey else image.convert("RGB")


def opened(files: list[Path], content: str) -> tuple[ImageFiles, list[str]]:
    """The files as one set, of their median width and height and grey only if all are, and notes on
    what is done to some of them; only their heads are read. DataError for one that is no image."""
    sizes, done, grey = [], Counter(), True
    for file in files:
        with read(file) as image:
            sizes.append(_upright_size(image))
            grey = grey and is_grey(image)
            done["with 16 bits, of which the upper 8 are kept"] += image.mode in DEEP
            done["with transparency, laid on white"] += image.has_transparency_data
    width, height = (sorted(side)[len(files) // 2] for side in zip(*sizes, strict=True))
    if width * height > LARGEST_SIZE:
        raise DataError(f"{files[sizes.index(max(sizes))]} and others have {width}×{height} pixels "
                        f"and more, too many for a net: shrink them to {LARGEST_SIZE} or fewer.")
    done[f"resized to the median size, {width}×{height}"] += sum(
        size != (width, height) for size in sizes)
    notes = [f"{count} of {len(files)} {what}" for what, count in done.items() if count]
    return ImageFiles(tuple(files), f"{content} {DECODING}", (width, height), grey), notes


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) as the camera's note in an image's head says it is to be seen."""
    turned = "exif" in image.info and image.getexif().get(0x0112, 1) >= 5
    return image.size[::-1] if turned else image.size


def is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA", *DEEP)


def on_white(image: Image.Image) -> Image.Image:
    """The image in bytes, grey (L) or RGB, as it looks on white paper."""
    if image.mode in DEEP:
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    wanted = "L" if is_grey(image) else "RGB"
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(wanted)


@contextmanager
def read(file: Path) -> Iterator[Image.Image]:
    """An image file, opened by its content. DataError, with its name, if it is none that can be
    read, has several pages, or has pixels of more than 16 bits."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(file, formats=FORMATS)
        with image:
            if image.mode in ("I", "F"):
                raise DataError(f"{file} has pixels of 32 bits: save it with 8 or 16.")
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
                raise DataError(f"{file} has {image.n_frames} pages: save the one that is meant.")
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"{file} has more than {Image.MAX_IMAGE_PIXELS} pixels, too many to "
                        "decode: shrink it.") from None
    except (DataError, KeyboardInterrupt):
        raise
    except Exception as error:      # Pillow's readers raise what they meet: struct, zlib, index …
        raise DataError(f"{file} is not a readable image ({type(error).__name__}): replace or "
                        "remove it.") from error
