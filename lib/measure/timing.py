"""latency: several calls timed side by side."""

import math
import time
from collections.abc import Callable
from functools import partial

import pandas as pd
import psutil
import torch
from torch import Tensor, nn

from lib.layers.fitted import fitted

WARM_UP = 5
WINDOW_S = 0.05             # a window holds each variant once, about this long each
# After other work a net's first 6 ms or so are slow, up to twice (on a Xeon with AVX-512): of two
# files of one net the first, before which the canary ran, seemed to take 13 % longer than the next.
WARM_S = 0.02               # so each variant answers this long before it is timed in a window
LONG_S = 0.2                # but for calls of this length, of which that is a percent
BUSY_CORES = 0.1            # a window is thrown away when others used more
MOST_THROWN_AWAY = 20
CANARY = "canary"           # a reference that is timed in every window


def call(model: nn.Module, task, batch: int = 1) -> Callable[[], Tensor]:
    """A call of `model` on the task's first `batch` test examples, without gradients."""
    x = task.test.batch(slice(batch))
    inputs = x if isinstance(x, tuple) else (x,)
    return partial(_answer, model.eval(), tuple(fitted(part, model) for part in inputs))


@torch.no_grad()
def _answer(model: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    return model(*inputs)


def latency(calls: dict[str, Callable[[], object]], windows: int = 30,
            threads: int = 1) -> pd.DataFrame:
    """Time all variants together, one after the other in every window (A B C A B C …).

    In each window a variant answers for a while before it is timed, so that it does not matter
    which one went before. Returns a frame, one line per variant: median seconds per call with its
    2.5 and 97.5 percent quantiles over windows, the paired ratio to the first variant with its
    quantiles, the median of a reference matrix product in the same windows (a canary), windows
    thrown away because other processes used more than 0.1 core, and `noisy` where too many were.
    One thread unless told.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        kept, thrown = _windows(calls, windows)
    finally:
        torch.set_num_threads(before)
    first = kept[next(iter(calls))]
    lines = []
    for name in calls:
        ratio = first / kept[name]
        lines.append({"variant": name, "latency_s": kept[name].median(),
                      "latency_low": kept[name].quantile(0.025),
                      "latency_high": kept[name].quantile(0.975), "speedup": ratio.median(),
                      "speedup_low": ratio.quantile(0.025), "speedup_high": ratio.quantile(0.975),
                      "canary_s": kept[CANARY].median(), "windows": windows, "thrown": thrown,
                      "threads": threads, "noisy": thrown >= MOST_THROWN_AWAY})
    return pd.DataFrame(lines)


def _windows(calls: dict[str, Callable[[], object]], count: int) -> tuple[pd.DataFrame, int]:
    """Seconds a call of each variant and of the canary, a line a window; windows thrown away."""
    matrix = torch.randn(256, 256)
    calls = {CANARY: lambda: matrix @ matrix, **calls}
    warm, repeats = {}, {}
    for name, call in calls.items():
        for _ in range(WARM_UP):
            call()
        seconds = max(1e-7, _timed(call, 1))
        warm[name] = math.ceil(WARM_S / seconds) if seconds < LONG_S else 0
        repeats[name] = max(1, int(WINDOW_S / seconds))
    kept, thrown = [], 0
    while len(kept) < count:
        clock = _others()
        window = {}
        for name, call in calls.items():
            for _ in range(warm[name]):
                call()
            window[name] = _timed(call, repeats[name])
        if _others(clock) > BUSY_CORES and thrown < MOST_THROWN_AWAY:
            thrown += 1
            continue
        kept.append(window)
    return pd.DataFrame(kept), thrown


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


def timings(latencies: pd.DataFrame, batch: int = 1) -> pd.DataFrame:
    """What `latency` gave of `batch` examples at once, an example: ms, ms_low, ms_high; speedup,
    speedup_low, speedup_high and windows; a line each."""
    named = {"latency_s": "ms", "latency_low": "ms_low", "latency_high": "ms_high"}
    found = latencies[[*named, "speedup", "speedup_low", "speedup_high", "windows"]]
    found = found.rename(columns=named)
    return found.assign(**{name: found[name] * 1000 / batch for name in named.values()})
