"""Sentences of models as files, each computed from what it tells."""

import pandas as pd

from lib.page.figures.deploy import WORDS


def speeds(found: pd.DataFrame, batch: int) -> list[str]:
    """A sentence a way of running: on how many nets it is surely faster than the file of floats, on
    how many surely slower, and its least and most.

    found: `tables.files` of nets as trained. Sure is what the middle 95 % of windows lie beyond.
    """
    told = []
    for way, part in found[found.deploy != "fp32"].groupby("deploy", sort=False):
        low, high = part[f"speedup_low at {batch}"], part[f"speedup_high at {batch}"]
        value = part[f"speedup at {batch}"]
        how = (f"{value.iloc[0]:.2f} [{low.iloc[0]:.2f}, {high.iloc[0]:.2f}] times as fast as the "
               f"file of floats{_surely(low.iloc[0], high.iloc[0])}") if len(part) == 1 else (
               f"faster than the file of floats on {(low > 1).sum()} of {len(part)} nets, slower "
               f"on {(high < 1).sum()}; from {value.min():.2f} to {value.max():.2f} times as fast")
        told.append(f"{WORDS[way]}, {batch} at once: {how}")
    return told


def _surely(low: float, high: float) -> str:
    return "" if low > 1 or high < 1 else ", which cannot be told apart"


def fastest(chosen: pd.DataFrame) -> list[str]:
    """A sentence a net: the file that answers fastest among those that stay within a point, and
    whether it is surely faster than the file of floats of the net as trained.

    chosen: `tables.fastest(…)`.
    """
    told = []
    for line in chosen.to_dict("records"):
        value, low, high = (line[f"speedup{end} at 1"] for end in ("", "_low", "_high"))
        told.append(f"{line['task']} {line['net']}: {line['model']} {line['technique']} answers in "
                    f"{line['ms at 1']:.3g} ms, {value:.2f} [{low:.2f}, {high:.2f}] times as fast "
                    f"as the net's file of floats{_surely(low, high)}, and loses "
                    f"{line['loss']:z.2f} [{line['low']:z.2f}, {line['high']:z.2f}] points on "
                    "test; it was chosen on validation")
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
