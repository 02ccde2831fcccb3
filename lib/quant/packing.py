"""Real bytes: codes packed to the bit, and a model's file that has the size we state.

Codes below a power of two take whole bits, little-endian; others several digits to a byte where
that is denser (ternary: 5, so 1.6 bits a weight).
"""

import copy
import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lib.layers.stored import Layout, Quantized, code_bytes, code_dtype, digits_per_byte

CHUNK = 2**20           # codes unpacked to single bits at a time; a multiple of 8 and of all digits
CLASSES = {c.__name__: c for c in Quantized.__subclasses__()}


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


def entropy_bound(q: Quantized) -> int:
    """Bytes that an ideal entropy coder of single codes would need: −Σ log₂ p(code) bits with the
    frequencies of the whole tensor, and the tables as they are."""
    counts = torch.bincount(q.codes.reshape(-1).long()).double()
    bits = -(counts * (counts / counts.sum()).clamp(min=1e-300).log2()).sum().item()
    return math.ceil(bits / 8 - 1e-9) + q.size_bytes - code_bytes(q.codes.numel(), q.base)


def _plan(model: nn.Module) -> tuple[dict[str, Quantized], dict[str, Tensor]]:
    """What is stored packed, and what is stored as it is: all other parameters and buffers."""
    packed = {f"{prefix}.{key}".lstrip("."): q for prefix, module in model.named_modules()
              for key, q in getattr(module, "compressed", {}).items()}
    if other := [name for name, q in packed.items() if not isinstance(q, Quantized)]:
        raise ValueError(f"{', '.join(other)}: only quantized weights can be packed")
    plain = {name: t for name, t in model.state_dict().items()
             if name not in packed and not name.endswith("num_batches_tracked")}
    return packed, plain


def save(model: nn.Module, path: str | Path) -> int:
    """Write a model as safetensors and return its payload: Σ q.size_bytes + what stays plain.

    The file holds one uint8 tensor of that many bytes behind a header that names, for each packed
    weight, its class, method and tables (about 100 bytes a layer).
    """
    packed, plain = _plan(model)
    header, chunks = [], []
    for name, q in packed.items():
        tables = [[key, str(t.dtype).split(".")[1], list(t.shape)] for key, t in q.tables.items()]
        header.append([name, type(q).__name__, q.method, q.bits, q.base, q.layout.axis,
                       q.layout.group, list(q.codes.shape), tables])
        chunks += [*map(_as_bytes, q.tables.values()), pack(q.codes, q.base)]
    payload = torch.cat([*chunks, *map(_as_bytes, plain.values())])
    save_file({"payload": payload}, path,
              {"packed": json.dumps(header, separators=(",", ":")), "plain": " ".join(plain)})
    return payload.numel()


def load(model: nn.Module, path: str | Path) -> nn.Module:
    """A copy of `model`, which must be built as the saved one was, with what the file holds."""
    model = copy.deepcopy(model)
    with safe_open(path, "pt") as file:
        payload, about = file.get_tensor("payload"), file.metadata()
    header, state, place = json.loads(about["packed"]), model.state_dict(), 0
    names = [entry[0] for entry in header] + about["plain"].split()
    if missing := set(names) ^ {n for n in state if not n.endswith("num_batches_tracked")}:
        raise ValueError(f"{path} was saved from another model: {', '.join(sorted(missing))} "
                         "are in one and not the other; build the model as it was")

    def take(dtype: torch.dtype, shape) -> Tensor:
        nonlocal place
        size = math.prod(shape) * dtype.itemsize
        place += size
        return payload[place - size:place].clone().view(dtype).reshape(shape)

    for name, kind, method, bits, base, axis, group, shape, tables in header:
        stored = {key: take(getattr(torch, dtype), size) for key, dtype, size in tables}
        count = math.prod(shape)
        codes = unpack(take(torch.uint8, (code_bytes(count, base),)), count, base).reshape(shape)
        layout = Layout(tuple(state[name].shape), state[name].dtype, axis, group)
        q = CLASSES[kind](method, bits, layout, base, codes, **stored)
        prefix, _, key = name.rpartition(".")
        owner = model.get_submodule(prefix)
        owner.compressed = getattr(owner, "compressed", {}) | {key: q}
        state[name].copy_(q.dequantize())
    for name in about["plain"].split():
        state[name].copy_(take(state[name].dtype, state[name].shape))
    return model


def _as_bytes(t: Tensor) -> Tensor:
    return t.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
