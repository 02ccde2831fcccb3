"""What a trial depends on: its values, the content of its data, and the code that it can reach.

Code is reached through imports, wherever in a file they stand. Method files (a quantizer's, a
pruner's, a model's) are imported by nobody: they count where a trial names the method. So a new
method redoes nothing, and a changed helper all that uses it.
"""

import ast
import functools
import importlib
from collections.abc import Callable, Iterable
from pathlib import Path

from lib.base import paths
from lib.study.cache import digest

# What only runs trials, shows rows, compares them or lists names cannot change a number; a recipe
# counts by its values where a trial names its net, deploy where a trial asks for it.
WITHOUT = ("study", "page", "tables", "deploy/__init__.py", "base/names.py", "recipes/tables.py")
COUNTED = ("study/trials.py", "tables/rows.py")


def tree(source: str) -> str:
    """A program's syntax tree as text, without docstrings.

    >>> tree("def f():\\n    'doc'\\n    return 1") == tree("def f(): return 1  # one")
    True
    """
    parsed = ast.parse(source)
    for node in ast.walk(parsed):
        match node:
            case object(body=[ast.Expr(value=ast.Constant(value=str())), *rest]):
                node.body = rest
    return ast.dump(parsed)


@functools.cache
def code(*modules: str, without: tuple[str, ...] = WITHOUT) -> str:
    """Hash of the syntax trees of all files of lib that these modules can reach, as they were when
    this process first asked.

    modules: names such as "lib.train"; without: folders and files whose import counts for nothing.
    Comments, docstrings and unrelated rooms change nothing.
    """
    return digest({name: _hash(path) for name, path in reached(modules, without).items()})


def reached(modules: Iterable[str], without: tuple[str, ...] = WITHOUT) -> dict[str, Path]:
    """Files of lib that these modules import, directly or through others: name in lib -> path."""
    found: dict[str, Path] = {}
    ahead = [path for module in modules for path in _files(module)]
    while ahead:
        path = ahead.pop()
        name = path.relative_to(paths.ROOT / "lib").as_posix()
        if name not in found:
            found[name] = path
            ahead += [other for other in _imported(path) if not _left_out(other, without)]
    return dict(sorted(found.items()))


def function(name: str) -> Callable:
    """The public function that "package.module:function" names. ValueError if there is none."""
    module, _, attribute = name.partition(":")
    if not module or not attribute.isidentifier() or attribute.startswith("_"):
        raise ValueError(f"{name!r} names no public function; write it as in "
                         "'lib.study.trials:measured'")
    found = getattr(importlib.import_module(module), attribute, None)
    if found is None:
        raise ValueError(f"{module} has no function {attribute}; name one that it has")
    return found


def name_of(call: Callable) -> str:
    """What `function` takes, for a function. ValueError for one that is not a public one of lib."""
    module, attribute = call.__module__, call.__qualname__
    if not module.startswith("lib.") or not attribute.isidentifier() or attribute[0] == "_":
        raise ValueError(f"{module}.{attribute} is no public function of lib, so nobody can say "
                         "what its rows depend on; move it into a file of lib")
    return f"{module}:{attribute}"


def imported(parsed: ast.AST) -> set[str]:
    """Names in lib that a program imports, at its top or within a function: modules, or what is
    taken from them."""
    found: set[str] = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name == "lib" or name.startswith("lib.")}


def _left_out(path: Path, without: tuple[str, ...]) -> bool:
    name = path.relative_to(paths.ROOT / "lib").as_posix()
    return name not in COUNTED and any(
        name == part or name.startswith(f"{part}/") for part in without)


@functools.cache
def _hash(path: Path) -> str:
    return digest(tree(path.read_text(encoding="utf-8")))


@functools.cache
def _imported(path: Path) -> tuple[Path, ...]:
    """Files of lib that one file imports, at its top or within a function."""
    modules = sorted(imported(ast.parse(path.read_text(encoding="utf-8"))))
    return tuple(dict.fromkeys(file for module in modules for file in _files(module)))


@functools.cache
def _files(module: str) -> tuple[Path, ...]:
    """The files that importing a module runs: its own and those of the packages around it; none
    for what is no module (a function that is imported from one)."""
    place, found = paths.ROOT, []
    for part in module.split("."):
        place = place / part
        if (place / "__init__.py").exists():
            found.append(place / "__init__.py")
        elif place.with_suffix(".py").exists():
            found.append(place.with_suffix(".py"))
    return tuple(found)
