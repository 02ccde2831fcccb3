"""A model as an ONNX file: of any number of examples at once, checked against the model itself."""

import inspect
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from torch import nn

from lib.deploy.session import Session
from lib.layers.fitted import fitted
from lib.layers.inputs import Inputs, answer, each_part, first, run
from lib.layers.recomputed import bare_copy

EXAMPLES = 3                # that the export is traced with; 1 would be taken for fixed
AGREES = 1e-4               # of the largest answer: how far the file's answers may lie from these
LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


def exported(model: nn.Module, example: Inputs, path: str | Path) -> Path:
    """Write `model` as an ONNX file that answers as it does, and return its path.

    example: some inputs, as of calibration; the first axis stays free. What a mask or a simulated
    quantizer makes of the weights is what is written, as floats. ValueError where the model cannot
    be exported, or the file answers otherwise than the model: nothing is left at `path` then.
    """
    path, bare = Path(path), bare_copy(model).cpu().eval()
    some = each_part(first(example, EXAMPLES), lambda part: _twice(fitted(part, bare)))
    names = input_names(bare, some)
    arguments, keywords = _called(some)
    free = {0: torch.export.Dim.DYNAMIC}
    shapes = [free] * len(arguments) if arguments else {name: free for name in keywords}
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(bare, arguments, kwargs=keywords, dynamo=True,
                                        dynamic_shapes=shapes, input_names=names,
                                        output_names=["answer"], verbose=False)
            program.save(path)
            _tell_nothing(path)
            expected = answer(run(bare, some))
        got = Session(path)(some)
    except Exception as error:
        path.unlink(missing_ok=True)
        raise ValueError(f"{type(model).__name__} cannot be exported to ONNX: "
                         f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
                         ) from error
    apart = float((got - expected).abs().max())
    if not apart <= AGREES * max(1.0, float(expected.abs().max())):
        path.unlink(missing_ok=True)
        raise ValueError(f"the ONNX file of {type(model).__name__} answers otherwise than the "
                         f"model, by up to {apart:.2g}; something in its forward depends on more "
                         "than its inputs")
    return path


def _tell_nothing(path: Path) -> None:
    """Take out what the exporter notes of each operation: where in which file of this machine it
    came from, which can be more than the weights."""
    file = onnx.load(path)
    graph = file.graph
    for part in (file, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]
    onnx.save(file, path)


def input_names(model: nn.Module, example: Inputs) -> list[str]:
    """What the inputs are called in the file: as the model's forward calls them."""
    if isinstance(example, dict):
        return list(example)
    count = len(example) if isinstance(example, tuple) else 1
    names = [] if isinstance(model, nn.Sequential) else [
        p.name for p in inspect.signature(model.forward).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(names) >= count:
        return names[:count]
    return ["x"] if count == 1 else [f"x{i}" for i in range(count)]


def _called(example: Inputs) -> tuple[tuple, dict]:
    """Inputs as arguments and keywords of a call."""
    if isinstance(example, dict):
        return (), example
    return (example if isinstance(example, tuple) else (example,)), {}


def _twice(part: torch.Tensor) -> torch.Tensor:
    """At least two examples: of one alone the exporter takes the first axis for fixed."""
    return part if len(part) > 1 else torch.cat([part, part])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes about packages that are not there and its own deprecations."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    try:
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
