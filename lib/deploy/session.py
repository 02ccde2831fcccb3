"""Session: an ONNX file that is called, scored and timed as a model is."""

import tempfile
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from lib.layers.inputs import Inputs

ERRORS_ONLY = 3                     # of ONNX Runtime's log
# What ONNX Runtime computes with in whole numbers.
INTEGER = frozenset({"QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger",
                     "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QGemm", "QAttention",
                     "MatMulNBits"})
WHOLE_NUMBERS = 4                   # the accuracy level at which MatMulNBits multiplies these
FLOAT = frozenset({"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul",
                   "ConvTranspose", "Attention", "MatMulNBits of floats"})


class Codes(NamedTuple):
    """Of what a file's products with weights are made: bits of the weights and of what they are
    multiplied with (None: floats), in all layers that have weights or in linear ones alone."""

    w_bits: int | None = None
    a_bits: int | None = None
    linear_only: bool = False


FLOATS = Codes()


class Session(nn.Module):
    """An ONNX file in ONNX Runtime on the processor: tensors in, a float32 tensor out.

    threads: of one operation; runs of several operations at once are not asked for. made_from: the
    model that the file was made from, if that is known; codes: what its products are made of
    (`Codes`). ValueError for a file that is none, and for inputs that the file does not take.
    Sessions of other runtimes are `other.Other`.
    """

    runtime, called = "onnxruntime", "ONNX Runtime"

    def __init__(self, path: str | Path, threads: int = 1, made_from: nn.Module | None = None,
                 codes: Codes = FLOATS):
        super().__init__()
        self.path, self.threads, self.codes = Path(path), threads, codes
        self.__dict__["made_from"] = made_from      # no part of it: its weights are the file's
        try:
            self.inputs = self.opened()
        except Exception as error:              # of kinds that ONNX Runtime does not export
            raise ValueError(f"{self.path.name} cannot be run by {self.called}: "
                             f"{str(error).splitlines()[0]}") from error

    def opened(self) -> dict[str, np.dtype]:
        """Open the file; the inputs that it takes, by their names, and of which type."""
        self._session = onnxruntime.InferenceSession(
            str(self.path), _options(self.threads), providers=["CPUExecutionProvider"])
        return {one.name: _dtype(one.type) for one in self._session.get_inputs()}

    def answered(self, given: dict[str, np.ndarray]) -> np.ndarray:
        """The file's first output, of inputs by their names."""
        return self._session.run(None, given)[0]

    def forward(self, *inputs: Inputs, **named: Tensor) -> Tensor:
        """The answers, (n, outputs). inputs: tensors in the order of the file's inputs, one tuple
        of them, or a dict by their names."""
        try:
            found = self.answered(self.named(*inputs, **named))
        except Exception as error:
            raise ValueError(f"{self.path.name} cannot take these inputs: "
                             f"{str(error).splitlines()[0]}") from error
        return torch.from_numpy(found)

    def named(self, *inputs: Inputs, **named: Tensor) -> dict[str, np.ndarray]:
        """Inputs, given as for a call, as arrays by their names and of the types that the file
        takes. ValueError for too few, too many, or others."""
        given = inputs[0] if len(inputs) == 1 else inputs
        if isinstance(given, Mapping):
            named = {**given, **named}
        else:
            parts = given if isinstance(given, tuple) else (given,)
            if len(parts) > len(self.inputs):
                raise ValueError(f"{self.path.name} takes {len(self.inputs)} inputs, not "
                                 f"{len(parts)}")
            named = dict(zip(self.inputs, parts, strict=False)) | named
        if named.keys() != self.inputs.keys():
            raise ValueError(f"{self.path.name} takes the inputs {', '.join(self.inputs)}; given "
                             f"were {', '.join(map(str, named)) or 'none'}")
        return {name: np.ascontiguousarray(named[name].detach().cpu().numpy(), dtype)
                for name, dtype in self.inputs.items()}

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return self.path.stat().st_size

    @cached_property
    def kernels(self) -> Counter:
        """How often which operation runs, after ONNX Runtime has fused what it can."""
        with tempfile.TemporaryDirectory() as folder:
            options = _options(self.threads)
            options.optimized_model_filepath = str(Path(folder) / "fused.onnx")
            onnxruntime.InferenceSession(str(self.path), options,
                                         providers=["CPUExecutionProvider"])
            graph = onnx.load(options.optimized_model_filepath, load_external_data=False).graph
        return Counter(node.op_type if _level(node) in (None, WHOLE_NUMBERS) else
                       f"{node.op_type} of floats" for node in graph.node)

    @property
    def row_fields(self) -> dict[str, Any]:
        """What a Row says of a file, whatever it was made from."""
        whole, every = self.products
        partly = 0 < whole < every
        return {"runtime": self.runtime, "threads": self.threads, "size_bytes": self.size_bytes,
                "arithmetic": "partly integer" if partly else self.arithmetic,
                "bits_per_weight": None, "a_bits_mean": None,
                "left_float": f"{every - whole} of {every} products" if partly else ""}

    @property
    def products(self) -> tuple[int, int]:
        """How many products the file has in whole numbers, and how many in all."""
        whole = sum(self.kernels[name] for name in INTEGER)
        return whole, whole + sum(self.kernels[name] for name in FLOAT)

    @property
    def arithmetic(self) -> str:
        """"integer", "float", or "integer 7 of 9": of the products, those in whole numbers."""
        whole, every = self.products
        return "float" if not whole else "integer" if whole == every else (
            f"integer {whole} of {every}")


def _level(node: onnx.NodeProto) -> int | None:
    """The accuracy level of a product with packed weights; None for any other operation."""
    return next((one.i for one in node.attribute if one.name == "accuracy_level"), None)


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = ERRORS_ONLY
    return options


def _dtype(kind: str) -> np.dtype:
    """numpy's name of what ONNX Runtime calls tensor(float), tensor(int64), …"""
    name = kind.removeprefix("tensor(").removesuffix(")")
    return np.dtype({"float": "float32", "double": "float64"}.get(name, name))
