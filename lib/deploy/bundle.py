"""A bundle: the folder that a small device needs to run a model, without torch and this study.

model.onnx, record.json (what goes in and comes out, and by what it was made), examples.npz (some
inputs and what this machine answered), and run.py, which needs numpy and onnxruntime alone. Of a
model that is no file yet also model.safetensors, as small as it is stored, and load.py, which makes
a PyTorch module of it.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from lib.base import paths
from lib.deploy.session import Session
from lib.deploy.ways import deployed
from lib.layers.files import save
from lib.layers.inputs import Inputs, first

RUNNER, LOADER = (Path(__file__).with_name(name) for name in ("runner.py", "loader.py"))
PARTS = {"model.onnx", "record.json", "examples.npz", "run.py", "model.safetensors", "load.py",
         "__pycache__"}
EXAMPLES = 8


def bundle(model: nn.Module, example: Inputs, folder: str | Path,
           about: dict[str, Any] | None = None) -> Path:
    """Write the folder that runs `model` elsewhere, and return it.

    model: a Session, whose file goes along as it is, or any other module, which becomes a file of
    floats, with its stored form beside; one that cannot be exported has that alone, and record.json
    says why. example: some inputs, of which the first few go along with their answers, so that
    `python run.py` can say whether another machine answers alike; about: plain values that go into
    the record, such as the row of this model (load.py asks for its task and fold), those that are
    missing left out. ValueError: the folder holds something else.
    """
    folder, record = Path(folder), {}
    if folder.exists() and {path.name for path in folder.iterdir()} - PARTS:
        raise ValueError(f"{folder} holds other files; name a folder that is new")
    folder.mkdir(parents=True, exist_ok=True)
    session = model
    if not isinstance(model, Session):
        save(model, folder / "model.safetensors")
        shutil.copyfile(LOADER, folder / "load.py")
        try:
            session = deployed(model, "fp32", example)
        except ValueError as error:
            session, record = None, {"no_onnx": str(error)}
    if session is not None:
        record = _with_runner(session, first(example, EXAMPLES), folder)
    record["about"] = {name: value for name, value in (about or {}).items() if value == value}
    (folder / "record.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return folder


def _with_runner(session: Session, some: Inputs, folder: Path) -> dict[str, Any]:
    """Write the session's file with examples and what runs it; what the record says of it."""
    if session.path.suffix != ".onnx":
        raise ValueError(f"{session.path.name} is no ONNX file, which is what a bundle's runner "
                         "takes; bundle the model, or a file of another way")
    given = session.named(some)
    answers = session(some).numpy()
    shutil.copyfile(session.path, folder / "model.onnx")
    shutil.copyfile(RUNNER, folder / "run.py")
    np.savez(folder / "examples.npz", answer=answers, **given)
    return {"inputs": {name: {"type": str(array.dtype), "shape": ["n", *array.shape[1:]]}
                       for name, array in given.items()},
            "answer": {"type": str(answers.dtype), "shape": ["n", *answers.shape[1:]]},
            "arithmetic": session.arithmetic, "kernels": dict(session.kernels),
            "bytes": session.size_bytes, "sha256": paths.sha256(session.path)}
