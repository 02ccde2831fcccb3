"""A net with all that a setting asks of it: trained, trained on, compressed, deployed."""

from typing import Any

from torch import nn

from lib import compress, data, models
from lib.base import names
from lib.base.setting import Setting
from lib.data import Task
from lib.recipes.files import deployed
from lib.recipes.given import given
from lib.recipes.rounding import rounded
from lib.recipes.training import recipe, trained
from lib.recipes.tuning import known, tuned, tuning


def made(task: str, model: str, seed: int, fold: int | None, setting: Setting,
         draw: int | None = None) -> tuple[Task, nn.Module, tuple[float, str] | None]:
    """The task; the net, trained, compressed and deployed; the seconds that training or compressing
    took, whichever was last, and by what they were measured.

    draw: of a method that rounds at random.
    """
    found, of_the_model = data.load(task, fold=fold), setting.of_the_model
    make = tuned if of_the_model.trains else trained
    net = make(found, model, seed, setting=of_the_model)
    spent = None if net.trained_s is None else (net.trained_s, net.trained_by)
    if compress.asked(of_the_model.afterwards):
        known_by = known(found, model, seed, of_the_model)
        net = rounded(net, found, of_the_model.afterwards, known_by, draw)
        spent = net.compressed_s, net.compressed_by
    if setting.deploy:
        net = deployed(net, found, setting, known(found, model, seed, of_the_model), draw)
    return found, net, spent


def code_of(model: str, setting: Setting) -> list[str]:
    """The modules of lib that such a net reaches by its names: the model's, the methods'."""
    return [f"lib.models.{models.file_of(model).stem}", *compress.code_of(setting),
            *(["lib.deploy"] if setting.deploy else [])]


def planned(task: str, model: str, setting: Setting) -> dict[str, Any]:
    """How the net of a setting is trained, and trained on, as plain values; of a net whose weights
    were given the hashes of these."""
    net = _of_the_net(task, model, setting.recipe)
    if not setting.trains:
        return net
    teacher = _of_the_net(task, setting.teacher) if setting.teacher else None
    return {"net": net, "tuning": tuning(task, model, setting), "teacher": teacher}


def _of_the_net(task: str, model: str, name: str = "") -> dict[str, Any]:
    if names.trained_here(model):
        return recipe(task, model, name or "ours")
    return given(task, model)
