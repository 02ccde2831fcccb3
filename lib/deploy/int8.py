"""Real int8 by ONNX Runtime: an ONNX file of floats becomes one that multiplies whole numbers.

Static: weights and what enters their layers in 8 bits, its ranges from calibration (quantize and
dequantize nodes, which ONNX Runtime fuses with the layers between them); a range for each channel
of a weight. Dynamic: ranges of what enters are found anew for every batch; of matrix products
alone, since ONNX Runtime's dynamic convolutions are several times slower than its float ones.
Activations are unsigned, weights signed: the form that VNNI instructions multiply. Without VNNI two
such products can overflow 16 bits (onnxruntime issue 6004), so weights give up a bit there.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from lib.layers.inputs import Inputs, pieces

MATRIX = ("Gemm", "MatMul")
PRODUCTS = ("Conv", *MATRIX, "ConvTranspose")
# Beside these: what may stay in whole numbers between two of them; those that join several inputs.
JOINING = ("Add", "Concat")
BETWEEN = (*JOINING, "AveragePool", "Clip", "GlobalAveragePool", "MaxPool", "Pad", "Relu",
           "Reshape", "Slice", "Transpose")
# Calibration inputs at a time. Of each piece every tensor of the graph is held until its range is
# taken: of 128 paragraphs of 256 word pieces 20 GB, of 8 less than 4.
AT_ONCE = 8
CPUINFO = Path("/proc/cpuinfo")


def vnni() -> bool | None:
    """Has the processor VNNI instructions? None where that is not known (not on Linux)."""
    try:
        told = CPUINFO.read_text()
    except OSError:
        return None
    return any(flag in told for flag in ("avx512_vnni", "avx_vnni", "asimddp"))


def static(source: str | Path, calibration: Inputs, path: str | Path,
           reduced: bool | None = None) -> Path:
    """Write the ONNX file `source` with weights and layer inputs in 8 bits; return `path`.

    calibration: some hundred inputs, as the file takes them; reduced: weights in 7 bits, which no
    processor's products overflow (None: where there is no VNNI). ValueError: the file has nothing
    to quantize.
    """
    graph = _plain(source)
    chosen = {node.name for node in _products(graph)}
    if not chosen:
        raise ValueError(f"{Path(source).name} has no layer that 8 bits could serve: none of "
                         f"{', '.join(PRODUCTS)} multiplies with weights")
    with _quiet():
        quantize_static(
            graph, str(path), _Reader(graph, calibration), quant_format=QuantFormat.QDQ,
            per_channel=True, reduce_range=not vnni() if reduced is None else reduced,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            nodes_to_quantize=sorted(chosen | _between(graph.graph, chosen)),
            # What leaves a MatMul in floats costs nothing: there is a kernel that adds its scales.
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]})
    return Path(path)


def dynamic(source: str | Path, path: str | Path, reduced: bool | None = None) -> Path:
    """Write the ONNX file `source` with the weights of its matrix products in 8 bits, and what
    enters these rounded as it comes; return `path`. ValueError: there is no such product."""
    graph = _plain(source)
    if not any(node.op_type in MATRIX for node in _products(graph)):
        raise ValueError(f"{Path(source).name} has no matrix product with weights")
    with _quiet():
        quantize_dynamic(graph, str(path), per_channel=True, weight_type=QuantType.QInt8,
                         reduce_range=not vnni() if reduced is None else reduced,
                         op_types_to_quantize=list(MATRIX),
                         extra_options={"MatMulConstBOnly": True})
    return Path(path)


def _plain(source: str | Path) -> onnx.ModelProto:
    """The file's graph, every node with a name, without the shapes that the exporter noted: some
    are of tensors that quantizing turns round."""
    model = onnx.load(source)
    del model.graph.value_info[:]
    for place, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{place}"
    return model


def _products(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes that multiply with weights, which are constant; not attention's own products."""
    constant = {one.name for one in model.graph.initializer}
    return [node for node in model.graph.node
            if node.op_type in PRODUCTS and node.input[1] in constant]


def _between(graph: onnx.GraphProto, products: set[str]) -> set[str]:
    """The nodes of BETWEEN that lie between two products: what enters comes from a product or from
    another of these, and one of them takes what leaves. Others gain no speed by whole numbers and
    lose by them: inputs not yet normalised, of which one range for all columns left nothing of the
    small ones (telescope fell from 91.6 % to 52.7), a mask's -10,000 in attention's scores (SST-2
    from 89.9 to 78.3)."""
    constant = {one.name for one in graph.initializer}
    constant |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    made_by = {name: node.name for node in graph.node for name in node.output}
    taken_by: dict[str, set[str]] = {}
    enters: dict[str, set[str]] = {}
    for node in graph.node:
        inputs = node.input if node.op_type in JOINING else node.input[:1]
        enters[node.name] = {made_by.get(name, "") for name in inputs if name not in constant}
        for name in node.input:
            taken_by.setdefault(made_by.get(name, ""), set()).add(node.name)
    found = {node.name for node in graph.node if node.op_type in BETWEEN}
    while True:
        whole = products | found
        stays = {name for name in found
                 if enters[name] <= whole and taken_by.get(name, set()) & whole}
        if stays == found:
            return found
        found = stays


class _Reader(CalibrationDataReader):
    """Calibration inputs, some at a time, by the names of the file's inputs."""

    def __init__(self, model: onnx.ModelProto, calibration: Inputs):
        names = [one.name for one in model.graph.input]
        self._batches: Iterator[dict] = (
            {name: part.numpy() for name, part in _named(names, piece).items()}
            for piece in pieces(calibration, AT_ONCE))

    def get_next(self) -> dict | None:
        return next(self._batches, None)


def _named(names: list[str], inputs: Inputs) -> dict:
    if isinstance(inputs, dict):
        return inputs
    return dict(zip(names, inputs if isinstance(inputs, tuple) else (inputs,), strict=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without ONNX Runtime's advice to run its own preprocessing: the exporter has folded and
    named already."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
