"""How much memory a model's file takes while it runs: python resident.py model.onnx inputs.npz.

Run in a process of its own; prints the bytes by which it grew between having imported ONNX Runtime
and having answered.
"""

import sys

import numpy as np
import onnxruntime
import psutil


def main(model: str, inputs: str) -> None:
    with np.load(inputs, allow_pickle=False) as arrays:
        given = {name: arrays[name] for name in arrays.files}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 1, 1
    before = psutil.Process().memory_info().rss
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session.run(None, given)
    print(psutil.Process().memory_info().rss - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
