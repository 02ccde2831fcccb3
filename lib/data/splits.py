"""Who is in which part: five parts that never change, and the Task that one choice of them makes.

Each row (or each subject) belongs to one of five parts, stored under data/splits. Fold k is tested
on part k, validated on part k+1 (mod 5) and trained on the other three, so five folds test every
row once. A stored file is either one digit per row, or (`.subjects.txt`) five lines of subjects.
"""

import hashlib
import json

import numpy as np
import PIL
import torch
from torch import Tensor

from lib.base import paths
from lib.base.metric import METRICS
from lib.data.batches import AT_A_TIME, ImageFiles
from lib.data.sources import DataError
from lib.data.task import Split, Task

PARTS = 5


def stratified(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """The part of each row (n,): rows are shuffled, then dealt out like cards, class by class.

    RandomState, because its stream is frozen for good (numpy NEP 19)."""
    order = np.random.RandomState(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    part = np.empty(len(labels), np.int64)
    part[order] = np.arange(len(labels)) % PARTS
    return part


def grouped(group: np.ndarray) -> np.ndarray:
    """The part of each row (n,), subjects kept whole: the largest subject first, each into the
    lightest of the parts that have the fewest subjects."""
    subjects, counts = np.unique(group, return_counts=True)
    if len(subjects) < PARTS:
        raise DataError(f"there are {len(subjects)} groups, but {PARTS} folds by group need at "
                        f"least {PARTS}: leave the groups out, or add some.")
    rows, members = np.zeros(PARTS, int), [[] for _ in range(PARTS)]
    for s in np.argsort(-counts, kind="stable"):
        k = min(range(PARTS), key=lambda k: (len(members[k]), rows[k]))
        members[k].append(subjects[s])
        rows[k] += counts[s]
    return _of_subjects(members, group)


def _of_subjects(members: list, group: np.ndarray) -> np.ndarray:
    part = np.full(len(group), -1)
    for k, subjects in enumerate(members):
        part[np.isin(group, subjects)] = k
    return part


def stored(name: str, rows: int, group: np.ndarray | None = None) -> np.ndarray:
    """The committed part of each row of task `name` (n,); DataError if it does not fit the rows."""
    path = paths.SPLITS / (f"{name}.txt" if group is None else f"{name}.subjects.txt")
    try:
        text = paths.reads(path).read_text()
        part = (np.array([int(digit) for digit in "".join(text.split())]) if group is None
                else _of_subjects([[int(s) for s in k.split()] for k in text.splitlines()], group))
        fits = len(part) == rows and set(part) == set(range(PARTS))
    except (OSError, ValueError):
        fits = False
    if not fits:
        raise DataError(f"{path} does not give each of the {rows} rows of {name} one of {PARTS} "
                        f"parts: restore it with git checkout.")
    return part


def of_fold(part: np.ndarray, fold: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers of train, val and test."""
    test, val = part == fold, part == (fold + 1) % PARTS
    return np.flatnonzero(~(test | val)), np.flatnonzero(val), np.flatnonzero(test)


def divide(name: str, kind: str, x: np.ndarray | Tensor | ImageFiles, y: np.ndarray,
           rows: tuple[np.ndarray, np.ndarray, np.ndarray], *, source: str,
           classes: tuple[str, ...] = (), group: np.ndarray | None = None, fold: int | None = None,
           features: tuple[str, ...] = (), scaling: tuple | None = None,
           metric: str = "", ref: list[str] | None = None) -> Task:
    """The Task of inputs x (n, C, …), y (n,), group (n,) and the row numbers of its three parts.

    x is float32, of which each part gets a copy, or uint8 for images, which all parts share and
    which become floats in [0, 1] batch by batch. mean and std (C,), and those of a regression's
    target, are the training part's, unless `scaling` = (mean, std) gives them; then the target
    stays as it is. metric: "" is accuracy of classes, R² of numbers; ref: (n,) examples in words.
    The hash covers inputs, targets, rows and given scaling, and nothing that rounds differently on
    another machine: scales count to six digits."""
    stored = torch.from_numpy(np.ascontiguousarray(x)) if isinstance(x, np.ndarray) else x
    _sound(name, stored, y, len(classes), rows)
    y = np.ascontiguousarray(y, np.int64 if classes else np.float64)
    centre, spread = 0.0, 1.0
    if not classes and scaling is None:
        centre, spread = float(y[rows[0]].mean()), float(y[rows[0]].std()) or 1.0
    scales = [f"{v:.6g}" for v in (centre, spread, *(np.ravel(scaling) if scaling else ()))]
    dtype = str(stored.dtype).removeprefix("torch.")
    about = repr((kind, classes, tuple(stored.shape), dtype, scales))
    arrays = (y, *rows) if group is None else (y, *rows, group)
    read = _read_once if isinstance(stored, ImageFiles) else _read
    found, counts = read(about, stored, arrays, rows[0])
    mean, std = scaling or _scale(stored, counts, rows[0])
    target = y if classes else ((y - centre) / spread).astype(np.float32)
    train, val, test = (_part(stored, target, group, ref, chosen) for chosen in rows)
    return Task(name=name, kind=kind, metric=METRICS[metric or ("accuracy" if classes else "r2")],
                classes=classes, inputs=tuple(stored.shape[1:]), outputs=len(classes) or 1,
                source=source, mean=torch.tensor(mean, dtype=torch.float32),
                std=torch.tensor(std, dtype=torch.float32), train=train, val=val, test=test,
                hash=found, fold=fold, target_mean=centre, target_std=spread,
                features=features)


def _sound(name: str, stored: Tensor | ImageFiles, y: np.ndarray, classes: int,
           rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """DataError for inputs or targets that no file of this task can rightly hold."""
    fault = None
    if not all(len(part) for part in rows):
        fault = "no example in one of its three parts"
    elif isinstance(stored, Tensor) and stored.dtype.is_floating_point and not bool(
            stored.isfinite().all()):
        fault = "inputs that are not finite numbers"
    elif not np.isfinite(y).all():
        fault = "targets that are not finite numbers"
    elif classes and not (0 <= y.min() and y.max() < classes):
        fault = f"classes numbered {y.min()} to {y.max()}, but names for {classes}"
    if fault:
        raise DataError(f"{name} has {fault}: replace its files by the authors', or correct them.")


def _part(stored: Tensor | ImageFiles, target: np.ndarray, group: np.ndarray | None,
          ref: list[str] | None, chosen: np.ndarray) -> Split:
    numbers = torch.from_numpy(chosen)
    y = torch.from_numpy(target[chosen])
    subjects = None if group is None else torch.from_numpy(group[chosen].astype(np.int64))
    words = None if ref is None else [ref[number] for number in chosen]
    if stored.dtype == torch.uint8:
        return Split(stored, y, subjects, words, rows=numbers)
    own = stored[numbers]               # numbers of word pieces stay whole
    return Split(own.float() if stored.dtype.is_floating_point else own, y, subjects, words)


def _read(about: str, stored: Tensor | ImageFiles, arrays: tuple[np.ndarray, ...],
          chosen: np.ndarray) -> tuple[str, np.ndarray | None]:
    """The hash of a task; and of images in bytes, how often each value occurs in each channel of
    the chosen rows (C, 256). One pass over the inputs, some at a time."""
    images = stored.dtype == torch.uint8
    counts = np.zeros((stored.shape[1], 256), np.int64) if images else None
    is_chosen = torch.zeros(len(stored), dtype=torch.bool)
    is_chosen[torch.from_numpy(chosen)] = True
    digest = hashlib.sha256(about.encode())
    for start in range(0, len(stored), AT_A_TIME):
        these = slice(start, start + AT_A_TIME)
        some = stored[these].contiguous()
        digest.update(some.numpy())
        if images:
            counted = some[is_chosen[these]]
            for c in range(len(counts)):
                counts[c] += torch.bincount(counted[:, c].flatten(), minlength=256).numpy()
    digest.update(str(tuple(stored.shape)).encode())
    _add(digest, arrays)
    return digest.hexdigest(), counts


def _read_once(about: str, stored: ImageFiles, arrays: tuple[np.ndarray, ...],
               chosen: np.ndarray) -> tuple[str, np.ndarray]:
    """The same of images in files, kept under data/cache: to decode ImageNet takes an hour."""
    key = hashlib.sha256(repr((about, stored.content, PIL.__version__)).encode())
    _add(key, arrays)
    path = paths.CACHE / "images" / f"{key.hexdigest()}.json"
    try:
        kept = json.loads(path.read_text())
        return kept["hash"], np.array(kept["counts"], np.int64)
    except (OSError, ValueError, KeyError):             # not read yet, or half a file
        found, counts = _read(about, stored, arrays, chosen)
    paths.write_atomic(path, json.dumps({"hash": found, "counts": counts.tolist()}))
    return found, counts


def _add(digest, arrays: tuple[np.ndarray, ...]) -> None:
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
        digest.update(str(array.shape).encode())


def _scale(stored: Tensor | ImageFiles, counts: np.ndarray | None,
           chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per channel (C,) of the chosen rows, of bytes as of bytes / 255.

    Bytes are counted (C, 256), which is exact however they are read, and five times faster than
    summing floats."""
    if counts is None:
        x = stored[torch.from_numpy(chosen)].numpy()
        axes = (0, *range(2, x.ndim))
        mean = x.mean(axes, dtype=np.float64)
        std = x.std(axes, dtype=np.float64)
        return mean, np.where(std > 1e-6 * abs(mean), std, 1)   # a constant column stays finite
    levels = np.arange(256) / 255
    mean = counts @ levels / counts.sum(1)
    variance = counts @ levels**2 / counts.sum(1) - mean**2
    return mean, np.sqrt(np.where(variance > 1e-9, variance, 1))
