"""Where answers go: true classes against given ones."""

import numpy as np
import pandas as pd


def confusion(true: np.ndarray, given: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """Percent of each true class (lines) that was given each class (columns), by their names.

    true, given: class numbers (n,). A class that the examples lack has an empty line.
    """
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, (true, given), 1)
    with np.errstate(invalid="ignore"):
        shares = 100 * counts / counts.sum(axis=1, keepdims=True)
    return pd.DataFrame(shares, index=list(classes), columns=list(classes))
