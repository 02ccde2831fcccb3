"""A second runtime for the same files, where it is installed: OpenVINO.

It reads the ONNX files that ONNX Runtime runs, of floats and of static int8, so that bytes and
codes are the same and only the runtime differs. Products of floats are computed in float32:
OpenVINO takes bfloat16 by itself where the processor has it.
"""

from collections import Counter
from functools import cached_property

import numpy as np

from lib.deploy.needed import needed
from lib.deploy.session import Session

PRODUCTS = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")
WHOLE = ("i8", "u8")            # what products in whole numbers take


class OpenVino(Session):
    """An ONNX file in OpenVINO on the processor: as a Session is called, scored and timed."""

    runtime, called = "openvino", "OpenVINO"

    def opened(self) -> dict[str, np.dtype]:
        openvino = needed("openvino")
        asked = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": self.threads,
                 "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
        self._compiled = openvino.compile_model(str(self.path), "CPU", asked)
        return {one.any_name: one.element_type.to_dtype() for one in self._compiled.inputs}

    def answered(self, given: dict[str, np.ndarray]) -> np.ndarray:
        return self._compiled(given)[0].copy()      # its own buffer, which the next call overwrites

    @cached_property
    def kernels(self) -> Counter:
        """How often which operation runs, after OpenVINO has fused what it can; of products, in
        which precision."""
        names = []
        for node in self._compiled.get_runtime_model().get_ordered_ops():
            told = node.get_rt_info()
            name = str(told["layerType"].value)
            names.append(f"{name} of {told['runtimePrecision'].value}" if name in PRODUCTS
                         else name)
        return Counter(names)

    @property
    def products(self) -> tuple[int, int]:
        of = {name: name.rpartition(" of ") for name in self.kernels}
        every = {name: self.kernels[name] for name, (kind, _, _) in of.items() if kind in PRODUCTS}
        whole = sum(count for name, count in every.items() if of[name][2] in WHOLE)
        return whole, sum(every.values())
