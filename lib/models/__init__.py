"""`build(name, task)`: the nets of the study, scikit-learn's models beside them, a reader's own.

A file of this folder that has NAMES and MODELS, {name: (class, sizes)}, adds models; only the file
of the model that is asked for is imported.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from lib.base.names import choose, is_own
from lib.layers.discovery import Found

__all__ = ["MODELS", "build", "file_of", "misfit"]

MODELS: Mapping[str, tuple[type[nn.Module], dict]] = Found("lib.models", Path(__file__).parent,
                                                           "MODELS")


# Their weights are given, and so is the task.
TRAINED_BY_OTHERS = {"resnet20-akamaster": "cifar10", "resnet50-torchvision": "imagenet",
                     "mobilenetv2-torchvision": "imagenet"}
IMAGENET_CLASSES = 1000


def file_of(name: str) -> Path:
    """The file of lib that defines a model. ValueError for a name that is not there."""
    if is_own(name):
        return Path(__file__).with_name("own.py")
    return MODELS.file_of(choose(name, tuple(MODELS), "model"))


def build(name: str, task, seed: int = 0, **sizes) -> nn.Module:
    """The untrained model `name` for a task, its weights drawn from `seed`.

    name: one of MODELS, or a reader's own (`lib.models.own`); sizes: options of that kind of net
    (width, shortcut, init, hidden, dropout, …). The model takes raw inputs and normalises them
    itself; it carries its name and sizes as `build_arguments`. ValueError for a name or an option
    that is not there.
    """
    if is_own(name):
        from lib.models import own
        kind, chosen = own.found(name), {"self", "task"}
        arguments = own.arguments(kind, sizes)
    else:
        kind, usual = MODELS[choose(name, tuple(MODELS), "model")]
        chosen = {"self", "task", *getattr(MODELS.module_of(name), "FIXED", ())}
        if name == "mlp_complex" and task.outputs == 1:     # Edge's larger one for regression
            usual = usual | {"hidden": (50, 100, 100, 50)}
        arguments = usual | sizes
    parameters = set(inspect.signature(kind.__init__).parameters)
    for option in sizes:
        if option not in parameters - chosen:
            raise ValueError(f"{name} has no option {option!r}; it has: "
                             f"{', '.join(sorted(parameters - chosen)) or 'none'}")
    if "task" in parameters:
        arguments["task"] = task
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)     # torch.manual_seed would seed the GPU too
        model = kind(**arguments)
    model.build_arguments = {"name": name, **sizes}
    return model


def misfit(name: str, task, **sizes) -> str | None:
    """Why the model `name` cannot learn a task, in one sentence, or None if it can.

    The net is built without memory for its weights and asked for the shape of its answer, so that
    this costs milliseconds; a reader's own is built as it is. ValueError for a model that is not
    there."""
    if file_of(name).stem == "classical":
        return None
    known = TRAINED_BY_OTHERS.get(name, task.name)
    is_imagenet = task.name[:12] == "imagefolder:" and task.outputs == IMAGENET_CLASSES
    if task.name != known and not (known == "imagenet" and is_imagenet):
        return f"{name} does not fit {task.name}: others trained it, on {known}"
    device = "cpu" if is_own(name) else "meta"
    expected = Exception if is_own(name) else (ValueError, RuntimeError)
    try:
        with torch.device(device), torch.no_grad():
            model = build(name, task, **sizes).eval()
            kind = torch.long if task.kind == "text" else torch.float32
            answer = tuple(model.to(device)(torch.zeros(2, *task.inputs, dtype=kind)).shape)
    except expected as error:
        return f"{name} does not fit {task.name}: {' '.join(str(error).split())[:300]}"
    if answer != (2, task.outputs):
        return f"{name} does not fit {task.name}: it answers {answer[1:]}, not ({task.outputs},)"
    return None
