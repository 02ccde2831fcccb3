"""Which values a parameter can have, judged by its type and its name (no torch)."""

import ast
import difflib
import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lib.base import names, paths
from lib.base.pairs import parsed
from lib.base.possible import RECIPES
from lib.base.setting import Setting

USER_DATA = ("csv", "imagefolder", "npz")
OWN_NET = re.compile(r"(?:(.*)/)?module:([^:]*):?([^:]*)(.*)")     # task, file, class, weights
UNPRINTABLE = re.compile("[\0\ud800-\udfff]")         # NUL, and halves of characters
MOST_SEED = 2**32 - 1               # that numpy and scikit-learn take
MOST_SIZE = 100_000                 # of a layer
# Raises a ValueError that says in one sentence what is wrong with a value, written in that folder.
Check = Callable[[Any, Path], object]


def fits(value: Any, kind: ast.expr, default: Any = None) -> bool:
    """Is `value` of the annotated type? An int passes for a float, a bool for neither; a bare
    `list` holds what its default holds."""
    match kind:
        case ast.BinOp(left=left, right=right):                  # int | None
            return fits(value, left, default) or fits(value, right, default)
        case ast.Name(id="list"):
            kinds = [ast.Name(type(one).__name__) for one in default or ("", True, 0, 0.0)]
            return isinstance(value, list) and all(
                any(fits(one, known) for known in kinds) for one in value)
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return isinstance(value, list) and all(fits(one, inner) for one in value)
    name, wanted = type(value).__name__, ast.unparse(kind)
    return name == wanted or (name, wanted) in (("int", "float"), ("NoneType", "None"))


def problems(key: str, value: Any, near: Path = Path()) -> list[str]:
    """Why `value` is impossible for a parameter of this name, in one sentence each."""
    values = value if isinstance(value, list) else [value]
    texts = list(map(repr, values))
    found = [f"{key!r} names {text} {texts.count(text)} times; once is enough"
             for text in dict.fromkeys(texts) if texts.count(text) > 1]
    for one in values:
        if isinstance(one, float) and not math.isfinite(one):
            found.append(f"{key!r} is {one}; give it a finite number")
        elif isinstance(one, str) and UNPRINTABLE.search(one):
            found.append(f"{key!r} is {one!r}, with a sign that no name or path can hold")
        else:
            for pattern, kind, check in RULES:
                if type(one) in kind and re.search(rf"(^|_)({pattern})(_|$)", key):
                    try:
                        check(one, near)
                    except ValueError as error:
                        found.append(f"{key!r}: {error}")
    return found


def allowed(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'epochs'? Allowed are: …`."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    guess = f"did you mean {close[0]!r}? Allowed" if close else "allowed"
    return f"; {guess} are: {', '.join(known)}"


def named(value: Any, near: Path, study: str, own: dict[str, Path]) -> Any:
    """A user's own data by a name that tells no folder of this machine: the path within the
    project, or the study's name and the file's. own: such a name -> where the file lies."""
    if isinstance(value, list):
        return [named(one, near, study, own) for one in value]
    if net := OWN_NET.fullmatch(str(value)):
        task = f"{named(net[1], near, study, own)}/" if net[1] else ""
        return f"{task}module:{_name(_located(net[2], near), study, own)}:{net[3]}{net[4]}"
    kind, path, rest = _user_data(value)
    if not kind or UNPRINTABLE.search(value):
        return value
    while kind != "csv" and "/" in path and not _located(path, near).exists():
        path, _, last = path.rpartition("/")        # of a pair: the task's path, then /model/sizes
        rest = f"/{last}{rest}"
    return f"{kind}:{_name(_located(path, near), study, own)}{rest}"


def _name(place: Path, study: str, own: dict[str, Path]) -> str:
    if place.is_relative_to(paths.ROOT):
        return place.relative_to(paths.ROOT).as_posix()
    for name in (f"{study}/{place.name}", f"{study}/{place.parent.name}/{place.name}"):
        if not (paths.ROOT / name).exists() and own.setdefault(name, place) == place:
            return name
    return str(place)


def _user_data(value: Any) -> tuple[str, str, str]:
    """`csv:PATH#COLUMN` in its three parts; empty ones for anything else."""
    kind, _, rest = str(value).partition(":")
    end = rest.rindex("#") if kind == "csv" and "#" in rest else len(rest)
    return (kind, rest[:end], rest[end:]) if kind in USER_DATA else ("", "", "")


def _located(path: str, near: Path) -> Path:
    """Beside the parameter file, if it lies there; otherwise from the project's folder."""
    path = os.path.expanduser(path)             # which leaves the "~name" of nobody as it is
    try:
        beside = near / path
        return (beside if beside.exists() else paths.ROOT / path).resolve()
    except OSError:                             # too long, or behind a closed door
        return paths.ROOT / path


def _task(value: str, near: Path) -> None:
    kind, path, column = _user_data(value)
    if not kind:
        names.task_name(value)
        return
    from lib.data import separated  # with numpy, which takes a tenth of a second
    place, wanted = _located(path, near), "folder" if kind == "imagefolder" else "file"
    try:
        there = place.is_dir() if wanted == "folder" else place.is_file()
        header = separated.header(place) if there and kind == "csv" else []
    except OSError as error:
        raise ValueError(f"{path!r} cannot be read ({error})") from None
    if not there:
        raise ValueError(f"there is no {wanted} {path!r}, neither beside the parameter file nor in "
                         f"{paths.ROOT}")
    if kind == "csv" and not column[1:]:
        raise ValueError(f"{value!r} does not say which column to predict; write csv:{path}#COLUMN")
    if kind == "csv" and column[1:] not in header:
        raise ValueError(f"{path!r} has no column {column[1:]!r}{allowed(column[1:], header)}")


def _pair(value: Any, near: Path) -> None:
    try:
        task, model, said = parsed(str(value))
        setting = Setting(**{name: one for name, one in said.items() if name != "examples"})
        for name, size in setting.build_arguments.items():
            numbers = size if isinstance(size, tuple) else (size,)
            if not isinstance(size, str) and max(numbers) > MOST_SIZE:
                raise ValueError(f"{name} is more than {MOST_SIZE}")
    except ValueError as error:
        raise ValueError(f"{value!r} is no pair ({error}); write it as in digits/resnet8/width=8 "
                         "or telescope/mlp_simple/epochs=3 lr=0.01") from None
    if not task:
        raise ValueError(f"{value!r} is no pair; write task/model, as in telescope/mlp_simple")
    for sentence in (one for name in said for one in problems(name, said[name], near)):
        raise ValueError(f"{value!r}: {sentence}")
    _task(task, near)
    _model(model, near)
    if misfit := names.misfit(task, model):
        raise ValueError(misfit)


def _model(value: str, near: Path) -> None:
    if net := OWN_NET.fullmatch(value):
        from lib.models import own  # with torch, which such a net needs in any case
        name = f"module:{_located(net[2], near)}:{net[3]}{net[4]}"
        own.content(name)
        own.found(name)
    else:
        names.choose(value, names.MODELS, "model")


def _active(value: Any, near: Path) -> None:
    if not re.fullmatch(r"([1-9]|1[0-6])/([1-9]|1[0-6])", str(value)):
        raise ValueError(f"{value!r} is no pair of bits; write those of a weight / of an "
                         "activation, each from 1 to 16, as in 4/8")


def _engine(value: str, near: Path) -> None:
    if value not in ("here", "fork") and not re.fullmatch(r"tcp://[^\s/]+:\d+", value):
        raise ValueError(f"{value!r} is no engine; choose here, fork or a dask scheduler's "
                         "address, as in tcp://127.0.0.1:8786")


def _method(room: str, what: str) -> Check:
    return lambda value, near: names.choose(value, names.methods(room), what)


def _field(name: str) -> Check:
    """A check by what a Setting allows in one of its fields, beside a pruner."""
    asked = {"pruner": "magnitude_l1", "amount": 0.5}
    return lambda value, near: Setting(**asked | {name: value})


def _number(low: float, high: float, wanted: str) -> Check:
    """A check for numbers from `low` to `high`."""
    def check(value: float, near: Path) -> None:
        if not low <= value <= high:
            raise ValueError(f"{value!r} is impossible; it must be {wanted}")
    return check


# A word of the parameter's name -> values of which types are checked, and how.
TEXT, ANY, NUMBER = (str,), (str, int, float, bool, list, dict), (int, float)
RULES: tuple[tuple[str, tuple[type, ...], Check], ...] = (
    ("tasks?", TEXT, _task),
    ("models?", TEXT, _model),
    ("classical", TEXT, lambda value, near: names.choose(
        value, names.CLASSICAL, "model of scikit-learn")),
    ("pairs?|controls|edge_own", ANY, _pair),
    ("active$", ANY, _active),
    ("quantizers?|methods?|mixed_learned", TEXT, _method("quant", "quantizer")),
    ("pruners?", TEXT, _method("prune", "pruner")),
    ("structures?", TEXT, _field("structure")),
    ("schedules?", TEXT, _field("schedule")),
    ("recipes?", TEXT, lambda value, near: names.choose(value, RECIPES[1:], "recipe")),
    ("engine", TEXT, _engine),
    ("seeds?", NUMBER, _number(0, MOST_SEED, f"a whole number from 0 to {MOST_SEED}")),
    ("folds?", NUMBER, _number(0, 4, "a number from 0 to 4, one of the five stored splits")),
    ("epochs?|batch|batches|batch_sizes?|threads|workers|examples|steps|windows|draws|width",
     NUMBER, _number(1, math.inf, "at least 1")),
    ("lrs?|learning_rates?", NUMBER, _number(math.ulp(0), math.inf, "above 0")),
    ("bits", NUMBER, _number(1, 16, "from 1 to 16")),
    ("levels", NUMBER, _number(2, 2**16, "from 2 to 65536")),
    ("amounts?|pruned$", NUMBER, _number(0, math.nextafter(1, 0), "from 0 to below 1")),
    ("fractions?|sparsit(y|ies)|dropout|smoothing", NUMBER, _number(0, 1, "from 0 to 1")),
)
