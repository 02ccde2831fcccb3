"""Rows, their paired comparisons, and what is selected by them."""

from lib.base.metric import METRICS
from lib.results.candidates import (
    CHAPTERS,
    TRAINING,
    baseline,
    candidates,
    energies,
    networks,
    rows_of,
    unmodified,
)
from lib.results.family import decided, gains, judged, unit
from lib.results.intervals import holm, interval, prediction, summary, t_interval
from lib.results.paired import difference
from lib.results.select import eligible, recipe, select, selection_losses, within
from lib.results.techniques import (
    fewest_bits,
    of_network,
    quantized_alone,
    with_and_without_training,
    worst,
)
from lib.tables.rows import Cost, Row, bits_asked, frame, setting_of
from lib.tables.store import load, load_costs, load_scores, load_table, provenance, save_table

__all__ = ["baseline", "bits_asked", "candidates", "CHAPTERS", "Cost", "decided", "difference",
           "eligible", "energies", "fewest_bits", "frame", "gains", "holm", "interval", "judged",
           "load", "load_costs", "load_scores", "load_table", "METRICS", "networks", "of_network",
           "prediction", "provenance", "quantized_alone", "recipe", "Row", "rows_of", "save_table",
           "select", "selection_losses", "setting_of", "summary", "t_interval", "TRAINING", "unit",
           "unmodified", "with_and_without_training", "within", "worst"]
