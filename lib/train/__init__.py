"""The one training loop and the one evaluator of the study."""

from lib.train.augment import AUGMENTATIONS
from lib.train.evaluation import Evaluation, evaluate
from lib.train.loop import fit
from lib.train.optimizers import OPTIMIZERS, SCHEDULES

__all__ = ["AUGMENTATIONS", "OPTIMIZERS", "SCHEDULES", "Evaluation", "evaluate", "fit"]
