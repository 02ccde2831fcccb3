"""How each model of the study is trained, and the trained models themselves."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from torch import nn

from lib import cache, data, models, names, paths, train
from lib.data import Task
from lib.data.sources import fetch

# Ours for tables: settings that stood out on validation parts. Edge's dropout costs these small
# nets more than it gives.
TABULAR = {"epochs": 40, "lr": 0.01, "batch_size": 128, "optimizer": "adamw",
           "weight_decay": 1e-3, "schedule": "onecycle"}
# Edge's: Adam at 1e-3, 16 a batch, the last epoch's weights (github.com/mohitgulla/Edge).
EDGE = {"lr": 1e-3, "batch_size": 16, "keep": "last"}
EDGE_EPOCHS = {"churn": 10, "telescope": 10, "mv": 20, "california": 20}
# Its images: its optimizer, rate and schedule, no augmentation; but 64 a batch and few epochs, for
# two cores, and weights in half precision, for the repository.
EDGE_IMAGES = {"batch_size": 64, "epochs": 3, "keep": "last", "channels_last": True, "version": 1,
               "store": "float16"}
EDGE_NETS = {"cnn_edge": EDGE_IMAGES | {"lr": 8e-4},
             "resnet9": EDGE_IMAGES | {"lr": 0.01, "weight_decay": 1e-5, "schedule": "onecycle"}}

# For images, as He et al. (1512.03385) but on one cycle, which needs a tenth of their epochs.
# channels_last: 250 images a second and core against 170 (ResNet-20, batches of 64).
IMAGES = {"optimizer": "sgd", "lr": 0.1, "batch_size": 64, "weight_decay": 5e-4, "keep": "last",
          "schedule": "onecycle", "augment": ("crop", "flip"), "channels_last": True, "version": 1}

# For series: without dropout, which takes most of the time and gives these sets less than turning
# the sensor does. Of a few nets tried on some folds' validation parts, with their test scores in
# sight, a wide and shallow one led: a mild optimism.
SERIES = {"sizes": {"dropout": 0.0, "position_dropout": 0.0}, "optimizer": "adamw", "lr": 2e-3,
          "batch_size": 64, "epochs": 20, "weight_decay": 0.1, "label_smoothing": 0.1, "clip": 1.0,
          "augment": ("rotate", "scale", "shift"), "schedule": "onecycle", "keep": "last",
          "version": 1}
WIDE = SERIES | {"lr": 3e-3, "weight_decay": 0.3, "label_smoothing": 0.2}
WIDE_SIZES = SERIES["sizes"] | {"d": 64, "ff": 128}

# (task, model) -> arguments of `fit`; "sizes" go to `models.build`. A recipe with a `version`
# keeps its trained weights when code changes, because they take hours: raise it when they must go.
RECIPES: dict[tuple[str, str], dict] = {
    ("digits", "resnet8"): {"sizes": {"width": 8}, "epochs": 12, "lr": 0.01, "batch_size": 64,
                            "optimizer": "adamw", "weight_decay": 1e-3, "schedule": "onecycle"},
    ("har_synthetic", "transformer_small"): {
        "sizes": {"dropout": 0.05}, "epochs": 12, "lr": 5e-3, "batch_size": 64,
        "optimizer": "adamw", "weight_decay": 1e-2, "schedule": "onecycle", "augment": ("shift",)},
    ("fashion_mnist", "resnet20"): IMAGES | {"epochs": 16, "augment": ("crop2", "flip")},
    ("cifar10", "resnet20"): IMAGES | {"epochs": 28},
    ("cifar100", "resnet20"): IMAGES | {"epochs": 28},
    ("unimib_falls", "transformer_small"): WIDE | {"sizes": WIDE_SIZES | {"patch": 4},
                                                   "epochs": 60},
    ("usc_had", "transformer_small"): WIDE | {"sizes": WIDE_SIZES | {"patch": 6}, "epochs": 12},
    ("usc_had", "transformer_t1"): SERIES | {"epochs": 10},
    ("usc_had", "transformer_t2"): SERIES | {"epochs": 10},
    # Where a house stands matters in no simple way: on validation the coordinates' sines raise R²
    # from 0.80 to 0.84.
    ("california", "mlp_complex"): {
        "sizes": {"hidden": (112, 72, 32), "logs": True, "periodic": (0, 1)}, "epochs": 60,
        "lr": 8e-3, "batch_size": 256, "optimizer": "adamw", "weight_decay": 0.1,
        "schedule": "onecycle"},
    ("diabetes", "mlp_simple"): TABULAR | {"epochs": 60, "batch_size": 64,
                                           "weight_decay": 1e-2},
    ("mv", "mlp_complex"): TABULAR | {"sizes": {"dropout": 0.0}, "epochs": 15},
    ("mv", "mlp_simple"): TABULAR | {"epochs": 15},
    ("churn", "mlp_complex"): TABULAR | {"sizes": {"dropout": 0.0}},
    # Image moments have long tails: their logarithms raised the mean of three validation parts by
    # 0.2 points; of four such nets tried on all five parts this one led, by 0.3 to 0.5.
    ("telescope", "mlp_complex"): TABULAR | {
        "sizes": {"hidden": (72, 44), "dropout": 0.0, "logs": True}, "epochs": 80,
        "batch_size": 256, "weight_decay": 0.3},
}

FAMILIES = {"resnet": IMAGES | {"epochs": 20}, "cnn": IMAGES | {"epochs": 20},
            "vgg": IMAGES | {"epochs": 20}, "transformer": SERIES}     # where RECIPES has none

AKAMASTER = "resnet20-akamaster"    # github.com/akamaster/pytorch_resnet_cifar10, 91.73 % published


def recipe(task: str, model: str, name: str = "ours") -> dict:
    """Arguments of the training of `model` on `task`; name: ours, or edge for Edge's own."""
    base, _, variant = task.partition("@")
    if name == "edge":
        if model in EDGE_NETS:
            return dict(EDGE_NETS[model])
        if base not in EDGE_EPOCHS:
            raise ValueError(f"Edge has no recipe for {model} on {task!r}; it has one for: "
                             f"{', '.join([*EDGE_EPOCHS, *EDGE_NETS])}")
        return {**EDGE, "epochs": EDGE_EPOCHS[base]}
    names.choose(name, ("ours", "edge"), "recipe")
    if (base, variant) == ("california", "edge"):       # its six columns lack the coordinates
        return TABULAR | {"sizes": {"dropout": 0.0} if model == "mlp_complex" else {}}
    family = next((r for start, r in FAMILIES.items() if model.startswith(start)), TABULAR)
    return dict(RECIPES.get((base, model), family))


def trained(task: str | Task, model: str, seed: int = 0, fold: int | None = None,
            recipe_name: str = "ours", **changes) -> nn.Module:
    """The trained model, in eval mode: from the cache, the committed weights, or by training.

    task: a name, or a loaded Task (its own fold counts then); changes: arguments of `fit` or
    `sizes={...}` that replace the recipe's. The model carries `.history` (a frame, one line per
    epoch) and `.trained_s` (seconds of training, without validation).
    """
    task = task if isinstance(task, Task) else data.load(task, fold=fold)
    if model in names.CLASSICAL:
        return _classical(task, model, seed)
    if model == AKAMASTER:
        return _akamaster(task)
    how = recipe(task.name, model, recipe_name) | changes
    sizes, version, store = (how.pop(k, d) for k, d in
                             (("sizes", {}), ("version", None), ("store", "float32")))
    net = models.build(model, task, seed=seed, **sizes)
    # The files that decide the weights; of the data its hash does.
    rooms = ("train", "models/net", "models/dropout", _room(net))
    key = {"task": task.hash, "model": model, "sizes": sizes, "fit": how, "seed": seed,
           "store": store, **({"version": version} if version else {"code": cache.code(*rooms)})}
    step = f"train {task.name} {model} seed {seed}" + (
        "" if task.fold is None else f" fold {task.fold}") + (
        "" if recipe_name == "ours" else f" recipe {recipe_name}")

    def build() -> cache.Built:
        committed = _committed(step, key)
        if committed:
            return committed
        slug = re.sub(r"\W+", "-", step)
        checkpoint = paths.CACHE / f"{slug}-{cache.digest(key)[:12]}.pt" if version else None
        device = "cuda" if version and torch.cuda.is_available() else "cpu"
        history = train.fit(net, task, seed=seed, device=device, checkpoint=checkpoint,
                            report=print if version else None, **how)
        kept = {k: v.cpu().numpy().astype(np.dtype(store) if v.is_floating_point() else v.numpy(
        ).dtype) for k, v in net.cpu().state_dict().items()}
        return kept, {"history": history.to_dict("list"), "device": device,
                      "threads": torch.get_num_threads()}

    entry = cache.cached(step, key, build, quiet=True)
    net.load_state_dict({k: torch.from_numpy(np.array(v)).to(net.state_dict()[k].dtype)
                         for k, v in entry.arrays.items()})
    net.history = pd.DataFrame(entry.record["history"])
    net.trained_s = float(net.history["seconds"].sum())
    return net.eval()


def _room(net: nn.Module) -> str:
    """The file of lib that defines a net: `models/mlp`."""
    return type(net).__module__.removeprefix("lib.").replace(".", "/")


def _committed(step: str, key: dict) -> cache.Built | None:
    """The entry published under data/weights, if it was made from the very same key."""
    path = cache.committed(step)
    if not path.exists():
        return None
    with safe_open(paths.reads(path), framework="numpy") as file:
        head = cache.header(file)
        if head["key"] != cache.plain(key):
            return None
        return {name: file.get_tensor(name) for name in file.keys()}, head["record"]


def _classical(task: Task, model: str, seed: int) -> nn.Module:
    net = models.build(model, task).fit(task, seed)
    net.history, net.trained_s = pd.DataFrame(), net.fit_s
    return net.eval()


def _akamaster(task: Task) -> nn.Module:
    """The CIFAR-10 ResNet-20 that akamaster trained, which expects ImageNet's mean and deviation.
    Its training saw all 50 000 images, so `task.val` is no clean part for it."""
    if task.name != "cifar10":
        raise ValueError(f"{AKAMASTER} was trained on cifar10, it has no answer for {task.name}")
    scaled = replace(task, mean=torch.tensor([0.485, 0.456, 0.406]),
                     std=torch.tensor([0.229, 0.224, 0.225]))
    net = models.build(AKAMASTER, scaled)
    path = paths.reads(fetch("resnet20-12fca82f.th"))
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    net.load_state_dict({name.removeprefix("module."): t for name, t in state.items()})
    net.history, net.trained_s = pd.DataFrame(), None
    return net.eval()
