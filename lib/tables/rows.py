"""Row: one model measured once. Cost: what that took. Each number says what it is."""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lib.base.setting import FIELDS, TEXT_FIELDS, Setting

KEY = ("task", "model", "seed", "fold", "draw", "split", "n", *FIELDS,
       "runtime", "device", "threads", "batch")
SPLITS = ("train", "val", "test")
ARITHMETIC = ("float", "simulated", "integer", "partly integer")
KINDS = ("measured", "modelled")


@dataclass(frozen=True, kw_only=True)
class Row(Setting):
    """One model measured once: which one, what was asked of it, what came out. None: not measured.

    score and score2 are in their metric's own unit: percent for accuracy and macro_f1, 1 for r2,
    the target's unit for rmse; [score_low, score_high] is score's 95 % interval over test examples.
    loss: cross-entropy in nats, or mean squared standardised error. bits_per_weight: stored bytes
    of the weights, tables included, × 8 / weights, whatever was asked; a_bits_mean: over layers.
    size_bytes: all a decoder needs. macs: per example; macs_nonzero: those whose weight is not 0.
    left_float: what was not quantized although others were: "words (Embedding), …".
    `scores` holds one value an example; it is stored apart from the table.
    """

    task: str
    model: str
    seed: int | None = None
    fold: int | None = None
    draw: int | None = None
    split: str = "test"
    n: int | None = None
    runtime: str = "torch"
    device: str = "cpu"
    threads: int | None = 1
    batch: int | None = None
    metric: str = ""
    score: float | None = None
    score_low: float | None = None
    score_high: float | None = None
    metric2: str = ""
    score2: float | None = None
    loss: float | None = None
    bits_per_weight: float | None = None
    a_bits_mean: float | None = None
    sparsity: float | None = None
    arithmetic: str = "float"
    params: int | None = None
    nonzero: int | None = None
    size_bytes: int | None = None
    macs: int | None = None
    macs_nonzero: int | None = None
    left_float: str = ""
    scores: np.ndarray | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (("split", SPLITS), ("arithmetic", ARITHMETIC)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is one of {', '.join(known)}, not "
                                 f"{getattr(self, name)!r}")

    @property
    def key(self) -> tuple:
        return tuple(getattr(self, name) for name in KEY)

    @property
    def id(self) -> str:
        """Ten digits that name this row in its notebook's other tables."""
        return identify(self.key)


@dataclass(frozen=True)
class Cost:
    """What a row's model took or takes: `quantity` (spent_s, latency_s, energy_j, …; units in the
    name), `kind` (measured or modelled), `source` (by what), `value` with its 95 % range.
    """

    id: str
    quantity: str
    kind: str
    source: str
    value: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.quantity} is {' or '.join(KINDS)}, not {self.kind!r}")
        if not self.source:
            raise ValueError(f"{self.quantity}: say by what it was {self.kind}")


COLUMNS = ("id", *KEY, *(f.name for f in dataclasses.fields(Row)
                         if f.name not in (*KEY, "scores")))
COST_COLUMNS = tuple(f.name for f in dataclasses.fields(Cost))
TEXT = {"id", *(f.name for f in dataclasses.fields(Row) if "str" in str(f.type))}
WHOLE = {f.name for f in dataclasses.fields(Row) if "int" in str(f.type)}


def identify(key: tuple) -> str:
    """Ten hexadecimal digits of the sha256 of a key, however its numbers are held."""
    spelled = "|".join(_spelled(value) for value in key)
    return hashlib.sha256(spelled.encode()).hexdigest()[:10]


def _spelled(value: Any) -> str:
    if value is None or value is pd.NA or isinstance(value, float) and np.isnan(value):
        return ""
    return value if isinstance(value, str) else f"{float(value):.6g}"


def frame(rows: list[Row]) -> pd.DataFrame:
    """Rows as a tidy frame, in their order, with their ids. A key twice is a ValueError."""
    lines, seen = [], set()
    for row in rows:
        line = {column: getattr(row, column) for column in COLUMNS}
        if line["id"] in seen:
            raise ValueError(f"two rows have the same key: {row.task} {row.model} seed {row.seed} "
                             f"fold {row.fold} draw {row.draw} {row.split}: {row.setting}")
        seen.add(line["id"])
        lines.append(line)
    return typed(pd.DataFrame(lines, columns=COLUMNS))


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """Every column of COLUMNS, of its own type: text ("" where there is none), or numbers (NaN)."""
    columns = {}
    for column in COLUMNS:
        values = table.get(column, pd.Series(None, index=table.index, dtype=object))
        if column in TEXT:
            columns[column] = values.astype(object).where(values.notna(), "").astype(str)
        else:
            columns[column] = pd.to_numeric(values).astype(float)
    return pd.DataFrame(columns, columns=COLUMNS)


def bits_asked(table: pd.DataFrame) -> pd.Series:
    """Bits a weight that were asked for: `bits`, or log₂ of `levels` (ternary: 1.585); else NaN."""
    return table.bits.fillna(np.log2(table.levels))


def setting_of(line: Any) -> Setting:
    """The Setting of a line of a table: of a Series, or of what `itertuples` gives."""
    values = {}
    for name in FIELDS:
        value = getattr(line, name)
        if name in TEXT_FIELDS:
            values[name] = value
        elif pd.notna(value):
            values[name] = float(value) if name in ("amount", "lr") else int(value)
    return Setting(**values)
