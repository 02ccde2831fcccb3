"""Which columns of a reader's own table are inputs, and their numbers as a net can take them."""

import re
from pathlib import Path

import numpy as np

from lib.data import numbers
from lib.data.sources import DataError
from lib.data.table import Column, Written, column

MOST_TEXTS = 100            # of a column, that become columns of their own
# Names of columns that number rows: id, customer_id, CustomerId, index, and none, as pandas writes.
IDENTIFIES = re.compile(r"(?i:(?:.*[_\W])?(?:id|index|row_?number|row|nr|no))|.*[a-z]I[dD]|")


def inputs(written: Written, target: str) -> tuple[list[Column], list[str]]:
    """The columns that say something about the target, and notes on how they were read. DataError
    for a column that cannot be used."""
    answers = [row[written.header.index(target)] for row in written.rows]
    kept, left_out = [], []
    for place, name in enumerate(written.header):
        if name == target:
            continue
        if [row[place] for row in written.rows] == answers:
            raise DataError(f"{written.path} repeats the target {target!r} in column {name!r}, row "
                            "by row: leave it out.")
        found = column(written, place)
        kinds, whole = found.values.nunique(), found.values.dtype.kind == "i"
        if kinds == 1 and not found.values.isna().any() or not (name or kinds):
            left_out.append(f"{name!r} (the same in every row)")
        elif kinds == len(written.rows) and whole and IDENTIFIES.fullmatch(name):
            left_out.append(f"{name!r} (a number of the row)")
        elif found.values.dtype == object and kinds > min(MOST_TEXTS, len(written.rows) - 1):
            raise DataError(f"{written.path} has {kinds} different texts in column {name!r}, of "
                            f"which at most {MOST_TEXTS} can be told apart, and none that a single "
                            "row has: leave it out, or number it.")
        elif not name:
            raise DataError(f"{written.path} has values in its {place + 1}. column, which has no "
                            "name: give it one in the header, or leave it out.")
        else:
            kept.append(found)
    if not kept:
        raise DataError(f"{written.path} has no input column beside {target!r} that differs "
                        "between rows: add some.")
    return kept, _notes(written, kept, left_out)


def _notes(written: Written, columns: list[Column], left_out: list[str]) -> list[str]:
    """How the columns were read, where that is not plain. DataError if some have decimal commas and
    some points."""
    marks = {column.mark: column for column in columns}
    if {",", "."} <= set(marks):
        raise DataError(f"{written.path} has decimal commas in column {marks[','].name!r} and "
                        f"points in {marks['.'].name!r}: write one of the two throughout.")
    notes = []
    if written.separator != ",":
        notes.append(f"separated by {'tabs' if written.separator == chr(9) else 'semicolons'}")
    if "," in marks:
        notes.append("decimal commas")
    words = [f"{word!r} in column {column.name!r}" for column in columns for word in column.words]
    if words:
        notes.append(f"read as missing: {', '.join(words)}")
    if left_out:
        notes.append(f"left out: {', '.join(left_out)}")
    return notes


def filled(path: Path, column: Column, train: np.ndarray, notes: list[str]) -> np.ndarray:
    """The numbers of a column (n,), holes filled with the training rows' mean, counted from their
    median if they lie far from 0, which is noted. DataError for what float32 cannot hold."""
    x, known = column.values.to_numpy(), column.values.iloc[train].dropna().to_numpy()
    if not len(known):
        raise DataError(f"{path} has no value in the training rows of column {column.name!r}: "
                        "leave it out.")
    where = f"{path}, column {column.name!r}"
    if (origin := numbers.origin(known)):
        x, known = x - origin, known - origin           # exact where both are whole
        notes.append(f"{column.name!r} counted from {origin}")
    x = x.astype(np.float64)
    numbers.bounded(x[~np.isnan(x)], where)
    return np.where(np.isnan(x), known.mean(dtype=np.float64), x)
