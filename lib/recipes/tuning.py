"""Trained nets that are trained on: while weights go, behind a quantizer, with a teacher."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from torch import nn

from lib import compress, data, models
from lib.base.possible import NESTED, WITHIN
from lib.base.setting import FIELDS, TEXT_FIELDS, Setting
from lib.data import Task, catalogue
from lib.recipes.rounding import rounded
from lib.recipes.tables import (
    EPOCHS_BEHIND_QUANTIZERS,
    TUNING_EPOCHS,
    TUNING_RATES,
    TUNING_VERSION,
)
from lib.recipes.training import (
    asked,
    course,
    fitted,
    fitting,
    identity,
    recipe,
    spent_by,
    trained,
)
from lib.study import cache, keys, weights
from lib.train.losses import Loss, distillation, kurtosis, of_task
from lib.train.losses import on_calibration as losses


def tuning(task: str, model: str, setting: Setting) -> dict:
    """Arguments of `fit` of the training that `setting` asks for: of a trained net ("finetune" and
    its like), or else in place of the net's own training."""
    base = recipe(task, model, setting.recipe or "ours")
    lasting = base.pop("version", None)
    for name in ("sizes", "store", "start", "source"):
        base.pop(name, None)
    how = base | {"keep": "last"}           # the best epoch may be one of before weights went
    if setting.stage:
        epochs = EPOCHS_BEHIND_QUANTIZERS if setting.stage in WITHIN else TUNING_EPOCHS
        how["epochs"] = epochs[catalogue.kind(task)]
    shares = TUNING_RATES["sgd" if base.get("optimizer") == "sgd" else "adamw"]
    rounded_before = setting.stage == "lsq" and setting.quantizer != "lsq"
    start = "lsq from rounded" if rounded_before else setting.stage
    if start in shares:
        how |= {"lr": shares[start] * base["lr"], "schedule": "cosine"}
    if lasting:
        how["version"] = TUNING_VERSION
    replaced = {name: getattr(setting, name) for name in ("epochs", "lr", "batch_size")}
    return how | {name: value for name, value in replaced.items() if value is not None}


def tuned(task: str | Task, model: str, seed: int = 0, fold: int | None = None,
          setting: Setting | None = None) -> nn.Module:
    """The model that `setting.tuned`, or a schedule of pruning, makes of a net: from the cache, the
    committed weights, or by training. It carries what `recipes.trained` gives its models, of this
    last training alone.

    setting: a pruner with its amount, structure and schedule, whose masks the training keeps; a
    teacher; epochs, lr and batch_size of this training. What quantizes afterwards is not done here
    (`setting.afterwards`). ValueError: a setting that asks for no such training.
    """
    task = task if isinstance(task, Task) else data.load(task, fold=fold)
    asked, setting = setting or Setting(), (setting or Setting()).training
    if not setting.trains:
        raise ValueError(f"{setting} asks for no training of its own; take recipes.trained")
    step, key, how = _plan(task, model, seed, setting)
    entry = cache.cached(step, key, lambda: _built(task, model, seed, setting, step, key, how),
                         quiet=True)
    arrays = {name: torch.from_numpy(np.array(value)) for name, value in entry.arrays.items()}
    net = compress.unpacked(_untrained(task, model, seed, setting), asked, entry.record["model"],
                            arrays)
    net.history = pd.DataFrame(entry.record["history"])
    net.trained_s = float(net.history["seconds"].sum())
    net.trained_by, net.course = spent_by(entry.record), course(entry.record, how, task, net)
    return net.eval()


def _plan(task: Task, model: str, seed: int, setting: Setting) -> tuple[str, dict, dict]:
    """The step's name, its key, and the arguments of `fit`."""
    how = fitting(tuning(task.name, model, setting), task)
    version = how.pop("version", None)
    code = ("lib.train", "lib.recipes.tuning", f"lib.models.{models.file_of(model).stem}",
            *compress.code_of(setting))
    rests_on = {"version": version} if version else {"code": keys.code(*code)}
    teacher = identity(task, setting.teacher, 0, Setting()) if setting.teacher else None
    key = {"net": known(task, model, seed, setting.before), "setting": setting.asked, "fit": how,
           "seed": seed, "teacher": teacher, **rests_on}
    words = [f"train {task.name} {model} {setting}", f"seed {seed}",
             "" if task.fold is None else f"fold {task.fold}"]
    return " ".join(word for word in words if word), key, how


def histories(trials: Iterable) -> pd.DataFrame:
    """How the nets of some trials learned, a line an epoch of the last training of each: its
    history beside task, model, seed, fold and every field of the setting."""
    parts = []
    for trial in trials:
        make = tuned if trial.setting.trains else trained
        net = make(trial.task, trial.model, trial.seed, trial.fold, trial.setting)
        told = {name: getattr(trial.setting, name) for name in FIELDS}
        parts.append(net.history.assign(task=trial.task, model=trial.model, seed=trial.seed,
                                        fold=trial.fold, **told | {
                                            "training_lr": net.history.lr}))
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    numbers = [name for name in ("seed", "fold", *FIELDS) if name not in TEXT_FIELDS]
    return found.astype({name: float for name in numbers if name in found})


def known(task: Task, model: str, seed: int, setting: Setting) -> dict:
    """What the net of a setting is known by, trained and trained on: the key of the last of these
    trainings."""
    if setting.trains:
        return _plan(task, model, seed, setting.training)[1]
    return identity(task, model, seed, setting.net)


def _built(task: Task, model: str, seed: int, setting: Setting, step: str, key: dict, how: dict
           ) -> cache.Built:
    published = weights.published(step, key)
    if published:
        return published
    steps = max(1, len(task.train) // how["batch_size"])
    net, small = _start(task, model, seed, setting)
    ready = compress.prepared(net, setting, how, steps, task.calibration, losses(task),
                              torch.Generator().manual_seed(seed), small)
    record = fitted(ready.model, task, seed, step, key, how, loss=_loss(task, setting, how),
                    after_step=ready.after_step, groups=ready.groups)
    header, arrays = compress.packed(compress.finished(ready.model, setting), setting)
    return {name: value.numpy() for name, value in arrays.items()}, record | {"model": header}


def _start(task: Task, model: str, seed: int, setting: Setting
           ) -> tuple[nn.Module, nn.Module | None]:
    """What the training starts from: what an earlier one left, the trained net, or a new one; and
    that as it is rounded, where a quantizer learns to and no pruning comes between."""
    if not setting.stages:
        return _untrained(task, model, seed, setting), None
    make = tuned if setting.before.trains else trained
    net = make(task, model, seed, setting=setting.before)
    if setting.stage != "lsq" or not setting.steps or setting.pruner:
        return net, None
    return net, rounded(net, task, setting.rounding, known(task, model, seed, setting.before))


def _loss(task: Task, setting: Setting, how: dict) -> Loss | None:
    """The loss that a teacher, or the weights' distribution, has a part in; None for the usual."""
    loss, smoothing = None, how.get("label_smoothing", 0.0)
    if setting.teacher:
        loss = distillation(task, trained(task, setting.teacher), label_smoothing=smoothing)
    if "kure" in setting.tuned.split("+"):
        loss = kurtosis(loss or of_task(task, smoothing))
    if setting.stage == NESTED:
        loss = compress.nested_loss(loss or of_task(task, smoothing), bool(task.classes))
    return loss


def _untrained(task: Task, model: str, seed: int, setting: Setting) -> nn.Module:
    """The net as it is built, of the sizes that its training has."""
    sizes = asked(task, model, seed, setting.net, {})[2]
    return models.build(model, task, seed=seed, **sizes)
