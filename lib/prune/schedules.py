"""When weights go: at once, in rounds, along a curve, or every so many epochs of a training.

A schedule says what share is to be gone when so much of a training is done. `Pruning` is an
`after_step` of `lib.train.fit` that follows it.
"""

import re

import torch
from torch import nn

from lib.prune.lift import kept
from lib.prune.masks import mask

EVERY = re.compile(r"every-([1-9]\d*)")
SCHEDULES = ("one-shot", "iterative", "cubic", "every-5")
ROUNDS = 5              # of the iterative schedule: the lottery tickets' fifth of what remains each
UNTIL = 0.75            # of a training: by then all is gone, and the rest of it heals
GRAIN = 0.005           # of all weights: masks move when so much more is to go


def target(schedule: str, amount: float, epoch: float, epochs: int) -> float:
    """The share that is to be gone after `epoch` of `epochs`, from 0 to `amount`.

    one-shot: all at the beginning. iterative: in rounds, each of which leaves the same share of
    what remained (Frankle and Carbin 2018, arXiv 1803.03635). cubic: amount·(1 − (1 − t)³), fast
    while much is superfluous (Zhu and Gupta 2017, arXiv 1710.01878). every-5: in equal parts after
    the 5th, 10th, … epoch but the last, as ResNet-energy prunes. ValueError for another name.
    """
    if not 0 <= epoch <= epochs:
        raise ValueError(f"epoch {epoch:g} is none of {epochs}")
    every = EVERY.fullmatch(schedule)
    if schedule == "one-shot":
        return amount
    if schedule == "iterative":
        done = 1 + int(ROUNDS * epoch / (UNTIL * epochs))
        return amount if done >= ROUNDS else 1 - (1 - amount) ** (done / ROUNDS)
    if schedule == "cubic":
        return amount * (1 - (1 - min(1.0, epoch / (UNTIL * epochs))) ** 3)
    if every:
        times, done = (epochs - 1) // int(every[1]), int(epoch) // int(every[1])
        if times == 0:                                  # the training ends before the first
            return 0.0
        return amount if done >= times else amount * done / times
    raise ValueError(f"there is no schedule {schedule!r}; choose one of: "
                     f"{', '.join(SCHEDULES)}, where 5 may be another number")


class Pruning:
    """An `after_step` that masks ever more of a model's weights as a schedule wants it.

    method, amount, structure: as of `prune.prune`; epochs, steps: of the training, and of each
    epoch; given: calibration=, losses=, generator=, for methods that look at them. `begin` puts the
    first masks on, before the training starts.
    """

    def __init__(self, method: str, amount: float, schedule: str, epochs: int, steps: int,
                 structure: str = "unstructured", **given) -> None:
        self.method, self.amount, self.schedule = method, amount, schedule
        self.epochs, self.steps, self.structure, self.given = epochs, steps, structure, given
        self.reached = -1.0
        if target(schedule, amount, epochs, epochs) < amount:
            raise ValueError(f"{schedule} never comes to its end in {epochs} epochs; train longer")

    def begin(self, model: nn.Module) -> None:
        """Every tensor that pruning takes from has a mask from here on, so that a checkpoint of the
        training fits the model at any moment."""
        self._follow(model, target(self.schedule, self.amount, 0.0, self.epochs))

    def __call__(self, model: nn.Module, step: int) -> None:
        wanted = target(self.schedule, self.amount, (step + 1) / self.steps, self.epochs)
        if wanted > self.reached and (wanted >= self.reached + GRAIN or wanted == self.amount):
            self._follow(model, wanted)

    @torch.no_grad()
    def _follow(self, model: nn.Module, amount: float) -> None:
        mask(model, kept(model, self.method, amount, self.structure, **self.given))
        self.reached = amount

