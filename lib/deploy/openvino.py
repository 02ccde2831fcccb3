"""A second runtime for the same files, where it is installed: OpenVINO.

It reads the ONNX files that ONNX Runtime runs, of floats and of static int8, so that bytes and
codes are the same and only the runtime differs. Products of floats are computed in float32:
OpenVINO takes bfloat16 by itself where the processor has it.
"""

import numpy as np

from lib.deploy.other import Operation, Other, needed


class OpenVino(Other):
    """An ONNX file in OpenVINO on the processor: as a Session is called, scored and timed."""

    runtime, called = "openvino", "OpenVINO"
    needs = ("openvino",)
    multiply = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")
    whole = ("i8", "u8")

    def opened(self) -> dict[str, np.dtype]:
        openvino = needed("openvino")
        asked = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": self.threads,
                 "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
        self._compiled = openvino.compile_model(str(self.path), "CPU", asked)
        return {one.any_name: one.element_type.to_dtype() for one in self._compiled.inputs}

    def answered(self, given: dict[str, np.ndarray]) -> np.ndarray:
        return self._compiled(given)[0].copy()      # its own buffer, which the next call overwrites

    @property
    def operations(self) -> list[Operation]:
        told = [node.get_rt_info() for node in self._compiled.get_runtime_model().get_ordered_ops()]
        return [Operation(str(one["layerType"].value), str(one["runtimePrecision"].value))
                for one in told]
