"""A reader's own net: `module:PATH.py:Class`, trained here, or with weights of its own behind it:
`module:PATH.py:Class:WEIGHTS.safetensors`, a file beside the first that holds the state_dict.

A relative path counts from the project's root. The class is called with the build arguments that a
pair names ("hidden=32"); one that has a parameter `task` gets the Task with its shapes, mean and
std. It takes inputs as they lie in the data, (batch, *task.inputs), and answers (batch,
task.outputs): a number a class, or a standardised target.
"""

import ast
import importlib.util
import inspect
import sys
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from lib.base import paths

_loaded: dict[str, type[nn.Module]] = {}        # hash of the files and class -> the class


def found(name: str) -> type[nn.Module]:
    """The class that a name means; its file is run once a content.

    ValueError for a file that is not there or cannot be run, or that has no such class.
    """
    path, kind, _ = _parts(name)
    known_by = f"{sorted(content(name).items())} {kind}"
    if known_by not in _loaded:
        _loaded[known_by] = _run(path, kind)
    return _loaded[known_by]


def content(name: str) -> dict[str, str]:
    """What the net depends on, as {file: sha256}: its file, those beside it that this imports, and
    its weights; each is noted as read. ValueError for one that is missing."""
    path, _, weights = _parts(name)
    files = [*_with_imported(path), *([path.parent / weights] if weights else [])]
    for file in files:
        if not file.is_file():
            raise ValueError(f"{name}: there is no file {file}; correct the path, which counts "
                             f"from {paths.ROOT}, and that of weights from the net's own file")
        paths.reads(file)
    return {file.name: paths.sha256(file) for file in files}


def arguments(kind: type[nn.Module], sizes: dict) -> dict:
    """Build arguments as the class takes them: "hidden=32" is one number, unless the parameter's
    default is a tuple or a list."""
    parameters = inspect.signature(kind.__init__).parameters
    given = {}
    for name, size in sizes.items():
        several = name in parameters and isinstance(parameters[name].default, tuple | list)
        one = isinstance(size, tuple) and len(size) == 1 and not several
        given[name] = size[0] if one else size
    return given


def give_weights(model: nn.Module, name: str) -> None:
    """Load the weights that the name points to. ValueError where they are not those of the net."""
    path, kind, weights = _parts(name)
    try:
        model.load_state_dict(load_file(path.parent / weights))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ValueError(f"{weights} does not fit {kind} of {path.name}: "
                         f"{' '.join(str(error).split())[:300]}; build the net with the arguments "
                         "it was trained with, as in module:net.py:Net:net.safetensors/hidden=32"
                         ) from error


def _parts(name: str) -> tuple[Path, str, str]:
    """The net's file, its class, and the name of its weights, or ""."""
    path, _, rest = name.removeprefix("module:").partition(":")
    kind, _, weights = rest.partition(":")
    if not kind.isidentifier() or weights and not weights.endswith(".safetensors"):
        raise ValueError(f"{name!r} names no net; write module:PATH.py:Class, and a file of its "
                         "weights behind it if it has some, :WEIGHTS.safetensors")
    return paths.own(path).resolve(), kind, weights


def _with_imported(path: Path) -> list[Path]:
    """The file and those of its folder that it imports, directly or through others."""
    seen: list[Path] = []
    ahead = [path]
    while ahead:
        file = ahead.pop()
        if file in seen:
            continue
        seen.append(file)
        if file.is_file():
            beside = [file.parent / f"{module}.py" for module in _imported(file)]
            ahead += [other for other in beside if other.is_file()]
    return seen


def _imported(file: Path) -> set[str]:
    """First parts of the names of all modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def _tree(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{file} cannot be read as a Python file: {error}") from error


def _run(path: Path, kind: str) -> type[nn.Module]:
    """Run the file as a module, with those beside it within reach, and take the class from it."""
    spec = importlib.util.spec_from_file_location(f"own_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    beside = {file.stem: file for file in _with_imported(path)[1:]}
    others = {name: sys.modules.pop(name) for name in beside if name in sys.modules}
    sys.path.insert(0, str(path.parent))
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent))
        for name, module_before in others.items():      # such as Python's own random
            if getattr(module_before, "__file__", None) != str(beside[name]):
                sys.modules[name] = module_before
    net = getattr(module, kind, None)
    if not isinstance(net, type) or not issubclass(net, nn.Module):
        raise ValueError(f"{path} has no class {kind} that is an nn.Module")
    return net
