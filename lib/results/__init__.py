"""Rows, their paired comparisons, and what is selected by them."""

from lib.base.metric import METRICS
from lib.results.candidates import (
    CHAPTERS,
    TRAINING,
    baseline,
    candidates,
    energies,
    in_points,
    networks,
    rows_of,
    untouched,
)
from lib.results.gains import decided, gains, unit
from lib.results.intervals import (
    fold_interval,
    holm,
    interval,
    prediction,
    repeats,
    summary,
    t_interval,
)
from lib.results.paired import Difference, difference
from lib.results.select import eligible, recipe, select, selection_losses, within
from lib.results.techniques import (
    fewest_bits,
    of_network,
    quantized_alone,
    with_and_without_training,
    worst,
)
from lib.tables.rows import COLUMNS, Cost, Row, bits_asked, frame, setting_of
from lib.tables.store import (
    load,
    load_costs,
    load_scores,
    load_table,
    provenance,
    save_table,
)

__all__ = ["baseline", "bits_asked", "candidates", "CHAPTERS", "COLUMNS", "Cost", "decided",
           "difference", "Difference", "eligible", "energies", "fewest_bits", "fold_interval",
           "frame", "gains", "holm", "in_points", "interval", "load", "load_costs", "load_scores",
           "load_table", "METRICS", "networks", "of_network", "prediction", "provenance",
           "quantized_alone", "recipe", "repeats", "Row", "rows_of", "save_table", "select",
           "selection_losses", "setting_of", "summary", "t_interval", "TRAINING", "unit",
           "untouched", "with_and_without_training", "within", "worst"]
