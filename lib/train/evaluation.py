"""The one evaluator: what a model answers on one part of a task, and how good that is."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Pairs of word pieces that attention scores at once, in each layer's every head: 1000 sentences of
# 64, or 64 paragraphs of 256. Of 1000 paragraphs it held 15 GB.
MOST_PAIRS = 2**22


@dataclass(frozen=True)
class Evaluation:
    """score: the task's metric; loss: mean over examples; scores: per example; outputs: (n, k)."""

    score: float
    loss: float
    scores: Tensor
    outputs: Tensor


@torch.no_grad()
def evaluate(model: nn.Module, task, split: str = "test", batch_size: int = 1000,
             examples: int | None = None) -> Evaluation:
    """Outputs, loss and scores on one split (`examples`: its first so many), in eval mode;
    batch_size: at once, of long texts fewer (MOST_PAIRS)."""
    part = getattr(task, split)
    if task.kind == "text":
        batch_size = min(batch_size, max(1, MOST_PAIRS // task.inputs[0]**2))
    n = len(part) if examples is None else min(examples, len(part))
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    training = model.training
    model.eval()
    try:
        outputs = torch.cat([
            call(model, moved(part.batch(slice(i, min(i + batch_size, n))), device)).float().cpu()
            for i in range(0, n, batch_size)])
    finally:
        model.train(training)
    y = part.y[:n]
    scores = torch.from_numpy(task.metric.per_example(outputs, y, task.scale))
    return Evaluation(task.total(scores), float(task.metric.loss(outputs, y)), scores, outputs)


def call(model: nn.Module, x: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The model's outputs for one batch of inputs, some of which come as several tensors."""
    return model(*x) if isinstance(x, tuple) else model(x)


def moved(x: Tensor | tuple[Tensor, ...], device: torch.device) -> Tensor | tuple[Tensor, ...]:
    """The same inputs on `device`."""
    return tuple(part.to(device) for part in x) if isinstance(x, tuple) else x.to(device)
