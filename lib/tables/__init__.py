"""Rows, how they are kept, compared and summarised."""

from lib.tables.rows import (
    COLUMNS,
    KEY,
    TEXT,
    Row,
    bootstrap,
    load,
    load_scores,
    load_table,
    prediction,
    provenance,
    save,
    save_table,
    summary,
    t_interval,
    table,
)

__all__ = ["COLUMNS", "KEY", "TEXT", "Row", "bootstrap", "load", "load_scores", "load_table", "prediction", "provenance",
           "save", "save_table", "summary", "t_interval", "table"]
