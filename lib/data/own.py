"""A reader's own data: a table, a folder of images, or arrays; a relative path counts from the
project's root. All have five folds by a fixed permutation, or by group where there are groups."""

import functools
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from lib.base import paths
from lib.data import batches, catalogue, sources, splits
from lib.data.batches import ImageFiles
from lib.data.sources import DataError
from lib.data.task import Task

FEWEST_ROWS, FEWEST_OF_A_CLASS, MOST_CLASSES, MOST_TEXTS = 50, 5, 20, 100


def csv(name: str, fold: int) -> Task:
    """A table, `csv:PATH#TARGET`.

    Texts become one-hot columns; a missing number becomes the training part's mean, a missing text
    a row of zeros. The target is a class if it is not a number or has at most 20 whole values.
    DataError for a table that cannot be used, ValueError for a column that is not there."""
    path = catalogue.place(name)
    place, _, target = name.removeprefix("csv:").rpartition("#")
    table = _table(path)
    if target not in table.columns:
        raise ValueError(f"{path} has no column {target!r}; choose one of: "
                         f"{', '.join(map(str, table.columns))}")
    if (missing := int(table[target].isna().sum())):
        raise DataError(f"{path} lacks {target!r} in {missing} rows: fill them or leave them out.")
    y, classes = targets(table.pop(target).to_numpy(), f"{path}, column {target!r}")
    if not len(table.columns):
        raise DataError(f"{path} has no input column beside {target!r}: add some.")
    texts = [c for c in table.columns if not pd.api.types.is_numeric_dtype(table[c])]
    for column in texts:
        if (kinds := table[column].nunique()) > MOST_TEXTS:
            raise DataError(f"{path} has {kinds} different texts in column {column!r}, of which at "
                            f"most {MOST_TEXTS} can be told apart: leave it out, or number it.")
    table = pd.get_dummies(table, columns=texts, dtype=float)
    x = table.to_numpy(np.float64)
    if np.nanmax(np.abs(x)) > np.finfo(np.float32).max:
        raise DataError(f"{path} has a number too large to compute with: correct it.")
    rows = splits.of_fold(splits.stratified(y if classes else np.zeros(len(y))), fold)
    holes = np.isnan(x)
    if (empty := np.flatnonzero(holes[rows[0]].all(0))).size:
        raise DataError(f"{path} has no value in the training rows of column "
                        f"{table.columns[empty[0]]!r}: leave it out.")
    x = np.where(holes, np.nanmean(x[rows[0]], 0), x)
    filled = f"; {holes.sum()} missing numbers became training means" if holes.any() else ""
    return splits.divide(name, "tabular", x.astype(np.float32), y, rows, classes=classes,
                         features=tuple(map(str, table.columns)), fold=fold,
                         source=f"own file {place}{filled}")


def _table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(paths.reads(path), encoding="utf-8")
    except FileNotFoundError:
        raise catalogue.missing(path) from None
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


def imagefolder(name: str, fold: int) -> Task:
    """Images, `imagefolder:PATH` with PATH/<class>/*.png or .jpg: all are resized to the size of
    the first one; grey stays grey only if all are. A folder whose pixels do not fit in memory stays
    on disk, and its images are decoded batch by batch."""
    place = name.removeprefix("imagefolder:")
    root = catalogue.place(name)
    hashes = catalogue.image_hashes(root)
    paths.inputs(catalogue.inputs(name))
    x, resized = _images(root, tuple(hashes), catalogue.together(hashes))
    kinds = np.array([Path(file).parent.name for file in hashes], object)
    y, classes = targets(kinds, str(root))
    rows = splits.of_fold(splits.stratified(y), fold)
    note = f"; {resized} of {len(x)} resized to the first's size" if resized else ""
    return splits.divide(name, "image", x, y, rows, classes=classes, fold=fold,
                         source=f"own images {place}{note}")


# The last set is kept while the process lives, under its content: five folds, one decoding.
@functools.lru_cache(maxsize=1)
def _images(root: Path, files: tuple[str, ...],
            content: str) -> tuple[Tensor | ImageFiles, int]:
    """The images, in memory where they fit, and how many were resized."""
    found, resized = batches.opened([root / file for file in files], content)
    return (found[:] if found.nbytes <= batches.LARGEST_IN_MEMORY else found), resized


def npz(name: str, fold: int) -> Task:
    """Arrays, `npz:PATH` with x, y and, if there are subjects, group.

    x (n, C, length) is a series; (n, C, H, W) or (n, H, W, C) with C = 1 or 3 an image, in bytes or
    floats in [0, 1]. With `group`, folds keep subjects whole."""
    path = catalogue.place(name)
    paths.reads(catalogue.existing(path))
    x, y, group = _arrays(path, sources.hashed(path))
    y, classes = targets(y, str(path))
    if group is not None:
        group = np.unique(group, return_inverse=True)[1]
    part = splits.stratified(y if classes else np.zeros(len(y))) if group is None else \
        splits.grouped(group)
    return splits.divide(name, "image" if x.ndim == 4 else "series", x, y,
                         splits.of_fold(part, fold), classes=classes, group=group, fold=fold,
                         source=f"own file {name.removeprefix('npz:')}")


@functools.lru_cache(maxsize=1)
def _arrays(path: Path, content: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """x (n, C, …), bytes of images or float32, y and group of an .npz; DataError if they are unfit.
    """
    with catalogue.arrays(path) as file:
        arrays = {key: file[key] for key in file.files}
        x, y, group = arrays["x"], arrays["y"], arrays.get("group")
    if x.ndim == 4 and x.shape[1] not in (1, 3) and x.shape[3] in (1, 3):
        x = x.transpose(0, 3, 1, 2)
    lengths = {a.shape[:1] for a in (x, y, group) if a is not None}
    fits = x.ndim in (3, 4) and y.ndim == 1 and len(lengths) == 1 and len(x) >= FEWEST_ROWS
    fits = fits and x.dtype.kind in "fiu" and bool(np.isfinite(x).all())
    if not fits:
        raise DataError(f"{path} has x {x.shape} {x.dtype} and y {y.shape}: x must hold "
                        f"{FEWEST_ROWS} or more finite series (n, C, length) or images "
                        "(n, C, H, W), y one target each.")
    if x.ndim == 4 and x.dtype != np.uint8 and not (0 <= x.min() and x.max() <= 1):
        raise DataError(f"{path} has images from {x.min()} to {x.max()}: bring bytes, or floats "
                        "from 0 to 1.")
    kept = np.uint8 if x.ndim == 4 and x.dtype == np.uint8 else np.float32
    return np.ascontiguousarray(x, kept), y, group
