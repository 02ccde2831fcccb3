"""Run the model beside this file: python run.py [inputs.npz]. Needs numpy and onnxruntime alone.

Without an argument it answers its own examples and says how far the answers lie from those of the
machine that made it. With one it prints an answer a line; the file's arrays have the names and
shapes that record.json states.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


def main(folder: Path, file: str = "") -> None:
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    model = folder / "model.onnx"
    if hashlib.sha256(model.read_bytes()).hexdigest() != record["sha256"]:
        sys.exit("model.onnx is not what record.json describes; copy the folder again")
    with np.load(file or folder / "examples.npz", allow_pickle=False) as arrays:
        given = {name: arrays[name] for name in arrays.files}
    if missing := [name for name in record["inputs"] if name not in given]:
        sys.exit(f"the inputs lack {', '.join(missing)}; record.json says what the model takes")
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    answers = session.run(None, {name: given[name].astype(told["type"])
                                 for name, told in record["inputs"].items()})[0]
    if file:
        np.savetxt(sys.stdout, answers.reshape(len(answers), -1), fmt="%.6g")
    else:
        apart = np.abs(answers - given["answer"]).max()
        print(f"{len(answers)} examples answered, up to {apart:.2g} apart from the maker's answers")


if __name__ == "__main__":
    main(Path(__file__).resolve().parent, *sys.argv[1:2])
