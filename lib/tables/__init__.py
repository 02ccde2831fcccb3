"""Rows, what they cost, how they are kept, and what they say together."""

from lib.tables.intervals import bootstrap_mean, prediction, summary, t_interval
from lib.tables.rows import COLUMNS, KEY, Cost, Row, frame, setting_of
from lib.tables.store import (
    load,
    load_costs,
    load_scores,
    load_table,
    ordered,
    provenance,
    save,
    save_table,
)
from lib.tables.upgrade import upgrade

__all__ = ["COLUMNS", "Cost", "KEY", "Row", "bootstrap_mean", "frame", "load", "load_costs",
           "load_scores", "load_table", "ordered", "prediction", "provenance", "save",
           "save_table", "setting_of", "summary", "t_interval", "upgrade"]
