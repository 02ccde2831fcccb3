"""The trained models of the study: from the cache, the committed weights, or by training."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import nn

from lib import data, models, train
from lib.base import machine, names, paths
from lib.base.pairs import parsed
from lib.base.said import count
from lib.base.setting import Setting
from lib.data import Task
from lib.data.catalogue import ONE_SPLIT
from lib.data.pickled import parameters
from lib.data.sources import digest, fetch
from lib.recipes.tables import EDGE, EDGE_EPOCHS, EDGE_NETS, FAMILIES, PLAN, RECIPES, TABULAR
from lib.study import cache, keys, weights

MOST_IMAGES = 5000
AKAMASTER = "resnet20-akamaster"    # github.com/akamaster/pytorch_resnet_cifar10, 91.73 % published


def recipe(task: str, model: str, name: str = "ours") -> dict:
    """Arguments of the training of `model` on `task`; name: ours, edge for Edge's own, or plan for
    that of ResNet-energy."""
    base, _, variant = task.partition("@")
    if name == "edge":
        if model in EDGE_NETS:
            return dict(EDGE_NETS[model])
        if base not in EDGE_EPOCHS:
            raise ValueError(f"Edge has no recipe for {model} on {task!r}; it has one for: "
                             f"{', '.join([*EDGE_EPOCHS, *EDGE_NETS])}")
        return {**EDGE, "epochs": EDGE_EPOCHS[base]}
    if name == "plan":
        return PLAN | ({"version": 1} if base in ONE_SPLIT else {})     # which take minutes
    names.choose(name, ("ours", "edge", "plan"), "recipe")
    if (base, variant) == ("california", "edge"):       # its six columns lack the coordinates
        return TABULAR | {"sizes": {"dropout": 0.0} if model == "mlp_complex" else {}}
    family = next((r for start, r in FAMILIES.items() if model.startswith(start)), TABULAR)
    return dict(RECIPES.get((base, model), family))


def trained(task: str | Task, model: str, seed: int = 0, fold: int | None = None,
            setting: Setting | None = None, **changes) -> nn.Module:
    """The trained model, in eval mode: from the cache, the committed weights, or by training.

    task: a name, or a loaded Task (its own fold counts then); setting: whose recipe, sizes, epochs,
    lr and batch_size are asked for; changes: further arguments of `fit` that replace the recipe's.
    The model carries `.history` (a frame, one line per epoch), `.trained_s` (seconds of training,
    without validation), `.trained_by` (on what these were spent) and `.course`: the examples that
    the training took (each as often as it was seen), batch_size, optimizer and bits of its floats.
    """
    task = task if isinstance(task, Task) else data.load(task, fold=fold)
    if model in names.CLASSICAL:
        return _classical(task, model, seed)
    if model == AKAMASTER:
        return _akamaster(task)
    if model in names.BY_EDGE:
        return _edge(task, model)
    step, key, sizes, how = asked(task, model, seed, setting or Setting(), changes)
    entry = cache.cached(step, key, lambda: _built(task, model, seed, step, key, sizes, how),
                         quiet=True)
    # Built anew, so that a net just trained and one from disk lie in memory alike.
    net = models.build(model, task, seed=seed, **sizes)
    net.load_state_dict({k: torch.from_numpy(np.array(v)).to(net.state_dict()[k].dtype)
                         for k, v in entry.arrays.items()})
    net.history = pd.DataFrame(entry.record["history"])
    net.trained_s = float(net.history["seconds"].sum())
    net.trained_by, net.course = spent_by(entry.record), course(entry.record, how, task)
    return net.eval()


def published(task: str, model: str) -> str | None:
    """The file, of sources.toml, with the weights of a net that others trained; None for a model
    that is trained here. ValueError for a task that it was not trained for."""
    base, _, variant = task.partition("@")
    if model == AKAMASTER:
        if task != "cifar10":
            raise ValueError(f"{AKAMASTER} was trained on cifar10, it has no answer for {task}")
        return "resnet20-12fca82f.th"
    if model not in names.BY_EDGE:
        return None
    if variant != "edge" or base not in EDGE_EPOCHS:
        raise ValueError(f"{model} was trained by Edge on its own tables, it has no answer for "
                         f"{task}; choose {', '.join(f'{name}@edge' for name in EDGE_EPOCHS)}")
    return f"{base}_{model.removeprefix('mlp_').removesuffix('-edge')}.pt"


def rivals(pairs: list[str], classical: list[str]) -> list[str]:
    """scikit-learn's models for the tasks of some pairs, as pairs: boosted trees for tables alone,
    and none for more than MOST_IMAGES images, on whose pixels they take hours."""
    found: dict[str, None] = {}
    for pair in pairs:
        task = data.load(parsed(pair)[0])
        if task.kind == "image" and len(task.train) > MOST_IMAGES:
            continue
        for model in classical:
            if model != "hgb" or task.kind == "tabular":
                found[f"{task.name}/{model}"] = None
    return list(found)


def identity(task: Task, model: str, seed: int, setting: Setting) -> dict:
    """What a trained net is known by: the key of its training, or its file's hash."""
    file = published(task.name, model)
    if file:
        return {"task": task.hash, "weights": digest(file)}
    return asked(task, model, seed, setting, {})[1]


def asked(task: Task, model: str, seed: int, setting: Setting, changes: dict
          ) -> tuple[str, dict, dict, dict]:
    """The step's name, its key, the sizes to build with, and the arguments of `fit`."""
    name = setting.recipe or "ours"
    replaced = {field: getattr(setting, field) for field in ("epochs", "lr", "batch_size")
                if getattr(setting, field) is not None}
    how = fitting(recipe(task.name, model, name), task) | replaced | changes
    version, store = how.pop("version", None), how.pop("store", "float32")
    start = how.pop("start", None)
    sizes = how.pop("sizes", {}) | setting.build_arguments
    # The files that decide the weights, or a version in their place; of the data its hash does.
    rests_on = {"version": version} if version else {
        "code": keys.code("lib.train", f"lib.models.{models.file_of(model).stem}")}
    key = {"task": task.hash, "model": model, "sizes": sizes, "fit": how, "seed": seed,
           "store": store, **rests_on}
    if start:                           # weights of others, of which only the head is new
        key["start"] = {"file": start, "sha256": digest(start)}
    words = [f"train {task.name} {model}", setting.sizes,
             *(f"{field}={value:g}" for field, value in replaced.items()), f"seed {seed}",
             "" if task.fold is None else f"fold {task.fold}",
             "" if name == "ours" else f"recipe {name}"]
    return " ".join(word for word in words if word), key, sizes, how


def fitting(how: dict, task: Task) -> dict:
    """A recipe without the augmentations that the task's inputs do not allow: a sensor is turned in
    space if it has three axes, and an image is mirrored at its border if it is wider than that."""
    smallest = min(task.inputs[1:], default=0)
    impossible = {"rotate"} if task.inputs[0] != 3 else set()
    impossible |= {name for name, border in (("crop", 4), ("crop2", 2)) if smallest <= border}
    if impossible & set(how.get("augment", ())):
        how["augment"] = tuple(name for name in how["augment"] if name not in impossible)
    return how


def _built(task: Task, model: str, seed: int, step: str, key: dict, sizes: dict, how: dict
           ) -> cache.Built:
    published = weights.published(step, key)
    if published:
        return published
    unfit = models.misfit(model, task, **sizes)
    if unfit:
        raise ValueError(unfit)
    net = models.build(model, task, seed=seed, **sizes)
    if "start" in key:
        net.start_from(load_file(fetch(key["start"]["file"])))
    record = fitted(net, task, seed, step, key, how)
    store = np.dtype(key["store"])
    arrays = {}
    for name, value in net.state_dict().items():
        array = value.numpy()
        arrays[name] = array.astype(store) if value.is_floating_point() else array
    return arrays, record


def fitted(net: nn.Module, task: Task, seed: int, step: str, key: dict, how: dict, **more) -> dict:
    """Train `net` in place, by `train.fit(…, **how, **more)`, for a step of the cache; a training
    whose key has a version goes on where it was killed, tells its epochs, and takes a GPU if there
    is one. Returns its record: history, examples that it saw, device, autocast, threads and
    processor."""
    slug, lasting = re.sub(r"\W+", "-", step), "version" in key
    checkpoint = paths.CACHE / f"{slug[:80]}-{cache.digest(key)[:12]}.pt" if lasting else None
    device = "cuda" if lasting and torch.cuda.is_available() else "cpu"
    history = train.fit(net, task, seed=seed, device=device, checkpoint=checkpoint,
                        report=print if lasting else None, **how, **more)
    net.cpu()
    return {"history": history.to_dict("list"), "examples": seen(how, task), "device": device,
            "autocast": history.attrs["autocast"], "threads": torch.get_num_threads(),
            "processor": machine.processor()}


def seen(how: dict, task: Task) -> int:
    """How many examples a training takes, each as often as it is seen."""
    size = min(how["batch_size"], len(task.train))
    return how["epochs"] * max(1, len(task.train) // how["batch_size"]) * size


def course(record: dict, how: dict, task: Task) -> dict:
    """What a training's energy is counted from."""
    return {"examples": record.get("examples", seen(how, task)), "batch_size": how["batch_size"],
            "optimizer": how.get("optimizer", "adam"), "bits": 16 if record.get("autocast") else 32}


def spent_by(record: dict) -> str:
    """Where the seconds of a training went: "clock of the training, AMD EPYC, 1 thread", and
    "bfloat16" where it computed in that: seconds are only comparable where all of this is alike."""
    where = record.get("processor") or f"{record.get('device', 'cpu')} of an earlier run"
    threads = record.get("threads", 1)
    told = f"clock of the training, {where}, {count(threads, 'thread')}"
    return f"{told}, bfloat16" if record.get("autocast") else told


def _classical(task: Task, model: str, seed: int) -> nn.Module:
    net = models.build(model, task).fit(task, seed)
    net.history, net.trained_s = pd.DataFrame(), net.fit_s
    net.trained_by = f"clock of the fit, {machine.processor()}"
    return net.eval()


def _akamaster(task: Task) -> nn.Module:
    """The CIFAR-10 ResNet-20 that akamaster trained, which expects ImageNet's mean and deviation.
    Its training saw all 50 000 images, so `task.val` is no clean part for it."""
    path = paths.reads(fetch(published(task.name, AKAMASTER)))
    scaled = replace(task, mean=torch.tensor([0.485, 0.456, 0.406]),
                     std=torch.tensor([0.229, 0.224, 0.225]))
    net = models.build(AKAMASTER, scaled)
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    net.load_state_dict({name.removeprefix("module."): t for name, t in state.items()})
    net.history, net.trained_s, net.trained_by = pd.DataFrame(), None, ""
    return net.eval()


def _edge(task: Task, model: str) -> nn.Module:
    """The net that Edge trained for this table, on its rows and with its scaling of inputs."""
    file = published(task.name, model)
    found = parameters(paths.reads(fetch(file)).read_bytes(), file)
    net = models.build(model, task)
    net.load_state_dict({name.replace("net.", "layers.", 1): torch.from_numpy(values)
                         for name, values in found.items()})
    net.history, net.trained_s, net.trained_by = pd.DataFrame(), None, ""
    return net.eval()
