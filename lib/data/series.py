"""Acceleration series: UniMiB SHAR's falls and daily activities, USC-HAD; split by subject."""

import functools
import io
import re

import numpy as np
from scipy.io import loadmat
from scipy.signal import resample_poly

from lib.data import splits
from lib.data.catalogue import RAW_FILES
from lib.data.sources import FILES, DataError, digest, fetch, member, unpack
from lib.data.task import Task

ADL = ("StandingUpFS", "StandingUpFL", "Walking", "Running", "GoingUpS", "Jumping", "GoingDownS",
       "LyingDownFS", "SittingDown")
FALLS = ("FallingForw", "FallingRight", "FallingBack", "HittingObstacle", "FallingWithPS",
         "FallingBackSC", "Syncope", "FallingLeft")
USC = ("WalkingForward", "WalkingLeft", "WalkingRight", "WalkingUpstairs", "WalkingDownstairs",
       "RunningForward", "JumpingUp", "Sitting", "Standing", "Sleeping", "ElevatorUp",
       "ElevatorDown")
GREEN = {"val": (1, 9, 16, 23, 25, 28), "test": (2, 3, 13, 17, 18, 30)}   # his load_data.py
FALL_WINDOWS = "data/split/split51/fall_splitted_data5_folds.mat"
WINDOW = 151       # samples, 3 s at 50 Hz: UniMiB SHAR's window, so one network fits both sets


def load(name: str, variant: str | None, fold: int | None) -> Task:
    """unimib_adl (variant "green": the one split by subject of the earlier study), unimib_falls
    (variant "random": random folds over all rows, twins included, as the literature does: a leak),
    usc_had. Everything else has five folds in which every subject is tested once."""
    file = RAW_FILES[name][0]
    read, classes, note = {
        "unimib_adl": (_adl, ADL, "daily activities, 151 samples at 50 Hz, m/s²"),
        "unimib_falls": (_falls, FALLS, "falls, 51 samples at 50 Hz, m/s²"),
        "usc_had": (_usc, USC, "acceleration in g, resampled to 50 Hz, 151 samples"),
    }[name]
    try:
        x, y, group = read(digest(file))
    except (ValueError, LookupError, TypeError, OverflowError, MemoryError) as error:
        raise DataError(f"{fetch(file)} holds other matrices than {name} needs "
                        f"({type(error).__name__}): replace it by the authors' file.") from error
    source = f"{FILES[file].line}; {note}"
    if name == "unimib_falls" and variant is None:
        first = np.sort(np.unique(x, axis=0, return_index=True)[1])
        source += f"; {len(x) - len(first)} exact twins dropped"
        x, y, group = x[first], y[first], group[first]
    if variant == "green":
        rows = tuple(np.flatnonzero(chosen) for chosen in (
            ~np.isin(group, GREEN["val"] + GREEN["test"]),
            np.isin(group, GREEN["val"]), np.isin(group, GREEN["test"])))
    else:
        stored = splits.stored(f"{name}@{variant}", len(y)) if variant else \
            splits.stored(name, len(y), group)
        rows = splits.of_fold(stored, fold)
    return splits.divide(f"{name}@{variant}" if variant else name, "series", x, y, rows,
                         classes=classes, group=group, fold=fold, source=source)


def _matrix(content: bytes, key: str, where: str) -> np.ndarray:
    try:
        found = loadmat(io.BytesIO(content), variable_names=[key])[key]
        if found.dtype.kind not in "fiuO":
            raise TypeError(f"{key} holds {found.dtype}")
        return found
    except Exception as error:      # scipy's reader raises what it meets: struct, zlib, memory …
        raise DataError(f"{where} is not a .mat file with a matrix {key!r} "
                        f"({type(error).__name__}): replace it by the authors' file.") from error


# Parsed sets are kept while the process lives, under their file's sha256: five folds, one read.
@functools.lru_cache(maxsize=1)
def _falls(key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (4170, 3, 51), class, subject. The windows come by class, without subjects: those of
    class c are the first n of it in the labels (checked: all twins then share a subject)."""
    name = "UniMiB-SHAR.zip"
    cells = _matrix(member(name, FALL_WINDOWS), "splitted_data", FALL_WINDOWS).ravel()
    labels = _matrix(member(name, "data/fall_labels.mat"), "fall_labels", "fall_labels.mat")
    x = np.concatenate(list(cells)).astype(np.float32).reshape(-1, 3, 51)
    y = np.repeat(np.arange(len(cells)), [len(cell) for cell in cells])
    group = np.concatenate([labels[labels[:, 0] == c + 1, 1][:len(cell)]
                            for c, cell in enumerate(cells)])
    return x, y, group.astype(np.int64)


@functools.lru_cache(maxsize=1)
def _adl(key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (7579, 3, 151), class, subject, from rows of 151 x, 151 y, 151 z."""
    name = "UniMiB-SHAR.zip"
    x = _matrix(member(name, "data/adl_data.mat"), "adl_data", "adl_data.mat")
    labels = _matrix(member(name, "data/adl_labels.mat"), "adl_labels", "adl_labels.mat")
    if x.shape != (len(labels), 3 * WINDOW) or labels.ndim != 2 or labels.shape[1] < 2:
        raise DataError(f"{fetch(name)} has adl_data {x.shape} beside adl_labels {labels.shape}, "
                        f"not (n, {3 * WINDOW}) and (n, 3): replace it by the authors' file.")
    labels = labels.astype(np.int64)
    return x.astype(np.float32).reshape(-1, 3, WINDOW), labels[:, 0] - 1, labels[:, 1]


@functools.lru_cache(maxsize=1)
def _usc(key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (8832, 3, 151), class, subject, from one .mat per subject, activity and trial.

    100 Hz become 50 Hz (zero-phase low pass, then every second sample). Windows follow one another
    without overlap: none shares samples with another, and an epoch costs half of what the usual
    half-overlapping windows cost; what is left at the end of a trial is dropped. The numbers come
    from the file names, for some files misspell the field `activity_number`."""
    found = unpack("USC-HAD.zip", r"Subject\d+/a\d+t\d+\.mat")
    if len(found) != 14 * 12 * 5:
        raise DataError(f"{fetch('USC-HAD.zip')} holds {len(found)} recordings, not 840: replace "
                        "it by the authors' file.")
    xs, ys, groups = [], [], []
    for path in sorted(found):
        subject, activity, _ = map(int, re.search(r"Subject(\d+)/a(\d+)t(\d+)", path).groups())
        readings = _matrix(found[path], "sensor_readings", path)[:, :3].astype(np.float64)
        slow = resample_poly(readings, 1, 2, axis=0, padtype="line")
        count = len(slow) // WINDOW
        windows = slow[:count * WINDOW].reshape(count, WINDOW, 3).transpose(0, 2, 1)
        xs.append(np.round(windows, 5))       # far below the sensor's step; equal on every machine
        ys += [activity - 1] * count
        groups += [subject] * count
    return np.concatenate(xs).astype(np.float32), np.array(ys), np.array(groups)
