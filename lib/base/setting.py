"""Setting: what was asked of a model, as plain values. Its fields are columns of every table."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from lib.base.wording import worded

REPAIRS = ("folded", "equalized", "corrected", "reestimated", "smooth")
RECIPES = ("", "ours", "edge", "plan")
OF_THE_NET = ("recipe", "sizes", "epochs", "lr", "batch_size")
OF_QUANTIZATION = ("quantizer", "bits", "levels", "a_bits", "a_quantizer", "granularity", "repairs",
                   "steps", "budget")
STAGES = ("finetune", "rewind")         # what is done with a trained net: words of `tuned`
BESIDE = ("distill",)                   # and what is asked of the training beside it
ORDERS = ("", "prune quantize", "quantize prune")
BUDGET = re.compile(r"mean (\d+) bits, (exact|greedy)")
SIZE = re.compile(r"([a-z_]+)=(\d+(?:,\d+)*)")
STRUCTURE = re.compile(r"|unstructured|2:4|channel(-[1-9]\d*)?")
SCHEDULE = re.compile(r"|one-shot|iterative|cubic|every-[1-9]\d*")
GROUP = re.compile(r"group-([1-9]\d*)")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What was asked of a model; "" and None mean that it was not asked.

    Of the net: recipe (how it was trained), sizes (build arguments that replace the recipe's, as in
    "width=8" or "hidden=18,11"), epochs, lr and batch_size (where they differ from the recipe).
    Of quantization: quantizer, bits, levels (where they are no power of two: 3 is ternary), a_bits
    and a_quantizer (of activations), granularity (tensor, channel, group-64: what shares a range),
    repairs (words of REPAIRS in their order), steps (of a quantizer that learns), budget ("mean 2
    bits, exact": layers get their bits under a budget of bytes).
    Of pruning: pruner, amount (the share of weights asked to go), structure, schedule; order, where
    a net is pruned and quantized. Of training: tuned (a word of STAGES, of BESIDE, or both joined
    by +; without a stage the net is trained so from the beginning), teacher (the model that
    "distill" learns from); where a training is asked for so, epochs, lr and batch_size are its own.
    Of running it: deploy, policy, trace.
    ValueError for a value that cannot be.
    """

    recipe: str = ""
    sizes: str = ""
    quantizer: str = ""
    bits: int | None = None
    levels: int | None = None
    a_bits: int | None = None
    a_quantizer: str = ""
    granularity: str = ""
    repairs: str = ""
    steps: int | None = None
    budget: str = ""
    pruner: str = ""
    amount: float | None = None
    structure: str = ""
    schedule: str = ""
    order: str = ""
    tuned: str = ""
    teacher: str = ""
    epochs: int | None = None
    lr: float | None = None
    batch_size: int | None = None
    deploy: str = ""
    policy: str = ""
    trace: str = ""

    def __post_init__(self) -> None:
        if self.levels and self.levels & (self.levels - 1) == 0:    # 8 levels are 3 bits
            object.__setattr__(self, "bits", self.levels.bit_length() - 1)
            object.__setattr__(self, "levels", None)
        self._fill("granularity", "tensor" if self.quantizer.startswith("edge_") else "channel",
                   where=self.quantizer)
        self._fill("a_quantizer", "mse", where=self.a_bits)
        self._fill("structure", "unstructured", where=self.pruner)
        self._fill("schedule", "one-shot", where=self.pruner)
        self._fill("order", "prune quantize", where=self.pruner and self.quantizer)
        for problem in self._problems():
            raise ValueError(f"this setting cannot be: {problem}")

    def _fill(self, name: str, value: str, where: object) -> None:
        """One setting has one spelling: what a technique takes for granted is written down."""
        if where and not getattr(self, name):
            object.__setattr__(self, name, value)

    def _problems(self) -> list[str]:
        found = []
        if self.recipe not in RECIPES:
            found.append(f"recipe {self.recipe!r}; choose one of: ours, edge, plan")
        asked = [bool(self.bits), bool(self.levels), bool(self.budget)]
        if self.quantizer and not any(asked):
            found.append(f"quantizer {self.quantizer!r} without bits, levels or budget; add one")
        if any(asked) and not self.quantizer:
            found.append("bits, levels or a budget without a quantizer; name one")
        if sum(asked) > 1:
            found.append("more than one of bits, levels and budget; give one")
        if self.a_bits and not self.quantizer:
            found.append("rounded activations without a quantizer of the weights; name one")
        if "smooth" in self.repairs.split() and not self.quantizer:
            found.append("smooth without a quantizer; it only prepares rounding")
        if self.budget and not BUDGET.fullmatch(self.budget):
            found.append(f"budget {self.budget!r}; write it as in 'mean 2 bits, exact'")
        words = [word for word in REPAIRS if word in self.repairs.split()]
        if " ".join(words) != self.repairs:
            found.append(f"repairs {self.repairs!r}; choose from, in this order: "
                         f"{' '.join(REPAIRS)}")
        known = ("", "tensor", "channel")
        if self.granularity not in known and not GROUP.fullmatch(self.granularity):
            found.append(f"granularity {self.granularity!r}; choose tensor, channel or group-64")
        if not all(SIZE.fullmatch(size) for size in self.sizes.split()):
            found.append(f"sizes {self.sizes!r}; write them as in 'width=8' or 'hidden=18,11'")
        return [*found, *self._problems_of_pruning(), *self._problems_of_training()]

    def _problems_of_pruning(self) -> list[str]:
        found = []
        if self.order not in ORDERS:
            found.append(f"order {self.order!r}; choose one of: {', '.join(ORDERS[1:])}")
        if bool(self.order) != bool(self.pruner and self.quantizer):
            found.append("an order needs a pruner and a quantizer; leave it out")
        if self.amount is not None and not 0 <= self.amount < 1:
            found.append(f"amount {self.amount}; choose a share from 0 to below 1")
        if bool(self.pruner) != (self.amount is not None):
            found.append("a pruner needs an amount, and an amount a pruner; give both")
        if not STRUCTURE.fullmatch(self.structure):
            found.append(f"structure {self.structure!r}; choose unstructured, 2:4, channel, or as "
                         "in channel-16")
        if not SCHEDULE.fullmatch(self.schedule):
            found.append(f"schedule {self.schedule!r}; choose one-shot, iterative, cubic, or as in "
                         "every-5")
        if self.structure == "2:4" and self.amount not in (0, 0.5):
            found.append(f"amount {self.amount}: 2:4 takes half of the weights; say 0.5")
        if self.narrows and self.schedule != "one-shot":
            found.append(f"channels that go by schedule {self.schedule!r}; take one-shot")
        return found

    def _problems_of_training(self) -> list[str]:
        words = self.tuned.split("+") if self.tuned else []
        ordered = [word for word in (*STAGES, *BESIDE) if word in words]
        if words != ordered or sum(word in STAGES for word in words) > 1:
            return [f"tuned {self.tuned!r}; choose one of {', '.join(STAGES)}, or {BESIDE[0]}, or "
                    f"join them as in 'finetune+{BESIDE[0]}'"]
        if self.trains and self.order == "quantize prune":
            return ["a training after what was quantized first; take order 'prune quantize'"]
        if bool(self.teacher) != ("distill" in words):
            return ["'distill' needs a teacher, and a teacher 'distill'; give both"]
        return []

    @property
    def setting(self) -> "Setting":
        """The setting alone, where a record holds more than that."""
        return Setting(**{name: getattr(self, name) for name in FIELDS})

    @property
    def asked(self) -> dict[str, Any]:
        """The fields that were asked for, with their values."""
        return {name: getattr(self, name) for name in FIELDS
                if getattr(self, name) not in ("", None)}

    @property
    def net(self) -> "Setting":
        """What is asked of the net alone, before anything is taken from it."""
        return Setting(**{name: getattr(self, name) for name in self._of_the_net})

    @property
    def technique(self) -> "Setting":
        """What is asked beyond that."""
        return self._without(*self._of_the_net)

    @property
    def _of_the_net(self) -> tuple[str, ...]:
        """Where a training is asked for, epochs, rate and batches are its own, not the net's."""
        return ("recipe", "sizes") if self.trains else OF_THE_NET

    @property
    def trains(self) -> bool:
        """Does it ask for a training of its own, beyond that of the plain net?"""
        return bool(self.tuned) or self.schedule not in ("", "one-shot")

    @property
    def stage(self) -> str:
        """What is done with a trained net; "" where the net is trained so from the beginning."""
        return next((word for word in self.tuned.split("+") if word in STAGES), "")

    @property
    def narrows(self) -> bool:
        """Does it take whole channels?"""
        return self.structure.startswith("channel")

    @property
    def training(self) -> "Setting":
        """What the training that it asks for has to do with: all but what is done afterwards."""
        return self if not self.trains else self._without(*OF_QUANTIZATION, "order")

    @property
    def afterwards(self) -> "Setting":
        """What is left to do with a net when that training is over."""
        done = ("tuned", "teacher", "pruner", "amount", "structure", "schedule", "order")
        return self if not self.trains else self._without(*done, *OF_THE_NET)

    def _without(self, *names: str) -> "Setting":
        return Setting(**{name: value for name, value in self.asked.items() if name not in names})

    @property
    def build_arguments(self) -> dict[str, int | tuple[int, ...]]:
        """`sizes` as arguments: "hidden=18,11 width=8" -> {"hidden": (18, 11), "width": 8}."""
        found: dict[str, int | tuple[int, ...]] = {}
        for size in self.sizes.split():
            name, numbers = SIZE.fullmatch(size).groups()
            several = tuple(int(number) for number in numbers.split(","))
            found[name] = several if name == "hidden" or len(several) > 1 else several[0]
        return found

    @property
    def allocation(self) -> tuple[int, str] | None:
        """`budget` as (mean bits, exact or greedy)."""
        match = BUDGET.fullmatch(self.budget)
        return (int(match[1]), match[2]) if match else None

    @property
    def group(self) -> int | None:
        """How many weights of a row share a range, where `granularity` is a group."""
        match = GROUP.fullmatch(self.granularity)
        return int(match[1]) if match else None

    def __str__(self) -> str:
        """For people: "gptq, 3 bits, folded"; nothing parses it."""
        return worded(self)


FIELDS = tuple(field.name for field in dataclasses.fields(Setting))
TEXT_FIELDS = tuple(field.name for field in dataclasses.fields(Setting) if field.default == "")
