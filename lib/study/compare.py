"""Did my rows come back? Mine against the committed ones, row by row.

A row made from the committed weights must be the same: within 0.1 points and alike on 99.5 % of
the examples. A row whose net was trained anew must lie where one more seed would lie. The bootstrap
over test examples is no yardstick here: it would let a bug of half a point pass.
"""

import re
import sys
from collections import Counter

import numpy as np
import pandas as pd
from safetensors import safe_open

from lib import tables
from lib.base import paths
from lib.study import cache

POINTS = {"accuracy": 0.1}          # percent; any other metric: 0.1 points of 1, that is 0.001
ALIKE = 0.995
DISPLACED = ("device", "threads")   # parts of the key that another machine may change
TRAINED = ("qat", "prune", "distill", "search")     # methods that train: their rows vary by machine


def compare(profile: str | None = None) -> int:
    """Print a verdict for every committed row of the notebooks that `profile` ran: same, within,
    OUT or MISSING; 1 if a row is out or missing. Default: full, or else the study run last."""
    theirs, profile = _tables("published"), profile or _latest()
    mine = _tables(profile) if profile else {}
    if not theirs or not mine:
        print("there are no committed rows to compare with" if not theirs else
              f"there are no rows of {profile!r} to compare; run ./run_all.sh full first"
              if profile else "nothing was run yet; run ./run_all.sh full first", file=sys.stderr)
        return 1
    total: Counter = Counter()
    for stem, (table, scores) in theirs.items():
        if stem not in mine:
            print(f"{stem}: not run in {profile!r}")
            continue
        verdicts = judge(table, mine[stem][0], scores, mine[stem][1])
        print(f"{stem}: {profile!r} against the committed rows")
        for verdict, sentence in verdicts:
            print(f"  {verdict:<8}{sentence}")
        total.update(verdict for verdict, _ in verdicts)
    print(", ".join(f"{count} {verdict}" for verdict, count in total.items())
          + ("; of rows trained anew, one in twenty is out by chance "
             f"({(total['within'] + total['OUT']) / 20:.0f} here)" if total["OUT"] else ""))
    return int(bool(total["OUT"] + total["MISSING"]) or not total)


def judge(theirs: pd.DataFrame, mine: pd.DataFrame, their_scores: dict, my_scores: dict
          ) -> list[tuple[str, str]]:
    """(verdict, sentence) for every scored row of `theirs`; scores: key -> value per example."""
    found, loose = {}, {}
    for _, row in mine.iterrows():
        found[_key(row)] = row
        loose[_key(row, DISPLACED)] = row
    verdicts = []
    for _, row in theirs[theirs.score.notna()].iterrows():
        label = " ".join(row[c] for c in ("task", "model", "setting", "split")) + "".join(
            f" {c} {row[c]:g}" for c in ("seed", "fold", "draw") if pd.notna(row[c]))
        own = found.get(_key(row), loose.get(_key(row, DISPLACED)))
        if own is None or pd.isna(own.score):
            verdicts.append(("MISSING", label))
            continue
        alike = _alike(their_scores.get(_key(row)), my_scores.get(_key(own)))
        close = abs(own.score - row.score) <= POINTS.get(row.metric, 0.001) + 1e-9
        numbers = f"{row.score:.4f} → {own.score:.4f}" + (
            "" if alike is None else f", {100 * alike:.1f} % of examples alike")
        if close and (alike is None or alike >= ALIKE):
            verdicts.append(("same", f"{label}: {numbers}"))
        elif from_committed_weights(row):
            verdicts.append(("OUT", f"{label}: {numbers}, though from the committed weights"))
        else:
            low, high, over = interval(theirs, row)
            verdicts.append(("within" if low <= own.score <= high else "OUT",
                             f"{label}: {numbers}, expected in [{low:.4f}, {high:.4f}] {over}"))
    return verdicts


def interval(table: pd.DataFrame, row: pd.Series) -> tuple[float, float, str]:
    """Where one more seed would lie, and what that is taken from.

    mean ± t(n−1) s √(1 + 1/n) over the committed seeds of the same model on the same fold, or over
    its folds where there is one seed. One run alone says nothing of another: it must come back.
    """
    same = table
    for column in ("task", "model", "method", "setting", "split"):
        same = same[same[column] == row[column]]
    fold = same[same.fold.eq(row.fold) | (same.fold.isna() & pd.isna(row.fold))]
    values, over = (fold.score, "seeds") if fold.seed.nunique() > 1 else (same.score, "folds")
    n, mean, least = len(values), values.mean(), POINTS.get(row.metric, 0.001)
    low, high = tables.prediction(values) if n > 1 else (mean, mean)
    return min(low, mean - least), max(high, mean + least), f"({n} {over if n > 1 else 'run only'})"


def from_committed_weights(row: pd.Series) -> bool:
    """Is there a committed file of this row's net, and did this machine not train its own?"""
    if row.method in TRAINED or " recipe=" in row.setting:
        return False
    step = f"train {row.task} {row.model.split()[0]} seed {row.seed:g}" if pd.notna(
        row.seed) else ""
    step += f" fold {row.fold:g}" if pd.notna(row.fold) else ""
    committed = [tensors for said, tensors in map(_weights, paths.WEIGHTS.glob("*.safetensors"))
                 if said == step]
    slug = re.sub(r"[^A-Za-z0-9]+", "-", step)[:80].strip("-")
    own = [tensors for said, tensors in map(_weights, paths.CACHE.glob(f"{slug}-*.safetensors"))
           if said == step]
    return any(not own or any(_same(tensors, other) for other in own) for tensors in committed)


def _weights(path) -> tuple[str, dict[str, np.ndarray]]:
    with safe_open(path, framework="numpy") as file:
        return cache.header(file)["step"], {name: file.get_tensor(name) for name in file.keys()}


def _same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name]) for name in one)


def _alike(theirs: np.ndarray | None, mine: np.ndarray | None) -> float | None:
    """Share of examples with the same value: right or wrong, or the same squared error to within
    a thousandth of the mean squared deviation."""
    if theirs is None or mine is None or theirs.shape != mine.shape:
        return None
    if theirs.ndim == 1:
        return float((theirs == mine).mean())
    return float((np.abs(theirs[:, 0] - mine[:, 0]) <= 1e-3 * theirs[:, 1].mean()).mean())


def _key(row: pd.Series, without: tuple[str, ...] = ()) -> str:
    """A row's key as tables.save writes it beside the scores."""
    return "|".join("None" if pd.isna(row[c]) else f"{row[c]:g}" if isinstance(row[c], float)
                    else str(row[c]) for c in tables.KEY if c not in without)


def _tables(profile: str) -> dict[str, tuple[pd.DataFrame, dict[str, np.ndarray]]]:
    """Rows and scores per example of each notebook that has rows."""
    paths.profile(profile)
    stems = sorted(p.stem for p in paths.run_folder().glob("[0-9][0-9]_*.npz"))
    return {stem: (table, tables.load_scores(stem)) for stem in stems
            if len(table := tables.load(stem))}


def _latest() -> str | None:
    """full, if it was run; otherwise the profile whose rows are newest."""
    rows = [p for p in paths.RUNS.glob("*/[0-9][0-9]_*.csv")]
    if any(p.parent.name == "full" for p in rows):
        return "full"
    return max(rows, key=lambda p: p.stat().st_mtime).parent.name if rows else None
