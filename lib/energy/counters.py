"""Measured joules: what a machine's own counters tell, or why there are none.

NVIDIA GPUs tell by NVML what they took since the driver was loaded, x86 processors by RAPL
(/sys/class/powercap) what package and memory took. Nothing is ever estimated from time or from a
nominal wattage: without a counter that moves, joules are unavailable, and why is said.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

POWERCAP = Path("/sys/class/powercap")
POLLED = 30.0                   # seconds: often enough that no counter can wrap twice unnoticed
# Sensors are sampled some ten times a second and averaged (2312.02741): shorter windows say little.
WINDOW = 5.0                    # seconds


@dataclass(frozen=True)
class Counter:
    """A counter of energy. read() -> joules since some moment; span: how many it can hold before it
    starts again at 0; None: it never does."""

    name: str
    read: Callable[[], float]
    span: float | None = None


@dataclass
class Used:
    """What a `meter` found; where nothing could be measured joules is None, and source says why."""

    joules: float | None = None
    seconds: float = 0.0
    source: str = "unavailable: the measured part is not over"
    parts: dict[str, float] = field(default_factory=dict)       # joules by counter


@dataclass(frozen=True)
class Measured:
    """Joules of one call: the median over windows, and where the middle 95 % of windows lie."""

    joules: float | None
    low: float | None
    high: float | None
    idle_watts: float | None        # of the same counters, while nothing was called
    calls: int                      # in all windows
    windows: int
    source: str


@contextmanager
def meter(counters: Sequence[Counter] | None = None) -> Iterator[Used]:
    """Measure what is done within: `with meter() as used: …`, then `used.joules`.

    counters: this machine's own unless others are given. One that stands still throughout counts
    for nothing (there are some that always read 0), and the source names those that moved. What the
    machine takes anyway, and for others on it, is in it: see `joules` for idle power.
    """
    found, missing = (counters, "") if counters is not None else here()
    used, watch = Used(), _Watch(found)
    watch.start()
    try:
        yield used
    finally:
        watch.stop()
        used.seconds = watch.seconds
        used.parts = {name: joules for name, joules in watch.joules.items() if joules > 0}
        still = [name for name in watch.joules if name not in used.parts]
        if used.parts:
            used.joules, used.source = sum(used.parts.values()), ", ".join(used.parts)
        else:
            why = "; ".join(filter(None, [*(f"{name} stood still" for name in still), missing]))
            used.source = f"unavailable: {why or 'no counter was given'}"


def joules(call: Callable[[], object], windows: int = 5, seconds: float = WINDOW,
           counters: Sequence[Counter] | None = None) -> Measured:
    """Joules of one call, which is repeated for so many seconds in each of some windows, after as
    long a wait without it, of which the idle power comes. ValueError for fewer than one window."""
    if windows < 1:
        raise ValueError(f"windows={windows}: 1 or more are due")
    found, missing = (list(counters), "") if counters is not None else here()
    if not found:
        return Measured(None, None, None, None, 0, windows, f"unavailable: {missing}")
    call()                                                  # what is done once is not measured
    with meter(found) as idle:
        time.sleep(seconds)
    each, calls, sources = [], 0, {}
    for _ in range(windows):
        count, ends = 0, time.perf_counter() + seconds
        with meter(found) as used:
            while count == 0 or time.perf_counter() < ends:
                call()
                count += 1
        calls += count
        sources[used.source] = None
        if used.joules is not None:
            each.append(used.joules / count)
    if not each:
        return Measured(None, None, None, None, calls, windows, "; ".join(sources))
    low, middle, high = np.quantile(each, [0.025, 0.5, 0.975])
    watts = None if idle.joules is None else idle.joules / idle.seconds
    return Measured(float(middle), float(low), float(high), watts, calls, len(each),
                    "; ".join(sources))


def here() -> tuple[list[Counter], str]:
    """This machine's counters, and why there are not more."""
    found, why = [], []
    for kind in (_nvml, _rapl):
        counters, missing = kind()
        found += counters
        why += [missing] if missing else []
    return found, "; ".join(why)


def _nvml() -> tuple[list[Counter], str]:
    try:
        import pynvml
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except ImportError:
        return [], "nvidia-ml-py is not installed"
    except pynvml.NVMLError as error:
        return [], f"no NVIDIA GPU ({error})"
    found, why = [], []
    for i in range(count):
        handle = pynvml.nvmlDeviceGetHandleByIndex(i)
        name = pynvml.nvmlDeviceGetName(handle)
        read = _reads_millijoules(handle)
        try:
            read()
        except pynvml.NVMLError as error:
            why.append(f"{name} tells no energy ({error})")
            continue
        found.append(Counter(f"nvml {name}" + (f" {i}" if count > 1 else ""), read))
    return found, "; ".join(why)


def _reads_millijoules(handle) -> Callable[[], float]:
    import pynvml
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3


def _rapl(folder: Path | None = None) -> tuple[list[Counter], str]:
    """Packages, and memory where it is counted apart from them; what lies within a package (cores)
    is in its count already."""
    folder = folder or POWERCAP
    if not folder.is_dir():
        return [], f"no {folder}"
    found, why = [], []
    for zone in sorted(folder.glob("*-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
            if not name.startswith(("package", "dram")):
                continue
            span = float((zone / "max_energy_range_uj").read_text()) / 1e6
            read = _reads_microjoules(zone / "energy_uj")
            read()
        except PermissionError:
            why.append(f"{zone / 'energy_uj'} is for root alone")
            continue
        except (OSError, ValueError) as error:
            why.append(f"{zone.name} cannot be read ({error})")
            continue
        found.append(Counter(f"rapl {name} ({zone.name})", read, span))
    return found, "; ".join(why) or ("" if found else f"no package in {folder}")


def _reads_microjoules(file: Path) -> Callable[[], float]:
    return lambda: float(file.read_text()) / 1e6


class _Watch:
    """Adds up what counters advance by, looking often enough to see each wrap."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        self.counters = list(counters)
        self.joules = {counter.name: 0.0 for counter in self.counters}
        self.seconds = 0.0
        self._last: dict[str, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def start(self) -> None:
        self._last = {counter.name: counter.read() for counter in self.counters}
        self._began = time.perf_counter()
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        self._look()
        self.seconds = time.perf_counter() - self._began

    def _go_on(self) -> None:
        while not self._over.wait(POLLED):
            self._look()

    def _look(self) -> None:
        for counter in self.counters:
            now = counter.read()
            advanced = now - self._last[counter.name]
            if advanced < 0:
                advanced += counter.span or 0.0
            self.joules[counter.name] += max(0.0, advanced)
            self._last[counter.name] = now
