"""Which values a parameter can have, judged by its type and its name (no torch)."""

import ast
import csv
import difflib
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lib.base import names, paths

USER_DATA = ("csv", "imagefolder", "npz")


def fits(value: Any, kind: ast.expr, default: Any = None) -> bool:
    """Is `value` of the annotated type? An int passes for a float, a bool for neither; a bare
    `list` holds what its default holds."""
    match kind:
        case ast.Constant(value=None):
            return value is None
        case ast.BinOp(left=left, right=right):                  # int | None
            return fits(value, left, default) or fits(value, right, default)
        case ast.Name(id="list") if isinstance(value, list):
            kinds = [ast.Name(type(d).__name__) for d in default or []] or [ast.Name(k.__name__)
                     for k in (str, bool, int, float)]
            return all(any(fits(v, k) for k in kinds) for v in value)
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return isinstance(value, list) and all(fits(v, inner) for v in value)
        case ast.Name(id="float"):
            return type(value) in (int, float)
        case ast.Name(id=name):
            return type(value).__name__ == name
    return False


def problems(key: str, value: Any, near: Path = Path()) -> list[str]:
    """Why `value` is impossible for a parameter of this name, in one sentence each."""
    found = []
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, float) and not math.isfinite(one):
            found.append(f"{key!r} is {one}; give it a finite number")
            continue
        for pattern, check in RULES:
            if re.search(rf"(^|_)({pattern})(_|$)", key) and one is not None:
                sentence = check(one, near)
                found += [f"{key!r}: {sentence}"] if sentence else []
    return found


def allowed(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'epochs'? Allowed are: …`."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return (f"; did you mean {close[0]!r}? Allowed are: " if close else "; allowed are: "
            ) + ", ".join(known)


def absolute(value: Any, near: Path) -> Any:
    """A user's own data by its absolute path: notebooks run in a folder of their own."""
    if isinstance(value, list):
        return [absolute(v, near) for v in value]
    kind, path, column = _user_data(value)
    if kind in ("imagefolder", "npz") and not _located(path, near).exists():    # task/model
        path, _, model = path.rpartition("/")
        column = f"/{model}"
    return f"{kind}:{_located(path, near)}{column}" if kind else value


def _user_data(value: Any) -> tuple[str, str, str]:
    """`csv:PATH#COLUMN` in its three parts; empty ones for anything else."""
    kind, _, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    path, mark, column = rest.partition("#")
    return (kind, path, mark + column) if kind in USER_DATA else ("", "", "")


def _located(path: str, near: Path) -> Path:
    """Beside the parameter file, if it lies there; otherwise from the project's folder."""
    beside = near / Path(path).expanduser()
    return (beside if beside.exists() else paths.ROOT / Path(path).expanduser()).resolve()


def _task(value: Any, near: Path) -> str | None:
    kind, path, column = _user_data(value)
    if not isinstance(value, str):
        return None
    if not kind:
        return _named(lambda: names.task_name(value))
    place = _located(path, near)
    if not (place.is_dir() if kind == "imagefolder" else place.is_file()):
        return (f"there is no {'folder' if kind == 'imagefolder' else 'file'} {path!r}, neither "
                f"beside the parameter file nor in {paths.ROOT}")
    if kind != "csv":
        return None
    if not column[1:]:
        return f"{value!r} does not say which column to predict; write csv:{path}#COLUMN"
    with open(place, newline="", encoding="utf-8-sig", errors="replace") as file:
        line = file.readline()
    header = next(csv.reader([line], delimiter=max(",;\t", key=line.count)), [])
    if column[1:] not in header:
        return f"{path!r} has no column {column[1:]!r}{allowed(column[1:], header)}"
    return None


def _pair(value: Any, near: Path) -> str | None:
    task, slash, model = str(value).rpartition("/")
    if not slash:
        return f"{value!r} is no pair; write task/model, as in telescope/mlp_simple"
    return _task(task, near) or _model(model, near)


def _model(value: Any, near: Path) -> str | None:
    return _named(lambda: names.choose(value, names.MODELS, "model")) if isinstance(
        value, str) else None


def _named(choose: Callable[[], object]) -> str | None:
    """The sentence of the ValueError that `choose` raises, if it does."""
    try:
        choose()
    except ValueError as error:
        return str(error)
    return None


def _number(low: float, high: float, wanted: str) -> Callable[[Any, Path], str | None]:
    """A check that passes what is no number, and numbers from `low` to `high`."""
    def check(value: Any, near: Path) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or low <= value <= high:
            return None
        return f"{value!r} is impossible; it must be {wanted}"
    return check


# A word of the parameter's name -> what its values can be.
RULES: tuple[tuple[str, Callable[[Any, Path], str | None]], ...] = (
    ("tasks?", _task),
    ("models?|classical", _model),
    ("pairs?", _pair),
    ("seeds?", _number(0, 2**63, "a whole number from 0 on")),
    ("folds?", _number(0, 4, "a number from 0 to 4, one of the five stored splits")),
    ("epochs?|batch|batches|batch_sizes?|threads|workers|examples|steps|windows|draws|width",
     _number(1, math.inf, "at least 1")),
    ("lrs?|learning_rates?", _number(math.ulp(0), math.inf, "above 0")),
    ("bits", _number(1, 16, "from 1 to 16")),
    ("amounts?|fractions?|sparsit(y|ies)|dropout|smoothing", _number(0, 1, "from 0 to 1")),
)
