"""Tables of the first format, in which one text held the setting, become rows of today.

Only here is a setting ever read out of a text.
"""

import re
from collections import defaultdict
from dataclasses import replace

import pandas as pd

from lib.base.names import WITHOUT_RECIPE
from lib.base.setting import Setting
from lib.tables.rows import Cost, Row, frame

FIRST_KEY = ("task", "model", "method", "setting", "seed", "fold", "draw", "split", "runtime",
             "device", "threads", "batch")
LEARNED = ("brecq",)
SMALL = ("width", "hidden", "d")            # the sizes by which dense controls differ
# What the first study's runs of Edge's nets changed of Edge's recipe, for want of time.
EDGE_CHANGES = {"cnn_edge": {"epochs": 3, "batch_size": 64}, "resnet9": {"sizes": "width=16"}}
EDGE_SIZED = ("resnet9 width=16",)          # so Edge's net even where its setting said nothing
WORDS = {"per-tensor": {"granularity": "tensor"}, "folded": {"repairs": "folded"},
         "equalized": {"repairs": "equalized"}, "corrected": {"repairs": "corrected"},
         "reestimated": {"repairs": "reestimated"}, "smooth": {"repairs": "smooth"}}


def is_old(table: pd.DataFrame) -> bool:
    """Is this a table of the first format?"""
    return "setting" in table and "method" in table


def upgrade(table: pd.DataFrame, steps: int | None = None
            ) -> tuple[pd.DataFrame, list[Cost], dict[str, str]]:
    """Rows, costs and {first key: id} of a table of the first format, read as text.

    steps: those of the quantizers that learn, which that format kept among the parameters of its
    run. Where it did not know a number (bits that the weights alone take), it is missing.
    """
    rows, costs, names = {}, [], {}
    for record in table.to_dict("records"):
        line = defaultdict(str, record)             # early tables lack the latest columns
        row = _row(line, steps)
        names["|".join(_first(line[name]) for name in FIRST_KEY)] = row.id
        if row.id in rows and rows[row.id].score == row.score:
            continue                    # a net measured twice: as itself, and within a search
        # Where two rows of one key differ, both stay, for `frame` to refuse.
        rows[row.id if row.id not in rows else len(rows)] = row
        if line["spent_s"]:
            source = f"clock, beside other trials, {row.threads} thread"
            costs.append(Cost(row.id, "spent_s", "measured", source, float(line["spent_s"])))
    return frame(list(rows.values())), costs, names


def _first(value: str) -> str:
    """A value of the first key as it was written beside the scores: numbers as whole ones."""
    if value == "":
        return "None"
    return value.removesuffix(".0") if re.fullmatch(r"\d+\.0", value) else value


def _row(line: dict[str, str], steps: int | None) -> Row:
    model, _, arguments = line["model"].partition(" ")
    asked = _setting(model, arguments, line["method"], line["setting"])
    if asked.quantizer in LEARNED:
        asked = replace(asked, steps=steps)
    plain = not asked.quantizer and not asked.pruner
    numbers = {name: _number(line[name]) for name in (
        "seed", "fold", "draw", "n", "threads", "batch", "score", "score_low", "score_high",
        "score2", "loss", "a_bits", "params", "nonzero", "size_bytes", "macs")}
    known = {name: int(numbers.pop(name)) if numbers[name] is not None else numbers.pop(name)
             for name in ("seed", "fold", "draw", "n", "threads", "batch", "params", "nonzero",
                          "size_bytes", "macs")}
    # That format counted zeros among all parameters: only where there is none is more known.
    whole = known["params"] is not None and known["nonzero"] == known["params"]
    return Row(**asked.asked, **known, task=line["task"], model=model, split=line["split"],
               runtime=line["runtime"], device=line["device"], metric=line["metric"],
               score=numbers["score"], score_low=numbers["score_low"],
               score_high=numbers["score_high"], metric2=line["metric2"], score2=numbers["score2"],
               loss=numbers["loss"], arithmetic=line["arithmetic"], a_bits_mean=numbers["a_bits"],
               bits_per_weight=_number(line["w_bits"]) if plain else None,
               sparsity=0.0 if whole else None, macs_nonzero=known["macs"] if whole else None)


def _number(text: str) -> float | None:
    return float(text) if text else None


def _setting(model: str, arguments: str, method: str, setting: str) -> Setting:
    """The Setting that a text of the first format meant, word by word."""
    words = setting.split()
    asked: dict = {"recipe": "" if model in WITHOUT_RECIPE else "ours"}
    dense = setting == "baseline dense"
    if "recipe=edge" in words or f"{model} {arguments}" in EDGE_SIZED and not dense:
        asked |= {"recipe": "edge"} | EDGE_CHANGES.get(model, {})
    if dense:
        asked["sizes"] = _small(arguments)
    if method == "ptq" and words[0] != "baseline":
        asked["quantizer"] = words[0]
    repairs = []
    for word in words[1:]:
        name, _, value = word.partition("=")
        if name in ("b", "levels", "a", "lr", "batch_size", "epochs"):
            field = {"b": "bits", "a": "a_bits"}.get(name, name)
            asked[field] = float(value) if name == "lr" else int(value)
        elif name == "mixed":
            asked["budget"] = f"mean {value} bits, exact"
        elif word == "greedy":
            asked["budget"] = asked["budget"].replace("exact", "greedy")
        elif name in ("l1", "edge") and value:
            asked |= {"pruner": {"l1": "magnitude_l1"}.get(name, name), "amount": float(value)}
        elif word in ("prune-first", "quantize-first"):
            asked["order"] = {"prune-first": "prune quantize",
                              "quantize-first": "quantize prune"}[word]
        elif word in WORDS:
            repairs.append(word) if "repairs" in WORDS[word] else asked.update(WORDS[word])
    if "levels" in asked:
        asked.pop("bits", None)
    asked["repairs"] = " ".join(repairs)
    return Setting(**asked)


def _small(arguments: str) -> str:
    """The size that a dense control was asked for: "hidden=(18, 11) dropout=0.0" -> "hidden=18,11".
    """
    for name, value in re.findall(r"(\w+)=(\([^)]*\)|\S+)", arguments):
        if name in SMALL:
            numbers = ",".join(re.findall(r"\d+", value))
            return f"{name}={numbers}"
    return ""
