"""Losses to hand to `fit`: loss(model, x, y) -> a mean over the batch."""

from collections.abc import Callable

from torch import Tensor, nn

from lib.train.evaluation import call

Loss = Callable[[nn.Module, Tensor | tuple[Tensor, ...], Tensor], Tensor]


def of_task(task, label_smoothing: float = 0.0) -> Loss:
    """The task's own: cross-entropy in nats, or mean squared error of standardised targets."""
    def loss(model: nn.Module, x: Tensor | tuple[Tensor, ...], y: Tensor) -> Tensor:
        return task.metric.loss(call(model, x), y, label_smoothing)

    return loss
