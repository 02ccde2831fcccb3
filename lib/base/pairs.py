"""A pair names a net on a task, as parameters write it: "cifar10/resnet8/width=4"."""

from typing import Any

# Words of a pair that are no sizes, and what their values are.
WORDS = {"recipe": str, "epochs": int, "lr": float, "batch_size": int, "examples": int}


def parsed(pair: str) -> tuple[str, str, dict[str, Any]]:
    """Task, model and what a pair says beside them: "cifar10/resnet8/width=4" ->
    ("cifar10", "resnet8", {"sizes": "width=4"})."""
    words, said = [], {}
    task, _, model = pair.rpartition("/")
    if "=" in model:
        words, (task, _, model) = model.split(), task.rpartition("/")
    sizes = []
    for word in words:
        name, _, value = word.partition("=")
        if name in WORDS:
            said[name] = WORDS[name](value)
        else:
            sizes.append(word)
    if sizes:
        said["sizes"] = " ".join(sizes)
    return task, model, said
