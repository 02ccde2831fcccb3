"""measure: one model on one task becomes one Row, and what it cost."""

from typing import Any, NamedTuple

import torch
from torch import nn

from lib import train
from lib.base.setting import Setting
from lib.layers.fitted import fitting
from lib.layers.walk import check_codes
from lib.measure.energies import counts, modelled
from lib.measure.sizes import size
from lib.tables.rows import Cost, Row


class Measured(NamedTuple):
    """A row and its costs: `row, costs = measure(...)`. It also reads like its row: `.score`."""

    row: Row
    costs: list[Cost]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.row, name)


def measure(model: nn.Module, task, *, setting: Setting | None = None, seed: int | None = None,
            draw: int | None = None, split: str = "test", examples: int | None = None,
            spent: tuple[float, str] | None = None) -> Measured:
    """Score `model` on one split of `task` and count what it needs.

    model: any nn.Module that maps a batch of inputs to (n, outputs), or a `deploy.Session`, whose
    row tells name, parameters and products of the model that its file was made from; setting: what
    was asked for; examples: only the split's first so many; spent: seconds that making this model
    took, and by what they were measured. Bits, sparsity and bytes are read off the model itself, so
    that what was asked for and what was reached stay apart. ValueError for a layer whose codes do
    not decode to the weights that it computed with.
    """
    net = model if getattr(model, "made_from", None) is None else model.made_from
    setting, sizes = setting or Setting(), size(net)
    left, _ = sizes.pop("left_float"), sizes.pop("w_bits")
    with fitting(model):
        result = train.evaluate(model, task, split, examples=examples)
    check_codes(model)                      # after the answers: a hook may have made weights anew
    scores, metric = result.scores.numpy(), task.metric
    low, high = metric.interval(scores)
    y = getattr(task, split).y[:len(scores)]
    metric2, score2 = metric.second(result.outputs, y, task.scale)
    counted, joules = counts(net, task, getattr(model, "codes", None))
    told = {"threads": torch.get_num_threads(), "left_float": ", ".join(left), **sizes, **counted}
    row = Row(task=task.name, model=name_of(net), seed=seed, fold=task.fold, draw=draw,
              split=split, n=len(scores), device=device(model), metric=metric.name,
              score=result.score, score_low=low, score_high=high, metric2=metric2, score2=score2,
              loss=result.loss, scores=metric.stored(scores), **setting.asked,
              **told | getattr(model, "row_fields", {}))
    costs = [Cost(row.id, "spent_s", "measured", spent[1], spent[0])] if spent else []
    costs += [modelled(row.id, "energy_j", table) for table in joules]
    return Measured(row, costs)


def name_of(model: nn.Module) -> str:
    """The name it was built by, or its class."""
    return getattr(model, "build_arguments", {}).get("name", type(model).__name__)


def device(model: nn.Module) -> str:
    return next((parameter.device.type for parameter in model.parameters()), "cpu")
