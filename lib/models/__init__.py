"""`build(name, task)`: the nets of the study and scikit-learn's models beside them."""

import inspect

import torch
from torch import nn

from lib.base import names
from lib.models.classical import Boosting, Majority, Neighbours, RBFMachine
from lib.models.cnn import CNN, ResNet9
from lib.models.mlp import MLP
from lib.models.resnet import Block, Bottleneck, CifarResNet, ResNet
from lib.models.transformer import SeriesTransformer
from lib.models.vgg import VGG16

__all__ = ["build"]

GREEN = {"d": 32, "heads": 8, "ff": 256, "patch": 4}     # T1 and T2 of Green-Computing-Project
KINDS: dict[str, tuple[type[nn.Module], dict]] = {
    "mlp_simple": (MLP, {"hidden": (10,)}),
    "mlp_complex": (MLP, {"hidden": (20, 40, 60, 30), "dropout": 0.1}),
    "cnn_edge": (CNN, {}),
    "resnet9": (ResNet9, {}),
    **{f"resnet{d}": (CifarResNet, {"depth": d}) for d in (8, 14, 20, 32, 44, 56)},
    "resnet20-akamaster": (CifarResNet, {"depth": 20}),
    "resnet18": (ResNet, {"kind": Block, "blocks": (2, 2, 2, 2)}),
    "resnet34": (ResNet, {"kind": Block, "blocks": (3, 4, 6, 3)}),
    "resnet50": (ResNet, {"kind": Bottleneck, "blocks": (3, 4, 6, 3)}),
    "vgg16": (VGG16, {}),
    "transformer_small": (SeriesTransformer,
                          {"patch": 12, "d": 32, "layers": 2, "heads": 4, "ff": 64}),
    "transformer_base": (SeriesTransformer,
                         {"patch": 8, "d": 32, "layers": 4, "heads": 4, "ff": 128}),
    "transformer_t1": (SeriesTransformer, GREEN | {"layers": 8}),
    "transformer_t2": (SeriesTransformer, GREEN | {"layers": 12, "heads": 16}),
    "majority": (Majority, {}), "knn": (Neighbours, {}), "svm": (RBFMachine, {}),
    "hgb": (Boosting, {}),
}
FIXED = {"depth", "kind", "blocks"}                      # part of a name, not options


def build(name: str, task, seed: int = 0, **sizes) -> nn.Module:
    """The untrained model `name` for a task, its weights drawn from `seed`.

    sizes: options of that kind of net (width, shortcut, init, hidden, dropout, …). The model takes
    raw inputs and normalises them itself; it carries its name and sizes as `build_arguments`.
    ValueError for a name or an option that is not there.
    """
    kind, fixed = KINDS[names.choose(name, names.MODELS, "model")]
    allowed = set(inspect.signature(kind.__init__).parameters) - FIXED - {"self", "task"}
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
