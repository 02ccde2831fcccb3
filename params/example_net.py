"""A net of one's own for a study: any nn.Module does.

Its constructor takes build arguments, which a pair may set ("hidden=64"), and the Task, if it has a
parameter of that name. It gets inputs as they lie in the data and answers a number for each class,
or a standardised target.
"""

from torch import Tensor, nn


class Residual(nn.Module):
    """(batch, columns) -> (batch, outputs): three layers, each added to what went into it; 103 000
    weights at the usual size."""

    def __init__(self, task, hidden: int = 180) -> None:
        super().__init__()
        self.register_buffer("mean", task.mean.clone())
        self.register_buffer("std", task.std.clone())
        self.first = nn.Linear(task.inputs[0], hidden)
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(3))
        self.last = nn.Linear(hidden, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first((x - self.mean) / self.std).relu()
        for layer in self.layers:
            x = x + layer(x).relu()
        return self.last(x)
