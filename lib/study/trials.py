"""A trial is data: which net, what is asked of it, on which data. `measured` makes it a row.

Nothing here imports torch when it is imported.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from lib.base import names
from lib.base.pairs import parsed
from lib.base.possible import NESTED, NESTED_WIDTHS
from lib.base.setting import Setting

if TYPE_CHECKING:
    from torch import nn

    from lib.data import Task
    from lib.measure import Measured
    from lib.study import cache


@dataclass(frozen=True)
class Trial:
    """One model on one part of one data set; plain values, and nothing else."""

    task: str
    model: str
    setting: Setting = field(default_factory=Setting)
    seed: int = 0
    fold: int | None = None
    draw: int | None = None             # of a method that rounds at random
    split: str = "test"
    examples: int | None = None         # only the split's first so many

    @property
    def values(self) -> dict[str, Any]:
        """Its fields as plain values; of the setting what was asked."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return values | {"setting": self.setting.asked}

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Trial":
        """The trial that has these `values`."""
        return cls(**(values | {"setting": Setting(**values["setting"])}))


def grid(pairs: Iterable[str], seeds: Sequence[int] = (0,), folds: Sequence[int] = (0,), *,
         fold_seeds: Sequence[int] | None = None, draws: int = 1, split: str = "test",
         examples: int | None = None, **asked: Any) -> list[Trial]:
    """All trials of some nets: every combination of what is asked, in each repeat.

    pairs: "task/model", "task/model/width=8" or "task/model/recipe=edge epochs=3 examples=2000";
    seeds: of tasks with one split, each a training of its own; folds: of the others, each trained
    with the first of `seeds`, or with each of `fold_seeds`; draws: of quantizers that round at
    random; asked: fields of Setting, a value or a list of values each. A trial that comes twice
    counts once.
    """
    from lib import compress
    from lib.data import catalogue
    trials: dict[Trial, None] = {}
    for pair in pairs:
        task, model, said = parsed(pair)
        first = said.pop("examples", examples)
        for setting in _settings(model, said, asked):
            for fold in catalogue.folds(task, folds):
                for seed in seeds if fold is None else fold_seeds or seeds[:1]:
                    for draw in range(draws) if compress.is_random(setting) else [None]:
                        trials[Trial(task, model, setting, seed, fold, draw, split, first)] = None
    return list(trials)


def on_validation(trials: Iterable[Trial]) -> list[Trial]:
    """The same trials on the validation part, where settings are chosen."""
    return [dataclasses.replace(trial, split="val") for trial in trials]


def of_nets(pairs: Iterable[str], trials: Iterable[Trial], folds: Sequence[int]) -> list[Trial]:
    """Those trials whose net one of the pairs names, whatever else is asked of it: of tasks with
    several splits in these folds."""
    wanted = {(task, model, said.get("sizes", "")) for task, model, said in map(parsed, pairs)}
    return [trial for trial in trials if trial.fold in (None, *folds)
            and (trial.task, trial.model, trial.setting.sizes) in wanted]


def _settings(model: str, said: dict[str, Any], asked: dict[str, Any]) -> list[Setting]:
    """Every combination of the values asked for, of a net of which a pair says this much."""
    usual = {"recipe": "ours" if names.trained_here(model) else ""}
    lists = [value if isinstance(value, list | tuple) else [value] for value in asked.values()]
    found = []
    for values in product(*lists):
        found.append(Setting(**(usual | said | dict(zip(asked, values, strict=True)))))
    return found


def code_of(trial: Trial) -> list[str]:
    """The modules of lib that a trial reaches by the names it holds: its model's, its methods'."""
    from lib import recipes
    return recipes.code_of(trial.model, trial.setting)


def recipe_of(trial: Trial) -> dict[str, Any]:
    """How a trial's net is trained, and trained on, as plain values."""
    from lib import recipes
    return recipes.planned(trial.task, trial.model, trial.setting)


def measured(trial: Trial) -> "Measured":
    """The trial's net, trained, with what the setting asks of it, scored and counted."""
    from lib import compress, measure
    task, model, spent = made(trial)
    row, costs = measure.measure(model, task, setting=trial.setting, seed=trial.seed,
                                 draw=trial.draw, split=trial.split, examples=trial.examples,
                                 spent=spent)
    net = model.made_from if trial.setting.deploy else model
    course = getattr(net, "course", None)
    if course and (trial.setting.trains or not compress.asked(trial.setting)):
        widths = len(NESTED_WIDTHS) if trial.setting.stage == NESTED else 1
        costs += measure.of_training(row, net, task, course, widths, bool(trial.setting.teacher))
    if trial.setting.deploy:
        costs += measure.of_file(row, model, task)
    return measure.Measured(row, costs)


def made(trial: Trial) -> "tuple[Task, nn.Module, tuple[float, str] | None]":
    """The trial's task and net, and what making it spent last: `recipes.made`."""
    from lib import recipes
    return recipes.made(trial.task, trial.model, trial.seed, trial.fold, trial.setting, trial.draw)


def recorded(said: dict[str, Any]) -> "cache.Built":
    """What a trial leaves in the cache: its rows and costs as plain values, scores as arrays.

    said: {"by": the public function that makes the row, "trial": the trial's values}.
    """
    from lib.study import keys
    found = keys.function(said["by"])(Trial.of(said["trial"]))
    return records([found] if isinstance(found, tuple) else found)


def records(found: "list[Measured]") -> "cache.Built":
    """Rows and costs as plain values, scores as arrays."""
    arrays, told = {}, []
    for i, (row, costs) in enumerate(found):
        values = {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}
        scores = values.pop("scores")
        if scores is not None:
            arrays[str(i)] = scores
        told.append({"row": values, "costs": [vars(cost) for cost in costs]})
    return arrays, told
