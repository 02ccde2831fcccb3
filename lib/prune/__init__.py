"""Pruning: weights that become zeros behind a mask, or channels that are really gone."""

from lib.prune.lift import METHODS, file_of, is_random, kept, prune, sparsity
from lib.prune.masks import mask, masks

__all__ = ["METHODS", "file_of", "is_random", "kept", "mask", "masks", "prune", "sparsity"]
