"""Tensors out of a whole model that torch saved, without running anything of the file.

Such a file is a zip of raw storages and a pickle, a program that may call any function. Here its
instructions are read one by one: those that would call or import something only note a name and
what would have been handed over. Nothing is imported, called or unpickled.
"""

import io
import lzma
import math
import pickletools
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.data.sources import DataError

MOST_PROGRAM = 2**18        # bytes of the pickle; Edge's largest has 3.4 kB
MOST_STORAGE = 2**26        # bytes of one tensor
MOST_MODULES = 1000
STORAGE, TENSOR, PARAMETER = (
    "torch FloatStorage", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter")
DICT = "collections OrderedDict"
PLAIN = {"NEWFALSE": False, "NEWTRUE": True, "NONE": None}
NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError,
              RuntimeError, ValueError, LookupError, TypeError, AttributeError, OverflowError)


@dataclass(frozen=True)
class Name:
    """What the program calls by a name: a class or a function, of which only the name is kept."""

    name: str


@dataclass
class Stub:
    """What the program would have made: by whom, from what, with which state."""

    maker: str
    parts: tuple
    state: Any = None


def parameters(content: bytes, told: str) -> dict[str, np.ndarray]:
    """{"net.0.weight": float32 array, …}: the parameters of the saved module, in its order.

    content: the file's bytes; told: how to name it in an error. DataError for anything but a
    module of float32 parameters that lie one after the other in memory, all finite.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _parameters(archive)
    except UNREADABLE as error:
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{told} is no module of float32 tensors as torch saves it ({cause}): "
                        "replace it by its authors' file.") from error


def _parameters(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    found, seen = {}, 0
    waiting = [("", _outcome(_member(archive, "data.pkl", MOST_PROGRAM)))]
    while waiting:
        prefix, module = waiting.pop()
        seen += 1
        if seen > MOST_MODULES:
            raise ValueError(f"more than {MOST_MODULES} modules")
        for name, parameter in _held(module, "_parameters").items():
            if parameter is not None:
                found[prefix + name] = _array(archive, parameter)
        inner = [(f"{prefix}{name}.", child) for name, child in _held(module, "_modules").items()]
        waiting += reversed(inner)
    if not found:
        raise ValueError("no parameter in it")
    return found


def _held(module: Any, what: str) -> dict[str, Any]:
    """The parameters, or the modules, that a saved module holds, by name."""
    state = module.state if isinstance(module, Stub) else None
    if not isinstance(state, dict) or not isinstance(state.get(what), dict):
        raise ValueError("what it holds is not a module")
    return state[what]


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """What the archive holds under this name in its one folder, at most so many bytes."""
    wanted = [info for info in archive.infolist() if info.filename.partition("/")[2] == name]
    if len(wanted) != 1:
        raise ValueError(f"{len(wanted)} members called {name}")
    with archive.open(wanted[0]) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{name} has more than {most} bytes")
    return content


def _array(archive: zipfile.ZipFile, parameter: Stub) -> np.ndarray:
    """The values of a parameter, or of a tensor that is not wrapped as one."""
    tensor = parameter.parts[0] if parameter.maker == PARAMETER else parameter
    if tensor.maker != TENSOR:
        raise ValueError(f"{tensor.maker} in place of a tensor")
    storage, start, shape, strides = tensor.parts[:4]
    _, kind, key, _, count = storage.parts
    sizes = (start, count, *shape, *strides)
    if kind != Name(STORAGE) or not key.isdecimal():
        raise ValueError("a storage of other values than float32")
    if any(type(size) is not int or not 0 <= size <= MOST_STORAGE for size in sizes):
        raise ValueError("sizes that no tensor has")
    raw = _member(archive, f"data/{key}", MOST_STORAGE)
    values = math.prod(shape)
    dense = tuple(math.prod(shape[axis + 1:]) for axis in range(len(shape)))
    if strides != dense or len(raw) != 4 * count or start + values > count:
        raise ValueError(f"{shape} values that do not lie in one piece of its {len(raw)} bytes")
    array = np.frombuffer(raw, "<f4", values, 4 * start).reshape(shape)
    if not np.isfinite(array).all():
        raise ValueError("values that are not finite")
    return array.astype(np.float32)


def _outcome(program: bytes) -> Any:
    """What the program leaves behind, names and stubs in place of all that it would have called."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    for instruction, argument, _ in pickletools.genops(program):
        name = instruction.name
        if name == "STOP":
            return stack.pop()
        elif name == "MARK":
            marks.append(len(stack))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("SETITEMS", "TUPLE", "APPENDS"):
            start = marks.pop()
            items = stack[start:]
            del stack[start:]
            _gather(name, stack, items)
        else:
            _step(name, argument, stack)
    raise ValueError("a program without an end")


def _gather(name: str, stack: list[Any], items: list[Any]) -> None:
    """An instruction that takes all since the last mark."""
    if name == "TUPLE":
        stack.append(tuple(items))
    elif name == "APPENDS":
        _a(list, stack[-1]).extend(items)
    else:
        _a(dict, stack[-1]).update(zip(items[::2], items[1::2], strict=True))


def _step(name: str, argument: Any, stack: list[Any]) -> None:
    """An instruction that takes a fixed number of things from the stack."""
    if name == "PROTO":
        return
    if name in NUMBERS or name == "BINUNICODE":
        stack.append(argument)
    elif name in PLAIN:
        stack.append(PLAIN[name])
    elif name == "GLOBAL":
        stack.append(Name(argument))
    elif name in ("EMPTY_TUPLE", "EMPTY_DICT", "EMPTY_LIST"):
        stack.append({"EMPTY_TUPLE": (), "EMPTY_DICT": {}, "EMPTY_LIST": []}[name])
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        count = int(name[-1])
        parts = tuple(stack[-count:])
        del stack[-count:]
        stack.append(parts)
    elif name == "BINPERSID":
        stack.append(Stub("storage", _a(tuple, stack.pop())))
    elif name in ("REDUCE", "NEWOBJ"):
        parts, maker = _a(tuple, stack.pop()), _a(Name, stack.pop())
        stack.append({} if maker.name == DICT and not parts else Stub(maker.name, parts))
    elif name == "BUILD":
        state = stack.pop()
        _a(Stub, stack[-1]).state = state
    elif name == "SETITEM":
        value, key = stack.pop(), stack.pop()
        _a(dict, stack[-1])[key] = value
    elif name == "APPEND":
        value = stack.pop()
        _a(list, stack[-1]).append(value)
    else:
        raise ValueError(f"the instruction {name}, which no saved module needs")


def _a(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value
