"""Images: Fashion-MNIST and CIFAR from the authors' binary files, and digits."""

import functools
import hashlib
from pathlib import Path

import numpy as np
import torch

from lib.data import splits
from lib.data.catalogue import RAW_FILES
from lib.data.sources import FILES, DataError, digest, fetch, unpack
from lib.data.task import Task

FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
           "ankle boot")
VALIDATION = 5000
SMALL = 10_000                              # images to train on, of the variants small and scaled
CLASSES = {"fashion_mnist": 10, "cifar10": 10, "cifar100": 100}


def load(name: str, variant: str | None, fold: int | None) -> Task:
    """digits (five folds), fashion_mnist, cifar10, cifar100 (the authors' test set; 5 000 of their
    training images, equally many of each class, validate). variant: "edge", fashion_mnist as Edge
    had it; "small", equally many images of each class to train on, SMALL in all; "scaled", the same
    brought to [-1, 1] in place of mean 0 and deviation 1."""
    if name == "digits":
        return _digits(fold)
    files = RAW_FILES[name]
    digests = tuple(map(digest, files))
    try:
        x, y, first, classes = (_fashion if name == "fashion_mnist" else _cifar)(files, digests)
    except (ValueError, LookupError, MemoryError) as error:
        raise DataError(f"{fetch(files[0])} does not hold {name} ({type(error).__name__}): replace "
                        "it by the authors' file.") from error
    if len(classes) != CLASSES[name] or y.max() >= len(classes):
        raise DataError(f"{fetch(files[0])} names {len(classes)} classes and has labels up to "
                        f"{y.max()}, not {CLASSES[name]} classes: replace it by the authors' file.")
    source = FILES[files[0]].line
    rows = _official(y, first, len(classes))
    if variant in ("small", "scaled"):
        # [-1, 1] of bytes that are [0, 1]: less a half, over a half
        half = np.full(x.shape[1], 0.5)
        chosen = _first(y, rows[0], SMALL // len(classes)), *rows[1:]
        return splits.divide(f"{name}@{variant}", "image", x, y, chosen, classes=classes,
                             scaling=(half, half) if variant == "scaled" else None,
                             source=f"{source}; {SMALL:,} of the images to train on")
    if variant == "edge":
        large = torch.from_numpy(_enlarged(files, digests)).expand(-1, 3, -1, -1)
        return splits.divide("fashion_mnist@edge", "image", large, y, rows, classes=classes,
                             scaling=(np.full(3, 0.5), np.full(3, 0.5)),
                             source=f"{source}; 32×32×3 as Edge made it")
    return splits.divide(name, "image", x, y, rows, classes=classes, source=source)


def _official(y: np.ndarray, first: int, classes: int) -> tuple:
    """Rows of train, val and test, of which the first `first` are the authors' training set: the
    first of each class validate, which are random ones because of the order (`_in_order`)."""
    rank = np.empty(first, int)
    for c in range(classes):
        of_class = np.flatnonzero(y[:first] == c)
        rank[of_class] = np.arange(len(of_class))
    validates = rank < VALIDATION // classes
    return np.flatnonzero(~validates), np.flatnonzero(validates), np.arange(first, len(y))


def _first(y: np.ndarray, rows: np.ndarray, each: int) -> np.ndarray:
    """The first rows of each class, in their order."""
    kept = [rows[y[rows] == c][:each] for c in np.unique(y[rows])]
    return np.sort(np.concatenate(kept))


def _in_order(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The examples sorted by the sha256 of label and image: copies of these sets circulate in
    different orders, and neither the split nor a result shall hang on that."""
    keys = [hashlib.sha256(bytes([label]) + image.tobytes()).digest()
            for label, image in zip(y, x, strict=True)]
    order = sorted(range(len(y)), key=keys.__getitem__)
    return x[order], y[order]


# Parsed sets are kept while the process lives, under the sha256 of their files: all of them, for a
# set that is parsed anew beside a living Task would lie there twice.
@functools.lru_cache(maxsize=1)
def _fashion(files: tuple, digests: tuple) -> tuple[np.ndarray, np.ndarray, int, tuple[str, ...]]:
    """Images (n, 1, 28, 28), labels (n,), how many are the training set, names of the classes."""
    content = [unpack(file)[""] for file in files]
    xs, ys = [], []
    for images, labels in (content[:2], content[2:]):
        y = np.frombuffer(labels, np.uint8, offset=8)      # idx: magic, counts, then the bytes
        x = np.frombuffer(images, np.uint8, offset=16).reshape(len(y), 1, 28, 28)
        x, y = _in_order(x, y)
        xs.append(x)
        ys.append(y)
    return np.concatenate(xs), np.concatenate(ys), len(ys[0]), FASHION


@functools.lru_cache(maxsize=2)
def _cifar(files: tuple, digests: tuple) -> tuple[np.ndarray, np.ndarray, int, tuple[str, ...]]:
    """As `_fashion`, (n, 3, 32, 32), from records of a label byte (CIFAR-100: a coarse, then a fine
    one) and 3 × 1024 bytes, red first."""
    labels = 2 if "100" in files[0] else 1
    found = unpack(files[0], r"(?:data_batch_\d|test_batch|train|test)\.bin|"
                             r"(?:batches\.meta|fine_label_names)\.txt")
    texts = [found[n] for n in found if n.endswith(".txt")]
    xs, ys = [], []
    for test, expected in ((False, 50_000), (True, 10_000)):
        data = b"".join(found[n] for n in sorted(found)
                        if n.endswith(".bin") and Path(n).name.startswith("test") == test)
        if len(data) != expected * (labels + 3072) or not texts:
            raise DataError(f"{fetch(files[0])} lacks images or names of classes: replace it by "
                            "the authors' file.")
        records = np.frombuffer(data, np.uint8).reshape(expected, -1)
        x, y = _in_order(records[:, labels:].reshape(-1, 3, 32, 32), records[:, labels - 1])
        xs.append(x)
        ys.append(y)
    classes = tuple(texts[0].decode().split())
    return np.concatenate(xs), np.concatenate(ys), len(ys[0]), classes


@functools.lru_cache(maxsize=1)
def _enlarged(files: tuple, digests: tuple) -> np.ndarray:
    return enlarged(_fashion(files, digests)[0])


def enlarged(x: np.ndarray, side: int = 32) -> np.ndarray:
    """Square images (n, C, s, s) uint8 resized bilinearly to `side`, columns before rows and
    rounded after each, as Pillow does it.

    Source coordinate of pixel i: (i + ½)·s/side - ½, kept inside. For 28 to 32 every product and
    sum is exact in float32 (sixteenths of bytes), so the result is the same on every machine."""
    size = x.shape[-1]
    place = np.clip((np.arange(side) + 0.5) * size / side - 0.5, 0, size - 1)
    weights = np.maximum(0, 1 - abs(place - np.arange(size)[:, None])).astype(np.float32)
    large = np.empty((*x.shape[:2], side, side), np.uint8)
    for i in range(0, len(x), 1000):                # all at once costs seconds of fresh memory
        part = x[i:i + 1000]
        for _ in range(2):
            wide = part.reshape(-1, size).astype(np.float32) @ weights + np.float32(0.5)
            part = wide.astype(np.uint8).reshape(*part.shape[:3], side).swapaxes(2, 3)
        large[i:i + 1000] = part
    return large


def _digits(fold: int) -> Task:
    from sklearn.datasets import load_digits
    bunch = load_digits()
    x = (bunch.images[:, None] / 16).astype(np.float32)
    rows = splits.of_fold(splits.stored("digits", len(x)), fold)
    return splits.divide("digits", "image", x, bunch.target, rows, fold=fold,
                         classes=tuple(map(str, range(10))),
                         source="Optical digits (Alpaydin & Kaynak 1998), UCI's as bundled with "
                                "scikit-learn; licence: CC BY 4.0")
