"""Every code-book method over 10 M weights, at 8 bits: time and peak memory.

Run it as a program: python tests/bench/codebook.py [threads] [millions]. The goal is 2 s on two
cores and 8 times the weights' memory, however the weights are cut. Of two runs the quicker counts;
beside its seconds stand the processor's, which other programs' work inflates less. Each case has
its own process, because the peak of a process never falls.
"""

import multiprocessing
import resource
import sys
import time

import torch

from lib.quant.codebook import METHODS

CUTS = {"one range": (1, None, None), "per channel": (4096, 0, None),
        "groups of 128": (4096, 0, 128)}


def measure(name: str, cut: str, threads: int, millions: float) -> tuple[float, float, float]:
    """Seconds, processor seconds, and bytes at the peak beyond the start per byte of weights."""
    torch.set_num_threads(threads)
    rows, axis, group = CUTS[cut]
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(rows, int(millions * 1e6) // rows, generator=generator) * 0.02
    METHODS[name](w[:, :256], 8, axis, None, generator)         # load what is loaded once
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(2):
        start = time.perf_counter(), time.process_time()
        METHODS[name](w, 8, axis, group, generator)
        seconds.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024
    return *min(seconds), more / (w.numel() * w.element_size())


def main(threads: int = 2, millions: float = 10.0) -> None:
    print(f"{millions:g} M weights, 8 bits, {threads} threads: seconds (processor's), peak memory")
    print(f"{'':26}" + "".join(f"{cut:>22}" for cut in CUTS))
    context = multiprocessing.get_context("spawn")
    for name in METHODS:
        cells = []
        for cut in CUTS:
            with context.Pool(1) as pool:
                spent, cpu, memory = pool.apply(measure, (name, cut, threads, millions))
            cells.append(f"{spent:6.2f} ({cpu:4.2f}) {memory:4.1f}x")
        print(f"{name:26}" + "".join(f"{cell:>22}" for cell in cells), flush=True)


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((int, float), sys.argv[1:], strict=False)))
