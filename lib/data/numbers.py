"""What a net can compute with: numbers in float32, and how those far from 0 get there whole."""

import numpy as np

from lib.data.sources import DataError

LARGEST = 1e18              # its square is still finite in float32, in which nets compute
# Numbers whose mean is so many times their deviation keep less than four digits of it in float32.
LARGEST_OFFSET = 1000


def origin(x: np.ndarray) -> float:
    """From where numbers that lie far from 0 are to be counted: their median; 0 for others."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = x.mean(dtype=np.float64)
        far = abs(mean) > LARGEST_OFFSET * (x - mean).std() > 0
    return np.sort(x, axis=None)[x.size // 2].item() if far else 0


def bounded(x: np.ndarray, where: str) -> None:
    """DataError, which says where, for numbers whose squares are not finite, or 0, in float32."""
    largest, smallest = float(x.max()), float(x.min())
    size = max(abs(largest), abs(smallest))
    if not size <= LARGEST:
        raise DataError(f"{where} has {size:g}, a number too large to compute with: correct it, or "
                        "leave it out if it marks a missing one.")
    if 0 < largest - smallest < 1 / LARGEST:
        raise DataError(f"{where} has numbers that differ by {largest - smallest:g} at most, too "
                        "little to compute with: bring them in a smaller unit.")
