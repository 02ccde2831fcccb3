"""What an operation and an access cost, in two generations of chips.

Both are tables of single operations, published to show orders of magnitude. What a real chip takes
lies far above them, by what feeds its multipliers (a processor fetches and decodes instructions,
too), so only ratios are read from them, and of rankings those alone that hold under both.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

ON_CHIP = 2**20             # bytes: the largest on-chip memory whose figures are published
# In the source of every cost of this model; costs without it charge a step at each capacity.
INTERPOLATED = "interpolated memory"


@dataclass(frozen=True)
class Process:
    """All energies in picojoules; sram and dram for 64 bits."""

    name: str
    source: str
    multiply: Mapping[str, float]           # float32, float16 (of 7 nm: bfloat16), int8
    add: Mapping[str, float]                # float32, float16, int32
    sram: tuple[tuple[int, float], ...]     # (bytes that it holds, pJ)
    dram: tuple[float, float, float]        # least, as counted, most

    def product(self, arithmetic: str, w_bits: float = 32, a_bits: float = 32) -> float:
        """One multiplication of a weight with an input, and adding it up.

        arithmetic: float32, float16, or integer: of whole numbers a multiplier's energy goes with
        the product of its operands' bits, from the 8 × 8 that are published; sums take 32.
        """
        if arithmetic == "integer":
            return self.multiply["int8"] * w_bits * a_bits / 64 + self.add["int32"]
        return self.multiply[arithmetic] + self.add[arithmetic]

    def access(self, working_set: float, on_chip: int = ON_CHIP) -> tuple[float, float, float]:
        """Picojoules of reading or writing 64 bits: (least, as counted, most).

        working_set: bytes that are used again and again. Up to on_chip bytes they lie in a memory
        of their own size. Of a larger working set the on-chip memory holds as much as fits, and
        the rest is charged as DRAM; an access costs the mean, so nothing jumps at any size.
        ValueError: less than 1 byte on chip.
        """
        if on_chip < 1:
            raise ValueError(f"on_chip={on_chip}: a chip has 1 byte of memory or more")
        each = self.on_chip_access(min(working_set, on_chip))
        fits = min(1.0, on_chip / working_set) if working_set else 1.0
        least, counted, most = (fits * min(each, dram) + (1 - fits) * dram for dram in self.dram)
        return least, counted, most

    def on_chip_access(self, size: float) -> float:
        """Picojoules of an access to an on-chip memory of `size` bytes.

        Linear between the published points in the logarithms of capacity and energy, and beyond
        the largest along the line through the last two; below the smallest: the smallest's.
        """
        holds, energies = np.log(np.array(self.sram)).T
        at = np.log(max(size, self.sram[0][0]))
        i = min(max(int(np.searchsorted(holds, at)), 1), len(holds) - 1)
        slope = (energies[i] - energies[i - 1]) / (holds[i] - holds[i - 1])
        return float(np.exp(energies[i] + slope * (at - holds[i])))


PROCESSES = {
    # M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, at 0.9 V.
    "45nm": Process("45nm", "45 nm, Horowitz 2014",
                    {"float32": 3.7, "float16": 1.1, "int8": 0.2},
                    {"float32": 0.9, "float16": 0.4, "int32": 0.1},
                    ((8 * 1024, 10.0), (32 * 1024, 20.0), (2**20, 100.0)), (1300, 1300, 2600)),
    # N. Jouppi et al., "Ten lessons from three generations shaped Google's TPUv4i", ISCA 2021, the
    # same table brought to 7 nm; DRAM: HBM2 at its least, else DDR.
    "7nm": Process("7nm", "7 nm, Jouppi 2021",
                   {"float32": 1.31, "float16": 0.21, "int8": 0.07},
                   {"float32": 0.38, "float16": 0.11, "int32": 0.03},
                   ((8 * 1024, 7.5), (32 * 1024, 8.5), (2**20, 14.0)), (250, 1300, 1300)),
}


def process(name: str) -> Process:
    """ValueError for a process of which there are no figures."""
    if name not in PROCESSES:
        raise ValueError(f"there is no process {name!r}; choose one of: {', '.join(PROCESSES)}")
    return PROCESSES[name]
