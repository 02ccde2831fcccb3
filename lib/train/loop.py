"""The one training loop."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from lib.train import checkpoints, losses, precision
from lib.train.augment import augmentation
from lib.train.evaluation import evaluate, moved
from lib.train.optimizers import OPTIMIZERS, SCHEDULES, full_rates, optimizer_of, set_rates
from lib.train.order import drawn


@dataclass(frozen=True)
class Course:
    """How a training goes, the same for all its epochs; the fields are arguments of `fit`."""

    task: object
    epochs: int
    lr: float
    batch_size: int
    seed: int
    loss: losses.Loss
    optimizer: torch.optim.Optimizer
    rates: tuple[float, ...]                    # of its groups
    share: Callable[[float], float]             # of these rates, at progress 0 … 1
    change: Callable[[Tensor], Tensor]          # augmentation of a batch
    clip: float | None
    channels_last: bool
    autocast: bool
    after_step: Callable[[nn.Module, int], None] | None
    after_epoch: Callable[[nn.Module, int], None] | None


def fit(
    model: nn.Module, task, *, epochs: int, lr: float, batch_size: int, seed: int = 0,
    loss: losses.Loss | None = None, after_step: Callable[[nn.Module, int], None] | None = None,
    after_epoch: Callable[[nn.Module, int], None] | None = None, optimizer: str = "adam",
    groups: Callable[[nn.Module], list[dict]] | None = None, weight_decay: float = 0.0,
    schedule: str = "constant", label_smoothing: float = 0.0, clip: float | None = None,
    augment: tuple[str, ...] = (), keep: str = "best", channels_last: bool = False,
    autocast: bool | str = False, device: str | torch.device | None = None,
    checkpoint: Path | None = None, report: Callable[[dict], None] | None = None,
) -> pd.DataFrame:
    """Train `model` in place on `task.train`; return its history, one line per epoch.

    loss(model, x, y) replaces the task's own; after_step(model, step) and after_epoch(model, epoch)
    may change the model; groups(model) -> [{"params": …, "lr": …, "weight_decay": …}, …] replaces
    all parameters at one rate. keep: "best" ends with the weights of the best validation loss,
    "last" with the last ones; autocast: compute in bfloat16, "faster": where that is faster on this
    device, as the history's `.attrs["autocast"]` tells. checkpoint: a file from which a killed run
    goes on, removed at the end. One seed gives one result on one machine and thread count: each
    epoch draws from its own (seed, epoch) state, and the caller's generator is left alone.
    ValueError for what cannot be, FloatingPointError if the loss diverges."""
    _check(epochs=epochs, lr=lr, batch_size=batch_size, optimizer=optimizer, schedule=schedule,
           keep=keep, changed=bool(after_step or after_epoch))
    device = torch.device(device or next(model.parameters()).device)
    model.to(device, **({"memory_format": torch.channels_last} if channels_last else {}))
    rounded = precision.bfloat16_is_faster(device) if autocast == "faster" else bool(autocast)
    chosen = optimizer_of(model, optimizer, lr, weight_decay, groups)
    course = Course(task, epochs, lr, batch_size, seed,
                    loss or losses.of_task(task, label_smoothing), chosen, full_rates(chosen),
                    SCHEDULES[schedule], augmentation(augment), clip, channels_last, rounded,
                    after_step, after_epoch)
    history = pd.DataFrame(_run(model, course, device, keep, checkpoint, report))
    history.attrs["autocast"] = rounded
    return history


def _check(*, epochs: int, lr: float, batch_size: int, optimizer: str, schedule: str, keep: str,
           changed: bool) -> None:
    """ValueError for arguments of `fit` that cannot be; changed: something changes the model."""
    for name, value in {"epochs": epochs, "lr": lr, "batch_size": batch_size}.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0, not {value!r}")
    for what, name, known in (("optimizer", optimizer, OPTIMIZERS),
                              ("schedule", schedule, SCHEDULES), ("keep", keep, ("best", "last"))):
        if name not in known:
            raise ValueError(f"there is no {what} {name!r}; choose one of: {', '.join(known)}")
    if changed and keep == "best":
        raise ValueError('keep="best" could bring back the model of before after_step or '
                         'after_epoch changed it (a denser one, if they prune): say keep="last".')


def _run(model: nn.Module, course: Course, device: torch.device, keep: str,
         checkpoint: Path | None, report: Callable[[dict], None] | None) -> list[dict]:
    """All epochs that are left to do; what is kept of them is put into the model at the end."""
    part = course.task.train.to(device)
    progress = checkpoints.resume(checkpoint, model, course.optimizer)
    for epoch in range(len(progress.history), course.epochs):
        progress.history.append(_epoch(model, part, course, epoch, device))
        if report:
            report(progress.history[-1])
        if keep == "best":
            progress.keep_best(model)
        checkpoints.save(checkpoint, model, course.optimizer, progress)
    if keep == "best" and progress.best[2] is not None:
        model.load_state_dict(progress.best[2])
    model.eval()
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return progress.history


def _epoch(model: nn.Module, part, course: Course, epoch: int, device: torch.device) -> dict:
    """One pass over the part, then validation: a line of the history."""
    start, total = time.perf_counter(), 0.0
    steps, size = max(1, len(part) // course.batch_size), min(course.batch_size, len(part))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(course.seed * 100_003 + epoch)
        order = drawn(part, size, course.task.kind == "text").to(device)
        model.train()
        for step in range(steps):
            share = course.share((epoch * steps + step) / (course.epochs * steps))
            set_rates(course.optimizer, course.rates, share)
            chosen = order[step * size:(step + 1) * size]
            x = course.change(moved(part.batch(chosen), device))
            total += _step(model, x, part.y[chosen], course)
            if course.after_step:
                course.after_step(model, epoch * steps + step)
    if course.after_epoch:
        course.after_epoch(model, epoch)
    seconds = time.perf_counter() - start           # without the validation that follows
    mean = float(total / steps)
    val = evaluate(model, course.task, "val")
    if not math.isfinite(mean):
        raise FloatingPointError(
            f"training of {course.task.name} diverged in epoch {epoch + 1}: the loss is {mean}; "
            f"a learning rate below {course.lr:g} may help")
    return {"epoch": epoch + 1, "lr": course.lr * share, "train_loss": mean, "val_loss": val.loss,
            "val_score": val.score, "seconds": seconds}


def _step(model: nn.Module, x: Tensor, y: Tensor, course: Course) -> Tensor:
    """One step down the loss of one batch, which is returned."""
    if course.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, torch.bfloat16) if course.autocast else nullcontext():
        value = course.loss(model, x, y)
    course.optimizer.zero_grad(set_to_none=True)
    value.backward()
    if course.clip:
        nn.utils.clip_grad_norm_(model.parameters(), course.clip)
    course.optimizer.step()
    return value.detach()
