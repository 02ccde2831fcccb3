"""People: what a model scores on each of them, and by how much it leads on the same people."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.base.metric import METRICS
from lib.tables.intervals import t_interval

LEADS = ("task", "model", "subjects", "score", "low", "high", "lead", "lead_low", "lead_high")


def by_subject(row: Any, scores: np.ndarray, group: np.ndarray) -> pd.DataFrame:
    """A row's score on each subject alone: task, model, subject, score.

    row: a line of a table of rows; scores: its values per example, (n,); group: whose each example
    is, (n,). ValueError where these differ in length.
    """
    scores, group = np.asarray(scores), np.asarray(group)
    if len(scores) != len(group):
        raise ValueError(f"{row.task} {row.model}: {len(scores)} scores, but the subjects of "
                         f"{len(group)} examples; give those of the row's own split and fold.")
    people, total = np.unique(group), METRICS[row.metric].total
    return pd.DataFrame({"task": row.task, "model": row.model, "subject": people,
                         "score": [total(scores[group == who]) for who in people]})


def leads(people: Sequence[pd.DataFrame], rivals: Sequence[str]) -> pd.DataFrame:
    """Means over subjects and leads over the best rival, with 95 % t intervals: columns LEADS.

    people: what `by_subject` gave of several rows, none at all if no task has subjects (folds and
    seeds of a subject are averaged); rivals: names of models, of which each task's best by its mean
    is the one to lead over.
    """
    lines = []
    everybody = pd.concat(people) if len(people) else pd.DataFrame({"task": []})
    for task, part in everybody.groupby("task"):
        wide = part.groupby(["subject", "model"]).score.mean().unstack()    # (subjects, models)
        best = wide[[name for name in rivals if name in wide]].mean().idxmax()
        for model in wide:
            lines.append((task, model, len(wide), *t_interval(wide[model]),
                          *t_interval(wide[model] - wide[best])))
    return pd.DataFrame(lines, columns=LEADS)
