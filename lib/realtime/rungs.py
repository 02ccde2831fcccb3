"""Rungs: one task's model at several precisions, from the most accurate to the fastest."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import nan

from torch import Tensor

LEAST_SAVED = 0.05      # of the time: less is taken for the noise of two profiles


@dataclass(frozen=True)
class Rung:
    """One way to answer a request.

    call: inputs (n, …) to answers (n, outputs); seconds: its 95th percentile for one request, as
    profiled, by which a request is in time or not; score: on the validation part, in the metric's
    unit; bits: of its weights; joules: of one answer, modelled, nan where they are not known;
    bytes: that it holds in memory; median: seconds of a request, by which it is faster than another
    rung or not, for the 95th percentiles of one file taken twice differ by more (None: `seconds`
    counts).
    """

    name: str
    call: Callable[[Tensor], Tensor]
    seconds: float
    score: float
    bits: int = 32
    joules: float = nan
    bytes: int = 0
    median: float | None = None

    @property
    def typical(self) -> float:
        return self.seconds if self.median is None else self.median


def ladder(rungs: Iterable[Rung]) -> list[Rung]:
    """The rungs that are worth having, the most accurate first: each faster (by LEAST_SAVED) or of
    less energy than every one above it. What saves neither is left out, whatever its precision.

    ValueError: no rung, or two of one name.
    """
    ordered = sorted(rungs, key=lambda rung: (-rung.score, rung.seconds))
    names = [rung.name for rung in ordered]
    if not names or len(set(names)) < len(names):
        raise ValueError("serving needs variants of different names, not "
                         f"{', '.join(names) or 'none'}")
    kept: list[Rung] = []
    for rung in ordered:
        if all(rung.typical < (1 - LEAST_SAVED) * above.typical or rung.joules < above.joules
               for above in kept):
            kept.append(rung)
    return kept
