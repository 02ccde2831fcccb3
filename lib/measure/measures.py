"""measure: one model on one task becomes one Row. latency: several calls timed side by side."""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import psutil
import torch
from torch import nn

from lib import energy, train
from lib.layers.walk import stored
from lib.tables import Row

WARM_UP = 5
WINDOW_S = 0.05             # a window holds each variant once, about this long each
BUSY_CORES = 0.1            # a window is thrown away when others used more
MOST_THROWN_AWAY = 20
SIZES = ("params", "nonzero", "size_bytes", "bits_per_weight", "a_bits_mean", "sparsity")


def measure(model: nn.Module, task, *, method: str = "baseline", setting: str | None = None,
            seed: int | None = 0, split: str = "test", examples: int | None = None,
            draw: int | None = None, **more) -> Row:
    """Score `model` on one split of `task` and count what it needs.

    setting starts with the method's name and says what was asked for; examples: only the split's
    first so many; more: any other field of Row (spent_s, latency_s, …). Bits, sparsity and bytes
    are read off the model itself, so that what was asked for and what was reached stay apart.
    """
    result = train.evaluate(model, task, split, examples=examples)
    scores = result.scores.numpy()
    low, high = task.metric.interval(scores)
    y = getattr(task, split).y[:len(scores)]
    metric2, score2 = task.metric.second(result.outputs, y, task.scale)
    fields = {
        "task": task.name, "model": label(model), "method": method,
        "setting": setting or method, "seed": seed, "fold": task.fold, "draw": draw,
        "split": split, "n": len(scores), "metric": task.metric.name,
        "score": result.score, "score_low": low, "score_high": high, "metric2": metric2,
        "score2": score2, "loss": result.loss,
        "threads": torch.get_num_threads(), "device": device(model),
        "measured_by": energy.WHY_UNAVAILABLE, **size(model),
        "macs": energy.macs(model, task.test.batch(slice(1))), "scores": task.metric.stored(scores)}
    return Row(**(fields | more))


def label(model: nn.Module) -> str:
    """The model's name with the sizes it was built with: `resnet20 width=8`."""
    arguments = dict(model.build_arguments)
    return " ".join([arguments.pop("name"), *(f"{k}={v}" for k, v in arguments.items())])


def device(model: nn.Module) -> str:
    return next((p.device.type for p in model.parameters()), "cpu")


def size(model: nn.Module) -> dict:
    """params, nonzero, size_bytes, bits_per_weight, a_bits_mean, sparsity and arithmetic of a model
    as it is stored (`walk.stored`).

    bits_per_weight: stored bytes of weights, tables and masks included, × 8 / weights; sparsity:
    the share of zeros among weights; both None for a model that has none. a_bits_mean: over the
    layers whose inputs are rounded, each the same; 32 where none are. Models of scikit-learn have
    no parameters that could be compared: None.
    """
    if not any(True for _ in model.parameters()):
        return dict.fromkeys(SIZES)
    tensors = stored(model)
    parameters = [tensor for tensor in tensors if tensor.role != "buffer"]
    weights = [tensor for tensor in tensors if tensor.role == "weight"]
    count = sum(tensor.elements for tensor in weights)
    a_bits = [m.a_bits for m in model.modules() if getattr(m, "a_bits", None)]
    simulated = bool(a_bits) or any(tensor.quantized is not None for tensor in tensors)
    return {"params": sum(tensor.elements for tensor in parameters),
            "nonzero": sum(tensor.nonzero for tensor in parameters),
            "size_bytes": sum(tensor.size_bytes for tensor in tensors),
            "bits_per_weight": 8 * sum(t.size_bytes for t in weights) / count if count else None,
            "a_bits_mean": float(np.mean(a_bits)) if a_bits else 32.0,
            "sparsity": 1 - sum(t.nonzero for t in weights) / count if count else None,
            "arithmetic": "simulated" if simulated else "float"}


def latency(calls: dict[str, Callable[[], object]], windows: int = 30,
            threads: int = 1) -> pd.DataFrame:
    """Time all variants together, one after the other in every window (A B C A B C …).

    Returns a frame, one line per variant: median seconds per call with its 2.5 and 97.5 percent
    quantiles over windows, the paired ratio to the first variant with its quantiles, the median of
    a reference matrix product in the same windows (a canary), windows thrown away because other
    processes used more than 0.1 core, and `noisy` where too many were. One thread unless told.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    canary = torch.randn(256, 256)
    calls = {"canary": lambda: canary @ canary, **calls}
    try:
        repeats = {}
        for name, call in calls.items():
            for _ in range(WARM_UP):
                call()
            repeats[name] = max(1, int(WINDOW_S / max(1e-7, _timed(call, 1))))
        kept, thrown = [], 0
        while len(kept) < windows:
            clock = _others()
            window = {name: _timed(call, repeats[name]) for name, call in calls.items()}
            if _others(clock) > BUSY_CORES and thrown < MOST_THROWN_AWAY:
                thrown += 1
                continue
            kept.append(window)
    finally:
        torch.set_num_threads(before)
    frame = pd.DataFrame(kept)
    first = frame[next(n for n in calls if n != "canary")]
    lines = []
    for name in calls:
        ratio = first / frame[name]
        lines.append({"variant": name, "latency_s": frame[name].median(),
                      "latency_low": frame[name].quantile(0.025),
                      "latency_high": frame[name].quantile(0.975), "speedup": ratio.median(),
                      "speedup_low": ratio.quantile(0.025), "speedup_high": ratio.quantile(0.975),
                      "canary_s": frame["canary"].median(), "windows": windows, "thrown": thrown,
                      "threads": threads, "noisy": thrown >= MOST_THROWN_AWAY})
    return pd.DataFrame(lines[1:])


def _timed(call: Callable[[], object], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


def _others(since: tuple[float, float, float] | None = None):
    """Cores that other processes used since an earlier call's reading; without one, a reading."""
    cpu, own = psutil.cpu_times(), psutil.Process().cpu_times()
    busy = cpu.user + cpu.system + getattr(cpu, "nice", 0.0)
    now = (time.perf_counter(), busy, own.user + own.system)
    if since is None:
        return now
    return ((now[1] - since[1]) - (now[2] - since[2])) / max(1e-9, now[0] - since[0])
