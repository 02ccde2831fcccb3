"""One stored tensor as bytes and back: what is written of it, and the line that describes it."""

import math
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from lib.layers import masks
from lib.layers.codes import code_bytes, pack, unpack
from lib.layers.layout import Layout
from lib.layers.stored import Affine, Codebook, Normal, Points, Quantized
from lib.layers.walk import Stored

CLASSES = {c.__name__: c for c in (Affine, Codebook, Normal, Points)}
MOST_LEVELS = 2**26         # 256 MB of levels that no file holds, as they follow from four numbers
DTYPES = {str(d).removeprefix("torch."): d for d in (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool)}


@dataclass(frozen=True)
class Code:
    """How the codes of a quantized tensor are to be read."""

    name: str                   # of the class: Affine
    method: str
    bits: int
    base: int
    axis: int | None
    group: int | None
    shape: tuple[int, ...]      # of the codes
    tables: tuple[tuple[str, str, tuple[int, ...]], ...]        # (name, dtype, shape) each


@dataclass(frozen=True)
class Entry:
    """How a tensor's bytes are to be read: its places, its tables, its values or codes."""

    name: str
    dtype: str                  # float32
    shape: tuple[int, ...]
    form: str                   # dense, bitmask or indices
    kept: int                   # how many values or codes follow
    code: Code | None

    @property
    def count(self) -> int:
        return math.prod(self.shape if self.code is None else self.code.shape)

    @property
    def part_bytes(self) -> tuple[int, ...]:
        """Bytes of the places, of each table, and of the values or codes."""
        places = masks.place_bytes(self.form, self.count, self.kept)
        if self.code is None:
            return places, self.kept * DTYPES[self.dtype].itemsize
        tables = (math.prod(shape) * DTYPES[dtype].itemsize for _, dtype, shape in self.code.tables)
        return places, *tables, code_bytes(self.kept, self.code.base)

    def as_list(self) -> list:
        return list(astuple(self))


def encode(tensor: Stored) -> tuple[Entry, list[Tensor]]:
    """The tensor's line and its bytes, tensor.size_bytes in all."""
    value, q, places = tensor.value.detach().cpu(), tensor.quantized, []
    if q is not None:
        _check(tensor)
    values = value if q is None else q.codes.cpu()
    if tensor.form != "dense":
        kept = (value != 0 if q is None else q.kept()).cpu()
        places, values = [masks.pack_places(tensor.form, kept)], values[kept]
    shape = tuple(value.shape)
    if q is None:
        entry = Entry(tensor.name, _name(value), shape, tensor.form, values.numel(), None)
        return entry, [*places, as_bytes(values)]
    tables = tuple((key, _name(t), tuple(t.shape)) for key, t in q.tables.items())
    code = Code(type(q).__name__, q.method, int(q.bits), q.base, q.layout.axis, q.layout.group,
                tuple(q.codes.shape), tables)
    entry = Entry(tensor.name, _name(value), shape, tensor.form, values.numel(), code)
    return entry, [*places, *map(as_bytes, q.tables.values()), pack(values, q.base)]


def _check(tensor: Stored) -> None:
    """ValueError unless the tensor's codes can be written and mean what the model computes with."""
    q = tensor.quantized
    if not isinstance(q, Quantized):
        raise ValueError(f"{tensor.name} is compressed to a {type(q).__name__}, of which no file "
                         "can be written; only quantized weights can")
    if not torch.equal(q.dequantize().reshape(tensor.value.shape), tensor.value):
        raise ValueError(f"{tensor.name} was changed after it was quantized, and its codes mean "
                         "something else; quantize the model again")


def decode(entry: Entry, data: Tensor) -> tuple[Tensor, Quantized | None]:
    """The tensor that `encode` was given, and its codes where it had any, from its bytes."""
    places, *tables, rest = data.split(entry.part_bytes)
    if entry.code is None:
        values = from_bytes(rest, DTYPES[entry.dtype])
        if entry.form != "dense":
            where = masks.unpack_places(entry.form, places, entry.count, entry.kept)
            values = torch.zeros(entry.count, dtype=values.dtype).masked_scatter_(where, values)
        return values.reshape(entry.shape), None
    code = entry.code
    codes = unpack(rest, entry.kept, code.base)
    if len(codes) and int(codes.max()) >= code.base:
        raise ValueError(f"{entry.name} holds codes of {code.base} or more")
    layout = Layout(entry.shape or (1,), DTYPES[entry.dtype], code.axis, code.group)
    _check_tables(code, layout)
    own = {key: from_bytes(part, DTYPES[dtype]).reshape(shape)
           for part, (key, dtype, shape) in zip(tables, code.tables, strict=True)}
    blank = torch.zeros(code.shape, dtype=codes.dtype)

    def quantized(codes: Tensor) -> Quantized:
        return CLASSES[code.name](code.method, code.bits, layout, code.base, codes, **own)

    if entry.form == "dense":
        q = quantized(codes.reshape(code.shape))
    else:
        zeros = quantized(blank).code_of_zero().to(codes.dtype)
        all_codes = layout.join(zeros.expand(-1, layout.length).contiguous()).flatten()
        where = masks.unpack_places(entry.form, places, entry.count, entry.kept)
        q = quantized(all_codes.masked_scatter_(where, codes).reshape(code.shape))
    return q.dequantize().reshape(entry.shape), q


def _check_tables(code: Code, layout: Layout) -> None:
    """ValueError unless the tables are those of the codes: a table of another shape would spread
    to a tensor far larger than the file."""
    row, points = math.prod(layout.shape[1:]), code.shape[0] if code.shape else 0
    slices = 1 if layout.axis is None else layout.shape[0] * -(-row // max(1, layout.length))
    shapes = {"Affine": {"scale": {(1, 1), (slices, 1)}, "zero": {(1, 1), (slices, 1)}},
              "Codebook": {"table": {(slices, code.base)}},
              "Normal": {"statistics": {(slices, 4)}},
              "Points": {"coefficient": {(points, 1)}, "count": {(slices,)}, "zero": {(1,)}}}
    found = {key: shape for key, _, shape in code.tables}
    wanted = shapes[code.name]
    if set(found) != set(wanted) or any(shape not in wanted[key] for key, shape in found.items()):
        raise ValueError(f"tables of {found} are not those of {code.name} for {slices} slices")
    if code.name == "Normal" and slices * code.base > MOST_LEVELS:
        raise ValueError(f"{slices} tables of {code.base} levels outweigh what they are for")
    if code.name == "Points" and (dict((key, dtype) for key, dtype, _ in code.tables)["count"]
                                  != "uint8" or code.shape != (points, layout.length)):
        raise ValueError(f"codes of shape {code.shape} are not the points of {slices} slices")


def as_bytes(t: Tensor) -> Tensor:
    return t.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def from_bytes(data: Tensor, dtype: torch.dtype) -> Tensor:
    return data.clone().view(dtype)


def _name(t: Tensor) -> str:
    return str(t.dtype).removeprefix("torch.")


def parse(line: object) -> Entry:
    """An Entry from its line of a header, which anyone may have written: ValueError unless every
    field has its type and range, and no number asks for more than the tensor can hold."""
    name, dtype, shape, form, kept, code = _fields(line, 6)
    entry = Entry(_text(name), _one_of(dtype, DTYPES), _shape(shape), _one_of(form, masks.FORMS),
                  _whole(kept), None if code is None else _code(code))
    if entry.kept > entry.count or (entry.form == "dense" and entry.kept != entry.count):
        raise ValueError(f"{entry.name} is said to hold {entry.kept} of {entry.count} values")
    if entry.code and entry.count != math.prod(entry.shape) and (
            entry.code.name != "Points" or entry.form != "dense"):
        raise ValueError(f"{entry.name} has {entry.count} codes for a shape of {entry.shape}")
    return entry


def _code(line: object) -> Code:
    name, method, bits, base, axis, group, shape, tables = _fields(line, 8)
    tables = tuple((_text(key), _one_of(dtype, DTYPES), _shape(size)) for key, dtype, size in (
        _fields(table, 3) for table in _fields(tables)))
    most = 2**16 if name == "Normal" else 2**31         # whose levels are made, not stored
    if axis not in (None, 0) or not 2 <= _whole(base) <= most:
        raise ValueError(f"axis {axis!r} or base {base!r} is out of range")
    return Code(_one_of(name, CLASSES), _text(method), _whole(bits), base, axis,
                None if group is None else max(1, _whole(group)), _shape(shape), tables)


def _fields(line: object, count: int | None = None) -> list:
    if not isinstance(line, list) or count not in (None, len(line)):
        raise ValueError(f"{str(line)[:80]!r} is no list of {count or 'some'} fields")
    return line


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:80]!r} is no text")
    return value


def _one_of(value: object, known) -> str:
    if _text(value) not in known:
        raise ValueError(f"{value[:80]!r} is none of {', '.join(known)}")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**40:
        raise ValueError(f"{str(value)[:80]!r} is no whole number from 0 up")
    return value


def _shape(value: object) -> tuple[int, ...]:
    return tuple(_whole(size) for size in _fields(value))
