"""A reader's own data: a table, a folder of images, or arrays; a relative path counts from the
project's root. All have five folds by a fixed permutation, or by group where there are groups."""

import functools
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from lib.base import paths
from lib.base.said import count
from lib.data import arrays, batches, catalogue, columns, numbers, sources, splits, table
from lib.data.batches import ImageFiles
from lib.data.sources import DataError
from lib.data.table import Written
from lib.data.task import Task

FEWEST_ROWS, FEWEST_OF_A_CLASS, MOST_CLASSES = 50, 5, 20


def csv(name: str, fold: int) -> Task:
    """A table, `csv:PATH#TARGET`, whose fields `,`, `;` or tabs separate.

    Texts become one-hot columns; a missing number becomes the training part's mean, a missing text
    a row of zeros. Constant columns and numbers of rows are left out. A column that lies far from 0
    (seconds since 1970) is counted from its median, so that float32 holds it. The target is a class
    if it is not a number or has at most 20 whole values. `source` says what was done.
    DataError for a table that cannot be used, ValueError for a column that is not there."""
    path = catalogue.existing(catalogue.place(name))
    target = name.rpartition("#")[2]
    paths.reads(path)
    written = table.read(path, sources.hashed(path))
    if target not in written.header:
        raise ValueError(f"{path} has no column {target!r}; choose one of: "
                         f"{', '.join(written.header)}")
    if len(written.rows) < FEWEST_ROWS:
        raise DataError(f"{path} has {len(written.rows)} rows, too few for five splits: bring at "
                        f"least {FEWEST_ROWS}.")
    y, classes = _answers(written, target)
    found, notes = columns.inputs(written, target)
    rows = splits.of_fold(splits.stratified(y if classes else np.zeros(len(y))), fold)
    texts = [column.name for column in found if column.values.dtype == object]
    values, holes = {}, 0
    for column in found:
        is_text = column.name in texts
        values[column.name] = column.values if is_text else columns.filled(
            path, column, rows[0], notes)
        holes += 0 if is_text else int(column.values.isna().sum())
    notes += [f"{holes} missing numbers became training means"] if holes else []
    whole = pd.get_dummies(pd.DataFrame(values), columns=texts, dtype=float)
    x = whole.to_numpy(np.float32, copy=True)       # pandas gives its own out for reading alone
    return splits.divide(name, "tabular", x, y, rows, classes=classes, fold=fold,
                         features=tuple(whole.columns),
                         source="; ".join([f"own file {path.name}", *notes]))


def _answers(written: Written, target: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Targets and names of classes from the column of that name."""
    found = table.column(written, written.header.index(target), is_target=True)
    missing = np.flatnonzero(found.values.isna())
    if missing.size:
        words = "".join(f"; {word!r} in line {written.lines[row]} was read as missing: write "
                        f'"{word}", in quotes, if it is a class' for word, row in
                        found.words.items() if found.values.dtype == object)
        raise DataError(f"{written.path} lacks {target!r} in {missing.size} rows (first in line "
                        f"{written.lines[missing[0]]}{words}): fill them or leave them out.")
    return targets(found.values.to_numpy(), f"{written.path}, column {target!r}")


def targets(y: np.ndarray, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class numbers and names if y is not numeric or has at most 20 whole values; else y and ().

    DataError if there is one class only, or fewer than five rows of one, and for numbers that
    float64 cannot tell apart; `where` names the data."""
    numeric = np.issubdtype(y.dtype, np.number)
    if numeric and not np.isfinite(y).all():
        raise DataError(f"{where} has a target that is not a finite number: correct it.")
    few = len(np.unique(y)) <= MOST_CLASSES if numeric else True
    if numeric and (not few or (y != np.round(y)).any()):
        numbers.bounded(y.astype(float), where)
        return y.astype(float), ()
    if y.dtype.kind == "f" and abs(y).max() >= 2**53:
        raise DataError(f"{where} has whole numbers beyond 2**53, which floating-point numbers "
                        "do not hold exactly: number the classes from 0, or bring texts.")
    if y.dtype.kind not in "iu":
        y = y.astype(np.int64 if numeric else str)
    names, chosen, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise DataError(f"{where} has one class only ({names[0]}): there is nothing to predict.")
    if counts.min() < FEWEST_OF_A_CLASS:
        raise DataError(f"{where} has {counts.min()} rows of class {names[counts.argmin()]}, but "
                        f"five splits need {FEWEST_OF_A_CLASS}: bring more or leave it out.")
    return chosen, tuple(map(str, names))


def imagefolder(name: str, fold: int) -> Task:
    """Images, `imagefolder:PATH` with PATH/<class>/*.png, .jpg, .webp, .bmp or .tiff.

    All are turned as their camera noted, laid on white where they are transparent, and resized to
    the median width and height; grey stays grey only if all are. `source` says of how many that
    is true. A folder whose pixels do not fit in memory stays on disk, and its images are decoded
    batch by batch. DataError for a file that is no such image."""
    root = catalogue.place(name)
    hashes = catalogue.image_hashes(root)
    paths.inputs(catalogue.inputs(name))
    x, notes = _images(root, tuple(hashes), catalogue.together(hashes))
    kinds = np.array([Path(file).parent.name for file in hashes], object)
    y, classes = targets(kinds, str(root))
    rows = splits.of_fold(splits.stratified(y), fold)
    if others := catalogue.left_out(root):
        notes = [*notes, f"{count(others, 'other file')} left out"]
    return splits.divide(name, "image", x, y, rows, classes=classes, fold=fold,
                         source="; ".join([f"own images {root.name}", *notes]))


# The last set is kept while the process lives, under its content: five folds, one decoding.
@functools.lru_cache(maxsize=1)
def _images(root: Path, files: tuple[str, ...],
            content: str) -> tuple[Tensor | ImageFiles, list[str]]:
    """The images, in memory where they fit, and notes on what was done to them."""
    found, notes = batches.opened([root / file for file in files], content)
    return (found[:] if found.nbytes <= batches.LARGEST_IN_MEMORY else found), notes


def npz(name: str, fold: int) -> Task:
    """Arrays, `npz:PATH` with x, y and, if there are subjects, group.

    x (n, C, length) is a series, also (n, length, C) where C is much smaller; (n, C, H, W) or
    (n, H, W, C) with C = 1 or 3 an image, in bytes or floats in [0, 1]; (n, H, W, 2 or 4) has
    transparency and is laid on white. Channels that never vary are left out of a series, and those
    that lie far from 0 are counted from their median; `source` says so. With `group`, folds keep
    subjects whole. DataError for arrays that are unfit."""
    path = catalogue.existing(catalogue.place(name))
    paths.reads(path)
    x, y, group, notes = arrays.read(path, sources.hashed(path))
    y, classes = targets(y, str(path))
    if group is not None:
        group = np.unique(group, return_inverse=True)[1]
    part = splits.stratified(y if classes else np.zeros(len(y))) if group is None else \
        splits.grouped(group)
    source = "; ".join([f"own file {path.name}", *notes])
    return splits.divide(name, "image" if x.ndim == 4 else "series", x, y,
                         splits.of_fold(part, fold), classes=classes, group=group, fold=fold,
                         source=source)
