"""A sample of ImageNet: images and classes of the size that large nets are made for."""

import functools
import hashlib
import io
import json
from pathlib import PurePosixPath

import numpy as np

from lib.data import splits
from lib.data.batches import on_white, read
from lib.data.catalogue import RAW_FILES
from lib.data.sources import FILES, DataError, digest, fetch, unpack
from lib.data.task import Task

SIDE = 224              # pixels
CLASSES = 1000
TESTED, VALIDATED = 0.6, 0.1        # of the sample; the rest is for ranges of activations


def load(name: str, variant: str | None, fold: int | None) -> Task:
    """imagenet: 500 of its training images, one of each second class, 224×224, numbered as the 1000
    classes are. For speed, size, and agreement with a net that others trained, never for a score:
    these nets have seen the images. Whole parts of ImageNet are read as "imagefolder:PATH"."""
    file = RAW_FILES[name][0]
    try:
        x, y, classes, rows = _sample(file, digest(file))
    except (AttributeError, LookupError, StopIteration, TypeError, ValueError) as error:
        raise DataError(f"{fetch(file)} does not hold a sample of ImageNet "
                        f"({type(error).__name__}): replace it.") from error
    return splits.divide(name, "image", x, y, rows, classes=classes,
                         source=f"{FILES[file].line}; nets have seen these images")


@functools.lru_cache(maxsize=1)
def _sample(file: str, key: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], tuple]:
    """Images (n, 3, 224, 224) uint8, class numbers, names, and rows of three parts, by the images'
    hashes; kept under the file's."""
    members = unpack(file, r".*\.(JPEG|json)")
    index = json.loads(next(content for path, content in members.items() if path[-5:] == ".json"))
    words = {word: int(number) for number, (word, _) in index.items()}
    if len(words) != CLASSES:
        raise ValueError(f"{len(words)} classes")
    classes = tuple(f"{word} {said}" for word, said in (index[str(i)] for i in range(CLASSES)))
    found = sorted((hashlib.sha256(content).hexdigest(), path) for path, content in members.items()
                   if path[-5:] != ".json")
    x = np.stack([_decoded(members[path]) for _, path in found])
    y = np.array([words[PurePosixPath(path).parent.name] for _, path in found])
    tested, validated = round(TESTED * len(x)), round((TESTED + VALIDATED) * len(x))
    every = np.arange(len(x))
    return x, y, classes, (every[validated:], every[tested:validated], every[:tested])


def _decoded(content: bytes) -> np.ndarray:
    with read(io.BytesIO(content)) as image:
        pixels = np.asarray(on_white(image).convert("RGB").resize((SIDE, SIDE)))
    return pixels.transpose(2, 0, 1)
