"""Which values a parameter can have, judged by its type and its name (no torch)."""

import ast
import difflib
import math
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
# A value, and the folder it was written in -> what is wrong with it, in one sentence.
Check = Callable[[Any, Path], str | None]


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
    found = [f"{key!r} names {one!r} {count} times; once is enough"
             for one, count in (_repeated(value) if isinstance(value, list) else ())]
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, float) and not math.isfinite(one):
            found.append(f"{key!r} is {one}; give it a finite number")
        elif isinstance(one, str) and UNPRINTABLE.search(one):
            found.append(f"{key!r} is {one!r}, with a sign that no name or path can hold")
        elif one is not None:
            sentences = [check(one, near) for pattern, check in RULES
                         if re.search(rf"(^|_)({pattern})(_|$)", key)]
            found += [f"{key!r}: {sentence}" for sentence in sentences if sentence]
    return found


def _repeated(values: list) -> list[tuple[Any, int]]:
    """What stands in a list more than once, and how often."""
    texts = [repr(one) for one in values]
    return [(one, texts.count(repr(one))) for i, one in enumerate(values)
            if texts.count(repr(one)) > 1 and texts.index(repr(one)) == i]


def allowed(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'epochs'? Allowed are: …`."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return (f"; did you mean {close[0]!r}? Allowed are: " if close else "; allowed are: "
            ) + ", ".join(known)


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
    kind, _, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind not in USER_DATA:
        return "", "", ""
    path, mark, column = rest.rpartition("#") if "#" in rest and kind == "csv" else (rest, "", "")
    return kind, path, mark + column


def _located(path: str, near: Path) -> Path:
    """Beside the parameter file, if it lies there; otherwise from the project's folder."""
    try:
        path = Path(path).expanduser()
    except RuntimeError:                        # "~name" of nobody
        path = Path(path)
    try:
        beside = near / path
        return (beside if beside.exists() else paths.ROOT / path).resolve()
    except OSError:                             # too long, or behind a closed door
        return paths.ROOT / path


def _task(value: Any, near: Path) -> str | None:
    kind, path, column = _user_data(value)
    if not isinstance(value, str):
        return None
    if not kind:
        return _named(lambda: names.task_name(value))
    from lib.data import separated  # with numpy, which takes a tenth of a second
    place = _located(path, near)
    try:
        there = place.is_dir() if kind == "imagefolder" else place.is_file()
        header = separated.header(place) if there and kind == "csv" else []
    except OSError as error:
        return f"{path!r} cannot be read ({error})"
    if not there:
        return (f"there is no {'folder' if kind == 'imagefolder' else 'file'} {path!r}, neither "
                f"beside the parameter file nor in {paths.ROOT}")
    if kind != "csv":
        return None
    if not column[1:]:
        return f"{value!r} does not say which column to predict; write csv:{path}#COLUMN"
    if column[1:] not in header:
        return f"{path!r} has no column {column[1:]!r}{allowed(column[1:], header)}"
    return None


def _pair(value: Any, near: Path) -> str | None:
    try:
        task, model, said = parsed(str(value))
        setting = Setting(**{name: one for name, one in said.items() if name != "examples"})
        for name, size in setting.build_arguments.items():
            numbers = size if isinstance(size, tuple) else (size,)
            if not isinstance(size, str) and max(numbers) > MOST_SIZE:
                raise ValueError(f"{name} is more than {MOST_SIZE}")
    except ValueError as error:
        return (f"{value!r} is no pair ({error}); write it as in digits/resnet8/width=8 or "
                "telescope/mlp_simple/epochs=3 lr=0.01")
    if not task:
        return f"{value!r} is no pair; write task/model, as in telescope/mlp_simple"
    for name, one in said.items():
        for sentence in problems(name, one, near):
            return f"{value!r}: {sentence}"
    return _task(task, near) or _model(model, near) or names.misfit(task, model)


def _one_of(known: Callable[[], tuple[str, ...]], what: str) -> Check:
    """A check that passes what is no text, and the names that `known` gives."""
    def check(value: Any, near: Path) -> str | None:
        return _named(lambda: names.choose(value, known(), what)) if isinstance(
            value, str) else None
    return check


def _model(value: Any, near: Path) -> str | None:
    net = OWN_NET.fullmatch(str(value))
    if not net:
        return _one_of(lambda: names.MODELS, "model")(value, near)
    from lib.models import own  # with torch, which such a net needs in any case
    name = f"module:{_located(net[2], near)}:{net[3]}{net[4]}"
    return _named(lambda: (own.content(name), own.found(name)))


def _active(value: Any, near: Path) -> str | None:
    bits = re.fullmatch(r"(\d{1,2})/(\d{1,2})", str(value))
    if bits and all(1 <= int(one) <= 16 for one in bits.groups()):
        return None
    return (f"{value!r} is no pair of bits; write those of a weight / of an activation, each from "
            "1 to 16, as in 4/8")


def _field(name: str) -> Check:
    """A check by what a Setting allows in one of its fields, beside a pruner."""
    def check(value: Any, near: Path) -> str | None:
        asked = {"pruner": "magnitude_l1", "amount": 0.5, name: value}
        return _named(lambda: Setting(**asked)) if isinstance(value, str) else None
    return check


def _engine(value: Any, near: Path) -> str | None:
    if value in ("here", "fork") or re.fullmatch(r"tcp://[^\s/]+:\d+", str(value)):
        return None
    return (f"{value!r} is no engine; choose here, fork or a dask scheduler's address, as in "
            "tcp://127.0.0.1:8786")


def _named(choose: Callable[[], object]) -> str | None:
    """The sentence of the ValueError that `choose` raises, if it does."""
    try:
        choose()
    except ValueError as error:
        return str(error)
    return None


def _number(low: float, high: float, wanted: str) -> Check:
    """A check that passes what is no number, and numbers from `low` to `high`."""
    def check(value: Any, near: Path) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or low <= value <= high:
            return None
        return f"{value!r} is impossible; it must be {wanted}"
    return check


# A word of the parameter's name -> what its values can be.
RULES: tuple[tuple[str, Check], ...] = (
    ("tasks?", _task),
    ("models?", _model),
    ("classical", _one_of(lambda: names.CLASSICAL, "model of scikit-learn")),
    ("pairs?|controls|edge_own", _pair),
    ("active$", _active),
    ("quantizers?|methods?|mixed_learned", _one_of(lambda: names.methods("quant"), "quantizer")),
    ("pruners?", _one_of(lambda: names.methods("prune"), "pruner")),
    ("structures?", _field("structure")),
    ("schedules?", _field("schedule")),
    ("recipes?", _one_of(lambda: RECIPES[1:], "recipe")),
    ("engine", _engine),
    ("seeds?", _number(0, MOST_SEED, f"a whole number from 0 to {MOST_SEED}")),
    ("folds?", _number(0, 4, "a number from 0 to 4, one of the five stored splits")),
    ("epochs?|batch|batches|batch_sizes?|threads|workers|examples|steps|windows|draws|width",
     _number(1, math.inf, "at least 1")),
    ("lrs?|learning_rates?", _number(math.ulp(0), math.inf, "above 0")),
    ("bits", _number(1, 16, "from 1 to 16")),
    ("levels", _number(2, 2**16, "from 2 to 65536")),
    ("amounts?|pruned$", _number(0, math.nextafter(1, 0), "from 0 to below 1")),
    ("fractions?|sparsit(y|ies)|dropout|smoothing", _number(0, 1, "from 0 to 1")),
)
