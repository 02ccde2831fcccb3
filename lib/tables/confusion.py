"""Where answers go: true classes against given ones."""

import numpy as np
import pandas as pd


def confusion(true: np.ndarray, given: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """One line a true class and a given class: true, given (their names), share (percent of the
    examples of that true class; missing for a class without any).

    true, given: class numbers (n,).
    """
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, (true, given), 1)
    with np.errstate(invalid="ignore"):
        shares = 100 * counts / counts.sum(axis=1, keepdims=True)
    return pd.DataFrame({"true": np.repeat(classes, len(classes)),
                         "given": np.tile(classes, len(classes)), "share": shares.flatten()})
