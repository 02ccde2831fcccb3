"""Pruning: weights that become zeros."""

from lib.prune.scores import METHODS, prune, sparsity

__all__ = ["METHODS", "prune", "sparsity"]
