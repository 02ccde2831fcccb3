"""Models of scikit-learn beside the nets: a net that loses to them is no result.

Each is fitted on the training part, its one setting chosen on the validation part, and then called
like a net: raw inputs -> scores (n, classes), or the standardised prediction (n, 1).
"""

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

NAMES = ("majority", "knn", "svm", "hgb")

# scikit-learn is imported where it is used: it takes a second, and nets do without it.


class Classical(nn.Module):
    """Base: `fit` tries the candidates of a subclass and keeps the best on validation."""

    setting = ""              # what validation chose
    fit_s = 0.0               # seconds that fitting took, the choice included

    def __init__(self, task) -> None:
        super().__init__()
        self.outputs, self.estimator = task.outputs, None

    def fit(self, task, seed: int = 0) -> "Classical":
        """Fit on task.train, choose on task.val, and return self."""
        start = time.perf_counter()
        x, y = flat(task.train.x), task.train.y.numpy()
        x_val, y_val = flat(task.val.x), task.val.y.numpy()
        best = -np.inf
        for setting, estimator in self.candidates(x, y, seed):
            score = estimator.score(x_val, y_val)        # accuracy, or R²
            if score > best:
                best, self.setting, self.estimator = score, setting, estimator
        self.estimator = self.finish(self.estimator, x, y)
        self.fit_s = time.perf_counter() - start
        return self

    def candidates(self, x: np.ndarray, y: np.ndarray, seed: int) -> Iterator[tuple[str, object]]:
        raise NotImplementedError

    def finish(self, estimator, x: np.ndarray, y: np.ndarray):
        return estimator

    def forward(self, x: Tensor) -> Tensor:
        if self.estimator is None:
            raise ValueError(f"{type(self).__name__} is not fitted yet; call fit(task, seed) first")
        rows = flat(x)
        if self.outputs == 1:
            scores = self.estimator.predict(rows)[:, None]
        else:                                  # a class absent from training scores lowest
            known = self.scores(rows)
            scores = np.full((len(rows), self.outputs), known.min() - 1)
            scores[:, self.estimator.classes_] = known
        return torch.from_numpy(scores).float().to(x.device)

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Log-probability of each known class; below one in 10⁶ counts as that."""
        return np.log(np.maximum(self.estimator.predict_proba(rows), 1e-6))


class Majority(Classical):
    """The most frequent class of the training part (log frequencies), or its mean."""

    def candidates(self, x, y, seed):
        from sklearn.dummy import DummyClassifier, DummyRegressor
        model = DummyRegressor() if self.outputs == 1 else DummyClassifier(strategy="prior")
        yield "prior", model.fit(x, y)


class Neighbours(Classical):
    """k nearest neighbours on features of mean 0 and std 1."""

    def __init__(self, task, *, k: Sequence[int] = (1, 3, 5, 9, 15, 25)) -> None:
        super().__init__(task)
        self.k = k

    def candidates(self, x, y, seed):
        from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
        kind = KNeighborsRegressor if self.outputs == 1 else KNeighborsClassifier
        for k in self.k:
            if k <= len(x):
                yield f"k={k}", standardised(kind(k)).fit(x, y)


class RBFMachine(Classical):
    """Support vectors with the RBF kernel, γ = 1 / features, on features of mean 0 and std 1.

    C is chosen on the validation part by machines fitted to at most `tune_on` training rows (their
    cost grows with the square of the rows); the one chosen is fitted to all of them.
    """

    def __init__(self, task, *, c: Sequence[float] = (0.1, 1.0, 10.0, 100.0),
                 tune_on: int = 4000) -> None:
        super().__init__(task)
        self.c, self.tune_on = c, tune_on

    def candidates(self, x, y, seed):
        from sklearn.svm import SVC, SVR
        rows = np.random.default_rng(seed).permutation(len(x))[:self.tune_on]
        for c in self.c:
            # break_ties: the highest score is then the class the machine predicts
            machine = SVR(C=c) if self.outputs == 1 else SVC(C=c, break_ties=True)
            yield f"C={c:g}", standardised(machine).fit(x[rows], y[rows])

    def finish(self, estimator, x, y):
        return estimator if len(x) <= self.tune_on else estimator.fit(x, y)

    def scores(self, rows):
        decision = self.estimator.decision_function(rows)
        return decision if decision.ndim == 2 else np.stack([-decision / 2, decision / 2], 1)


class Boosting(Classical):
    """Histogram gradient boosting, stopped where the validation loss is lowest."""

    def __init__(self, task, *, learning_rate: Sequence[float] = (0.1,),
                 iterations: int = 300) -> None:
        super().__init__(task)
        self.learning_rate, self.iterations = learning_rate, iterations

    def fit(self, task, seed: int = 0) -> "Boosting":
        self.validation = flat(task.val.x), task.val.y.numpy()
        return super().fit(task, seed)

    def candidates(self, x, y, seed):
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
        kind = (HistGradientBoostingRegressor if self.outputs == 1
                else HistGradientBoostingClassifier)
        x_val, y_val = self.validation
        for rate in self.learning_rate:
            model = kind(learning_rate=rate, max_iter=self.iterations, early_stopping=True,
                         n_iter_no_change=20, random_state=seed)
            yield f"rate={rate:g}", model.fit(x, y, X_val=x_val, y_val=y_val)


def standardised(estimator):
    """The estimator behind a scaler fitted with it: each feature to mean 0 and std 1."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    return make_pipeline(StandardScaler(), estimator)


def flat(x: Tensor) -> np.ndarray:
    """(n, *inputs) -> (n, features) float64."""
    return x.detach().cpu().flatten(1).double().numpy()


MODELS = {"majority": (Majority, {}), "knn": (Neighbours, {}), "svm": (RBFMachine, {}),
          "hgb": (Boosting, {})}
