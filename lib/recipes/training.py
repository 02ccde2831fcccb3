"""The trained models of the study: from the cache, the committed weights, or by training."""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import nn

from lib import data, models, train
from lib.base import machine, names, paths
from lib.base.pairs import parsed
from lib.base.said import count, written
from lib.base.setting import Setting
from lib.data import Task, catalogue
from lib.data.catalogue import ONE_SPLIT
from lib.data.sources import digest, fetch
from lib.models import own
from lib.models.net import Net
from lib.recipes.given import as_given, given
from lib.recipes.tables import (
    EDGE,
    EDGE_EPOCHS,
    EDGE_NETS,
    FAMILIES,
    KINDS,
    PLANS,
    RECIPES,
    TABULAR,
)
from lib.study import cache, keys, weights

MOST_IMAGES = 5000


def recipe(task: str, model: str, name: str = "ours") -> dict:
    """Arguments of the training of `model` on `task`; name: ours, edge for Edge's own, plan for
    that of ResNet-energy, or plan-bf16 for that in bfloat16. Of a reader's own net also `source`,
    what its files hold."""
    if names.is_own(model):
        names.choose(name, ("ours", *PLANS), "recipe of a reader's own net")
        how = dict(PLANS.get(name) or KINDS[catalogue.kind(task)])
        for other in ("sizes", "start"):                # of the study's own nets
            how.pop(other, None)
        return how | {"source": own.content(model)}
    base, _, variant = task.partition("@")
    if name == "edge":
        if model in EDGE_NETS:
            return dict(EDGE_NETS[model])
        if base not in EDGE_EPOCHS:
            raise ValueError(f"Edge has no recipe for {model} on {task!r}; it has one for: "
                             f"{', '.join([*EDGE_EPOCHS, *EDGE_NETS])}")
        return {**EDGE, "epochs": EDGE_EPOCHS[base]}
    if name in PLANS:                                   # those with one split take minutes
        return PLANS[name] | ({"version": 1} if base in ONE_SPLIT else {})
    names.choose(name, ("ours", "edge", *PLANS), "recipe")
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
    the training took (each as often as it was seen), batch_size, optimizer, bits of its floats and
    names of its frozen parts.
    """
    task = task if isinstance(task, Task) else data.load(task, fold=fold)
    if not names.trained_here(model):
        return as_given(task, model, seed, setting or Setting())
    step, key, sizes, how = asked(task, model, seed, setting or Setting(), changes)
    entry = cache.cached(step, key, lambda: _built(task, model, seed, step, key, sizes, how),
                         quiet=True)
    # Built anew, so that a net just trained and one from disk lie in memory alike.
    net = models.build(model, task, seed=seed, **sizes)
    net.load_state_dict({k: torch.from_numpy(np.array(v)).to(net.state_dict()[k].dtype)
                         for k, v in entry.arrays.items()})
    net.history = pd.DataFrame(entry.record["history"])
    net.trained_s = float(net.history["seconds"].sum())
    net.trained_by, net.course = spent_by(entry.record), course(entry.record, how, task, net)
    return net.eval()


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
    """What a trained net is known by: the key of its training, or what was given."""
    if not names.trained_here(model):
        sizes = {"sizes": setting.sizes} if setting.sizes else {}
        return {"task": task.hash, **sizes, **given(task.name, model)}
    return asked(task, model, seed, setting, {})[1]


def asked(task: Task, model: str, seed: int, setting: Setting, changes: dict
          ) -> tuple[str, dict, dict, dict]:
    """The step's name, its key, the sizes to build with, and the arguments of `fit`."""
    name = setting.recipe or "ours"
    replaced = {field: getattr(setting, field) for field in ("epochs", "lr", "batch_size")
                if getattr(setting, field) is not None}
    how = fitting(recipe(task.name, model, name), task) | replaced | changes
    version, store = how.pop("version", None), how.pop("store", "float32")
    start, source = how.pop("start", None), how.pop("source", None)
    sizes = how.pop("sizes", {}) | setting.build_arguments
    # The files that decide the weights, or a version in their place; of the data its hash does.
    rests_on = {"version": version} if version else {
        "code": keys.code("lib.train", f"lib.models.{models.file_of(model).stem}")}
    key = {"task": task.hash, "model": model, "sizes": sizes, "fit": how, "seed": seed,
           "store": store, **rests_on}
    if start:                           # weights of others, of which only the head is new
        key["start"] = {"file": start, "sha256": digest(start)}
    if source:
        key["source"] = source
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
                        report=_teller(step, how["epochs"]) if lasting else None, **how, **more)
    net.cpu()
    return {"history": history.to_dict("list"), "examples": seen(how, task), "device": device,
            "autocast": history.attrs["autocast"], "threads": torch.get_num_threads(),
            "processor": machine.processor()}


def _teller(step: str, epochs: int) -> Callable[[dict], None]:
    """What prints a line an epoch, and says of which training it is: several may run at once."""
    def tell(line: dict) -> None:
        print(f"{step} · epoch {line['epoch']}/{epochs} · loss {written(line['train_loss'])}, "
              f"validation {written(line['val_score'])} · {written(line['seconds'])} s", flush=True)
    return tell


def seen(how: dict, task: Task) -> int:
    """How many examples a training takes, each as often as it is seen."""
    size = min(how["batch_size"], len(task.train))
    return how["epochs"] * max(1, len(task.train) // how["batch_size"]) * size


def course(record: dict, how: dict, task: Task, net: nn.Module) -> dict:
    """What a training's energy is counted from."""
    return {"examples": record.get("examples", seen(how, task)), "batch_size": how["batch_size"],
            "optimizer": how.get("optimizer", "adam"), "bits": 16 if record.get("autocast") else 32,
            "frozen": net.frozen if isinstance(net, Net) else ()}


def spent_by(record: dict) -> str:
    """Where the seconds of a training went: "clock of the training, AMD EPYC, 1 thread", and
    "bfloat16" where it computed in that: seconds are only comparable where all of this is alike."""
    where = record.get("processor") or f"{record.get('device', 'cpu')} of an earlier run"
    threads = record.get("threads", 1)
    told = f"clock of the training, {where}, {count(threads, 'thread')}"
    return f"{told}, bfloat16" if record.get("autocast") else told
