"""Setting: what was asked of a model, as plain values. Its fields are columns of every table."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from lib.base import possible
from lib.base.wording import worded

__all__ = ["FIELDS", "OF_THE_NET", "Setting", "TEXT_FIELDS"]

OF_THE_NET = ("recipe", "sizes", "epochs", "lr", "batch_size")
OF_QUANTIZATION = ("quantizer", "bits", "levels", "a_bits", "a_quantizer", "granularity", "repairs",
                   "steps", "budget")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What was asked of a model; "" and None mean that it was not asked.

    Of the net: recipe (how it was trained), sizes (build arguments that replace the recipe's, as in
    "width=8" or "hidden=18,11"), epochs, lr and batch_size (where they differ from the recipe).
    Of quantization: quantizer, bits, levels (where they are no power of two: 3 is ternary), a_bits
    and a_quantizer (of activations), granularity (tensor, channel, group-64: what shares a range),
    repairs (words of REPAIRS in their order), steps (of a quantizer that learns), budget ("mean 2
    bits, exact": layers get their bits under a budget of bytes; "ends 8 bits", beside bits or
    levels: the first and the last layer get so many).
    Of pruning: pruner, amount (the share of weights asked to go), structure, schedule; order, where
    a net is pruned and quantized. Of training: tuned (words of STAGES, one training after the
    other, and of BESIDE, joined by +; without a stage the net is trained so from the beginning),
    teacher (the model that "distill" learns from); where a training is asked for so, epochs, lr and
    batch_size are those of its last.
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
        for problem in possible.problems(self):
            raise ValueError(f"this setting cannot be: {problem}")

    def _fill(self, name: str, value: str, where: object) -> None:
        """One setting has one spelling: what a technique takes for granted is written down."""
        if where and not getattr(self, name):
            object.__setattr__(self, name, value)

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
    def of_the_model(self) -> "Setting":
        """What is asked of the model, whatever runs it."""
        return self._without("deploy", "policy", "trace")

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
    def stages(self) -> tuple[str, ...]:
        """What is done with a trained net, in order; none where the net is trained so from the
        beginning."""
        return tuple(word for word in self.tuned.split("+") if word in possible.STAGES)

    @property
    def stage(self) -> str:
        """The last of these, or ""."""
        return self.stages[-1] if self.stages else ""

    @property
    def narrows(self) -> bool:
        """Does it take whole channels?"""
        return self.structure.startswith("channel")

    @property
    def training(self) -> "Setting":
        """What the training that it asks for has to do with: all but what is done afterwards."""
        if self.stage == possible.NESTED:       # one training for all widths, known by the widest
            return dataclasses.replace(self, bits=max(possible.NESTED_WIDTHS))
        if not self.trains or self.stage in possible.WITHIN:
            return self
        return self._without(*OF_QUANTIZATION, "order")

    @property
    def before(self) -> "Setting":
        """What is asked of the net that the last training starts from."""
        if len(self.stages) < 2:
            return self.net
        others = (*OF_QUANTIZATION, "order", "teacher", "epochs", "lr", "batch_size")
        kept = {name: value for name, value in self.asked.items() if name not in others}
        return Setting(**kept | {"tuned": self.stages[0]})

    @property
    def rounding(self) -> "Setting":
        """What is asked of quantization alone."""
        return Setting(**{name: getattr(self, name) for name in OF_QUANTIZATION})

    @property
    def afterwards(self) -> "Setting":
        """What is left to do with a net when that training is over."""
        if self.stage in possible.WITHIN:
            return Setting()
        done = ("tuned", "teacher", "pruner", "amount", "structure", "schedule", "order")
        return self if not self.trains else self._without(*done, *OF_THE_NET)

    def _without(self, *names: str) -> "Setting":
        return Setting(**{name: value for name, value in self.asked.items() if name not in names})

    @property
    def build_arguments(self) -> dict[str, int | str | tuple[int, ...]]:
        """`sizes` as arguments: "hidden=18,11 width=8" -> {"hidden": (18, 11), "width": 8}."""
        found: dict[str, int | str | tuple[int, ...]] = {}
        for size in self.sizes.split():
            name, numbers = possible.SIZE.fullmatch(size).groups()
            if numbers.isalpha():
                found[name] = numbers
                continue
            several = tuple(int(number) for number in numbers.split(","))
            found[name] = several if name == "hidden" or len(several) > 1 else several[0]
        return found

    @property
    def allocation(self) -> tuple[int, str] | None:
        """`budget` as (mean bits, exact or greedy)."""
        match = possible.BUDGET.fullmatch(self.budget)
        return (int(match[1]), match[2]) if match else None

    @property
    def every(self) -> int | None:
        """Epochs between two prunings, where `schedule` says so."""
        match = possible.EVERY.fullmatch(self.schedule)
        return int(match[1]) if match else None

    @property
    def ends(self) -> int | None:
        """Bits of the first and the last layer, where `budget` says so."""
        match = possible.ENDS.fullmatch(self.budget)
        return int(match[1]) if match else None

    @property
    def group(self) -> int | None:
        """How many weights of a row share a range, where `granularity` is a group."""
        match = possible.GROUP.fullmatch(self.granularity)
        return int(match[1]) if match else None

    def __str__(self) -> str:
        """For people: "gptq, 3 bits, folded"; nothing parses it."""
        return worded(self)


FIELDS = tuple(field.name for field in dataclasses.fields(Setting))
TEXT_FIELDS = tuple(field.name for field in dataclasses.fields(Setting) if field.default == "")
