"""Data: `load(name, variant=None, fold=None) -> Task`; files are found and checked on the way."""

from lib.base import names
from lib.data.facts import describe, duplicates
from lib.data.sources import DataError
from lib.data.task import Split, Task

__all__ = ["DataError", "Split", "Task", "describe", "duplicates", "folds", "load"]

# These come with one split: the authors' own test set, or that of an earlier study.
ONE_SPLIT = ("fashion_mnist", "cifar10", "cifar100")


def load(name: str, variant: str | None = None, fold: int | None = None) -> Task:
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
    # A room is imported when it is needed: pandas, scipy and scikit-learn take a second.
    if kind in ("csv", "imagefolder", "npz"):
        from lib.data import own
        return getattr(own, kind)(base, fold)
    if kind in ("telescope", "churn", "mv", "california", "breast_cancer", "diabetes"):
        from lib.data import tabular as room
    elif kind in ("unimib_adl", "unimib_falls", "usc_had"):
        from lib.data import series as room
    elif kind == "har_synthetic":
        from lib.data import synthetic as room
    else:
        from lib.data import images as room
    return room.load(base, found, fold)


def folds(name: str, wanted=range(5)) -> list[int | None]:
    """Those of the `wanted` folds that the task has; [None] where it comes with one split only."""
    base, variant = names.task_name(name)
    return [None] if variant in ("edge", "green") or base in ONE_SPLIT else list(wanted)
