"""What there is, known without loading it: kinds, folds, files and their content; no torch here.

A named task is made from files of sources.toml or comes with scikit-learn, and from a stored split;
a reader's own ("csv:PATH#TARGET", "imagefolder:PATH", "npz:PATH") from the files it names.
"""

import functools
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import numpy as np

from lib.base import names, paths
from lib.data import sources
from lib.data.sources import DataError

TABULAR = ("telescope", "churn", "mv", "california", "breast_cancer", "diabetes")
SERIES = ("har_synthetic", "unimib_adl", "unimib_falls", "usc_had")
TEXT = ("sst2", "cola", "squad")
OWN = {"csv": "tabular", "imagefolder": "image", "npz": None}      # None: its array tells

RAW_FILES = {                       # of sources.toml, in the order in which they are read
    "telescope": ("telescope.dat",), "churn": ("churn.csv",), "mv": ("mv.dat",),
    "california": ("california.dat",),
    "fashion_mnist": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
                      "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
    "imagenet": ("imagenet-sample.zip",),
    "cifar10": ("cifar-10-binary.tar.gz",), "cifar100": ("cifar-100-binary.tar.gz",),
    "unimib_adl": ("UniMiB-SHAR.zip",), "unimib_falls": ("UniMiB-SHAR.zip",),
    "usc_had": ("USC-HAD.zip",), "sst2": ("SST-2.zip", "bert-base-uncased-vocab.txt"),
    "cola": ("CoLA.zip", "bert-base-uncased-vocab.txt"),
    "squad": ("train-v1.1.json", "dev-v1.1.json", "bert-base-uncased-vocab.txt"),
}
FEWER_FILES = {"squad@dev": RAW_FILES["squad"][1:]}                 # of a variant
BUNDLED = ("digits", "breast_cancer", "diabetes")                   # with scikit-learn
# These come with one split: the authors' own test set, or that of an earlier study.
ONE_SPLIT = ("fashion_mnist", "cifar10", "cifar100", "imagenet", "sst2", "cola", "squad")
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
TOML = Path(sources.__file__).with_suffix(".toml")


def folds(name: str, wanted=range(5)) -> list[int | None]:
    """Those of the `wanted` folds that the task has; [None] where it comes with one split only."""
    base, variant = names.task_name(name)
    return [None] if variant in ("edge", "green") or base in ONE_SPLIT else list(wanted)


def kind(name: str) -> str:
    """tabular, image, series or text; of an .npz from the header of its x, not read further."""
    base, _ = names.task_name(name)
    own = base.split(":", 1)[0]
    if own == "npz":
        return "image" if len(_shape(place(base))) == 4 else "series"
    if own in OWN:
        return OWN[own]
    named = {"tabular": TABULAR, "series": SERIES, "text": TEXT}
    return next((kind for kind, tasks in named.items() if base in tasks), "image")


def raw_files(name: str) -> tuple[str, ...]:
    """The files of sources.toml that a named task is made from; none of another's."""
    base, _ = names.task_name(name)
    return FEWER_FILES.get(name, RAW_FILES.get(base, ()))


def files(name: str) -> list[Path]:
    """All files whose content the task depends on; DataError if one is missing and cannot be
    fetched, or where a folder holds no image."""
    base, _ = names.task_name(name)
    own = base.split(":", 1)[0]
    if own == "imagefolder":
        return images(place(base))
    if own in OWN:
        return [existing(place(base))]
    raw = [sources.found(file) for file in raw_files(name)]
    split = split_file(name)
    if split is not None and not split.is_file():
        raise DataError(f"{split} is missing: restore it with git checkout.")
    return [*raw, *([TOML] if raw else []), *([split] if split else [])]


def content(name: str) -> dict[str, str]:
    """What a task's data are, as {file as a reader knows it: sha256}: the cache key of what is made
    from them before they are loaded.

    A file of sources.toml goes by its name wherever it lies, beside the hash of its own entry
    there, so that another task's entry changes nothing; a folder of images is one line, a hash of
    names and contents; scikit-learn's version stands for its bundled sets. Unchanged files are
    hashed once a process: a call costs a look at each file's size and time."""
    base, _ = names.task_name(name)
    own = base.split(":", 1)[0]
    if own == "imagefolder":
        root = place(base)
        return {paths.shown(root): together(image_hashes(root))}
    told = {}
    for path in files(name):
        if path.name in raw_files(name):
            entry = repr(sorted(asdict(sources.FILES[path.name]).items()))
            told[path.name] = sources.hashed(path)
            told[f"{paths.shown(TOML)}: {path.name}"] = hashlib.sha256(entry.encode()).hexdigest()
        elif path != TOML:
            told[paths.shown(path)] = sources.hashed(path)
    if base in BUNDLED:
        told["scikit-learn"] = _version("scikit-learn")
    return told


@functools.cache
def _version(package: str) -> str:
    """Of an installed package; to look for it takes most of a millisecond."""
    return metadata.version(package)


def inputs(name: str) -> dict[str, str]:
    """All files whose content the task depends on, each with its sha256: what a run notes as read.
    Unchanged files are hashed once a process."""
    base, _ = names.task_name(name)
    if base.split(":", 1)[0] == "imagefolder":
        root = place(base)
        return {paths.shown(root / file): found for file, found in image_hashes(root).items()}
    return {paths.shown(path): sources.hashed(path) for path in files(name)}


def split_file(name: str) -> Path | None:
    """The stored split of a named task: a digit a row, or a line of subjects a part; None where
    there is one split only."""
    if folds(name) == [None]:
        return None
    base, variant = names.task_name(name)
    by_subject = base in SERIES and variant is None
    return paths.SPLITS / (f"{name}.subjects.txt" if by_subject else f"{name}.txt")


def place(name: str) -> Path:
    """Where a reader's own data lie, as of `paths.own`."""
    own, _, path = name.partition(":")
    if own == "csv":
        path = path.rpartition("#")[0]
        if not path:
            raise ValueError(f"{name} does not say what is to be predicted: "
                             "write csv:PATH#COLUMN.")
    return paths.own(path)


def images(root: Path) -> list[Path]:
    """The images under root, root/<class>/*.png (or another of IMAGE_ENDINGS), sorted; what is
    hidden is none. DataError if there is none."""
    found = [file for file in sorted(root.glob("*/*"))
             if file.suffix.lower() in IMAGE_ENDINGS and file.is_file() and not _is_hidden(file)]
    if not found:
        raise DataError(f"{root} holds no images: it must be a folder with one folder per class, "
                        "and .png or .jpg files in those.")
    return found


def left_out(root: Path) -> int:
    """How many files under root are neither among its images nor hidden."""
    there = [file for file in root.rglob("*") if file.is_file() and not any(
        part.startswith((".", "__MACOSX")) for part in file.relative_to(root).parts)]
    return len(there) - len(images(root))


def _is_hidden(file: Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in file.parts[-2:])


def image_hashes(root: Path) -> dict[str, str]:
    """{name under root: sha256} of the images there, in order."""
    stats = {file: file.stat() for file in images(root)}
    newest = max(stat.st_mtime_ns for stat in stats.values())
    if time.time_ns() - newest < sources.SETTLED_NS:
        return _image_hashes(root)
    seen = hashlib.sha256()
    for file, stat in stats.items():
        seen.update(f"{file}\0{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}\0".encode())
    return _image_hashes_once(root, seen.hexdigest())


def together(hashes: dict[str, str]) -> str:
    """One hash of many files, by their names and theirs."""
    return hashlib.sha256(repr(hashes).encode()).hexdigest()


@functools.lru_cache(maxsize=100)
def _image_hashes_once(root: Path, seen: str) -> dict[str, str]:
    return _image_hashes(root)


def _image_hashes(root: Path) -> dict[str, str]:
    return {file.relative_to(root).as_posix(): paths.sha256(file) for file in images(root)}


@contextmanager
def arrays(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """An .npz, opened; DataError if it is missing, damaged, or lacks an array that is asked for."""
    try:
        with np.load(path, allow_pickle=False) as file:
            yield file
    except DataError:
        raise
    except FileNotFoundError:
        raise missing(path) from None
    except KeyError as error:
        raise DataError(f"{path} has no array {error}: save it with np.savez(PATH, x=…, y=…), "
                        "group=… if there are subjects.") from error
    except Exception as error:      # zipfile, zlib, struct and numpy all have their own
        raise DataError(f"{path} is not a readable .npz without pickled objects "
                        f"({type(error).__name__}): save it anew with np.savez.") from error


def missing(path: Path) -> DataError:
    return DataError(f"there is no file {path}: correct the path, which counts from {paths.ROOT}.")


def _shape(path: Path) -> tuple[int, ...]:
    """The shape of x in an .npz, from the first bytes of its member x.npy."""
    with arrays(path) as file:
        if "x" not in file.files:
            raise KeyError("x")
        with file.zip.open("x.npy") as member:
            version = np.lib.format.read_magic(member)
            read = (np.lib.format.read_array_header_1_0 if version == (1, 0)
                    else np.lib.format.read_array_header_2_0)
            return read(member)[0]


def existing(path: Path) -> Path:
    """The path, if a file is there that can be read; else DataError."""
    if not path.is_file():
        raise missing(path)
    if not os.access(path, os.R_OK):
        raise DataError(f"{path} cannot be read: give yourself the right to.")
    return path
