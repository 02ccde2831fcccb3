"""What all chapters that make nets smaller have measured, as one set of candidates, and the answer
that it gives."""

import pandas as pd

from lib.tables.advice import advice, kinds
from lib.tables.choice import by_fold, chosen
from lib.tables.losses import in_points, losses, offered, untouched
from lib.tables.store import load, load_scores, load_table

CHAPTERS = ("03_ptq", "04_prune", "05_qat", "07_distill")
COUNTED = ("03_losses", "04_losses", "05_losses")       # tables that say of which nets


def together() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The rows of these chapters in this profile, each once; what every candidate of a net loses
    (`losses`) on the test part, whichever chapter measured it; and the same on the validation part
    of those that were scored there. All are empty where no chapter has been run.

    The nets are those that some chapter counted losses of.
    """
    rows = [table for table in map(load, CHAPTERS) if len(table)]
    if not rows:
        return load("03_ptq"), pd.DataFrame(), pd.DataFrame()
    every = pd.concat(rows, ignore_index=True).drop_duplicates("id", ignore_index=True)
    scores: dict = {}
    for chapter in CHAPTERS:
        scores |= load_scores(chapter)
    counted = [table for table in map(load_table, COUNTED) if len(table)]
    if not counted:
        return every, pd.DataFrame(), pd.DataFrame()
    kept = pd.concat(counted)
    nets = (kept.task + "/" + kept.net).unique()
    whole = every[(every.split == "val") & untouched(every) & every.recipe.isin(["ours", ""])]
    validated = [net for net in nets if net in set(whole.task + "/" + whole.model)]
    return every, losses(every, nets, scores), losses(every, validated, scores, split="val")


def answer() -> list[str]:
    """The advice from this profile's rows, in paragraphs of Markdown, the kinds as a table before
    what they lose; none where no net has been made smaller."""
    rows, tested, validated = together()
    if tested.empty:
        return []
    points = in_points(offered(tested))
    folds = by_fold(points, rows)
    picked = chosen(points, folds, in_points(offered(validated)))
    *first, by_mean, by_interval = advice(points, folds, picked)
    return [*first, _markdown(kinds(picked)), by_mean, by_interval]


def _markdown(table: pd.DataFrame) -> str:
    lines = [list(table), ["---"] * table.shape[1], *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
