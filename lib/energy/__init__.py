"""What one prediction costs: counts per layer."""

from lib.energy.counts import WHY_UNAVAILABLE, layers, macs, ptflops_macs

__all__ = ["WHY_UNAVAILABLE", "layers", "macs", "ptflops_macs"]
