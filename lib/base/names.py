"""The fixed names of the study, kept apart from torch so that a misspelt one is refused at once."""

import ast

from lib.base import paths

TASKS = (
    "digits", "breast_cancer", "diabetes", "har_synthetic",                     # bundled: quick
    "telescope", "churn", "mv", "california",                                   # tabular
    "fashion_mnist", "cifar10", "cifar100", "imagenet",                         # images
    "unimib_adl", "unimib_falls", "usc_had",                                    # series
    "sst2", "cola", "squad",                                                    # text
)
IMAGES = ("digits", "fashion_mnist", "cifar10", "cifar100", "imagenet", "imagefolder:")
SERIES = ("har_synthetic", "unimib_adl", "unimib_falls", "usc_had")
TEXT = ("sst2", "cola", "squad")
EITHER = ("npz:",)                                                  # its array tells
VARIANTS = {
    "edge": ("telescope", "churn", "mv", "california", "fashion_mnist"),        # as Edge had them
    "small": ("fashion_mnist", "cifar10"),          # 10 000 of the images to train on
    "scaled": ("fashion_mnist", "cifar10"),         # the same, brought to [-1, 1] and no further
    "green": ("unimib_adl",),                                 # Green's one split by subject
    "random": ("unimib_falls",),                              # random folds with twins: a leak
    "dev": ("squad",),                          # learnt and tested on articles of its dev part
}
USER_TASKS = ("csv:PATH#TARGET", "imagefolder:PATH", "npz:PATH")

CLASSICAL = ("majority", "knn", "svm", "hgb")
BY_EDGE = ("mlp_simple-edge", "mlp_complex-edge")     # that Edge trained: its tables only
BY_OTHERS = ("resnet20-akamaster", "resnet50-torchvision", "mobilenetv2-torchvision", *BY_EDGE)
WITHOUT_RECIPE = (*CLASSICAL, *BY_OTHERS)       # not trained here
MODELS = (
    "mlp_simple", "mlp_complex", *BY_OTHERS, "cnn_edge", "resnet9", "resnet8", "resnet14",
    "resnet20", "resnet32", "resnet44", "resnet56", "resnet18", "resnet34", "resnet50", "vgg16",
    "mobilenetv2", "effnet", "cnn_rnn", "transformer_base", "transformer_t1", "transformer_t2",
    "transformer_small", "minilm", "bert", "distilbert", "bert_tiny", *CLASSICAL)

# Nets that take images, series or text alone, by the beginnings of their names; the others take
# any task but text.
NEEDS = {"resnet": "images", "vgg": "images", "cnn": "images", "effnet": "images",
         "mobilenet": "images", "transformer": "series", "minilm": "text", "bert": "text",
         "distilbert": "text"}


def kind(task: str) -> str:
    """What kind of data a task has: "images", "series", "text", "table"; of an array "array"."""
    name = task.partition("@")[0]
    return ("images" if name.startswith(IMAGES) else "series" if name in SERIES else
            "text" if name in TEXT else "array" if name.startswith(EITHER) else "table")


def is_own(model: str) -> bool:
    """Whether it is a net of the reader's own, "module:PATH.py:Class"."""
    return model.startswith("module:")


def trained_here(model: str) -> bool:
    """Whether this study trains the model: no one of scikit-learn's, and none whose weights are
    given, as those of "module:PATH.py:Class:WEIGHTS.safetensors" are."""
    return model not in WITHOUT_RECIPE and not model.endswith(".safetensors")


def misfit(task: str, model: str) -> str | None:
    """Why a net cannot learn a task, as far as their names tell; None where it can."""
    if model == "resnet20-akamaster" and task.partition("@")[0] != "cifar10":
        return f"{model} was trained on cifar10 by others and knows no other task"
    own = kind(task)
    taken = (own,) if own == "text" else (None, own)
    if own == "array" or is_own(model) or _needs(model) in taken:
        return None
    fitting = [net for net in MODELS if net not in WITHOUT_RECIPE and _needs(net) in taken]
    held = "a table" if own == "table" else own
    return (f"{model} takes {_needs(model)}, and {task} is {held}; choose one of: "
            f"{', '.join(fitting)}")


def _needs(model: str) -> str | None:
    return next((kind for start, kind in NEEDS.items() if model.startswith(start)), None)


def methods(room: str) -> tuple[str, ...]:
    """Names of the methods of lib/<room>: what its files list in NAMES, read but not imported."""
    found: list[str] = []
    for path in sorted((paths.ROOT / "lib" / room).glob("*.py")):
        for line in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "NAMES":
                found += ast.literal_eval(line.value)
    return tuple(found)


def choose(name: str, known: tuple[str, ...], what: str) -> str:
    """Return `name` if it is one of `known`; otherwise a ValueError that lists what is."""
    if name not in known:
        raise ValueError(f"there is no {what} {name!r}; choose one of: {', '.join(known)}")
    return name


def task_name(name: str) -> tuple[str, str | None]:
    """Split `telescope@edge` into task and variant, checking both; a user's own path passes.

    >>> task_name("california@edge")
    ('california', 'edge')
    """
    if name.split(":", 1)[0] in {"csv", "imagefolder", "npz"} and ":" in name:
        return name, None
    base, _, variant = name.partition("@")
    choose(base, TASKS + USER_TASKS, "task")
    if variant and base not in VARIANTS.get(variant, ()):
        variants = [f"{t}@{v}" for v, tasks in VARIANTS.items() for t in tasks]
        raise ValueError(f"there is no variant {name!r}; choose one of: {', '.join(variants)}")
    return base, variant or None
