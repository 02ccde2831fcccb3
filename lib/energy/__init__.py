"""What a prediction and a training cost: counts, modelled joules, measured ones."""

from lib.energy.carbon import carbon, grids
from lib.energy.counters import Counter, Measured, Used, joules, meter
from lib.energy.counts import layers, macs, ptflops_macs
from lib.energy.model import learns, modelled, training
from lib.energy.processes import PROCESSES, Process

__all__ = ["PROCESSES", "Counter", "Measured", "Process", "Used", "carbon", "grids", "joules",
           "layers", "learns", "macs", "meter", "modelled", "ptflops_macs", "training"]
