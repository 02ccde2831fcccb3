"""Data: `load(name, variant=None, fold=None) -> Task`; files are found and checked on the way."""

from types import ModuleType
from typing import TYPE_CHECKING

from lib.base import names
from lib.data import catalogue
from lib.data.catalogue import folds
from lib.data.sources import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from lib.data.task import Task

__all__ = ["DataError", "Split", "Task", "balance", "describe", "duplicates", "folds", "load",
           "subjects"]


def __getattr__(name: str):
    """What needs torch is imported when it is asked for: names and files are known without it."""
    if name in ("Split", "Task"):
        from lib.data import task as room
    elif name in ("balance", "describe", "duplicates"):
        from lib.data import facts as room
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(room, name)


def load(name: str, variant: str | None = None, fold: int | None = None) -> "Task":
    """The task of that name, its files found (or fetched), checked and split.

    `name` may carry the variant ("california@edge") or be a reader's own ("csv:PATH#TARGET",
    "imagefolder:PATH", "npz:PATH"). `fold` is 0 to 4, None means 0: fold k is tested on part k and
    validated on part k+1; where there is one split only (image sets, Edge's, Green's), it must be
    None, and `task.fold` is None. ValueError for a name or fold that is not there, DataError for a
    file that is missing, damaged or unfit."""
    if variant and "@" not in name:
        name = f"{name}@{variant}"
    base, found = names.task_name(name)
    if variant and found != variant:
        raise ValueError(f"{name} does not have the variant {variant!r}; leave one of the two out.")
    if folds(name) == [None]:
        if fold is not None:
            raise ValueError(f"{name} has one split only, so there is no fold {fold!r}; "
                             "leave fold out.")
    else:
        fold = 0 if fold is None else fold
        if isinstance(fold, bool) or fold not in range(5):
            raise ValueError(f"{name} has no fold {fold!r}; choose one of: 0, 1, 2, 3, 4.")
    kind = base.split(":", 1)[0]
    if kind in catalogue.OWN:
        from lib.data import own
        return getattr(own, kind)(base, fold)
    return _room(kind).load(base, found, fold)


def _room(task: str) -> ModuleType:
    """The file that loads a named task, imported when it is needed: pandas, scipy and scikit-learn
    take a second."""
    if task in catalogue.TABULAR:
        from lib.data import tabular as room
    elif task == "har_synthetic":
        from lib.data import synthetic as room
    elif task == "imagenet":
        from lib.data import imagenet as room
    elif task == "squad":
        from lib.data import questions as room
    elif task in catalogue.TEXT:
        from lib.data import text as room
    elif task in catalogue.SERIES:
        from lib.data import series as room
    else:
        from lib.data import images as room
    return room


def subjects(name: str, fold: float | None) -> "Tensor | None":
    """Whose the test examples are, (n,); None for a task without subjects. fold: as a table of rows
    holds it, where a missing one is not a number."""
    numbered = fold is not None and fold == fold
    return load(name, fold=int(fold) if numbered else None).test.group
