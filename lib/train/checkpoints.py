"""Where a training stands: kept in memory, and in a file from which a killed run goes on."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn


@dataclass
class Progress:
    """history: a line per epoch that is done; best: the lowest validation loss, its epoch, and the
    weights it was reached with (None where they are not kept)."""

    history: list[dict] = field(default_factory=list)
    best: tuple[float, int, dict[str, Tensor] | None] = (math.inf, -1, None)

    def keep_best(self, model: nn.Module) -> None:
        """Keep the weights if the last line's validation loss is the lowest so far."""
        loss, epoch = self.history[-1]["val_loss"], len(self.history) - 1
        if loss < self.best[0]:
            weights = {name: v.detach().clone() for name, v in model.state_dict().items()}
            self.best = (loss, epoch, weights)


def save(path: Path | None, model: nn.Module, optimizer: torch.optim.Optimizer,
         progress: Progress) -> None:
    """Write all that a training goes on from, whole; without a path nothing."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                "history": progress.history, "best": list(progress.best)}, temporary)
    temporary.replace(path)


def resume(path: Path | None, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Where the training stood that wrote `path`, its weights and optimizer put back; the start if
    there is no such file, or none that fits."""
    if path is None or not path.exists():
        return Progress()
    try:
        saved = torch.load(path, weights_only=True, map_location=next(model.parameters()).device)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
    except Exception as error:      # noqa: BLE001  whatever is wrong with it, start anew
        print(f"checkpoint {path.name} cannot be read ({error}); training starts anew")
        return Progress()
    print(f"going on after epoch {len(saved['history'])}: {path.name}")
    return Progress(saved["history"], tuple(saved["best"]))
