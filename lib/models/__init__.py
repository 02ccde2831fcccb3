"""`build(name, task)`: the nets of the study and scikit-learn's models beside them.

A file of this folder that has NAMES and MODELS, {name: (class, sizes)}, adds models; only the file
of the model that is asked for is imported.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from lib.base.names import choose
from lib.layers.discovery import Found

__all__ = ["MODELS", "build", "file_of", "misfit"]

MODELS: Mapping[str, tuple[type[nn.Module], dict]] = Found("lib.models", Path(__file__).parent,
                                                           "MODELS")


# Their weights are given, and so is the task.
TRAINED_BY_OTHERS = {"resnet20-akamaster": "cifar10"}


def file_of(name: str) -> Path:
    """The file that defines a model. ValueError for a name that is not there."""
    return MODELS.file_of(choose(name, tuple(MODELS), "model"))


def build(name: str, task, seed: int = 0, **sizes) -> nn.Module:
    """The untrained model `name` for a task, its weights drawn from `seed`.

    sizes: options of that kind of net (width, shortcut, init, hidden, dropout, …). The model takes
    raw inputs and normalises them itself; it carries its name and sizes as `build_arguments`.
    ValueError for a name or an option that is not there.
    """
    kind, fixed = MODELS[choose(name, tuple(MODELS), "model")]
    chosen = {"self", "task", *getattr(MODELS.module_of(name), "FIXED", ())}
    allowed = set(inspect.signature(kind.__init__).parameters) - chosen
    for option in sizes:
        if option not in allowed:
            raise ValueError(f"{name} has no option {option!r}; it has: "
                             f"{', '.join(sorted(allowed)) or 'none'}")
    if name == "mlp_complex" and task.outputs == 1:     # Edge's larger one for regression
        fixed = fixed | {"hidden": (50, 100, 100, 50)}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)     # torch.manual_seed would seed the GPU too
        model = kind(task, **(fixed | sizes))
    model.build_arguments = {"name": name, **sizes}
    return model


def misfit(name: str, task, **sizes) -> str | None:
    """Why the model `name` cannot learn a task, in one sentence, or None if it can.

    The net is built without memory for its weights and asked for the shape of its answer, so that
    this costs milliseconds. ValueError for a model that is not there."""
    if file_of(name).stem == "classical":
        return None
    if name in TRAINED_BY_OTHERS and task.name != TRAINED_BY_OTHERS[name]:
        return (f"{name} does not fit {task.name}: others trained it, on "
                f"{TRAINED_BY_OTHERS[name]}")
    try:
        with torch.device("meta"):
            model = build(name, task, **sizes).eval()
        kind = torch.long if task.kind == "text" else torch.float32
        asked = torch.empty(2, *task.inputs, device="meta", dtype=kind)
        answer = tuple(model.to("meta")(asked).shape)
    except (ValueError, RuntimeError) as error:
        return f"{name} does not fit {task.name}: {' '.join(str(error).split())[:300]}"
    if answer != (2, task.outputs):
        return f"{name} does not fit {task.name}: it answers {answer[1:]}, not ({task.outputs},)"
    return None
