"""What one prediction costs: counts per layer."""

from lib.energy.counts import layers, macs, ptflops_macs

__all__ = ["layers", "macs", "ptflops_macs"]
