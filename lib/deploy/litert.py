"""A third runtime, where it is installed: LiteRT, which TensorFlow Lite has become.

A model is converted by litert-torch, for one example at a time, and its file of floats quantized by
AI Edge's quantizer: weights in 8 bits, a range for each channel, and what enters layers in 8 bits,
ranges from calibration.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lib.deploy.export import AGREES, EXAMPLES, input_names
from lib.deploy.other import Operation, Other, needed
from lib.layers.fitted import fitted
from lib.layers.inputs import Inputs, answer, each_part, first, pieces, run
from lib.layers.recomputed import bare_copy

SIGNATURE = "serving_default"
LAYERS = ("CONV_2D", "CONV_2D_TRANSPOSE", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


class LiteRT(Other):
    """A TensorFlow Lite file on the processor: as a Session is called, scored and timed. Of several
    examples each is answered by itself."""

    runtime, called = "litert", "LiteRT"
    needs = ("ai_edge_litert", "litert_torch", "ai_edge_quantizer")
    multiply = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL")
    whole = ("int8",)

    def opened(self) -> dict[str, np.dtype]:
        interpreter = needed("ai_edge_litert.interpreter").Interpreter
        self._interpreter = interpreter(str(self.path), num_threads=self.threads)
        self._interpreter.allocate_tensors()
        self._run = self._interpreter.get_signature_runner(SIGNATURE)
        self._takes = self._run.get_input_details()
        return {name: np.dtype(np.float32 if told["quantization"][0] else told["dtype"])
                for name, told in self._takes.items()}

    def answered(self, given: dict[str, np.ndarray]) -> np.ndarray:
        found = [self._answer({name: array[i:i + 1] for name, array in given.items()})
                 for i in range(len(next(iter(given.values()))))]
        return np.concatenate(found)

    def _answer(self, one: dict[str, np.ndarray]) -> np.ndarray:
        coded = {name: _coded(array, self._takes[name]) for name, array in one.items()}
        (name, found), = self._run(**coded).items()
        scale, zero = self._run.get_output_details()[name]["quantization"]
        return (found.astype(np.float32) - zero) * scale if scale else found

    @property
    def operations(self) -> list[Operation]:
        return [Operation(node["op_name"], np.dtype(node["operand_types"][0]).name)
                for node in self._interpreter._get_ops_details()]


def _coded(array: np.ndarray, told: dict) -> np.ndarray:
    """Inputs as the file takes them: rounded to its codes, where it has such."""
    scale, zero = told["quantization"]
    if not scale:
        return array
    limits = np.iinfo(told["dtype"])
    return np.clip(np.round(array / scale) + zero, limits.min, limits.max).astype(told["dtype"])


def converted(model: nn.Module, example: Inputs, path: str | Path) -> Path:
    """Write `model` as a TensorFlow Lite file of floats that answers as it does; return its path.
    ValueError where the file answers otherwise: nothing is left at `path` then."""
    convert, path = needed("litert_torch").convert, Path(path)
    bare = bare_copy(model).cpu().eval()
    some = each_part(first(example, EXAMPLES), lambda part: fitted(part, bare))
    one = first(some, 1)
    parts = one
    if not isinstance(one, dict):
        by_place = one if isinstance(one, tuple) else (one,)
        parts = dict(zip(input_names(bare, one), by_place, strict=True))
    with _quiet():
        convert(bare, sample_kwargs=parts).export(str(path))
    with torch.no_grad():
        expected = answer(run(bare, some))
    apart = float((LiteRT(path)(some) - expected).abs().max())
    if not apart <= AGREES * max(1.0, float(expected.abs().max())):
        path.unlink()
        raise ValueError(f"the LiteRT file of {type(model).__name__} answers otherwise than the "
                         f"model, by up to {apart:.2g}")
    return path


def quantized(floats: Path, calibration: Inputs, path: str | Path) -> Path:
    """Write the file `floats` with weights and what enters layers in 8 bits; return `path`. Of a
    net with attention the layers that multiply with weights alone: in 8 bits a mask's -10,000
    leaves nothing of its scores (SST-2 fell from 91 % to 63)."""
    quantizer = needed("ai_edge_quantizer.quantizer").Quantizer(str(floats))
    session = LiteRT(floats)
    attends = any(one.name == "BATCH_MATMUL" for one in session.operations)
    quantizer.load_quantization_recipe(_recipe(LAYERS if attends else ("ALL_SUPPORTED",)))
    seen = [session.named(piece) for piece in pieces(calibration, 1)]
    Path(path).unlink(missing_ok=True)
    with _quiet():
        ranges = quantizer.calibrate({SIGNATURE: seen})
        quantizer.quantize(ranges).export_model(str(path))
    return Path(path)


def _recipe(operations: tuple[str, ...]) -> list[dict]:
    """To the quantizer: weights and activations in 8 bits, ranges from calibration, of these."""
    chosen = needed("ai_edge_quantizer.recipe_manager").RecipeManager()
    names = needed("ai_edge_quantizer.qtyping").TFLOperationName
    for name in operations:
        chosen.add_static_config(".*", names[name], activation_num_bits=8, weight_num_bits=8)
    return chosen.get_quantization_recipe()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a line a step, and bars of progress."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
