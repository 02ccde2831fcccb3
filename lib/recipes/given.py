"""Models that are not trained here by `fit`: scikit-learn's, and nets whose weights others trained.
"""

from dataclasses import replace

import pandas as pd
import torch
from torch import nn

from lib import models
from lib.base import machine, names, paths
from lib.base.setting import Setting
from lib.data import Task
from lib.data.pickled import parameters
from lib.data.sources import digest, fetch
from lib.models import own
from lib.recipes.tables import EDGE_EPOCHS

AKAMASTER = "resnet20-akamaster"    # github.com/akamaster/pytorch_resnet_cifar10, 91.73 % published
# Of torchvision, its first weights, tested on ImageNet's validation part: 76.13 and 71.88 %.
TORCHVISION = {"resnet50-torchvision": "resnet50-0676ba61.pth",
               "mobilenetv2-torchvision": "mobilenet_v2-b0353104.pth"}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def as_given(task: Task, model: str, seed: int, setting: Setting) -> nn.Module:
    """A model for which `names.trained_here` is false, in eval mode, with `.trained_s` None where
    nobody knows how long others trained it.

    seed: of scikit-learn's; setting: sizes of a reader's own net. ValueError: a net that does not
    fit the task, or weights that do not fit the net.
    """
    if model in names.CLASSICAL:
        return _classical(task, model, seed)
    make = {AKAMASTER: _on_imagenets_scale, **dict.fromkeys(TORCHVISION, _on_imagenets_scale),
            **dict.fromkeys(names.BY_EDGE, _edge)}.get(model, _own)
    net = make(task, model, setting)
    net.history, net.trained_s, net.trained_by = pd.DataFrame(), None, ""
    return net.eval()


def published(task: str, model: str) -> str | None:
    """The file, of sources.toml, with the weights of a net that others trained; None for a model
    that is trained here. ValueError for a task that it was not trained for."""
    base, _, variant = task.partition("@")
    if model == AKAMASTER:
        if task != "cifar10":
            raise ValueError(f"{AKAMASTER} was trained on cifar10, it has no answer for {task}")
        return "resnet20-12fca82f.th"
    if model in TORCHVISION:
        return TORCHVISION[model]
    if model not in names.BY_EDGE:
        return None
    if variant != "edge" or base not in EDGE_EPOCHS:
        raise ValueError(f"{model} was trained by Edge on its own tables, it has no answer for "
                         f"{task}; choose {', '.join(f'{name}@edge' for name in EDGE_EPOCHS)}")
    return f"{base}_{model.removeprefix('mlp_').removesuffix('-edge')}.pt"


def given(task: str, model: str) -> dict:
    """What a net whose weights others trained is known by: hashes of its files; empty for one of
    scikit-learn's."""
    if names.is_own(model):
        return {"source": own.content(model)}
    file = published(task, model)
    return {"weights": digest(file)} if file else {}


def _own(task: Task, model: str, setting: Setting) -> nn.Module:
    """A reader's own net with the weights that came with it."""
    unfit = models.misfit(model, task, **setting.build_arguments)
    if unfit:
        raise ValueError(unfit)
    net = models.build(model, task, **setting.build_arguments)
    own.give_weights(net, model)
    return net


def _classical(task: Task, model: str, seed: int) -> nn.Module:
    net = models.build(model, task).fit(task, seed)
    net.history, net.trained_s = pd.DataFrame(), net.fit_s
    net.trained_by = f"clock of the fit, {machine.processor()}"
    return net.eval()


def _on_imagenets_scale(task: Task, model: str, setting: Setting) -> nn.Module:
    """A net of akamaster's or torchvision's, which expect ImageNet's mean and deviation. akamaster
    trained on all 50 000 images of CIFAR-10, so that `task.val` is no clean part for that one."""
    file = published(task.name, model)
    unfit = models.misfit(model, task)
    if unfit:
        raise ValueError(unfit)
    path = paths.reads(fetch(file))
    scaled = replace(task, mean=torch.tensor(IMAGENET_MEAN), std=torch.tensor(IMAGENET_STD))
    net = models.build(model, scaled)
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    net.load_state_dict({name.removeprefix("module."): t for name, t in state.items()})
    return net


def _edge(task: Task, model: str, setting: Setting) -> nn.Module:
    """The net that Edge trained for this table, on its rows and with its scaling of inputs."""
    file = published(task.name, model)
    found = parameters(paths.reads(fetch(file)).read_bytes(), file)
    net = models.build(model, task)
    net.load_state_dict({name.replace("net.", "layers.", 1): torch.from_numpy(values)
                         for name, values in found.items()})
    return net
