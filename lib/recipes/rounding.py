"""Trained nets with what a setting asks of them afterwards; what learns to round does so once."""

import time

import numpy as np
import pandas as pd
import torch
from torch import nn

from lib import compress, models
from lib.base import machine
from lib.base.said import count
from lib.base.setting import Setting
from lib.data import Task
from lib.study import cache, keys
from lib.train.losses import on_calibration as losses


def rounded(net: nn.Module, task: Task, setting: Setting, known_by: dict, draw: int | None = None
            ) -> nn.Module:
    """`net` with what `setting` asks of weights and activations (`compress.apply`).

    What a quantizer learns in many steps (`setting.steps`) takes minutes and is asked for by
    several trials: on either part of the data, and by each training that starts from it. So it is
    kept in the cache. known_by: what the net is known by there; draw: seeds what draws at random.
    The model carries `.compressed_s`, the seconds that this took, and `.compressed_by`, on what
    they were spent.
    """
    def made() -> tuple[nn.Module, dict]:
        began = time.perf_counter()
        generator = torch.Generator().manual_seed(draw or 0)
        small = compress.apply(net, setting, task.calibration, generator, losses=losses(task),
                               sensitivity=lambda: _sensitivity(net, task, setting, known_by))
        threads = count(torch.get_num_threads(), "thread")
        return small, {"seconds": time.perf_counter() - began,
                       "source": f"clock, other trials beside it, {machine.processor()}, {threads}"}

    def built() -> cache.Built:
        small, record = made()
        header, arrays = compress.packed(small, setting)
        return {name: value.numpy() for name, value in arrays.items()}, record | {"model": header}

    if not setting.steps:
        small, record = made()
    else:
        key = {"net": known_by, "setting": setting.technique.asked, "draw": draw or 0,
               "code": _code(net, setting, "lib.train.losses")}
        entry = cache.cached(f"round {task.name} {setting}", key, built, quiet=True)
        arrays = {name: torch.from_numpy(np.array(value)) for name, value in entry.arrays.items()}
        record = entry.record
        small = compress.unpacked(net, setting, record["model"], arrays)
    small.compressed_s, small.compressed_by = record["seconds"], record["source"]
    return small


def _code(net: nn.Module, setting: Setting, *modules: str) -> str:
    """Hash of what computes with the net and compresses it; its training may have a version."""
    built = models.file_of(net.build_arguments["name"]).stem
    return keys.code(f"lib.models.{built}", *compress.code_of(setting), *modules)


def _sensitivity(net: nn.Module, task: Task, setting: Setting, known_by: dict) -> pd.DataFrame:
    """The net's table of layers that mixed precision spends by: measured once a net."""
    def build() -> cache.Built:
        return {}, compress.sensitivity(net, task.calibration).to_dict("list")

    key = {"task": task.hash, "net": known_by, "code": _code(net, setting, "lib.compress")}
    return pd.DataFrame(cache.cached(f"sensitivity {task.name}", key, build, quiet=True).record)
