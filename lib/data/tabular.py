"""Tables: the four sets that Edge used, scikit-learn's bundled ones, and a reader's own CSV."""

import io

import numpy as np
import pandas as pd

from lib import paths
from lib.data import splits
from lib.data.sources import FILES, DataError, fetch
from lib.data.task import Task

TELESCOPE = ("FLength", "FWidth", "FSize", "FConc", "FConc1", "FAsym", "FM3Long", "FM3Trans",
             "FAlpha", "FDist")
SETS = {                                              # file, names of the classes 0, 1
    "telescope": ("telescope.dat", ("gamma", "hadron")),
    "churn": ("churn.csv", ("stays", "leaves")),
    "mv": ("mv.dat", ()),
    "california": ("california.dat", ()),
}
BUNDLED = {
    "breast_cancer": "Breast Cancer Wisconsin (Wolberg et al. 1995), UCI's as bundled with "
                     "scikit-learn; licence: CC BY 4.0",
    "diabetes": "Diabetes progression (Efron et al. 2004), bundled with scikit-learn; "
                "licence: none stated",
}
FEWEST_ROWS, FEWEST_OF_A_CLASS, MOST_CLASSES, MOST_TEXTS = 50, 5, 20, 100


def load(name: str, variant: str | None, fold: int | None) -> Task:
    """One of SETS or BUNDLED; variant "edge": Edge's rows, split and scaling of everything."""
    if name in BUNDLED:
        x, y, features, classes = _bundled(name)
        source = BUNDLED[name]
    else:
        file, classes = SETS[name]
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

    MV's three nominal inputs (X3, X7, X8) are numbered in the file and stay numbers, so that there
    are ten inputs as Edge had."""
    text = fetch(file).read_text(encoding="utf-8")
    if name == "churn":
        table = pd.read_csv(io.StringIO(text))
        table = table.drop(columns=["RowNumber", "CustomerId", "Surname"])
        y = table.pop("Exited").to_numpy()
        return pd.get_dummies(table, columns=["Geography", "Gender"], dtype=float).pipe(
            lambda t: t[sorted(t.columns, key=lambda c: not c.startswith(("Geography", "Gender")))]
        ), y
    lines = text.splitlines()
    header = [line for line in lines if line.startswith("@attribute")]
    names = [line.split()[1] for line in header] or [*TELESCOPE, "Class"]
    body = "\n".join(line for line in lines if not line.startswith("@"))
    table = pd.read_csv(io.StringIO(body), header=None, names=names)
    y = table.pop(names[-1])
    return table, (y == "h").to_numpy(int) if name == "telescope" else y.to_numpy(float)


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


def csv(name: str, fold: int) -> Task:
    """A reader's own table, `csv:PATH#TARGET`; a relative PATH counts from the project's root.

    Texts become one-hot columns; a missing number becomes the training part's mean, a missing text
    a row of zeros. The target is a class if it is not a number or has at most 20 whole values.
    DataError for a table that cannot be used, ValueError for a column that is not there."""
    place, _, target = name.removeprefix("csv:").rpartition("#")
    if not place:
        raise ValueError(f"{name} does not say what is to be predicted: write csv:PATH#COLUMN.")
    path = paths.ROOT / place
    table = _own_table(path)
    if target not in table.columns:
        raise ValueError(f"{path} has no column {target!r}; choose one of: "
                         f"{', '.join(map(str, table.columns))}")
    if (missing := int(table[target].isna().sum())):
        raise DataError(f"{path} lacks {target!r} in {missing} rows: fill them or leave them out.")
    y, classes = targets(table.pop(target).to_numpy(), f"{path}, column {target!r}")
    texts = [c for c in table.columns if not pd.api.types.is_numeric_dtype(table[c])]
    for column in texts:
        if (kinds := table[column].nunique()) > MOST_TEXTS:
            raise DataError(f"{path} has {kinds} different texts in column {column!r}, of which at "
                            f"most {MOST_TEXTS} can be told apart: leave it out, or number it.")
    table = pd.get_dummies(table, columns=texts, dtype=float)
    x = table.to_numpy(np.float64)
    if not x.size or np.nanmax(np.abs(x)) > np.finfo(np.float32).max:
        raise DataError(f"{path} has no input column beside {target!r}, or a number too large "
                        "to compute with: correct it.")
    rows = splits.of_fold(splits.stratified(y if classes else np.zeros(len(y))), fold)
    holes = np.isnan(x)
    if (empty := np.flatnonzero(holes[rows[0]].all(0))).size:
        raise DataError(f"{path} has no value in the training rows of column "
                        f"{table.columns[empty[0]]!r}: leave it out.")
    x = np.where(holes, np.nanmean(x[rows[0]], 0), x)
    filled = f"; {holes.sum()} missing numbers became training means" if holes.any() else ""
    return splits.divide(name, "tabular", x.astype(np.float32), y, rows, classes=classes, fold=fold,
                         features=tuple(map(str, table.columns)), source=f"own file {path}{filled}")


def _own_table(path) -> pd.DataFrame:
    try:
        table = pd.read_csv(paths.reads(path), encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"there is no file {path}: correct the path, which counts from "
                        f"{paths.ROOT}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8.") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, OSError) as error:
        cause = str(error).strip().splitlines()[-1]
        raise DataError(f"{path} is not a readable table ({cause}): write a header line and one "
                        "line per row, with commas between.") from error
    if len(table) < FEWEST_ROWS:
        raise DataError(f"{path} has {len(table)} rows, too few for five splits: bring at least "
                        f"{FEWEST_ROWS}.")
    return table


def targets(y: np.ndarray, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class numbers and names if y is not numeric or has at most 20 whole values; else y and ().

    DataError if there is one class only, or fewer than five rows of one; `where` names the data."""
    numeric = np.issubdtype(y.dtype, np.number)
    if numeric and not np.isfinite(y).all():
        raise DataError(f"{where} has a target that is not a finite number: correct it.")
    if numeric and (len(np.unique(y)) > MOST_CLASSES or (y != np.round(y)).any()):
        return y.astype(float), ()
    names, numbers, counts = np.unique(y.astype(np.int64) if numeric else y.astype(str),
                                       return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise DataError(f"{where} has one class only ({names[0]}): there is nothing to tell apart.")
    if counts.min() < FEWEST_OF_A_CLASS:
        raise DataError(f"{where} has {counts.min()} rows of class {names[counts.argmin()]}, but "
                        f"five splits need {FEWEST_OF_A_CLASS}: bring more or leave it out.")
    return numbers, tuple(map(str, names))
