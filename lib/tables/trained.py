"""What a training won over what was there before, and after how many answers it has paid back."""

import numpy as np
import pandas as pd

from lib.base.setting import FIELDS, OF_THE_NET
from lib.tables.ahead import lead
from lib.tables.losses import untouched
from lib.tables.rows import setting_of

FLOAT_BITS = 32
COURSE = ["epochs", "lr", "batch_size"]                 # of a training
OF_TRAINING = ("tuned", "teacher", *COURSE)
GAINS = ("task", "net", "sizes", "width", "technique", "teacher", "before", "score", "gain", "low",
         "high", "over", "n", "metric")
PAID = ("task", "model", "technique", "seconds", "training, 10⁹ MACs", "bit operations, 10⁶",
        "answers until paid back")


def width(rows: pd.DataFrame) -> pd.Series:
    """Bits of weights / of what enters their layers, in words: "4/8", "3 levels/32"."""
    of_weights = rows.bits.fillna(FLOAT_BITS).map("{:.0f}".format)
    of_weights = of_weights.where(rows.levels.isna(), rows.levels.map("{:.0f} levels".format))
    return of_weights + "/" + rows.a_bits.fillna(FLOAT_BITS).map("{:.0f}".format)


def techniques(rows: pd.DataFrame) -> pd.Series:
    """What was done to each row's net, in words: "lsq, gptq, 2 bits"."""
    return pd.Series([str(setting_of(row)) for row in rows.itertuples()], rows.index, dtype=str)


def gains(rows: pd.DataFrame, scores: dict[str, np.ndarray], before: str, after: str
          ) -> pd.DataFrame:
    """What rows with tuned == `after` score above those with tuned == `before` that are alike in
    all else but their training, pair by pair; two trainings are compared if they ask for the same
    epochs, rate and batches.

    scores: id -> scores per example. Columns: GAINS; before, score: the two scores; gain: the mean
    difference in the metric's unit with its 95 % interval, over folds, seeds or examples.
    """
    tested = rows[rows.split == "test"]
    alike = ["task", "model", *(name for name in FIELDS if name not in OF_TRAINING)]
    lines = []
    for _, part in tested.groupby(alike, dropna=False, sort=False):
        for _, new in part[part.tuned == after].groupby(["teacher", *COURSE], dropna=False):
            old, first = part[part.tuned == before], new.iloc[0]
            for name in COURSE if before else ():
                old = old[old[name].eq(first[name]) | (old[name].isna() & pd.isna(first[name]))]
            if old.empty:
                continue
            gain, low, high, over = lead(new, old, scores)
            lines.append({
                "task": first.task, "net": first.model, "sizes": first.sizes,
                "width": width(new).iloc[0], "technique": str(setting_of(first).technique),
                "teacher": first.teacher, "before": old.score.mean(),
                "score": new.score.mean(), "gain": gain, "low": low, "high": high, "over": over,
                "n": first.n, "metric": first.metric})
    return pd.DataFrame(lines, columns=GAINS)


def with_teachers(gains: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The same lines with teacher_score: what the teacher itself scores on the student's repeats,
    as far as it stands untouched, at its usual sizes, among these rows; NaN where it does not.

    gains: as `gains` gives it of a student's repeats; rows: of the test part, the teachers' among
    them.
    """
    whole = rows[(rows.split == "test") & untouched(rows) & (rows.sizes == "")]
    scores = whole.groupby(["task", "model"]).score.mean().rename("teacher_score").reset_index()
    return gains.merge(scores.rename(columns={"model": "teacher"}), on=["task", "teacher"],
                       how="left", validate="many_to_one")


def paid_back(rows: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """What each training of low widths spent, and after how many answers it has paid back, in bit
    operations (Baskin et al. 2018, arXiv 1804.10969): MACs × bits of weights × bits of inputs.

    costs: id, quantity, value: spent_s and spent_macs count. A training computes in floats; an
    answer spares what the float net's bit operations are above its own. Bits are those asked for:
    the first and the last layer, which may get more, count as the others. Columns: PAID.
    """
    spent = costs.pivot_table(index="id", columns="quantity", values="value", aggfunc="first")
    trained = rows[(rows.tuned != "") & (rows.quantizer != "") & rows["id"].isin(spent.index)]
    lines = []
    asked = [name for name in FIELDS if name not in OF_THE_NET or name == "sizes"]
    for _, part in trained.groupby(["task", "model", *asked], dropna=False, sort=False):
        first, used = part.iloc[0], spent.loc[part["id"]]
        bits = np.log2(first.levels) if first.levels > 0 else first.bits
        inputs = first.a_bits if first.a_bits > 0 else FLOAT_BITS
        answer = first.macs * np.ceil(bits) * inputs
        spared = first.macs * FLOAT_BITS**2 - answer
        work = used.get("spent_macs", pd.Series(dtype=float)).mean()
        lines.append(dict(zip(PAID, (
            first.task, first.model, str(setting_of(first).technique), used.spent_s.mean(),
            work / 1e9, answer / 1e6, work * FLOAT_BITS**2 / spared), strict=True)))
    return pd.DataFrame(lines, columns=PAID)
