"""Which settings can be, and a sentence for each reason why one cannot."""

import re

REPAIRS = ("folded", "equalized", "corrected", "reestimated", "smooth")
RECIPES = ("", "ours", "edge", "plan", "plan-bf16")
FLOAT_STAGES = ("finetune", "rewind")   # what is done with a trained net: words of `tuned`
NESTED, NESTED_WIDTHS = "nested", (8, 4, 2)     # one training for several widths
WITHIN = ("ste", "lsq", NESTED)         # trainings through a quantizer
STAGES = (*FLOAT_STAGES, *WITHIN)
BESIDE = ("distill", "kure")            # and what is asked of the training beside it
DEPLOYED = ("fp32", "dynamic", "static", "nbits",      # ways in which a model is run as a file
            "openvino", "openvino-static", "litert", "litert-static")
INT8 = ("dynamic", "static", "openvino-static", "litert-static")       # round weights themselves
ORDERS = ("", "prune quantize", "quantize prune")
BUDGET = re.compile(r"mean (\d+) bits, (exact|greedy)")
ENDS = re.compile(r"ends ([1-9]\d*) bits")
SIZE = re.compile(r"([a-z_]+)=(\d+(?:,\d+)*|(?<=init=|stem=|head=)[a-z]+)")
STRUCTURE = re.compile(r"|unstructured|2:4|channel(-[1-9]\d*)?")
SCHEDULE = re.compile(r"|one-shot|iterative|cubic|every-[1-9]\d*")
EVERY = re.compile(r"every-([1-9]\d*)")
GROUP = re.compile(r"group-([1-9]\d*)")


def problems(asked) -> list[str]:
    """Why a Setting cannot be; nothing where it can."""
    found = []
    if asked.recipe not in RECIPES:
        found.append(f"recipe {asked.recipe!r}; choose one of: {', '.join(RECIPES[1:])}")
    if not all(SIZE.fullmatch(size) for size in asked.sizes.split()):
        found.append(f"sizes {asked.sizes!r}; write them as in 'width=8', 'hidden=18,11' "
                     "or 'init=xavier'")
    return [*found, *_of_quantization(asked), *_of_pruning(asked), *_of_training(asked),
            *_of_running(asked)]


def _of_quantization(asked) -> list[str]:
    found, widths = [], [bool(asked.bits), bool(asked.levels), bool(asked.allocation)]
    if asked.budget and not asked.allocation and not asked.ends:
        found.append(f"budget {asked.budget!r}; write it as in 'mean 2 bits, exact' or as in "
                     "'ends 8 bits'")
    if asked.quantizer and not any(widths):
        found.append(f"quantizer {asked.quantizer!r} without bits, levels or budget; add one")
    if (any(widths) or asked.budget) and not asked.quantizer:
        found.append("bits, levels or a budget without a quantizer; name one")
    if sum(widths) > 1:
        found.append("more than one of bits, levels and budget; give one")
    if asked.a_bits and not asked.quantizer:
        found.append("rounded activations without a quantizer of the weights; name one")
    if "smooth" in asked.repairs.split() and not asked.quantizer:
        found.append("smooth without a quantizer; it only prepares rounding")
    words = [word for word in REPAIRS if word in asked.repairs.split()]
    if " ".join(words) != asked.repairs:
        found.append(f"repairs {asked.repairs!r}; choose from, in this order: "
                     f"{' '.join(REPAIRS)}")
    known = ("", "tensor", "channel")
    if asked.granularity not in known and not GROUP.fullmatch(asked.granularity):
        found.append(f"granularity {asked.granularity!r}; choose tensor, channel or group-64")
    return found


def _of_pruning(asked) -> list[str]:
    found = []
    if asked.order not in ORDERS:
        found.append(f"order {asked.order!r}; choose one of: {', '.join(ORDERS[1:])}")
    if bool(asked.order) != bool(asked.pruner and asked.quantizer):
        found.append("an order needs a pruner and a quantizer; leave it out")
    if asked.amount is not None and not 0 <= asked.amount < 1:
        found.append(f"amount {asked.amount}; choose a share from 0 to below 1")
    if bool(asked.pruner) != (asked.amount is not None):
        found.append("a pruner needs an amount, and an amount a pruner; give both")
    if not STRUCTURE.fullmatch(asked.structure):
        found.append(f"structure {asked.structure!r}; choose unstructured, 2:4, channel, or as in "
                     "channel-16")
    if not SCHEDULE.fullmatch(asked.schedule):
        found.append(f"schedule {asked.schedule!r}; choose one-shot, iterative, cubic, or as in "
                     "every-5")
    if asked.structure == "2:4" and asked.amount not in (0, 0.5):
        found.append(f"amount {asked.amount}: 2:4 takes half of the weights; say 0.5")
    if asked.narrows and asked.schedule != "one-shot":
        found.append(f"channels that go by schedule {asked.schedule!r}; take one-shot")
    return found


def _of_training(asked) -> list[str]:
    words = asked.tuned.split("+") if asked.tuned else []
    ordered = [word for word in (*STAGES, *BESIDE) if word in words]
    several = [kind for kind in (FLOAT_STAGES, WITHIN) if len(set(kind) & set(words)) > 1]
    if words != ordered or several:
        return [f"tuned {asked.tuned!r}; choose one of {', '.join(STAGES)}, or of "
                f"{', '.join(BESIDE)}, or join them in this order, as in 'finetune+lsq+distill'"]
    if asked.stage in WITHIN and not asked.quantizer:
        return [f"tuned {asked.tuned!r} without a quantizer to train through; name one"]
    if asked.stage in WITHIN and asked.repairs not in ("", "smooth"):
        return [f"repairs {asked.repairs!r} of what is trained through a quantizer; leave them out"]
    if asked.stage == NESTED and (asked.quantizer != "lsq" or asked.bits not in NESTED_WIDTHS
                                  or asked.a_bits or asked.budget or asked.pruner):
        return ["tuned 'nested' is one training for all widths of a whole net's weights, each a "
                "row of quantizer 'lsq' at 8, 4 or 2 bits; ask for that"]
    if asked.stages in ((word,) for word in WITHIN) and asked.schedule not in ("", "one-shot"):
        return [f"schedule {asked.schedule!r} while a quantizer is trained through; prune before "
                f"that, as in 'finetune+{asked.stage}'"]
    if asked.trains and asked.order == "quantize prune":
        return ["a training after what was quantized first; take order 'prune quantize'"]
    if bool(asked.teacher) != ("distill" in words):
        return ["'distill' needs a teacher, and a teacher 'distill'; give both"]
    return []


def _of_running(asked) -> list[str]:
    if asked.deploy not in ("", *DEPLOYED):
        return [f"deploy {asked.deploy!r}; choose one of: {', '.join(DEPLOYED)}"]
    if asked.deploy in INT8 and asked.quantizer:
        return [f"{asked.quantizer} before {asked.deploy} int8, which rounds the weights itself; "
                "leave one of them out"]
    if asked.deploy == "nbits" and (not asked.quantizer or asked.bits != 4):
        return ["nbits without weights of 4 bits, whose codes its kernels take; name a quantizer"]
    return []
