"""Multipoint quantization, ours and Edge's, and the affine grid of as many bits, in one run.

Run it as a program: python tests/bench/multipoint.py [threads]. First the relative error
‖w − ŵ‖/‖w‖ on N(0, 0.02²) weights of 128×128×3×3 at the same stored bits; then seconds a point on
512×512×3×3.
"""

import sys
import time

import torch
from torch import Tensor

from lib.layers.stored import layout
from lib.quant import Quantized, quantize
from lib.quant.grid import choose_qparams, fake_quantize


def weights(channels: int) -> Tensor:
    return torch.randn(channels, channels, 3, 3, generator=torch.Generator().manual_seed(0)) * 0.02


def error(decoded: Tensor, w: Tensor) -> float:
    return ((decoded.double() - w.double()).norm() / w.double().norm()).item()


def affine_error(w: Tensor, axis: int | None, bits: int) -> tuple[float, float]:
    """Relative error in float64 and stored bits a weight of an affine grid of 2^bits levels, also
    beyond the 16 bits that `quantize` packs; a float32 scale and a 4-byte zero for each slice."""
    form = layout(w, axis)
    s = form.split(w).double()
    scale, zero = choose_qparams(s, 2**bits)
    decoded = form.join(fake_quantize(s, scale.double(), zero.double(), 2**bits))
    return error(decoded, w), bits + len(s) * 64 / w.numel()


def timed(w: Tensor, method: str, **options) -> tuple[Quantized, float]:
    start = time.perf_counter()
    q = quantize(w, method, generator=torch.Generator().manual_seed(0), **options)
    return q, time.perf_counter() - start


def main(threads: int = 1) -> None:
    torch.set_num_threads(threads)
    w = weights(128)
    print("128×128×3×3                              stored bits   relative error")
    for label, method, options in (
            ("Edge, 4 bits, 5 points", "edge_multipoint", {"bits": 4}),
            ("Edge, 8 bits, 9 points", "edge_multipoint", {"bits": 8}),
            ("ours, 4 bits, 5 points, a channel", "multipoint", {"bits": 4, "points": 5}),
            ("ours, 4 bits, 5 points, one range", "multipoint",
             {"bits": 4, "points": 5, "axis": None}),
            ("ours, 4 bits, 20 bits tables and all", "multipoint", {"bits": 4, "budget": 20.0}),
            ("ours, 4 bits, as many as it takes", "multipoint", {"bits": 4})):
        q, _ = timed(w, method, **options)
        print(f"{label:40} {q.bits_per_weight:10.3f} {error(q.dequantize(), w):16.2e}")
    for label, axis in (("affine, 20 bits, one range", None), ("affine, 20 bits, a channel", 0)):
        wrong, stored = affine_error(w, axis, 20)
        print(f"{label:40} {stored:10.3f} {wrong:16.2e}")
    w = weights(512)
    print(f"\n512×512×3×3, {threads} thread(s)              seconds a point")
    for method, bits in (("edge_multipoint", 4), ("multipoint", 4),
                         ("edge_multipoint", 8), ("multipoint", 8)):
        points = bits + 1
        _, spent = timed(w, method, bits=bits, points=points)
        print(f"{method:20} {bits} bits, {points} points {spent / points:10.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
