"""Trained nets as files in ONNX Runtime, each made once."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from lib import compress, models
from lib.base.setting import Setting
from lib.data import Task
from lib.study import cache, keys

if TYPE_CHECKING:
    from lib.deploy import Session


def deployed(net: nn.Module, task: Task, setting: Setting, known_by: dict, draw: int | None = None
             ) -> "Session":
    """`net`, which holds what `setting` asks of the model, as the file that `setting.deploy` asks
    for, running.

    The file is kept in the cache: it is asked for on either part of the data and by each timing,
    and an export takes seconds. known_by: what the trained net is known by there; draw: as of
    `rounded`.
    """
    # Here, for ONNX Runtime takes most of a second to import.
    from lib import deploy
    folder = tempfile.TemporaryDirectory()
    built = models.file_of(net.build_arguments["name"]).stem
    key = {"net": known_by, "setting": setting.of_the_model.asked, "draw": draw or 0,
           "task": task.hash, "code": keys.code("lib.deploy", f"lib.models.{built}",
                                                *compress.code_of(setting))}
    floats = _file(f"export {task.name} {setting.of_the_model}", key,
                   Path(folder.name) / "fp32.onnx",
                   lambda path: deploy.exported(net, task.calibration, path))
    way, path = setting.deploy, Path(folder.name) / deploy.WAYS[setting.deploy].file
    if path != floats:
        path = _file(f"export {task.name} {setting.of_the_model} {path.stem}",
                     key | {"way": path.stem, "vnni": deploy.vnni()}, path,
                     lambda path: deploy.derived(floats, net, way, task.calibration, path))
    return deploy.running(path, net, way, keeps=folder)


def _file(step: str, key: dict, path: Path, write: Callable[[Path], Path]) -> Path:
    """The file at `path`, from the cache or as `write` makes it."""
    def build() -> cache.Built:
        return {"file": np.frombuffer(write(path).read_bytes(), np.uint8)}, {}

    entry = cache.cached(step, key, build, quiet=True)
    path.write_bytes(entry.arrays["file"].tobytes())
    return path
