"""Pruning: weights that become zeros behind a mask, or channels that are really gone."""

from lib.prune.lift import METHODS, file_of, is_random, kept, prune, sparsity
from lib.prune.masks import mask, masks
from lib.prune.schedules import Pruning

__all__ = ["METHODS", "Pruning", "file_of", "is_random", "kept", "mask", "masks", "prune",
           "sparsity"]
