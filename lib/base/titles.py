"""The one place of titles: how tasks, models and techniques are written for a reader."""

import re
from typing import Any

TASKS = {
    "digits": "Digits", "breast_cancer": "Breast Cancer", "diabetes": "Diabetes",
    "har_synthetic": "synthetic HAR", "telescope": "Telescope", "churn": "Churn", "mv": "MV",
    "california": "California Housing", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100", "imagenet": "ImageNet sample",
    "unimib_adl": "UniMiB SHAR activities", "unimib_falls": "UniMiB SHAR falls",
    "usc_had": "USC-HAD", "sst2": "SST-2", "cola": "CoLA", "squad": "SQuAD"}
VARIANTS = {"edge": "Edge's split", "small": "10 000 images", "scaled": "10 000 images, rescaled",
            "green": "Green's split", "random": "random folds", "dev": "dev articles"}
MODELS = {
    "mlp_simple": "small MLP", "mlp_complex": "MLP", "cnn_edge": "Edge's CNN",
    "mobilenetv2": "MobileNetV2", "effnet": "EfficientNet-style CNN", "cnn_rnn": "CNN-RNN",
    "vgg16": "VGG-16", "transformer_small": "small transformer",
    "transformer_base": "base transformer", "transformer_t1": "transformer T1",
    "transformer_t2": "transformer T2", "minilm": "MiniLM", "bert": "BERT",
    "distilbert": "DistilBERT", "bert_tiny": "tiny BERT", "majority": "majority class",
    "knn": "k-nearest neighbours", "svm": "support vector machine",
    "hgb": "gradient-boosted trees"}
OWNERS = {"edge": "Edge's weights", "akamaster": "published weights",
          "torchvision": "torchvision weights"}
SIZES = {"width": "width {}", "hidden": "hidden {}", "layers": "{} layers", "d": "dimension {}",
         "init": "{} initialization", "frozen": "{} frozen stage", "units": "{} units",
         "shortcut": "no shortcuts", "stem": "{} stem", "head": "{} head"}

QUANTIZERS = {
    "affine": "affine", "hqq": "HQQ", "gptq": "GPTQ", "brecq": "BRECQ", "adaround": "AdaRound",
    "kmeans": "k-means", "mid_rise": "mid-rise", "mid_tread": "mid-tread",
    "multipoint": "multipoint", "lsq": "LSQ",
    "nearest_uniform": "nearest (uniform levels)",
    "nearest_histogram": "nearest (histogram levels)",
    "nearest_normal": "nearest (normal levels)",
    "stochastic_uniform": "stochastic (uniform levels)",
    "stochastic_histogram": "stochastic (histogram levels)",
    "stochastic_normal": "stochastic (normal levels)"}
# Beside Edge's code as published: one of its choices changed.
SWITCHES = {"sorted_": "levels sorted", "own_": "own range per tensor", "zero_": "zero a level",
            "clamped_": "clamped", "whole_": "output layer quantized"}
PRUNERS = {"magnitude_l1": "magnitude", "magnitude_l2": "L2 magnitude",
           "magnitude_l1_layer": "layer-wise magnitude", "wanda": "Wanda", "taylor": "Taylor",
           "random": "random", "edge": "Edge's"}
REPAIRS = {"folded": "batch norm folded", "equalized": "layers equalized",
           "corrected": "biases corrected", "reestimated": "batch norm re-estimated",
           "smooth": "SmoothQuant"}
SCHEDULES = {"one-shot": "", "cubic": "gradual", "iterative": "iterative"}
RUNNING = {"fp32": "FP32 ONNX", "static": "INT8 (static)", "dynamic": "INT8 (dynamic)",
           "nbits": "4-bit kernels", "openvino": "FP32 OpenVINO",
           "openvino-static": "INT8 OpenVINO", "litert": "FP32 LiteRT",
           "litert-static": "INT8 LiteRT"}
BASELINE = "baseline (FP32)"
# Policies of chapter 09, as its rows name them, and the models that a policy stays with.
POLICIES = {"slack": "slack", "slack at once": "slack without dwell time",
            "slack, half the joules": "slack with an energy budget",
            "slack, unsure twice": "slack, unsure requests twice", "literal": "the plan's rule",
            "random": "random variant", "clairvoyant": "look-ahead"}
FILES = {"a file of floats": "FP32", "a file of static int8": "INT8 (static)",
         "a file of dynamic int8": "INT8 (dynamic)", "a file of 4-bit kernels": "4-bit kernels"}


def task(name: str) -> str:
    """Title of a task: "cifar10" -> "CIFAR-10", "csv:data/wine.csv#quality" -> "wine.csv"."""
    kind, colon, path = name.partition(":")
    if colon and kind in ("csv", "npz", "imagefolder"):
        place, _, target = path.partition("#")
        return place.rstrip("/").rpartition("/")[2] + (f" · {target}" if target else "")
    base, _, variant = name.partition("@")
    title = TASKS.get(base, base)
    return f"{title} ({VARIANTS.get(variant, variant)})" if variant else title


def model(name: str, sizes: str = "") -> str:
    """Title of a model with its sizes: ("resnet20", "width=8") -> "ResNet-20, width 8"."""
    own = re.match(r"module:[^:]*\.py:(\w+)", name)
    base, _, owner = name.partition("-")
    title = own[1] if own else MODELS.get(base) or re.sub(r"^resnet(\d+)$", r"ResNet-\1", base)
    title += f" ({OWNERS.get(owner, owner)})" if owner and not own else ""
    words = [SIZES.get(key, key + " {}").format(value.replace(",", "-"))
             for key, _, value in (word.partition("=") for word in sizes.split())]
    return ", ".join([title, *words])


def network(task_name: str, model_name: str, sizes: str = "") -> str:
    """"CIFAR-10 · ResNet-20"."""
    return f"{task(task_name)} · {model(model_name, sizes)}"


def technique(asked: Any) -> str:
    """What was done to a network, in one order: pruning, training, quantization, deployment.

    asked: a Setting, or a line of a table with its fields; BASELINE where nothing was done. Sizes
    are part of the model's title (`model`).
    """
    words = [_pruning(asked), _training(asked), quantization(asked), _course(asked),
             _value(asked, "deploy") and RUNNING.get(asked.deploy, asked.deploy)]
    return ", ".join(word for word in words if word) or BASELINE


def quantizer(name: str) -> str:
    """Title of a quantizer; "edge_" before a name: as Edge's code computes it."""
    name, quartiles, _ = name.partition("_iqr")
    changes = ["range by quartiles"] if quartiles else []
    if name.startswith("edge_"):
        switch = next((one for one in SWITCHES if name.startswith(f"edge_{one}")), "")
        name = name.removeprefix(f"edge_{switch}")
        changes = ["Edge's code", *([SWITCHES[switch]] if switch else []), *changes]
    title = QUANTIZERS.get(name, name.replace("_", " "))
    return f"{title} ({', '.join(changes)})" if changes else title


def quantization(asked: Any) -> str:
    """"GPTQ 4-bit", "BRECQ W4A4", "LSQ ternary (QAT)", or "" where nothing is quantized."""
    name = _value(asked, "quantizer")
    stages = _value(asked, "tuned").split("+")
    through = next((stage for stage in ("lsq", "ste", "nested") if stage in stages), "")
    if not name and through != "nested":
        return ", ".join(REPAIRS[word] for word in _value(asked, "repairs").split())
    if through == "lsq":
        start = "" if name == "lsq" else f" (from {quantizer(name)})"
        words = [f"LSQ QAT {width(asked)}{start}"]
    elif through == "ste":
        words = [f"straight-through QAT {width(asked)}, {quantizer(name)}"]
    elif through == "nested":
        words = ["nested QAT (8, 4 and 2 bits)" + (f" at {width(asked)}" if name else "")]
    else:
        words = [f"{quantizer(name)} {width(asked)}".strip()]
    usual = "tensor" if name.startswith("edge_") else "channel"
    shared = _value(asked, "granularity")
    if shared not in ("", usual):
        words.append(f"groups of {shared[6:]}" if shared.startswith("group-") else f"per {shared}")
    budget = _value(asked, "budget")
    if budget.startswith("ends"):
        words.append("first and last layer 8-bit")
    elif budget:
        words.append(f"mixed precision ({budget})")
    words += [REPAIRS[word] for word in _value(asked, "repairs").split()]
    if _value(asked, "order") == "quantize prune":
        words.append("quantized before pruning")
    return ", ".join(word for word in words if word)


def width(asked: Any) -> str:
    """"4-bit", "ternary", "W4A8"."""
    bits, levels, inputs = (_number(asked, name) for name in ("bits", "levels", "a_bits"))
    if levels and not bits:
        weights = "ternary" if levels == 3 else f"{levels}-level"
        return f"{weights} weights, {inputs}-bit activations" if inputs else weights
    if not bits:
        return ""
    return f"W{bits}A{inputs}" if inputs else f"{bits}-bit"


def _pruning(asked: Any) -> str:
    pruner = _value(asked, "pruner")
    if not pruner:
        return ""
    schedule, structure = _value(asked, "schedule"), _value(asked, "structure")
    what = ("channel" if structure.startswith("channel") else
            "2:4" if structure == "2:4" else PRUNERS.get(pruner, pruner))
    what += f" (multiples of {structure[8:]})" if structure.startswith("channel-") else ""
    every = "" if schedule in ("", *SCHEDULES) else f"{schedule.replace('-', ' ')} epochs"
    words = [f"{100 * asked.amount:g} %", SCHEDULES.get(schedule, ""), what, "pruning", every]
    return " ".join(word for word in words if word)


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
    if not _value(asked, "tuned"):
        return ""
    epochs, rate = _number(asked, "epochs"), _value(asked, "lr")
    words = [f"{epochs} epochs"] if epochs else []
    return ", ".join([*words, f"learning rate {rate:g}"] if rate else words)


def policy(name: str) -> str:
    """Title of a policy of chapter 09, or of the single model that a fixed one stays with."""
    if not name.startswith("fixed "):
        return POLICIES.get(name, name)
    words = name.removeprefix("fixed ")
    for stored, title in FILES.items():
        words = words.replace(stored, title)
    first, comma, rest = words.partition(", ")
    if "=" in first:                    # a smaller model: "resnet14 width=8, …", "layers=3, …"
        name, _, sizes = first.rpartition(" ")
        first = model(name, sizes) if name else SIZES[sizes.partition("=")[0]].format(
            sizes.partition("=")[2])
    return f"always {first}{comma}{rest}".replace("nested, lsq, 8 bits", "nested QAT 8-bit")


def _value(asked: Any, name: str) -> Any:
    value = getattr(asked, name, "")
    return "" if value is None or value != value else value


def _number(asked: Any, name: str) -> int | None:
    value = getattr(asked, name, None)
    return None if value is None or value != value or value == "" else int(value)
