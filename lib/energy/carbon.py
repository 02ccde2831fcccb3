"""Grams of CO₂ that measured joules stand for, from the cleanest grid to the dirtiest."""

from pathlib import Path

import pandas as pd

TABLE = Path(__file__).with_name("carbon.csv")
JOULES_PER_KWH = 3.6e6


def grids() -> pd.DataFrame:
    """country, g_per_kwh (CO₂ equivalents a kilowatt-hour, the mean of a year at the place where it
    is used), year, source."""
    return pd.read_csv(TABLE)


def carbon(joules: float, kind: str) -> pd.DataFrame:
    """What `joules` stand for, a line a country, cleanest first: country, g_co2e, year, source.

    kind: of the joules. ValueError unless they were measured: modelled ones are ratios, and what
    they would emit is not known. Making the machine, and cooling it, are not counted.
    """
    if kind != "measured":
        raise ValueError(f"joules that were {kind} stand for no grams of CO₂; measure them")
    found = grids().sort_values("g_per_kwh", kind="stable", ignore_index=True)
    found["g_co2e"] = joules / JOULES_PER_KWH * found.g_per_kwh
    return found[["country", "g_co2e", "year", "source"]]
