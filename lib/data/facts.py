"""What a task is made of, counted: sizes, class balance, exact duplicates, shared subjects."""

import hashlib

import pandas as pd
import torch

from lib.data.batches import AT_A_TIME
from lib.data.task import Split, Task


def describe(task: Task) -> dict[str, object]:
    """One line about a task; `majority_share` is the test set's, in percent: the floor of accuracy
    (None for regression)."""
    majority = None
    if task.classes:
        # The class that is most frequent in training is what a model that knows nothing would say.
        guess = task.train.y.bincount(minlength=task.outputs).argmax()
        majority = 100 * (task.test.y == guess).double().mean().item()
    return {"task": task.name, "kind": task.kind, "metric": task.metric.name, "inputs": task.inputs,
            "classes": len(task.classes), "train": len(task.train), "val": len(task.val),
            "test": len(task.test), "majority_share": majority,
            "subjects": None if task.train.group is None else len(
                torch.cat([s.group for s in (task.train, task.val, task.test)]).unique()),
            "fold": task.fold, "source": task.source, "hash": task.hash[:12]}


MOST_CLASSES = 20           # whose shares are told one by one


def balance(task: Task) -> pd.DataFrame:
    """Share of each class in the training part, in percent: task, class, share. Empty for a
    regression, and where there are more than MOST_CLASSES."""
    classes = list(task.classes) if len(task.classes) <= MOST_CLASSES else []
    counts = task.train.y.bincount(minlength=task.outputs) if classes else torch.zeros(0)
    share = 100 * counts / max(1, len(task.train))
    return pd.DataFrame({"task": task.name, "class": classes, "share": share.numpy()})


def duplicates(task: Task) -> list[dict[str, object]]:
    """Exact copies of inputs, one line per pair of parts: `copies` rows of `part` whose input also
    stands in `other` (in an earlier row, if that is the same part), of these `other_target` with no
    equal target there, and `subjects` that both parts hold (None without subjects)."""
    parts = {"train": task.train, "val": task.val, "test": task.test}
    keys = {name: _keys(split) for name, split in parts.items()}
    table = []
    for part, other in (("train", "train"), ("val", "val"), ("test", "test"),
                        ("val", "train"), ("test", "train"), ("test", "val")):
        seen: dict[bytes, set] = {}
        copies = differing = 0
        if part != other:
            for key, target in keys[other]:
                seen.setdefault(key, set()).add(target)
        for key, target in keys[part]:
            if key in seen:
                copies += 1
                differing += target not in seen[key]
            if part == other:
                seen.setdefault(key, set()).add(target)
        groups = [set(parts[p].group.tolist()) for p in (part, other)
                  if parts[p].group is not None]
        table.append({"task": task.name, "part": part, "other": other, "rows": len(parts[part]),
                      "copies": copies, "other_target": differing,
                      "subjects": len(groups[0] & groups[1]) if groups else None})
    return table


def _keys(split: Split) -> list[tuple[bytes, float]]:
    keys = []
    for start in range(0, len(split), AT_A_TIME):
        for row in split.batch(slice(start, start + AT_A_TIME)).flatten(1).numpy():
            keys.append(hashlib.blake2b(row.tobytes(), digest_size=16).digest())
    return list(zip(keys, split.y.tolist(), strict=True))
