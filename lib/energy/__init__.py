"""What a prediction and a training cost: counts, modelled joules, measured ones."""

from lib.energy.counters import Counter, Measured, Used, joules, meter
from lib.energy.counts import layers, macs, ptflops_macs
from lib.energy.model import as_if, learns, modelled, sensitivity, training
from lib.energy.processes import INTERPOLATED, PROCESSES, Process

__all__ = ["INTERPOLATED", "PROCESSES", "Counter", "Measured", "Process", "Used", "as_if",
           "joules", "layers", "learns", "macs", "meter", "modelled", "ptflops_macs",
           "sensitivity", "training"]
