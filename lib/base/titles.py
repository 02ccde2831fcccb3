"""The one place of titles: how tasks, models and techniques are written for a reader."""

import re
import tomllib
from pathlib import Path
from typing import Any

TITLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
QUANTIZERS, PRUNERS, REPAIRS = TITLES["quantizers"], TITLES["pruners"], TITLES["repairs"]
SCHEDULES, RUNNING, POLICIES = TITLES["schedules"], TITLES["running"], TITLES["policies"]
BASELINE = "baseline (FP32)"
INT8 = "INT8 weights and inputs"


def task(name: str) -> str:
    """Title of a task: "cifar10" -> "CIFAR-10", "csv:data/wine.csv#quality" -> "wine.csv"."""
    kind, colon, path = name.partition(":")
    if colon and kind in ("csv", "npz", "imagefolder"):
        place, _, target = path.partition("#")
        return place.rstrip("/").rpartition("/")[2] + (f" · {target}" if target else "")
    base, _, variant = name.partition("@")
    return _title("tasks", base) + (f" ({_title('variants', variant)})" if variant else "")


def model(name: str, sizes: str = "") -> str:
    """Title of a model with its sizes: ("resnet20", "width=8") -> "ResNet-20, width 8"."""
    own = re.match(r"module:[^:]*\.py:(\w+)", name)
    base, _, owner = name.partition("-")
    title = own[1] if own else _title("models", base).replace("resnet", "ResNet-")
    title += f" ({_title('owners', owner)})" if owner and not own else ""
    words = (word.partition("=") for word in sizes.split())
    return ", ".join([title, *(_size(name, value) for name, _, value in words)])


def network(task_name: str, model_name: str, sizes: str = "") -> str:
    """"CIFAR-10 · ResNet-20"."""
    return f"{task(task_name)} · {model(model_name, sizes)}"


def technique(asked: Any) -> str:
    """What was done to a network, in one order: pruning, training, quantization, deployment.

    asked: a Setting, or a line of a table with its fields; BASELINE where nothing was done. Sizes
    are part of the model's title (`model`).
    """
    words = [_pruning(asked), _training(asked), quantization(asked), _course(asked),
             _title("running", _value(asked, "deploy"))]
    return ", ".join(filter(None, words)) or BASELINE


def family(asked: Any) -> str:
    """A technique in fewer words, to compare networks: INT8 weights and inputs have one title,
    whatever computed them; how QAT began and how long a training took is left out."""
    eight = _value(asked, "bits") == 8 and _value(asked, "a_bits") == 8
    stages = _value(asked, "tuned").split("+")
    within = {"lsq", "ste", "nested"}.intersection(stages)
    if not within and (_value(asked, "deploy") == "static" or eight):
        how = INT8
    elif "lsq" in stages:
        how = f"LSQ QAT {width(asked)}"
    else:
        return technique(asked)
    return ", ".join(filter(None, [_pruning(asked), _training(asked), how]))


def quantizer(name: str) -> str:
    """Title of a quantizer; "edge_" before a name: as Edge's code computes it."""
    name, quartiles, _ = name.partition("_iqr")
    changes = ["range by quartiles"] if quartiles else []
    if name.startswith("edge_"):
        switches = [one for one in TITLES["switches"] if name.startswith(f"edge_{one}")]
        name = name.removeprefix("edge_" + "".join(switches))
        changes = ["Edge's code", *(TITLES["switches"][one] for one in switches), *changes]
    title = QUANTIZERS.get(name, name.replace("_", " "))
    return f"{title} ({', '.join(changes)})" if changes else title


def quantization(asked: Any) -> str:
    """"GPTQ 4-bit", "BRECQ W4A4", "LSQ ternary (QAT)", or "" where nothing is quantized."""
    name = _value(asked, "quantizer")
    stages = _value(asked, "tuned").split("+")
    repairs = [REPAIRS[word] for word in _value(asked, "repairs").split()]
    if "nested" in stages:
        words = ["nested QAT (8, 4 and 2 bits)" + (f" at {width(asked)}" if name else "")]
    elif not name:
        return ", ".join(repairs)
    elif "lsq" in stages:
        start = "" if name == "lsq" else f" (from {quantizer(name)})"
        words = [f"LSQ QAT {width(asked)}{start}"]
    elif "ste" in stages:
        words = [f"straight-through QAT {width(asked)}, {quantizer(name)}"]
    else:
        words = [f"{quantizer(name)} {width(asked)}".strip()]
    usual = "tensor" if name.startswith("edge_") else "channel"
    shared = _value(asked, "granularity")
    if shared not in ("", usual):
        words.append(f"groups of {shared[6:]}" if shared.startswith("group-") else f"per {shared}")
    budget = _value(asked, "budget")
    if budget:
        words.append("first and last layer 8-bit" if budget.startswith("ends") else
                     f"mixed precision ({budget})")
    order = ["quantized before pruning"] if _value(asked, "order") == "quantize prune" else []
    return ", ".join([*words, *repairs, *order])


def width(asked: Any) -> str:
    """"4-bit", "ternary", "W4A8"."""
    bits, levels, inputs = (int(_value(asked, name) or 0) for name in ("bits", "levels", "a_bits"))
    if levels and not bits:
        weights = "ternary" if levels == 3 else f"{levels}-level"
        return f"{weights} weights, {inputs}-bit activations" if inputs else weights
    return "" if not bits else f"W{bits}A{inputs}" if inputs else f"{bits}-bit"


def _pruning(asked: Any) -> str:
    pruner = _value(asked, "pruner")
    if not pruner:
        return ""
    schedule, structure = _value(asked, "schedule"), _value(asked, "structure")
    what = ("channel" if structure.startswith("channel") else
            "2:4" if structure == "2:4" else _title("pruners", pruner))
    what += f" (multiples of {structure[8:]})" if structure.startswith("channel-") else ""
    every = "" if schedule in ("", *SCHEDULES) else f"{schedule.replace('-', ' ')} epochs"
    words = [f"{100 * asked.amount:g} %", SCHEDULES.get(schedule, ""), what, "pruning", every]
    return " ".join(filter(None, words))


def _training(asked: Any) -> str:
    """Training beyond the baseline's, quantization apart."""
    stages = _value(asked, "tuned").split("+")
    words = []
    if "finetune" in stages or "rewind" in stages:
        words.append("fine-tuned" + (" with learning-rate rewinding" if "rewind" in stages else ""))
    if "distill" in stages:
        teacher = _value(asked, "teacher")
        words.append(("with distillation" if words else "distilled")
                     + (f" from {model(teacher)}" if teacher else ""))
    if "kure" in stages:
        words.append("kurtosis regularized")
    return " ".join(words)


def _course(asked: Any) -> str:
    """Epochs and learning rate, where a further training names its own."""
    epochs, rate = _value(asked, "epochs"), _value(asked, "lr")
    words = [f"{epochs:g} epochs" if epochs else "", f"learning rate {rate:g}" if rate else ""]
    return ", ".join(filter(None, words)) if _value(asked, "tuned") else ""


def policy(name: str) -> str:
    """Title of a policy of chapter 09, or of the single model that a fixed one stays with."""
    if not name.startswith("fixed "):
        return POLICIES.get(name, name)
    words = name.removeprefix("fixed ")
    for stored, title in TITLES["files"].items():
        words = words.replace(stored, title)
    first, comma, rest = words.partition(", ")
    if "=" in first:                    # a smaller model: "resnet14 width=8, …", "layers=3, …"
        name, _, sizes = first.rpartition(" ")
        first = model(name, sizes) if name else _size(*sizes.split("="))
    return f"always {first}{comma}{rest}".replace("nested, lsq, 8 bits", "nested QAT 8-bit")


def _value(asked: Any, name: str) -> Any:
    value = getattr(asked, name, "")
    return "" if value is None or value != value else value


def _title(table: str, name: str) -> str:
    return TITLES[table].get(name, name)


def _size(name: str, value: str) -> str:
    return TITLES["sizes"].get(name, name + " {}").format(value.replace(",", "-"))
