"""A reader's own table as text: its records by line, and each column's one right reading."""

import csv
import functools
import io
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lib.data import separated
from lib.data.sources import DataError

LARGEST_FILE = 5 * 10**8        # bytes; read as text it takes some ten times as much memory
# What pandas and R write for a missing value.
MISSING = frozenset(("", "#N/A", "#NA", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
                     "NULL", "NaN", "None", "n/a", "nan", "null"))
TRUTHS = {"True": 1.0, "TRUE": 1.0, "true": 1.0, "False": 0.0, "FALSE": 0.0, "false": 0.0}
DECIMAL_COMMA = r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?"
DATE = (r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})"
        r"(?:[T ]+\d{1,2}:\d{2}.*)?|\d{1,2}:\d{2}(?::\d{2}.*)?")


@dataclass(frozen=True)
class Written:
    """A table as it was written: the names of its columns, its fields row by row, and the line of
    the file in which each row starts."""

    path: Path
    content: str                    # hash of the file
    separator: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def where(self, row: int, column: int) -> str:
        return f"{self.path}, line {self.lines[row]}, column {self.header[column]!r}"

    def field(self, row: int, column: int) -> str:
        """A field with its quotes."""
        ends = self.lines[row + 1] - 1 if row + 1 < len(self.lines) else None
        text = "".join(_text_lines(self.path, self.content)[self.lines[row] - 1:ends])
        one = rf' *(?:"(?:[^"]|"")*"[^{self.separator}\r\n]*|[^{self.separator}\r\n]*)'
        return re.match(rf"(?:{one}{self.separator}){{{column}}}({one})", text)[1].strip()


@dataclass(frozen=True)
class Column:
    """values: numbers (int64 or float64, a missing one is not a number), or texts (a missing one is
    None); mark: what stands before their decimals; words: what else than an empty field was read as
    missing, and in which row first."""

    name: str
    values: pd.Series
    mark: str
    words: dict[str, int]


def read(path: Path, content: str) -> Written:
    """The records of a table in UTF-8 whose fields `,`, `;` or tabs separate.

    content: its hash. DataError, with the line, for one that is too large or cannot be read, whose
    rows have more or fewer fields than its header, or two columns of one name."""
    if path.stat().st_size > LARGEST_FILE:
        raise DataError(f"{path} has {path.stat().st_size} bytes, but a table is held in memory, "
                        f"and at most {LARGEST_FILE} are read: leave out rows or columns.")
    return _read(path, content)


@functools.lru_cache(maxsize=1)
def _read(path: Path, content: str) -> Written:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8.") from None
    mark = separated.separator(text[:separated.FIRST])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True,
                        skipinitialspace=True)
    records, lines, before = [], [], 0
    try:
        for record in reader:
            if any(field.strip() for field in record) or len(record) > 1:
                records.append(tuple(record))
                lines.append(before + 1)
            before = reader.line_num
    except csv.Error as error:
        raise DataError(f"{path} is not a readable table (line {before + 1}: {error}): write a "
                        "header line and one line per row, with commas between.") from None
    if not records:
        raise DataError(f"{path} is not a readable table (it is empty): write a header line and "
                        "one line per row, with commas between.")
    header = tuple(name.strip() for name in records[0])
    return _rectangular(Written(path, content, mark, header, tuple(records[1:]), tuple(lines[1:])))


def _rectangular(table: Written) -> Written:
    """The table without separators at the ends of its rows. DataError for a row that has more or
    fewer fields than the header has names, and for a name that comes twice."""
    width = len(table.header)
    trailing = {len(row) for row in table.rows} == {width + 1}
    if trailing and not any(row[-1].strip() for row in table.rows):
        table = replace(table, rows=tuple(row[:-1] for row in table.rows))
    for row, line in zip(table.rows, table.lines, strict=True):
        if len(row) != width:
            raise DataError(f"{table.path} is not a readable table (line {line} has {len(row)} "
                            f"fields, but its header names {width} columns): name each column, "
                            "and put fields that hold the separator in quotes.")
    for place, name in enumerate(table.header):
        if name and name in table.header[:place]:
            raise DataError(f"{table.path} has two columns named {name!r}, the "
                            f"{table.header.index(name) + 1}. and the {place + 1}.: rename one or "
                            "leave it out.")
    return table


def column(table: Written, place: int, is_target: bool = False) -> Column:
    """What the fields of a column mean.

    Numbers, if all fields are; texts otherwise; of inputs truths are 1 and 0. DataError for a word
    among numbers, for numbers that can be read in two ways, and for dates."""
    name = table.header[place]
    texts = pd.Series([row[place].strip() for row in table.rows], dtype=object)
    missing = texts.isin(MISSING)
    present = texts[~missing]
    comma = table.separator != "," and _fit(present, DECIMAL_COMMA).any() and bool(
        _fit(present, rf"[+-]?\d+|{DECIMAL_COMMA}").all())
    numbers = pd.to_numeric(present.str.replace(",", ".") if comma else present, errors="coerce")
    strange = present[numbers.isna()]
    if not len(strange):
        values = numbers.reindex(texts.index) if missing.any() else numbers
        mark = "," if comma else "." if any("." in text for text in present) else ""
        return Column(name, values if values.dtype.kind in "if" else values.astype(float), mark,
                      _words(texts, missing))
    if not is_target and present.isin(TRUTHS).all():
        return Column(name, texts.map(TRUTHS), "", _words(texts, missing))
    _refuse(table, place, present, strange)
    for row in texts.index[missing & (texts != "")]:
        missing[row] = not table.field(row, place).startswith('"')
    return Column(name, texts.where(~missing, None), "", _words(texts, missing))


def _refuse(table: Written, place: int, present: pd.Series, strange: pd.Series) -> None:
    """DataError if a column, of whose fields the strange ones are no numbers, is no text."""
    where, first = table.where(strange.index[0], place), strange.iloc[0]
    if _fit(strange, r"[+-]?[\d.]*,[\d.,]*\d").mean() > 0.5:
        raise DataError(f"{where}: {first!r} can be two numbers: write numbers with a decimal "
                        "point and nothing between thousands.")
    numbers = present.index.difference(strange.index)
    if len(numbers) >= len(strange) and not _are_quoted(table, place, numbers):
        raise DataError(f"{where}: {first!r} stands among numbers: write a number, leave the field "
                        "empty if it is missing, or bring texts alone.")
    if _fit(strange, DATE).mean() > 0.9:
        raise DataError(f"{where}: {first!r} is a date or a time: replace it by numbers (days "
                        "since the first, the hour of the day), or leave the column out.")


def _fit(texts: pd.Series, pattern: str) -> np.ndarray:
    """Which of the texts are wholly what a pattern says, (n,)."""
    whole = re.compile(pattern)
    return np.array([whole.fullmatch(text) is not None for text in texts], bool)


def _words(texts: pd.Series, missing: pd.Series) -> dict[str, int]:
    """The words that were read as missing, with the row of the first of each."""
    found = {}
    for row in texts.index[missing & (texts != "")]:
        found.setdefault(texts[row], row)
    return found


def _are_quoted(table: Written, place: int, numbers: pd.Index) -> bool:
    """Do these fields stand in quotes, though not every field of their rows does? Then whoever
    wrote the table held them for texts."""
    for row in numbers[:100]:
        quoted = [table.field(row, k).startswith('"') for k in range(len(table.header))]
        if not quoted[place] or all(quoted):
            return False
    return True


@functools.lru_cache(maxsize=1)
def _text_lines(path: Path, content: str) -> list[str]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        return file.readlines()
