"""What an operation and an access cost, in two generations of chips.

Both are tables of single operations, published to show orders of magnitude. What a real chip takes
lies far above them, by what feeds its multipliers (a processor fetches and decodes instructions,
too), so only ratios are read from them, and of rankings those alone that hold under both.
"""

from collections.abc import Mapping
from dataclasses import dataclass


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

    def access(self, working_set: float) -> tuple[float, float, float]:
        """Reading or writing 64 bits of so many bytes that are needed again and again: from the
        smallest memory that holds them all. Least, as counted, most."""
        for holds, energy in self.sram:
            if working_set <= holds:
                return energy, energy, energy
        return self.dram


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
