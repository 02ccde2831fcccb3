"""A bundle: the folder that a small device needs to run a model, without torch and this study.

model.onnx, record.json (what goes in and comes out, and by what it was made), examples.npz (some
inputs and what this machine answered), and run.py, which needs numpy and onnxruntime alone.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from lib.base import paths
from lib.deploy.session import Session
from lib.layers.inputs import Inputs, first

RUNNER = Path(__file__).with_name("runner.py")
EXAMPLES = 8


def bundle(session: Session, example: Inputs, folder: str | Path,
           about: dict[str, Any] | None = None) -> Path:
    """Write the folder that runs `session`'s file elsewhere, and return it.

    example: some inputs, of which the first few go along with their answers, so that `python
    run.py` can say whether another machine answers alike; about: plain values that go into the
    record, such as the row of this model. ValueError: the folder holds something else.
    """
    folder = Path(folder)
    known = {"model.onnx", "record.json", "examples.npz", "run.py"}
    if folder.exists() and {path.name for path in folder.iterdir()} - known:
        raise ValueError(f"{folder} holds other files; name a folder that is new")
    folder.mkdir(parents=True, exist_ok=True)
    some = first(example, EXAMPLES)
    given = session.named(some)
    answers = session(some).numpy()
    shutil.copyfile(session.path, folder / "model.onnx")
    shutil.copyfile(RUNNER, folder / "run.py")
    np.savez(folder / "examples.npz", answer=answers, **given)
    record = {"inputs": {name: {"type": str(array.dtype), "shape": ["n", *array.shape[1:]]}
                         for name, array in given.items()},
              "answer": {"type": str(answers.dtype), "shape": ["n", *answers.shape[1:]]},
              "arithmetic": session.arithmetic, "kernels": dict(session.kernels),
              "bytes": session.size_bytes, "sha256": paths.sha256(session.path),
              "about": about or {}}
    (folder / "record.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return folder
