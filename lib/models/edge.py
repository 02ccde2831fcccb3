"""The nets for tables that Edge trained and published, as it built them; weights: `recipes`."""

from lib.models.mlp import MLP

NAMES = ("mlp_simple-edge", "mlp_complex-edge")
COMPLEX = {1: (50, 100, 100, 50)}                     # of a regression, which has one output
COMPLEX_DROPOUT = 0.1


class Simple(MLP):
    """One hidden layer of ten."""

    def __init__(self, task) -> None:
        super().__init__(task, hidden=(10,))


class Complex(MLP):
    """Four hidden layers, larger ones for a regression."""

    def __init__(self, task) -> None:
        super().__init__(task, hidden=COMPLEX.get(task.outputs, (20, 40, 60, 30)),
                         dropout=COMPLEX_DROPOUT)


MODELS = {"mlp_simple-edge": (Simple, {}), "mlp_complex-edge": (Complex, {})}
