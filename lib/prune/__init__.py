"""Pruning: weights that become zeros."""

from lib.prune.thin import METHODS, file_of, prune, sparsity

__all__ = ["METHODS", "file_of", "prune", "sparsity"]
