"""From a ranking and an amount to masks: which weights stay."""

import inspect
import re
from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor, nn

from lib.layers.inputs import Inputs
from lib.layers.walk import Stored, compressible, stored
from lib.prune import seen
from lib.prune.ranking import Ranking
from lib.prune.seen import Losses

CHANNELS = re.compile(r"channel(?:-([1-9]\d*))?")
USUAL_MULTIPLE = 8          # of channels that stay: what vector units take at once
OF_FOUR = 2                 # weights that stay of a row's every four neighbours, under 2:4


class Looked:
    """What rankings may look at beside the weights, found when one asks for it.

    model: whose weights are ranked; calibration: some hundred of its inputs; losses: gives its loss
    on each of some batches; generator: to draw with.
    """

    def __init__(self, model: nn.Module, calibration: Inputs | None = None,
                 losses: Losses | None = None, generator: torch.Generator | None = None) -> None:
        self.model, self.calibration, self.losses = model, calibration, losses
        self.generator = generator

    @cached_property
    def energies(self) -> dict[str, Tensor]:
        return seen.energies(self.model, self.calibration)

    @cached_property
    def gradients(self) -> dict[int, list[Tensor]]:
        return seen.gradients(self.model, self.losses)

    def energy(self, tensor: Stored) -> Tensor | None:
        """Of the inputs of every layer that has this weight; None where no hook sees them."""
        found = [self.energies.get(module) for module, _ in tensor.places]
        found = [part for part in found if part is not None]
        return torch.stack(found).mean(0) if found else None

    def gradient(self, tensor: Stored) -> list[Tensor] | None:
        """One of each batch; None for a weight on which the loss does not depend."""
        module, key = tensor.places[0]
        weight = seen.parameter(self.model.get_submodule(module), key)
        return self.gradients.get(id(weight))


def scores(ranking: Ranking, name: str, tensors: Mapping[str, Stored], looked: Looked
           ) -> dict[str, Tensor]:
    """A score for each weight of each tensor. name: the ranking's. ValueError where it needs what
    was not given or what no hook sees, and for weights that are not finite."""
    needed = set(inspect.signature(ranking.score).parameters)
    if "energy" in needed and looked.calibration is None:
        raise ValueError(f"{name} needs calibration=, some hundred inputs of the model "
                         "(task.calibration)")
    if "gradients" in needed and looked.losses is None:
        raise ValueError(f"{name} needs losses=, a function that gives a model's loss on each of "
                         "some batches")
    found = {}
    for tensor in tensors.values():
        value, more = tensor.value, {}
        if not value.isfinite().all():
            raise ValueError(f"{tensor.name} holds NaN or infinite values; look for where training "
                             "failed")
        if "energy" in needed:
            more["energy"] = looked.energy(tensor)
        if "gradients" in needed:
            more["gradients"] = looked.gradient(tensor)
        if any(part is None for part in more.values()):
            raise ValueError(f"{name} looks at what {tensor.name} ({tensor.kind}) computes with, "
                             "which is not seen; take magnitude_l1")
        if "generator" in needed:
            more["generator"] = looked.generator
        wide = value.to(torch.promote_types(value.dtype, torch.float32))
        found[tensor.name] = ranking.score(wide, **more)
    return found


def multiple_of(structure: str) -> int | None:
    """Of how many channels what stays is a multiple: 8 under "channel", 16 under "channel-16"; None
    where single weights go. ValueError for a structure that is not there."""
    found = CHANNELS.fullmatch(structure)
    if found:
        return int(found[1] or USUAL_MULTIPLE)
    if structure not in ("unstructured", "2:4"):
        raise ValueError(f"there is no structure {structure!r}; choose unstructured, 2:4, channel, "
                         "or as in channel-16")
    return None


def weights(model: nn.Module) -> dict[str, Stored]:
    """The tensors that pruning takes from, by name: those that methods compress."""
    return {tensor.name: tensor for tensor in stored(model) if any(
        key in compressible(model.get_submodule(module)) for module, key in tensor.places)}


def kept(ranking: Ranking, found: Mapping[str, Tensor], tensors: Mapping[str, Stored],
         amount: float, structure: str) -> dict[str, Tensor]:
    """Which weights stay, {tensor's name: booleans}, so that a share `amount` is gone: what an
    earlier pruning took counts, and stays away. Equal scores go together.

    2:4: of each four neighbours in a row two stay; what is left over at a row's end stays.
    """
    ranked = {}
    for name, score in found.items():
        tensor = tensors[name]
        gone = (tensor.value == 0) & tensor.pruned
        ranked[name] = score.masked_fill(gone, -torch.inf)
    if structure == "2:4":
        return {name: _two_of_four(score) & (score > -torch.inf) for name, score in ranked.items()}
    if ranking.scope == "model":
        every = torch.cat([score.flatten() for score in ranked.values()])
        limit = _limit(every[None], amount)
        return {name: score > limit.item() for name, score in ranked.items()}
    stays = {}
    for name, score in ranked.items():
        rows = score.flatten(1) if ranking.scope == "row" else score.reshape(1, -1)
        stays[name] = (rows > _limit(rows, amount)).reshape(score.shape)
    return stays


def _limit(rows: Tensor, amount: float) -> Tensor:
    """(rows, 1): the score up to which a share `amount` of each row lies; nothing lies below −∞,
    but what is there already stays away."""
    count = round(amount * rows.shape[1])
    if count == 0:
        return rows.new_full((len(rows), 1), -torch.inf)
    return rows.kthvalue(count, dim=1, keepdim=True).values


def _two_of_four(score: Tensor) -> Tensor:
    rows = score.flatten(1)                                     # (out, in·kh·kw)
    whole = rows.shape[1] // 4 * 4
    fours = rows[:, :whole].reshape(-1, 4)
    best = fours.topk(OF_FOUR, dim=1).indices
    stays = torch.zeros_like(fours, dtype=torch.bool).scatter_(1, best, True)
    stays = torch.cat([stays.reshape(len(rows), whole),
                       torch.ones_like(rows[:, whole:], dtype=torch.bool)], 1)
    return stays.reshape(score.shape)
