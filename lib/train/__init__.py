"""The one training loop and the one evaluator of the study."""

import functools
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.train.augment import AUGMENTATIONS, augmentation

__all__ = ["AUGMENTATIONS", "Evaluation", "evaluate", "fit"]

OPTIMIZERS = {          # fused: one kernel for all tensors, a fifth of the time on small nets
    "adam": lambda p, lr, decay: torch.optim.Adam(p, lr, weight_decay=decay, fused=True),
    "adamw": lambda p, lr, decay: torch.optim.AdamW(p, lr, weight_decay=decay, fused=True),
    "sgd": lambda p, lr, decay: torch.optim.SGD(p, lr, weight_decay=decay, momentum=0.9,
                                                nesterov=True, fused=True),
}
SCHEDULES = {       # share of lr at progress t in [0, 1)
    "constant": lambda t: 1.0,
    "cosine": lambda t: 0.5 * (1 + math.cos(math.pi * t)),
    # Smith & Topin 2019 (1708.07120): up for 30 %, then down to nearly nothing
    "onecycle": lambda t: 0.04 + 0.48 * (1 - math.cos(math.pi * t / 0.3)) if t < 0.3
    else 1e-4 + 0.5 * (1 + math.cos(math.pi * (t - 0.3) / 0.7)),
}


@dataclass(frozen=True)
class Evaluation:
    """score: the task's metric; loss: mean over examples; scores: per example; outputs: (n, k)."""

    score: float
    loss: float
    scores: Tensor
    outputs: Tensor


def fit(
    model: nn.Module, task, *, epochs: int, lr: float, batch_size: int, seed: int = 0,
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None,
    after_step: Callable[[nn.Module, int], None] | None = None,
    after_epoch: Callable[[nn.Module, int], None] | None = None,
    optimizer: str = "adam", weight_decay: float = 0.0, schedule: str = "constant",
    label_smoothing: float = 0.0, clip: float | None = None, augment: tuple[str, ...] = (),
    keep: str = "best", channels_last: bool = False, autocast: bool | str = False,
    device: str | torch.device | None = None,
    checkpoint: Path | None = None, report: Callable[[dict], None] | None = None,
) -> pd.DataFrame:
    """Train `model` in place on `task.train`; return its history, one line per epoch.

    loss(model, x, y) replaces the task's own (cross-entropy, or squared error of standardised
    targets); after_step(model, step) and after_epoch(model, epoch) may change the model. keep:
    "best" ends with the weights of the best validation loss, "last" with the last ones; autocast:
    compute in bfloat16; "faster": where that is faster on this device, as the history's
    `.attrs["autocast"]` tells. checkpoint: a file from which a killed run goes on; it is removed at
    the end. One seed gives one result on one machine and thread count: each epoch draws from its
    own (seed, epoch) state, and the caller's generator is left alone.
    """
    _check(epochs=epochs, lr=lr, batch_size=batch_size, optimizer=optimizer, schedule=schedule,
           keep=keep)
    device = torch.device(device or next(model.parameters()).device)
    model.to(device)
    if channels_last:
        model.to(memory_format=torch.channels_last)
    x, y = _on(task.train.x, device), task.train.y.to(device)
    autocast = bfloat16_is_faster(device) if autocast == "faster" else bool(autocast)
    change = augmentation(augment)
    loss = loss or (lambda m, x, y: task_loss(task, _call(m, x), y, label_smoothing))
    chosen = OPTIMIZERS[optimizer]([p for p in model.parameters() if p.requires_grad], lr,
                                   weight_decay)
    steps, size = max(1, len(y) // batch_size), min(batch_size, len(y))
    history: list[dict] = []
    best = (math.inf, -1, None)         # loss on validation, epoch, weights
    if checkpoint and checkpoint.exists():
        history, best = _resume(checkpoint, model, chosen)
    for epoch in range(len(history), epochs):
        start, total = time.perf_counter(), 0.0
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed * 100_003 + epoch)
            order = torch.randperm(len(y)).to(device)
            model.train()
            for step in range(steps):
                share = SCHEDULES[schedule]((epoch * steps + step) / (epochs * steps))
                for group in chosen.param_groups:
                    group["lr"] = lr * share
                pick = order[step * size:(step + 1) * size]
                batch = change(_pick(x, pick))
                if channels_last:
                    batch = batch.contiguous(memory_format=torch.channels_last)
                with torch.autocast(device.type, torch.bfloat16) if autocast else nullcontext():
                    value = loss(model, batch, y[pick])
                chosen.zero_grad(set_to_none=True)
                value.backward()
                if clip:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                chosen.step()
                total += value.detach()
                if after_step:
                    after_step(model, epoch * steps + step)
        if after_epoch:
            after_epoch(model, epoch)
        seconds = time.perf_counter() - start       # without the validation that follows
        val = evaluate(model, task, "val")
        history.append({"epoch": epoch + 1, "lr": lr * share, "train_loss": float(total / steps),
                        "val_loss": val.loss, "val_score": val.score, "seconds": seconds})
        if not math.isfinite(history[-1]["train_loss"]):
            raise FloatingPointError(
                f"training of {task.name} diverged in epoch {epoch + 1}: the loss is "
                f"{history[-1]['train_loss']}; a learning rate below {lr:g} may help")
        if report:
            report(history[-1])
        if keep == "best" and val.loss < best[0]:
            best = (val.loss, epoch, {k: v.detach().clone() for k, v in model.state_dict().items()})
        if checkpoint:
            _save(checkpoint, model, chosen, history, best)
    if keep == "best" and best[2] is not None:
        model.load_state_dict(best[2])
    model.eval()
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    told = pd.DataFrame(history)
    told.attrs["autocast"] = autocast
    return told


@torch.no_grad()
def evaluate(model: nn.Module, task, split: str = "test", batch_size: int = 1000,
             examples: int | None = None) -> Evaluation:
    """Outputs, loss and scores on one split (`examples`: its first so many), in eval mode."""
    part = getattr(task, split)
    if examples is not None and examples < len(part):
        group = None if part.group is None else part.group[:examples]
        part = type(part)(_pick(part.x, slice(examples)), part.y[:examples], group)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    training = model.training
    model.eval()
    try:
        outputs = torch.cat([
            _call(model, _on(_pick(part.x, slice(i, i + batch_size)), device)).float().cpu()
            for i in range(0, len(part), batch_size)])
    finally:
        model.train(training)
    scores = task.score(outputs, part)
    return Evaluation(task.total(scores), float(task_loss(task, outputs, part.y)), scores, outputs)


@functools.cache
def bfloat16_is_faster(device: torch.device) -> bool:
    """Is a 3×3 convolution in bfloat16 faster than in float32, here? The best of nine, in turn.

    ResNet-20 trains at 534 images/s a core in place of 349 on AMD Zen 4, and slower on processors
    without such instructions.
    """
    x, w = (torch.rand(size, device=device) for size in ((64, 16, 32, 32), (16, 16, 3, 3)))
    best = {torch.float32: math.inf, torch.bfloat16: math.inf}
    for dtype in 9 * [*best]:
        a, b, start = x.to(dtype), w.to(dtype), time.perf_counter()
        F.conv2d(a, b, padding=1).sum().item()
        best[dtype] = min(best[dtype], time.perf_counter() - start)
    return best[torch.bfloat16] < best[torch.float32]


def task_loss(task, outputs: Tensor, y: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy for classes, mean squared error of standardised targets for regression."""
    return task.metric.loss(outputs, y, label_smoothing)


def _check(*, epochs, lr, batch_size, optimizer, schedule, keep) -> None:
    for name, value in {"epochs": epochs, "lr": lr, "batch_size": batch_size}.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0, not {value!r}")
    for what, name, known in (("optimizer", optimizer, OPTIMIZERS), ("schedule", schedule,
                              SCHEDULES), ("keep", keep, ("best", "last"))):
        if name not in known:
            raise ValueError(f"there is no {what} {name!r}; choose one of: {', '.join(known)}")


def _call(model: nn.Module, x) -> Tensor:
    return model(*x) if isinstance(x, tuple) else model(x)


def _on(x, device):
    return tuple(part.to(device) for part in x) if isinstance(x, tuple) else x.to(device)


def _pick(x, index):
    return tuple(part[index] for part in x) if isinstance(x, tuple) else x[index]


def _save(path: Path, model, optimizer, history, best) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                "history": history, "best": list(best)}, temporary)
    temporary.replace(path)


def _resume(path: Path, model, optimizer) -> tuple[list[dict], tuple]:
    try:
        saved = torch.load(path, weights_only=True, map_location=next(model.parameters()).device)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
    except Exception as error:      # noqa: BLE001  whatever is wrong with it, start anew
        print(f"checkpoint {path.name} cannot be read ({error}); training starts anew")
        return [], (math.inf, -1, None)
    print(f"going on after epoch {len(saved['history'])}: {path.name}")
    return saved["history"], tuple(saved["best"])
