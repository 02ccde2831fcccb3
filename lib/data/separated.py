"""Tables as text: which mark separates their fields, and what their header says."""

import csv
import io
import re
from pathlib import Path

SEPARATORS = ("\t", ";", ",")       # the first that fits: decimal commas stand in a ;-table too
FIRST = 10**6                       # characters that are looked at
RECORDS = 20                        # records that must have as many fields as the header


def separator(text: str) -> str:
    """What separates the fields of a table: the mark of its header, outside of quotes, by which
    most of the first records have as many fields as the header."""
    bare = re.sub(r'"(?:[^"]|"")*"', "", text).lstrip("\r\n")
    first = re.split(r"[\r\n]", bare, maxsplit=1)[0]
    agreeing = {}
    for mark in SEPARATORS:
        if mark in first:
            counts = [len(record) for record in _first_records(text, mark)]
            agreeing[mark] = sum(count == counts[0] for count in counts) if counts else 0
    return max(agreeing, key=agreeing.get, default=",")


def header(path: Path) -> list[str]:
    """Names of the columns of a table, without spaces around them; none where it has no header."""
    text = start(path)
    records = _first_records(text, separator(text))
    return [name.strip() for name in records[0]] if records else []


def start(path: Path) -> str:
    """The first characters of a table, without the mark that Excel puts in front of UTF-8."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        return file.read(FIRST)


def _first_records(text: str, mark: str) -> list[list[str]]:
    found = []
    try:
        for record in csv.reader(io.StringIO(text[:FIRST], newline=""), delimiter=mark,
                                 skipinitialspace=True):
            if record:
                found.append(record)
            if len(found) > RECORDS:
                break
    except csv.Error:                       # whoever reads the whole table says what is wrong
        pass
    return found
