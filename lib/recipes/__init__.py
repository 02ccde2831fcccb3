"""How each model of the study is trained, and the trained models themselves."""

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from torch import nn

from lib import data, models, train
from lib.base import names, paths
from lib.study import cache
from lib.data import Task
from lib.data.sources import fetch
from lib.recipes.tables import EDGE, EDGE_EPOCHS, EDGE_NETS, FAMILIES, RECIPES, TABULAR

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


def named(words: set[str]) -> dict[str, dict]:
    """The recipes of all tasks and models among `words`: {"task/model/recipe name": arguments}."""
    found = {}
    tasks = [w for w in words if w.partition("@")[0] in names.TASKS or ":" in w]
    for task, model, name in product(tasks, words & set(names.MODELS), ("ours", "edge")):
        try:
            found[f"{task}/{model}/{name}"] = recipe(task, model, name)
        except ValueError:                                  # Edge has none for it
            pass
    return found


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
    own = type(net).__module__.removeprefix("lib.").replace(".", "/")       # models/mlp
    rooms = ("train", "models/net", "models/dropout", own)
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
                      "autocast": history.attrs["autocast"], "threads": torch.get_num_threads()}

    entry = cache.cached(step, key, build, quiet=True)
    net.load_state_dict({k: torch.from_numpy(np.array(v)).to(net.state_dict()[k].dtype)
                         for k, v in entry.arrays.items()})
    net.history = pd.DataFrame(entry.record["history"])
    net.trained_s = float(net.history["seconds"].sum())
    return net.eval()


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
