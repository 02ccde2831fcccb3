"""Quantization: a weight, or a whole model, in fewer bits.

Every method is a function `method(w, bits, axis, group, generator, **its own options)` that
returns a `Quantized`; methods that need the layer's inputs are `method(w, inputs, ...)`, where
inputs (rows, in·kh·kw) multiply the rows of w seen as (out, in·kh·kw), and are (groups, rows,
in·kh·kw / groups) for a grouped convolution. `ptq` lifts one to a model.
"""

from lib.layers.layout import Layout
from lib.layers.stored import Affine, Codebook, Normal, Points, Quantized
from lib.quant.lift import METHODS, file_of, is_random, ptq, quantize
from lib.quant.qat import qat_convert, qat_prepare

__all__ = ["Affine", "Codebook", "Layout", "METHODS", "Normal", "Points", "Quantized", "file_of",
           "is_random", "ptq", "qat_convert", "qat_prepare", "quantize"]
