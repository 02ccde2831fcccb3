"""When requests come: traces of arrivals from a seed."""

from collections.abc import Callable

import numpy as np

BURSTS = (0.25, 4.0)        # of the mean rate: quiet, and in a burst
BURST_SHARE = 0.2           # of the time that bursts take, so that the mean rate is the mean
BURST_S = 0.5               # mean length of a burst: of a trace of seconds, several
SWING = 0.8                 # of the mean rate, up and down, over a day
STEPS = (0.5, 2.0, 0.5)     # of the mean rate, a third of the time each


def arrivals(trace: str, rate: float, seconds: float, seed: int) -> np.ndarray:
    """Times of arrival within [0, seconds), ascending; the same for the same seed.

    trace: one of TRACES; rate: requests a second, in the mean. Each is a Poisson process whose rate
    changes in time: not at all, in bursts (two states of exponential length), over one day that
    lasts as long as the trace (a sine), or in steps. ValueError: an unknown trace, or a rate or
    length that is not above 0.
    """
    if trace not in TRACES:
        raise ValueError(f"no trace {trace!r}; choose one of: {', '.join(TRACES)}")
    if not rate > 0 or not seconds > 0:
        raise ValueError(f"{rate} requests a second for {seconds} s are no trace; both must be "
                         "above 0")
    draw = np.random.default_rng(seed)
    share = TRACES[trace](draw, seconds)
    most = rate * float(share(np.linspace(0, seconds, 1000, endpoint=False)).max())
    # Thinning (Lewis and Shedler 1979): of a process at the highest rate each arrival stays with
    # the share that the rate has then.
    count = draw.poisson(most * seconds)
    times = np.sort(draw.uniform(0, seconds, count))
    return times[draw.uniform(size=count) * most < rate * share(times)]


def loaded(trace: str) -> tuple[str, float]:
    """A trace and its load, of "bursty, load 1.2". ValueError: what is not written so."""
    name, comma, load = trace.partition(", load ")
    try:
        if comma and name in TRACES and float(load) > 0:
            return name, float(load)
    except ValueError:
        pass
    raise ValueError(f"{trace!r} is no trace with its load; write it as in 'bursty, load 1.2', "
                     f"with one of: {', '.join(TRACES)}")


def _steady(draw: np.random.Generator, seconds: float) -> Callable[[np.ndarray], np.ndarray]:
    return np.ones_like


def _bursts(draw: np.random.Generator, seconds: float) -> Callable[[np.ndarray], np.ndarray]:
    lengths = {True: BURST_S, False: BURST_S * (1 - BURST_SHARE) / BURST_SHARE}
    bursting = bool(draw.uniform() < BURST_SHARE)
    first, ends, now = bursting, [], 0.0
    while now < seconds:
        now += draw.exponential(lengths[bursting])
        ends.append(now)
        bursting = not bursting
    quiet, burst = BURSTS

    def share(times: np.ndarray) -> np.ndarray:
        changed = np.searchsorted(ends, times, side="right") % 2 == 1
        return np.where(changed != first, burst, quiet)

    return share


def _day(draw: np.random.Generator, seconds: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda times: 1 + SWING * np.sin(2 * np.pi * times / seconds)


def _steps(draw: np.random.Generator, seconds: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda times: np.array(STEPS)[(len(STEPS) * times / seconds).astype(int)]


TRACES: dict[str, Callable] = {
    "poisson": _steady, "bursty": _bursts, "diurnal": _day, "step": _steps}
