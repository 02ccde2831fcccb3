"""Codes: whole numbers below a base, packed to the bit.

Codes below a power of two take whole bits, little-endian; others several digits to a byte where
that is denser (ternary: 5, so 1.6 bits a weight).
"""

import math

import numpy as np
import torch
from torch import Tensor

CHUNK = 2**20           # codes unpacked to single bits at a time; a multiple of 8 and of all digits


def code_count(bits: int | None, levels: int | None = None) -> int:
    """How many codes: `levels` where given (3 is ternary), else 2^bits, bits from 1 to 16."""
    if levels is not None:
        if not 2 <= levels <= 2**16:
            raise ValueError(f"levels={levels}: choose from 2 to 65536")
        return int(levels)
    if isinstance(bits, bool) or bits != int(bits) or not 1 <= bits <= 16:
        raise ValueError(f"bits={bits}: choose a whole number from 1 to 16")
    return 2 ** int(bits)


def code_dtype(base: int) -> torch.dtype:
    return torch.uint8 if base <= 256 else torch.int32


def digits_per_byte(base: int) -> int:
    """Codes of this base that share a byte where that is denser than whole bits (3: 5), or 0."""
    digits = int(math.log(256) / math.log(base) + 1e-9)
    return digits if digits * math.ceil(math.log2(base)) > 8 else 0


def code_bytes(count: int, base: int) -> int:
    """Bytes that `count` codes below `base` take when packed."""
    digits = digits_per_byte(base)
    return -(-count // digits) if digits else -(-count * math.ceil(math.log2(base)) // 8)


def pack(codes: Tensor, base: int) -> Tensor:
    """(bytes,) uint8 from whole numbers 0 ≤ code < base, any shape; `unpack` is the inverse."""
    flat = codes.reshape(-1).cpu().numpy()
    if flat.size and not 0 <= flat.min() <= flat.max() < base:
        raise ValueError(f"codes must lie from 0 to {base - 1}, not {flat.min()} to {flat.max()}")
    digits, bits = digits_per_byte(base), math.ceil(math.log2(base))
    if digits:
        flat = np.pad(flat, (0, -flat.size % digits)).reshape(-1, digits)
        return torch.from_numpy((flat @ base ** np.arange(digits)).astype(np.uint8))
    shifts = np.arange(bits, dtype=np.int32)
    parts = [np.zeros(0, np.uint8)]
    for i in range(0, flat.size, CHUNK):
        single = (flat[i:i + CHUNK, None] >> shifts & 1).astype(np.uint8)      # (codes, bits)
        parts.append(np.packbits(single, bitorder="little"))
    return torch.from_numpy(np.concatenate(parts))


def unpack(packed: Tensor, count: int, base: int) -> Tensor:
    """The first `count` codes, (count,), uint8 where base ≤ 256 and int32 otherwise."""
    data, dtype = packed.cpu().numpy(), code_dtype(base)
    digits, bits = digits_per_byte(base), math.ceil(math.log2(base))
    if digits:
        codes = data[:, None] // base ** np.arange(digits) % base
        return torch.from_numpy(codes.reshape(-1)[:count]).to(dtype)
    weights, out = 2 ** np.arange(bits), torch.empty(count, dtype=dtype)
    for i in range(0, count, CHUNK):
        part = data[i * bits // 8:(i + CHUNK) * bits // 8 + 1]
        some = min(CHUNK, count - i)
        single = np.unpackbits(part, count=some * bits, bitorder="little").reshape(some, bits)
        out[i:i + some] = torch.from_numpy(single @ weights).to(dtype)
    return out
