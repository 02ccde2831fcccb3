"""Sentences of models as files, each computed from what it tells."""

import pandas as pd

from lib.base.said import written
from lib.page.figures.deploy import WORDS
from lib.tables.losses import untouched

# Of fewer windows all lie on one side by chance more often than once in twenty: 2 · 2⁻⁵ = 6 %.
ENOUGH_WINDOWS = 6

Control = tuple[float, float]
NONE: Control = (1.0, 1.0)
MASKS = ("", "unstructured", "2:4")     # structures that leave a net its shape


def seeming(found: pd.DataFrame, batch: int) -> Control:
    """How many times as fast as the net's own file of floats those files seemed, at least and at
    most, whose weights alone are others: rounded or masked ones, which take the same arithmetic.

    found: `tables.files`. What is no further from 1 than this control is no gain and no loss.
    """
    other_weights = (found.quantizer != "") | (found.pruner != "") & found.structure.isin(MASKS)
    value = found[found.itself & (found.deploy == "fp32") & other_weights][f"speedup at {batch}"]
    return min([1.0, *value.dropna()]), max([1.0, *value.dropna()])


def controlled(found: pd.DataFrame, batch: int) -> list[str]:
    """The control in a sentence, where there is one."""
    low, high = seeming(found, batch)
    if (low, high) == NONE:
        return []
    return [f"Files of floats whose weights alone are others take the same arithmetic, and seemed "
            f"{low:.2f} to {high:.2f} times as fast as the net's own, {batch} at once: what lies "
            "between is called neither faster nor slower"]


def speeds(found: pd.DataFrame, batch: int, control: Control = NONE) -> list[str]:
    """A sentence a way of running: on how many nets it is surely faster than the file of floats, on
    how many surely slower, and its least and most.

    found: `tables.files` of nets as trained; control: of `seeming`. Sure is what the middle 95 % of
    windows lie beyond, of ENOUGH_WINDOWS or more, and what is beyond the control.
    """
    told = []
    for way, part in found[found.deploy != "fp32"].groupby("deploy", sort=False):
        lines = part.to_dict("records")
        value = part[f"speedup at {batch}"]
        if len(part) == 1:
            told.append(f"{WORDS[way]}, {batch} at once: {_ratio(lines[0], batch)} the file of "
                        f"floats{_doubt(lines[0], batch, control)}")
            continue
        faster, slower = (sum(_side(line, batch, control) == side for line in lines)
                          for side in (1, -1))
        told.append(f"{WORDS[way]}, {batch} at once: faster than the file of floats on {faster} of "
                    f"{len(part)} nets, slower on {slower}; from {value.min():.2f} to "
                    f"{value.max():.2f} times as fast{_of_few(lines[0], batch)}")
    return told


def _ratio(line: dict, batch: int) -> str:
    value, low, high = (line[f"speedup{end} at {batch}"] for end in ("", "_low", "_high"))
    return f"{value:.2f} [{low:.2f}, {high:.2f}] times as fast as"


def _side(line: dict, batch: int, control: Control) -> int:
    """1 where it is surely faster, -1 where it is surely slower, else 0."""
    value = line[f"speedup at {batch}"]
    if _of_few(line, batch) or control[0] <= value <= control[1]:
        return 0
    return int(line[f"speedup_low at {batch}"] > 1) - int(line[f"speedup_high at {batch}"] < 1)


def _doubt(line: dict, batch: int, control: Control) -> str:
    few = _of_few(line, batch)
    return few if few or _side(line, batch, control) else ", which cannot be told apart"


def _of_few(line: dict, batch: int) -> str:
    windows = line[f"windows at {batch}"]
    return f", of {windows:g} windows, which carries nothing" if windows < ENOUGH_WINDOWS else ""


def fastest(chosen: pd.DataFrame, control: Control = NONE) -> list[str]:
    """A sentence a net: the file that answers fastest among those that stay within a point, and
    whether it is surely faster than the file of floats of the net as trained, or that this file is
    the fastest. A smaller net that is surely right more often gains points, and does not lose fewer
    than none.

    chosen: `tables.fastest(…)`; control: of `seeming`, one at once.
    """
    told = []
    floats = untouched(chosen.assign(deploy="")) & chosen.itself & (chosen.deploy == "fp32")
    for line, are_floats in zip(chosen.to_dict("records"), floats, strict=True):
        if are_floats:
            told.append(f"{line['task']} {line['net']}: of the files that lose no more than a "
                        "point on validation none answers faster than the net's own file of "
                        f"floats, {written(line['ms at 1'])} ms")
            continue
        loss, low, high = line["loss"], line["low"], line["high"]
        points = f"loses {loss:z.2f} [{low:z.2f}, {high:z.2f}] points on test"
        if high < 0 and not line["itself"]:
            points = (f"gains {-loss:.2f} [{-high:.2f}, {-low:.2f}] points on test on the net as "
                      "trained here")
        told.append(f"{line['task']} {line['net']}: {line['model']}, {line['technique']}, "
                    f"answers in {written(line['ms at 1'])} ms, {_ratio(line, 1)} the net's file "
                    f"of floats{_doubt(line, 1, control)}, and {points}; it was chosen "
                    "on validation")
    return told


def kept(found: pd.DataFrame) -> str:
    """The most that whole numbers lose beyond floats of the same model, and how often a file in
    whole numbers answers as its model."""
    whole = found[found.by_codes.notna()]
    if whole.empty:
        return "There is no file in whole numbers"
    worst = whole.loc[whole.by_codes.idxmax()]
    least = whole.agreement.min()
    agrees = "" if pd.isna(least) else f"; the least agreement with its own model is {least:.1f} %"
    return (f"Of {len(whole)} files in whole numbers {worst.model} on {worst.task} ("
            f"{worst.technique}) loses most beyond the floats of the same model, "
            f"{worst.by_codes:z.2f} points{agrees}")
