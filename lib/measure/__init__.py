"""One model on one task becomes one Row; several calls are timed side by side."""

from lib.measure.measures import device, label, latency, measure, size

__all__ = ["device", "label", "latency", "measure", "size"]
