"""What all chapters that make nets smaller have measured, as one set of candidates."""

import pandas as pd

from lib.tables.losses import losses
from lib.tables.store import load, load_scores, load_table

CHAPTERS = ("03_ptq", "04_prune", "05_qat", "07_distill")
COUNTED = ("03_losses", "04_losses", "05_losses")       # tables that say of which nets


def together() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of these chapters in this profile, each once, and what every candidate of a net
    loses (`losses`), whichever chapter measured it; both empty where none has been run.

    The nets are those that some chapter counted losses of.
    """
    rows = [table for table in map(load, CHAPTERS) if len(table)]
    if not rows:
        return load("03_ptq"), pd.DataFrame()
    every = pd.concat(rows, ignore_index=True).drop_duplicates("id", ignore_index=True)
    scores: dict = {}
    for chapter in CHAPTERS:
        scores |= load_scores(chapter)
    counted = [table for table in map(load_table, COUNTED) if len(table)]
    if not counted:
        return every, pd.DataFrame()
    kept = pd.concat(counted)
    nets = (kept.task + "/" + kept.net).unique()
    return every, losses(every, nets, scores)
