"""Losses to hand to `fit`: loss(model, x, y) -> a mean over the batch."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.train.evaluation import call

Loss = Callable[[nn.Module, Tensor | tuple[Tensor, ...], Tensor], Tensor]


def of_task(task, label_smoothing: float = 0.0) -> Loss:
    """The task's own: cross-entropy in nats, or mean squared error of standardised targets."""
    def loss(model: nn.Module, x: Tensor | tuple[Tensor, ...], y: Tensor) -> Tensor:
        return task.metric.loss(call(model, x), y, label_smoothing)

    return loss


def distillation(task, teacher: nn.Module, temperature: float = 4.0, alpha: float = 0.9,
                 label_smoothing: float = 0.0) -> Loss:
    """The student answers as its teacher does: α·T²·KL(teacher ‖ student) of softmax(outputs/T),
    and (1 − α) of the task's own loss (Hinton et al. 2015, arXiv 1503.02531). Of numbers: α of the
    mean square distance from the teacher's, in place of the divergence.

    ValueError for a teacher of another number of outputs, at the first batch.
    """
    if not (temperature > 0 and 0 <= alpha <= 1):
        raise ValueError(f"temperature={temperature}, alpha={alpha}: T is above 0, alpha 0 to 1")
    teacher = teacher.eval().requires_grad_(False)

    def loss(model: nn.Module, x: Tensor | tuple[Tensor, ...], y: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = call(teacher, x)
        found = call(model, x)
        if found.shape != wanted.shape:
            raise ValueError(f"the student answers with {tuple(found.shape)}, its teacher with "
                             f"{tuple(wanted.shape)}; choose a teacher of the same task")
        if task.classes:
            far = temperature**2 * F.kl_div(
                (found.float() / temperature).log_softmax(1),
                (wanted.float() / temperature).log_softmax(1), reduction="batchmean",
                log_target=True)
        else:
            far = F.mse_loss(found, wanted)
        return alpha * far + (1 - alpha) * task.metric.loss(found, y, label_smoothing)

    return loss


def kurtosis(loss: Loss, weight: float = 1.0, wanted: float = 1.8) -> Loss:
    """`loss`, and `weight` times the mean over weight tensors of (kurtosis − 1.8)²: spread evenly,
    as 1.8 means, weights are rounded with the least loss (KURE: Chmiel et al. 2020, 2002.07686)."""
    def regularised(model: nn.Module, x: Tensor | tuple[Tensor, ...], y: Tensor) -> Tensor:
        weights = [p for p in model.parameters() if p.dim() > 1 and p[0].numel() > 1]
        far = [(_kurtosis(w) - wanted).square() for w in weights]       # no learned steps: (n, 1)
        return loss(model, x, y) + weight * torch.stack(far).mean()

    return regularised


def _kurtosis(w: Tensor) -> Tensor:
    centred = w - w.mean()
    return (centred / centred.std().clamp(min=1e-12)).pow(4).mean()


def on_calibration(task, batch_size: int = 64) -> Callable[[nn.Module], Iterator[Tensor]]:
    """A model's loss on each batch of the task's calibration examples, with their labels."""
    own = of_task(task)

    def losses(model: nn.Module) -> Iterator[Tensor]:
        for rows in task.calibrating.split(batch_size):
            yield own(model, task.train.batch(rows), task.train.y[rows])

    return losses
