"""Row: one model measured once; and how rows and tables are kept, compared and read."""

import dataclasses
import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from lib.base import paths

KEY = ("task", "model", "method", "setting", "seed", "fold", "draw", "split",
       "runtime", "device", "threads", "batch")


@dataclass(frozen=True)
class Row:
    """One model measured once. Units stand in the names; None means not measured.

    `score` is in the metric's own unit: percent for accuracy and macro_f1, 1 for r2, the target's
    unit for rmse; [score_low, score_high] is its 95 % bootstrap interval over test examples.
    Joules are per example; modelled and measured ones are different things, never added.
    `scores` holds one value per example; it is stored apart from the table.
    """

    task: str
    model: str
    method: str = "baseline"           # family: baseline, ptq, prune, qat, …
    setting: str = "baseline"          # starts with the method's name: "gptq b=4"
    w_bits: float | None = 32.0        # mean over weights
    a_bits: float | None = 32.0
    sparsity: float | None = 0.0       # achieved share of zero weights
    arithmetic: str = "float"          # float, simulated or integer
    runtime: str = "torch"
    device: str = "cpu"
    threads: int | None = 1
    batch: int | None = None           # of the latency, where there is one
    seed: int | None = 0
    fold: int | None = None
    draw: int | None = None            # of a stochastic method
    split: str = "test"
    n: int | None = None               # examples scored
    metric: str = ""
    score: float | None = None
    score_low: float | None = None
    score_high: float | None = None
    metric2: str | None = None
    score2: float | None = None
    loss: float | None = None          # cross-entropy in nats, or mean squared standardised error
    params: int | None = None
    nonzero: int | None = None
    size_bytes: int | None = None      # all a decoder needs
    macs: int | None = None            # per example
    modelled_45nm_j: float | None = None
    modelled_7nm_j: float | None = None
    measured_j: float | None = None
    measured_by: str | None = None     # nvml, rapl or "unavailable: why"
    latency_s: float | None = None     # median per batch
    latency_low: float | None = None
    latency_high: float | None = None
    spent_s: float | None = None       # making this model from the trained one, or from data
    spent_macs: float | None = None
    spent_modelled_j: float | None = None
    spent_measured_j: float | None = None
    scores: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def key(self) -> tuple:
        return tuple(getattr(self, name) for name in KEY)

    def __post_init__(self) -> None:
        if not self.setting:
            raise ValueError("a row needs a setting: the method's name, then what was asked of it")
        if self.arithmetic not in {"float", "simulated", "integer"}:
            raise ValueError(f"arithmetic is float, simulated or integer, not {self.arithmetic!r}")
        if self.split not in {"train", "val", "test"}:
            raise ValueError(f"split is train, val or test, not {self.split!r}")


COLUMNS = tuple(f.name for f in dataclasses.fields(Row) if f.name != "scores")
TEXT = {f.name for f in dataclasses.fields(Row) if "str" in str(f.type)}


def table(rows: list[Row]) -> pd.DataFrame:
    """Rows as a tidy frame sorted by key. A key that occurs twice is a ValueError."""
    seen: set[tuple] = set()
    for row in rows:
        if row.key in seen:
            raise ValueError("two rows have the same key: "
                             + ", ".join(f"{k}={v}" for k, v in zip(KEY, row.key, strict=True)))
        seen.add(row.key)
    frame = pd.DataFrame([{c: getattr(row, c) for c in COLUMNS} for row in rows], columns=COLUMNS)
    return frame.sort_values(list(KEY), na_position="first", kind="stable", ignore_index=True)


def save(notebook: str, rows: list[Row], provenance: dict) -> pd.DataFrame:
    """Write <notebook>.csv, .npz (scores per example) and .json to the run's folder, each whole."""
    if paths.profile() == "published":
        raise ValueError("the published rows are only written by ./run_all.sh publish")
    frame, folder = table(rows), paths.run_folder()
    arrays = io.BytesIO()
    np.savez_compressed(arrays, **{"|".join(map(str, row.key)): row.scores
                                   for row in rows if row.scores is not None})
    paths.write_atomic(folder / f"{notebook}.npz", arrays.getvalue())
    paths.write_atomic(folder / f"{notebook}.csv", frame.to_csv(index=False))
    paths.write_atomic(folder / f"{notebook}.json",
                       json.dumps(provenance, indent=1, default=str) + "\n")
    return frame


def load(notebook: str) -> pd.DataFrame:
    """A notebook's rows in this profile; an empty frame if it has not been run."""
    path = paths.run_folder() / f"{notebook}.csv"
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    frame = pd.read_csv(paths.reads(path), dtype=dict.fromkeys(TEXT, str), keep_default_na=True)
    return frame[list(COLUMNS)]


def load_scores(notebook: str) -> dict[str, np.ndarray]:
    """Per-example scores of a notebook's rows: "task|model|…" (the key's fields) -> array."""
    path = paths.run_folder() / f"{notebook}.npz"
    if not path.exists():
        return {}
    with np.load(paths.reads(path), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def provenance(notebook: str) -> dict:
    """What a notebook's last run depended on; empty if it has not been run."""
    path = paths.run_folder() / f"{notebook}.json"
    return json.loads(paths.reads(path).read_text()) if path.exists() else {}


def save_table(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Keep any other tidy table (training history, layers, traces) beside the rows."""
    paths.write_atomic(paths.run_folder() / f"{name}.csv", frame.to_csv(index=False))
    return frame


def load_table(name: str, folder: Path | None = None) -> pd.DataFrame:
    """A table kept by `save_table`, or one of data/published; empty if there is none."""
    path = (folder or paths.run_folder()) / f"{name}.csv"
    return pd.read_csv(paths.reads(path)) if path.exists() else pd.DataFrame()


def bootstrap(scores: np.ndarray, metric: str, draws: int = 1000) -> tuple[float, float]:
    """95 % percentile interval of the metric over examples; scores as `Task.score` gives them."""
    rng, n = np.random.default_rng(0), len(scores)
    if metric == "accuracy":            # resampling 0/1 values is a binomial draw
        if set(np.unique(scores)) <= {0.0, 1.0}:
            totals = 100 * rng.binomial(n, scores.mean(), draws) / n
        else:
            raise ValueError("accuracy needs scores of 0 and 1")
    else:                               # counted draws: a seventh of a multinomial's time
        sums = np.stack([np.bincount(rng.integers(0, n, n, dtype=np.int32), minlength=n) @ scores
                         for _ in range(draws)])                   # (draws, 2)
        totals = 1 - sums[:, 0] / sums[:, 1]
    low, high = np.percentile(totals, [2.5, 97.5])
    return float(low), float(high)


def t_interval(values, level: float = 0.95) -> tuple[float, float, float]:
    """Mean and its t interval over independent values (seeds, folds, subjects); nan for one."""
    values = np.asarray(values, float)
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return mean, float("nan"), float("nan")
    half = stats.t.ppf(0.5 + level / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)
    return mean, mean - half, mean + half


def summary(frame: pd.DataFrame, by: tuple[str, ...] = ("task", "model", "setting")
            ) -> pd.DataFrame:
    """Mean score of each group of rows with its 95 % interval, and what the interval is over.

    Over folds where there are several (seeds averaged within each), else over seeds, else over
    draws, else the row's own bootstrap over test examples. Columns: by…, metric, score, low, high,
    over, runs, score2 and the medians of params, size_bytes, macs, spent_s.
    """
    lines = []
    for key, group in frame.groupby(list(by), dropna=False, sort=False):
        over = next((c for c in ("fold", "seed", "draw") if group[c].nunique() > 1), None)
        if over:
            mean, low, high = t_interval(group.groupby(over).score.mean())
        else:
            mean, low, high = (group[c].mean() for c in ("score", "score_low", "score_high"))
        counts = {c: group[c].median() for c in ("params", "size_bytes", "macs", "spent_s")}
        lines.append({**dict(zip(by, key, strict=True)), "metric": group.metric.iloc[0],
                      "score": mean, "low": low, "high": high, "over": f"{over or 'example'}s",
                      "runs": len(group), "score2": group.score2.mean(), **counts})
    return pd.DataFrame(lines, columns=None if lines else [
        *by, "metric", "score", "low", "high", "over", "runs", "score2", "params", "size_bytes",
        "macs", "spent_s"])


def prediction(values) -> tuple[float, float]:
    """95 % interval in which one more value of the same kind lies: mean ± t·s·√(1 + 1/n)."""
    mean, low, _ = t_interval(values)
    half = (mean - low) * np.sqrt(len(values) + 1)
    return mean - half, mean + half
