"""4-bit weights in real kernels: matrix products of an ONNX file by ONNX Runtime's MatMulNBits.

The codes are our own, as a quantizer chose them: whole numbers from 0 to 15, a scale and a zero for
each run of a row. The kernel unpacks them as it multiplies; at accuracy level 4 it also rounds what
enters to 8 bits, a block at a time, and multiplies whole numbers.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from torch import nn

from lib.layers.layout import Layout
from lib.layers.stored import Affine

DOMAIN = "com.microsoft"
BITS, LEAST_BLOCK = 4, 16
INTEGERS = 4                # accuracy level: products of 8-bit whole numbers
FLOATS = 1                  # products of floats
PLAIN_GEMM = {"alpha": 1.0, "beta": 1.0, "transA": 0}


def nbits(source: str | Path, model: nn.Module, path: str | Path, level: int = INTEGERS) -> Path:
    """Write the ONNX file `source` with the 4-bit weights of `model` as codes; return `path`.

    source: as `exported` wrote it of this very model, whose linear layers hold affine codes of 4
    bits (`quant.ptq(model, "gptq", bits=4, group=32)`); other layers stay as they are. ValueError:
    no layer has such codes, or a code's zero lies between two codes.
    """
    file = onnx.load(source)
    coded = {name: q for name, module in model.named_modules() if isinstance(module, nn.Linear)
             if isinstance(q := getattr(module, "compressed", {}).get("weight"), Affine)
             and q.base == 2**BITS and q.layout.axis == 0}
    values = {one.name: numpy_helper.to_array(one) for one in file.graph.initializer}
    nodes, gone, found = [], set(), 0
    for node in file.graph.node:
        layer = _layer_of(node, values, coded)
        if layer is None:
            nodes.append(node)
            continue
        found += 1
        gone.add(node.input[1])
        nodes += _replaced(node, layer, coded[layer], level, file.graph)
    if not found:
        raise ValueError(f"no linear layer of {type(model).__name__} holds codes of {BITS} bits; "
                         "quantize it with an affine method first, such as gptq")
    del file.graph.node[:]
    file.graph.node.extend(nodes)
    still = {name for node in nodes for name in node.input}
    kept = [one for one in file.graph.initializer if one.name not in gone - still]
    del file.graph.initializer[:]
    file.graph.initializer.extend(kept)
    del file.graph.value_info[:]
    file.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    onnx.save(file, path)
    return Path(path)


def _layer_of(node: onnx.NodeProto, values: dict[str, np.ndarray], coded: dict[str, Affine]
              ) -> str | None:
    """The layer whose weight this node multiplies with: the exporter may have turned it round, and
    named it anew."""
    if node.op_type not in ("Gemm", "MatMul") or node.input[1] not in values:
        return None
    attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    if any(attributes.get(name, usual) != usual for name, usual in PLAIN_GEMM.items()):
        return None
    weight = values[node.input[1]]                      # (in, out), or (out, in) under transB
    weight = weight if attributes.get("transB") else weight.T
    for name, q in coded.items():
        if q.layout.shape == weight.shape and np.array_equal(q.dequantize().numpy(), weight):
            return name
    return None


def _replaced(node: onnx.NodeProto, layer: str, q: Affine, level: int, graph: onnx.GraphProto
              ) -> list[onnx.NodeProto]:
    """The node that computes the same from codes; new constants go into `graph`."""
    block = _block(q.layout)
    codes, scales, zeros = _blocks(q, layer, block)
    names = [f"{layer}.codes", f"{layer}.scales", f"{layer}.zeros"]
    for name, array in zip(names, (codes, scales, zeros), strict=True):
        graph.initializer.append(numpy_helper.from_array(array, name))
    out, width = q.layout.shape
    inputs = [node.input[0], *names]
    if len(node.input) > 2:                             # Gemm's bias stands behind an empty g_idx
        inputs += ["", node.input[2]]
    return [helper.make_node("MatMulNBits", inputs, list(node.output), node.name, domain=DOMAIN,
                             K=width, N=out, bits=BITS, block_size=block, accuracy_level=level)]


def _block(layout: Layout) -> int:
    """How many weights of a row share a block of the kernel: a power of two, at least 16."""
    length = layout.length
    whole_row = length == layout.shape[1]
    block = max(LEAST_BLOCK, 1 << (length - 1).bit_length())
    return block if whole_row else length


def _blocks(q: Affine, layer: str, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """codes (out, blocks, block/2), two to a byte, the first in the low half; scales (out·blocks,)
    float32; zeros (out·blocks/2,), two to a byte, each row filled up."""
    out, width = q.layout.shape
    if block & (block - 1) or block < LEAST_BLOCK:
        raise ValueError(f"{layer} has groups of {block}; the kernel takes a power of two from "
                         f"{LEAST_BLOCK}")
    count = -(-width // block)
    scale = np.broadcast_to(q.scale.float().numpy().reshape(-1), out * count).reshape(out, count)
    zero = np.broadcast_to(q.zero.float().numpy().reshape(-1), out * count).reshape(out, count)
    if not (zero == zero.round()).all() or zero.min() < 0 or zero.max() >= 2**BITS:
        raise ValueError(f"{layer} has zeros that are no codes, which the kernel cannot take; "
                         "choose a quantizer whose zero is a code, such as affine or gptq")
    filled = np.pad(q.codes.numpy(), ((0, 0), (0, count * block - width)))
    return (_halves(filled.reshape(out, count, block)), scale.astype(np.float32).reshape(-1),
            _halves(np.pad(zero.astype(np.uint8), ((0, 0), (0, count % 2)))).reshape(-1))


def _halves(codes: np.ndarray) -> np.ndarray:
    """Two codes below 16 to a byte, along the last axis."""
    return (codes[..., ::2] | codes[..., 1::2] << 4).astype(np.uint8)
