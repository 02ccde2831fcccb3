"""Trials' nets timed side by side, as a step of a study."""

from typing import Any

from lib.base import machine
from lib.measure.timing import call, latency
from lib.study import cache, trials


def recorded(said: dict[str, Any]) -> cache.Built:
    """Latencies of several trials' nets, in turn in the same windows (`latency`).

    said: {"trials": their values, "windows": how many, "batch": of how many examples at once}.
    """
    calls = {}
    for place, values in enumerate(said["trials"]):
        task, model, _ = trials.made(trials.Trial.of(values))
        calls[str(place)] = call(model, task, said["batch"])
    table = latency(calls, windows=said["windows"])
    return {}, {"table": table.to_dict("list"), "processor": machine.processor()}
