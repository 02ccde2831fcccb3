"""Tables: the four sets that Edge used, and two that come with scikit-learn."""

import io

import numpy as np
import pandas as pd

from lib.data import splits
from lib.data.catalogue import RAW_FILES
from lib.data.sources import FILES, DataError, fetch
from lib.data.task import Task

TELESCOPE = ("FLength", "FWidth", "FSize", "FConc", "FConc1", "FAsym", "FM3Long", "FM3Trans",
             "FAlpha", "FDist")
SETS = {                                              # names of the classes 0, 1
    "telescope": ("gamma", "hadron"),
    "churn": ("stays", "leaves"),
    "mv": (),
    "california": (),
}
INPUTS = {"telescope": 10, "churn": 13, "mv": 10, "california": 8}
FEWEST_ROWS = 50
BUNDLED = {
    "breast_cancer": "Breast Cancer Wisconsin (Wolberg et al. 1995), UCI's as bundled with "
                     "scikit-learn; licence: CC BY 4.0",
    "diabetes": "Diabetes progression (Efron et al. 2004), bundled with scikit-learn; "
                "licence: none stated",
}


def load(name: str, variant: str | None, fold: int | None) -> Task:
    """One of SETS or BUNDLED; variant "edge": Edge's rows, split and scaling of everything."""
    if name in BUNDLED:
        x, y, features, classes = _bundled(name)
        source = BUNDLED[name]
    else:
        file, classes = RAW_FILES[name][0], SETS[name]
        table, y = _read(name, file)
        source = FILES[file].line
        if variant == "edge":
            return _edge(name, table, y, classes, source)
        x, features = table.to_numpy(np.float32), tuple(table.columns)
    rows = splits.of_fold(splits.stored(name, len(y)), fold)
    return splits.divide(name, "tabular", x, y, rows, classes=classes, features=features,
                         fold=fold, source=source)


def _bundled(name: str) -> tuple[np.ndarray, np.ndarray, tuple, tuple]:
    from sklearn import datasets
    bunch = (datasets.load_breast_cancer() if name == "breast_cancer"
             else datasets.load_diabetes(scaled=False))
    return (bunch.data.astype(np.float32), bunch.target, tuple(map(str, bunch.feature_names)),
            tuple(map(str, bunch.get("target_names", ()))))


def _read(name: str, file: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Inputs, nominal ones as one-hot columns in front, and target, of one of Edge's files.

    DataError for a file that does not hold these columns."""
    path = fetch(file)
    try:
        text = path.read_text(encoding="utf-8")
        table, y = _churn(text) if name == "churn" else _keel(name, text)
        # as floats now, for a text among them would be found far from its file
        table, y = table.astype(float), y.astype(int if SETS[name] else float)
        if not isinstance(table.index, pd.RangeIndex):      # pandas' way with a surplus field
            raise ValueError("rows have more fields than there are names")
        whole = (table.shape[1] == INPUTS[name] and np.isfinite(table.to_numpy()).all()
                 and len(y) >= FEWEST_ROWS)
    except (ValueError, LookupError, TypeError, OverflowError, MemoryError) as error:
        raise DataError(f"{path} is not a table of {name} ({type(error).__name__}): replace it by "
                        "the authors' file.") from error
    if not whole:
        raise DataError(f"{path} does not hold {FEWEST_ROWS} or more rows of {INPUTS[name]} finite "
                        f"inputs of {name}: replace it by the authors' file.")
    return table, y


def _churn(text: str) -> tuple[pd.DataFrame, np.ndarray]:
    table = pd.read_csv(io.StringIO(text))
    table = table.drop(columns=["RowNumber", "CustomerId", "Surname"])
    y = table.pop("Exited").to_numpy()
    table = pd.get_dummies(table, columns=["Geography", "Gender"], dtype=float)
    nominal = ("Geography", "Gender")
    return table[sorted(table.columns, key=lambda c: not c.startswith(nominal))], y


def _keel(name: str, text: str) -> tuple[pd.DataFrame, np.ndarray]:
    """A table with a line `@attribute NAME …` a column, the target last; telescope's has no such.

    MV's three nominal inputs (X3, X7, X8) are numbered in the file and stay numbers, so that there
    are ten inputs as Edge had."""
    lines = text.splitlines()
    header = [line for line in lines if line.startswith("@attribute")]
    names = [line.split()[1] for line in header] or [*TELESCOPE, "Class"]
    body = "\n".join(line for line in lines if not line.startswith("@"))
    table = pd.read_csv(io.StringIO(body), header=None, names=names)
    y = table.pop(names[-1])
    if name != "telescope":
        return table, y.to_numpy(float)
    if not set(y) <= {"g", "h"}:
        raise ValueError("a class is neither g nor h")
    return table, (y == "h").to_numpy(int)


def _edge(name: str, table: pd.DataFrame, y: np.ndarray, classes: tuple, source: str) -> Task:
    """Edge's own: scaler fitted on all rows, 60/20/20 from numpy's global state after seed(0),
    targets raw (California: in k$, its extreme tenth dropped, no coordinates)."""
    from sklearn.model_selection import train_test_split
    if name == "california":
        y = y / 1000
        low, high = np.quantile(y, [0.05, 0.95])
        kept = (low <= y) & (y <= high)
        table, y = table[kept].drop(columns=["Longitude", "Latitude"]), y[kept]
    values = table.to_numpy(np.float64)
    if classes:
        mean, std = values.mean(0), values.std(0)
        nominal = [c.startswith(("Geography", "Gender")) for c in table.columns]
        mean[nominal], std[nominal] = 0, 1            # Edge scales the other eight of Churn only
    else:
        mean, std = values.min(0), np.ptp(values, axis=0)
    state = np.random.RandomState(0)
    train, rest = train_test_split(np.arange(len(y)), test_size=0.4, random_state=state)
    val, test = train_test_split(np.arange(len(rest)), test_size=0.5, random_state=state)
    return splits.divide(f"{name}@edge", "tabular", values.astype(np.float32), y,
                         (train, rest[val], rest[test]), classes=classes, scaling=(mean, std),
                         features=tuple(table.columns), source=f"{source}; Edge's rows and split")
