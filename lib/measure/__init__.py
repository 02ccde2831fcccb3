"""One model on one task becomes one Row; several calls are timed side by side."""

from lib.measure.energies import of_training
from lib.measure.files import of_file, speeds
from lib.measure.row import Measured, device, measure, name_of
from lib.measure.sizes import size
from lib.measure.timing import call, latency, timings

__all__ = ["Measured", "call", "device", "latency", "measure", "name_of", "of_file", "of_training",
           "size", "speeds", "timings"]
