"""How much memory a model's file takes while it runs: python resident.py model.onnx inputs.npz 3.

Prints a line a process, of so many: the bytes by which it grew between having imported ONNX Runtime
and having answered. Each is a fresh copy of this one, which loads nothing itself.
"""

import os
import sys

import numpy as np
import onnxruntime
import psutil


def main(model: str, inputs: str, times: str) -> None:
    with np.load(inputs, allow_pickle=False) as arrays:
        given = {name: arrays[name] for name in arrays.files}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 1, 1
    for _ in range(int(times)):
        if os.fork() == 0:
            before = psutil.Process().memory_info().rss
            session = onnxruntime.InferenceSession(model, options,
                                                   providers=["CPUExecutionProvider"])
            session.run(None, given)
            print(psutil.Process().memory_info().rss - before, flush=True)
            os._exit(0)
        if os.wait()[1]:
            sys.exit("the model could not be loaded or run")


if __name__ == "__main__":
    main(*sys.argv[1:])
