"""A pair names a net on a task, as parameters write it: "cifar10/resnet8/width=4"."""

from typing import Any

# Words of a pair that are no sizes, and what their values are.
WORDS = {"recipe": str, "epochs": int, "lr": float, "batch_size": int, "examples": int}


def parsed(pair: str) -> tuple[str, str, dict[str, Any]]:
    """Task, model and what a pair says beside them: "cifar10/resnet8/width=4" ->
    ("cifar10", "resnet8", {"sizes": "width=4"}). A net of one's own is "module:PATH.py:Class"."""
    words, said = [], {}
    begin, own, net = pair.partition("/module:")        # a net of one's own: its path has slashes
    task, _, model = pair.rpartition("/")
    if "=" in model:
        words, (task, _, model) = model.split(), task.rpartition("/")
    if own:
        task, model = begin, f"module:{net.rpartition('/')[0] if words else net}"
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
