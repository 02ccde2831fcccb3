"""Did my rows come back? Mine against the committed ones, row by row.

A row made from the same weights must be the same: within a tenth of a point and alike on 99.5 % of
the examples. A row whose net was trained anew may differ by what two trainings differ by: as seeds
on the same fold do, where there are several; else by no more than the very same examples, answered
by both, leave open. Folds say nothing of that: they differ by their data.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from safetensors import safe_open
from scipy import stats

from lib.base import names, paths
from lib.base.metric import METRICS
from lib.base.setting import FIELDS
from lib.study import cache
from lib.tables import store
from lib.tables.rows import KEY, identify, setting_of

CLOSE = 0.1                         # of the metric's tolerance: 0.1 points, or 0.001 of R²
ALIKE = 0.995                       # share of the examples
WIDE = 10                           # of the metric's tolerance: such an interval excludes little
EQUAL = 1e-9                        # of a score: what sums in another order may differ by
DISPLACED = ("device", "threads")   # parts of the key that another machine may change
ELSEWHERE = tuple(name for name in KEY if name not in DISPLACED)
REPEATED = ("task", "model", *FIELDS, "split")      # alike in the rows of several seeds


class Kept(NamedTuple):
    """What one run of a notebook left: its rows, their scores by id, and the steps it took."""

    rows: pd.DataFrame
    scores: dict[str, np.ndarray]
    steps: list[dict]


def compare(profile: str | None = None) -> int:
    """Print a verdict for every committed row of the notebooks that `profile` ran: same, within,
    wide (within an interval that excludes little), OUT or MISSING; 1 if a row is out or missing.
    Default: full, or else the study run last."""
    theirs, profile = _kept("published"), profile or _latest()
    mine = _kept(profile) if profile else {}
    if not theirs or not mine:
        print("there are no committed rows to compare with" if not theirs else
              f"there are no rows of {profile!r} to compare; run ./run_all.sh full first"
              if profile else "nothing was run yet; run ./run_all.sh full first", file=sys.stderr)
        return 1
    total: Counter = Counter()
    for stem, committed in theirs.items():
        if stem not in mine:
            print(f"{stem}: not run in {profile!r}")
            continue
        verdicts = judge(committed, mine[stem])
        print(f"{stem}: {profile!r} against the committed rows")
        for verdict, sentence in verdicts:
            print(f"  {verdict:<8}{sentence}")
        total.update(verdict for verdict, _ in verdicts)
    anew = total["within"] + total["wide"] + total["OUT"]
    print(", ".join(f"{count} {verdict}" for verdict, count in total.items())
          + (f"; of rows trained again, one in twenty is out by chance ({anew / 20:.0f} here)"
             if total["OUT"] else ""))
    return int(bool(total["OUT"] + total["MISSING"]) or not total)


def judge(theirs: Kept, mine: Kept) -> list[tuple[str, str]]:
    """(verdict, sentence) for every scored row of `theirs`."""
    found = {row.id: row for row in mine.rows.itertuples()}
    loose = {_identity(row, ELSEWHERE): row for row in mine.rows.itertuples()}
    scored = theirs.rows[theirs.rows.score.notna()]
    kinds = pd.Series([_identity(row, REPEATED) for row in scored.itertuples()], scored.index)
    repeats = dict(list(scored.groupby(kinds)))
    verdicts = []
    for row in scored.itertuples():
        own = found.get(row.id, loose.get(_identity(row, ELSEWHERE)))
        if own is None or pd.isna(own.score):
            verdicts.append(("MISSING", _label(row)))
            continue
        old, new = theirs.scores.get(row.id), mine.scores.get(own.id)
        alike = _alike(row, old, new)
        close = abs(own.score - row.score) <= _least(row) + EQUAL
        sentence = f"{_label(row)}: {row.score:.4f} → {own.score:.4f}" + (
            "" if alike is None else f", {100 * alike:.1f} % of examples alike")
        if close and (alike is None or alike >= ALIKE):
            verdicts.append(("same", sentence))
        elif row.model in names.BY_OTHERS or from_committed_weights(row, mine.steps):
            verdicts.append(("OUT", f"{sentence}, though from the same weights"))
        else:
            low, high, over = interval(repeats[_identity(row, REPEATED)], row, old, new)
            inside = "wide" if high - low > WIDE * METRICS[row.metric].tolerance else "within"
            verdicts.append((inside if low <= own.score <= high else "OUT",
                             f"{sentence}, expected in [{low:.4f}, {high:.4f}] ({over})"))
    return verdicts


def interval(same: pd.DataFrame, row, theirs: np.ndarray | None = None,
             mine: np.ndarray | None = None) -> tuple[float, float, str]:
    """Where a training anew may end, and what that is taken from; a tenth of a point is always
    allowed.

    same: the committed rows of the same model and setting; theirs, mine: scores per example of the
    committed row and of the new one. Over seeds, where a fold has several: the fold's mean ±
    t s √(1 + 1/n), with the spread s within folds from all of them. Else the 95 % interval of the
    paired difference over the examples must hold 0: score ± half of it. Without scores of both
    nothing is known of what two trainings differ by, and the row must come back.
    """
    least = _least(row)
    same = same[same.draw.isna() if pd.isna(row.draw) else same.draw == row.draw]
    folds = same.fold.fillna(-1)
    free = len(same) - folds.nunique()
    if same.groupby(folds).seed.nunique().max() > 1:
        here = same.score[folds == (-1 if pd.isna(row.fold) else row.fold)]
        spread = np.sqrt(((same.score - same.groupby(folds).score.transform("mean"))**2).sum()
                         / free)
        half = stats.t.ppf(0.975, free) * spread * np.sqrt(1 + 1 / len(here))
        return (min(here.mean() - half, row.score - least),
                max(here.mean() + half, row.score + least), f"{len(same)} seeds and folds")
    if theirs is None or mine is None or theirs.shape != mine.shape:
        return row.score - least, row.score + least, "one run only"
    metric = METRICS[row.metric]
    low, high = metric.paired_interval(metric.paired(theirs, mine, row.score))
    half = max((high - low) / 2, least)
    return row.score - half, row.score + half, f"paired, {len(mine)} examples"


def from_committed_weights(row, steps: list[dict]) -> bool:
    """Is there a committed file of this row's net, and did the run not train its own?

    steps: of the run's provenance. A step that used another file of the cache counts as its own
    training where that file holds another key or other weights than the committed one.
    """
    step = training(row)
    committed = cache.committed(step)
    if not committed.exists():
        return False
    files = {used["file"] for used in steps if used["step"] == step}
    own = [paths.CACHE / name for name in sorted(files) if (paths.CACHE / name).exists()]
    key, arrays = _entry(committed)
    for other_key, others in map(_entry, own):
        if key == other_key and arrays.keys() == others.keys() and all(
                np.array_equal(arrays[name], others[name]) for name in arrays):
            return True
    return not own


def training(row) -> str:
    """The step that trained a row's net, or trained it on, as `recipes` names it."""
    setting = setting_of(row)
    repeat = [f"{name} {getattr(row, name):g}" for name in ("seed", "fold")
              if pd.notna(getattr(row, name))]
    if setting.trains:
        words = [f"train {row.task} {row.model} {setting.training}", *repeat]
    else:
        words = [f"train {row.task} {row.model}", row.sizes,
                 *(f"{name}={getattr(row, name):g}" for name in ("epochs", "lr", "batch_size")
                   if pd.notna(getattr(row, name))),
                 *repeat, f"recipe {row.recipe}" if row.recipe not in ("", "ours") else ""]
    return " ".join(word for word in words if word)


def _entry(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Key and weights of an entry of the cache, or of its committed copy."""
    with safe_open(path, framework="numpy") as file:
        return cache.header(file)["key"], {name: file.get_tensor(name) for name in file.keys()}


def _alike(row, theirs: np.ndarray | None, mine: np.ndarray | None) -> float | None:
    """Share of examples whose value moves the score by no more than may be, n times over: right or
    wrong alike, or squared errors within a thousandth of the mean squared deviation."""
    if theirs is None or mine is None or theirs.shape != mine.shape:
        return None
    if np.array_equal(theirs, mine):        # of models that make no error as well
        return 1.0
    moved = METRICS[row.metric].paired(theirs, mine, row.score)
    return float((np.abs(moved) <= _least(row)).mean())


def _least(row) -> float:
    """By how much a score may differ whatever happened."""
    return CLOSE * METRICS[row.metric].tolerance


def _identity(row, columns: tuple[str, ...]) -> str:
    return identify(tuple(getattr(row, name) for name in columns))


def _label(row) -> str:
    return f"{row.task} {row.model} {setting_of(row)} {row.split}" + "".join(
        f" {name} {getattr(row, name):g}" for name in ("seed", "fold", "draw")
        if pd.notna(getattr(row, name)))


def _kept(profile: str) -> dict[str, Kept]:
    """What each notebook with rows left in this profile."""
    paths.profile(profile)
    stems = sorted(path.stem for path in paths.run_folder().glob("[0-9][0-9]_*.npz"))
    return {stem: Kept(rows, store.load_scores(stem), store.provenance(stem).get("steps", []))
            for stem in stems if len(rows := store.load(stem))}


def _latest() -> str | None:
    """full, if it was run; otherwise the profile whose rows are newest."""
    rows = paths.RUNS.glob("*/[0-9][0-9]_*.csv")
    newest = max(rows, key=lambda p: (p.parent.name == "full", p.stat().st_mtime), default=None)
    return newest and newest.parent.name
