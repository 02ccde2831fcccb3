"""A reader's own arrays: x of series or images, y and group, as an .npz holds them."""

import functools
from pathlib import Path

import numpy as np

from lib.data import catalogue, numbers
from lib.data.sources import DataError

FEWEST_ROWS = 50
LARGEST_BYTES = 4 * 10**9       # of an array once unpacked
MOST_CHANNELS = 16              # that stand last: more are taken for samples in time


@functools.lru_cache(maxsize=1)
def read(path: Path, content: str
         ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, list[str]]:
    """x (n, C, …), bytes of images or float32, y and group of an .npz, and notes on how x was read.

    content: its hash. DataError for arrays that are too large, or unfit."""
    with catalogue.arrays(path) as file:
        names = ["x", "y", *(["group"] if "group" in file.files else [])]
        for name in names:
            if name not in file.files:
                raise KeyError(name)
            size = file.zip.getinfo(f"{name}.npy").file_size
            if size > LARGEST_BYTES:
                raise DataError(f"{path} has {size} bytes in {name!r}, but at most {LARGEST_BYTES} "
                                "are read: bring fewer examples.")
        x, y, group = (file[name] if name in names else None for name in ("x", "y", "group"))
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if x.ndim == 2:
        raise DataError(f"{path} has x {x.shape}: save x[:, None] if each row is a series of one "
                        "channel, or write a table to a .csv and name it csv:PATH#TARGET.")
    lengths = {a.shape for a in (y, group) if a is not None}
    fits = x.ndim in (3, 4) and lengths == {x.shape[:1]} and len(x) >= FEWEST_ROWS and x.size
    fits = fits and x.dtype.kind in "fiub" and y.dtype.kind in "fiubUS" and bool(
        np.isfinite(x).all())
    if not fits:
        raise DataError(f"{path} has x {x.shape} {x.dtype} and y {y.shape} {y.dtype}: x must hold "
                        f"{FEWEST_ROWS} or more finite series (n, C, length) or images "
                        "(n, C, H, W), y (and group, if there is one) one target each.")
    x, notes = (_series if x.ndim == 3 else _images)(x, str(path))
    y = np.char.decode(y, "utf-8", "replace") if y.dtype.kind == "S" else y
    return np.ascontiguousarray(x), y, group, notes


def _series(x: np.ndarray, where: str) -> tuple[np.ndarray, list[str]]:
    """Series (n, C, length) in float32, and notes."""
    notes, (_, middle, last) = [], x.shape
    if last <= MOST_CHANNELS and middle >= 2 * last:
        x = x.transpose(0, 2, 1)
        notes.append(f"x read as (n, time, channel): {last} channels of {middle} samples")
    elif middle > last:
        notes.append(f"x read as (n, channel, time): {middle} channels of {last} samples")
    kept = []
    for c in range(x.shape[1]):
        channel = x[:, c]
        if channel.dtype.kind != "b" and channel.min() == channel.max():
            notes.append(f"channel {c + 1} of {x.shape[1]} left out (the same everywhere)")
            continue
        if (start := numbers.origin(channel)):
            notes.append(f"channel {c + 1} of {x.shape[1]} counted from {start}")
        channel = channel.astype(np.float64) if not start else (channel - start).astype(np.float64)
        numbers.bounded(channel, f"{where}, channel {c + 1} of x")
        kept.append(channel.astype(np.float32))
    if not kept:
        raise DataError(f"{where} has the same number everywhere in x: bring series that differ.")
    return np.stack(kept, 1), notes


def _images(x: np.ndarray, where: str) -> tuple[np.ndarray, list[str]]:
    """Images (n, 1 or 3, H, W) in bytes or float32, and notes."""
    notes = []
    if x.shape[1] not in (1, 3) and x.shape[3] in (1, 2, 3, 4):
        x = x.transpose(0, 3, 1, 2)
        notes = ["transparency laid on white"] if x.shape[1] in (2, 4) else []
    if x.shape[1] not in (1, 3) and not notes:
        raise DataError(f"{where} has images {x.shape[1:]}: bring (C, H, W) with 1 or 3 channels, "
                        "or (H, W, C) with 1 or 3, or 2 or 4 with transparency last.")
    if x.dtype.kind in "iu" and x.max() > 1 and 0 <= x.min() and x.max() <= 255:
        x = x.astype(np.uint8)
    elif x.dtype != np.uint8 and not (0 <= x.min() and x.max() <= 1):
        raise DataError(f"{where} has images from {x.min()} to {x.max()}: bring bytes, or floats "
                        "from 0 to 1.")
    white = 255 if x.dtype == np.uint8 else 1
    if notes:
        opaque = x[:, -1:].astype(np.float32) / white
        x = white + opaque * (x[:, :-1].astype(np.float32) - white)
        x = np.round(x).astype(np.uint8) if white == 255 else x
    return x.astype(np.uint8 if white == 255 else np.float32), notes
