"""scikit-learn's models as rows beside the nets: called like a net, fitted in their own way."""

import time

import numpy as np
import torch
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import SVC, SVR
from torch import Tensor

from lib.models.net import Net

SVM_C = (1.0, 10.0, 100.0)      # chosen on validation, …
SVM_ROWS = 4000                 # … each tried on so many training rows: it takes their square
ESTIMATORS = {                  # name -> (for classes, for regression), the options to choose from
    "majority": (lambda **k: DummyClassifier(strategy="prior"),
                 lambda **k: DummyRegressor(), ({},)),
    "knn": (KNeighborsClassifier, KNeighborsRegressor,
            tuple({"n_neighbors": k} for k in (1, 5, 15))),
    "svm": (SVC, SVR, tuple({"C": c} for c in SVM_C)),
    "hgb": (HistGradientBoostingClassifier, HistGradientBoostingRegressor, ({},)),
}


class Classical(Net):
    """(batch, …) -> (batch, outputs): a one-hot guess, or the standardised prediction.

    knn chooses its neighbours and svm (RBF kernel) its C on validation. knn and svm see inputs
    standardised per feature with the training part; nothing has parameters that could be counted.
    """

    def __init__(self, task, *, kind: str) -> None:
        super().__init__(task)
        self.kind, self.outputs, self.fit_s = kind, task.outputs, 0.0
        self.regression = task.metric != "accuracy"
        self.estimator = None

    def fit(self, task, seed: int = 0) -> "Classical":
        """Fit on task.train; options by the score on task.val."""
        start = time.perf_counter()
        x = task.train.x.flatten(1).numpy()
        self.centre, self.spread = x.mean(0), np.where(x.std(0) > 0, x.std(0), 1)
        x, y = self._inputs(task.train.x), task.train.y.numpy()
        val = self._inputs(task.val.x), task.val.y.numpy()
        build = ESTIMATORS[self.kind][1 if self.regression else 0]
        options = ESTIMATORS[self.kind][2]
        fixed = {"random_state": seed} if self.kind == "hgb" else {}
        if len(options) > 1:
            some = np.random.default_rng(seed).permutation(len(y))[
                :SVM_ROWS if self.kind == "svm" else None]
            tried = [build(**o, **fixed).fit(x[some], y[some]).score(*val) for o in options]
            options = [options[int(np.argmax(tried))]]
        self.estimator = build(**options[0], **fixed).fit(x, y)
        self.fit_s = time.perf_counter() - start
        return self

    def forward(self, x: Tensor) -> Tensor:
        if self.estimator is None:
            raise ValueError(f"{self.kind} is not fitted; call .fit(task) first")
        guess = torch.from_numpy(np.asarray(self.estimator.predict(self._inputs(x))))
        if self.regression:
            return guess.float()[:, None]
        return torch.nn.functional.one_hot(guess.long(), self.outputs).float()

    def _inputs(self, x: Tensor) -> np.ndarray:
        return (x.flatten(1).numpy() - self.centre) / self.spread
