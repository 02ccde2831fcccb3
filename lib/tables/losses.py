"""Losses: what each smaller net loses against one as trained, pair by pair, and what that answers.

Doing nothing, and dense nets that were small from the start, stand among the candidates.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from lib.base.metric import METRICS
from lib.base.pairs import parsed
from lib.base.setting import FIELDS, OF_THE_NET, TEXT_FIELDS
from lib.tables.intervals import repeats, t_interval
from lib.tables.rows import bits_asked, setting_of

UNTOUCHED, DENSE = "as trained", "dense"        # what stands under `technique` beside techniques
REPEAT = ["seed", "fold", "n"]                  # what two rows of a pair have in common
OF_TECHNIQUES = tuple(name for name in FIELDS if name not in OF_THE_NET)
OF_DENSE = (*OF_THE_NET, "tuned", "teacher")    # what may be asked of a net that stays dense
OF_RUNNING = ("deploy", "policy", "trace")      # what may be asked of any net
COLUMNS = ("id", "task", "net", "model", *FIELDS, "technique", "against", "against_id", "metric",
           "loss", "low", "high", "over", "runs", "n", "score", "KiB", "base_KiB", "bits_asked",
           "sparsity", "macs")
LONGER = "finetune"             # dense nets trained for longer: by this alone, at whatever rate
EQUAL = 1e-9                                    # of a loss, beside the tolerance: rounding
POINT = 1.0 + EQUAL                             # a net that loses no more counts as kept


def losses(rows: pd.DataFrame, nets: Iterable[str], scores: Mapping[str, np.ndarray],
           recipe: str = "ours", split: str = "test") -> pd.DataFrame:
    """What each candidate loses on one part against its net as trained, or trained for longer.

    nets: "task/model"; recipe: by which these were trained; scores: row id -> value per example.
    Candidates of a net: itself, itself by each technique, and every smaller dense net of its task,
    whoever's recipe, taught or not; each as a model and as the files that were made of it.
    Against: the net as trained; or, where there are rows of the dense net trained on ("finetune")
    and they score higher in the mean, these, so that no technique gains by the training that comes
    with it. loss = score of that net - candidate's, in the metric's unit, from pairs of the same
    seed, fold and examples, draws averaged. [low, high] is its 95 % interval over folds where there
    are several, else seeds, else draws (t), else over test examples (`Metric.paired_interval`;
    missing where no scores per example are kept). A candidate that lacks one of the net's folds (or
    seeds, of a task with one split), or whose partner is missing, is left out, and named in
    `.attrs["left_out"]`.
    Columns: COLUMNS; id: of the candidate's first row; net: the model of the net as trained;
    against: the technique of the net that loses nothing; against_id: the id of its first row.
    ValueError for a net without a row as trained.
    """
    lines, left_out = [], []
    tested = rows[(rows.split == split) & rows.score.notna()]
    for net in nets:
        task, model, _ = parsed(net)
        own = tested[tested.task == task]
        whole = _as_trained(own, net, model, recipe)
        base = _better(own, whole)
        paired = own.merge(base[[*REPEAT, "id", "score"]], on=REPEAT, suffixes=("", "_base"))
        for candidate in _candidates(own, whole):
            pairs = paired[paired["id"].isin(candidate["id"])]
            line = _line(candidate, pairs, base, whole, scores)
            if line is None:
                left_out.append(f"{net}: {candidate.model.iloc[0]}, "
                                f"{setting_of(candidate.iloc[0])}")
            else:
                lines.append({"task": task, "net": model} | line)
    table = pd.DataFrame(lines, columns=COLUMNS)
    table.attrs["left_out"] = left_out
    return table


def answers(losses: pd.DataFrame) -> pd.DataFrame:
    """The same lines with three more columns of truth values: which candidates are answers.

    by_mean: the net's smallest candidate, in KiB, whose mean loss is within the metric's tolerance;
    by_interval: the smallest whose interval ends within it; front: no smaller candidate loses as
    little. All are chosen by the test scores that they are judged by, which flatters them: what is
    offered to people is `choice.chosen`.
    """
    tolerance = losses.metric.map(lambda name: METRICS[name].tolerance) + EQUAL
    marked = losses.assign(by_mean=False, by_interval=False, front=False)
    for _, part in losses.groupby(["task", "net"], sort=False):
        part = part.sort_values(["KiB", "loss"], kind="stable")
        for mark, most in (("by_mean", part.loss), ("by_interval", part.high)):
            kept = part.index[most <= tolerance[part.index]]
            marked.loc[kept[:1], mark] = True
        least_so_far = part.loss.cummin().shift(fill_value=np.inf)
        marked.loc[part.index[part.loss < least_so_far], "front"] = True
    return marked


def offered(losses: pd.DataFrame) -> pd.DataFrame:
    """The candidates that an answer may offer: all but those that recompute another study's code,
    its faults included."""
    recomputed = [quantizer.startswith("edge_") for quantizer in losses.quantizer]
    return losses[~np.array(recomputed, dtype=bool)]


def plain(losses: pd.DataFrame) -> pd.DataFrame:
    """The lines of nets whose weights alone were rounded, a range a channel, and nothing else."""
    same = losses.granularity.isin(["", "channel"]) & losses.a_bits.isna()
    for name in ("repairs", "pruner", "budget", "tuned"):
        same &= losses[name] == ""
    return losses[same & losses.bits_asked.notna()]


def in_points(losses: pd.DataFrame) -> pd.DataFrame:
    """The same lines with loss, low and high in points: percent of accuracy, or hundredths of R²,
    so that one point is every metric's tolerance."""
    tolerance = losses.metric.map(lambda name: METRICS[name].tolerance)
    return losses.assign(**{name: losses[name] / tolerance for name in ("loss", "low", "high")})


def matrix(losses: pd.DataFrame) -> pd.DataFrame:
    """What each technique loses at worst: one line a technique, over all nets that have it.

    Columns: technique, quantizer, bits_asked, worst (the largest mean loss, in points: percent of
    accuracy or hundredths of R², each metric's tolerance), worst_on (task/net), nets (how many).
    Dense nets are no technique and are left out.
    """
    tolerance = losses.metric.map(lambda name: METRICS[name].tolerance)
    points = losses.assign(points=losses.loss / tolerance, on=losses.task + "/" + losses.net)
    points = points[points.technique != DENSE]
    lines = []
    by = ["technique", "quantizer", "bits_asked"]
    for key, part in points.groupby(by, dropna=False, sort=False):
        worst = part.loc[part.points.idxmax()]
        lines.append(dict(zip(by, key, strict=True)) | {
            "worst": worst.points, "worst_on": worst.on, "nets": part.on.nunique()})
    return pd.DataFrame(lines, columns=[*by, "worst", "worst_on", "nets"])


def untouched(rows: pd.DataFrame) -> pd.Series:
    """Which rows are of nets that no technique has touched."""
    return ~_asked(rows, OF_TECHNIQUES)


def _asked(rows: pd.DataFrame, names: Iterable[str]) -> pd.Series:
    """Of which rows any of these fields was asked."""
    asked = pd.Series(False, index=rows.index)
    for name in names:
        asked |= rows[name] != "" if name in TEXT_FIELDS else rows[name].notna()
    return asked


def _as_trained(own: pd.DataFrame, net: str, model: str, recipe: str) -> pd.DataFrame:
    """The rows of the net itself: of several untouched ones the one of which least was asked."""
    found = own[(own.model == model) & own.recipe.isin([recipe, ""]) & untouched(own)]
    if found.empty:
        raise ValueError(f"there is no test row of {net} as trained by recipe {recipe!r}, so there "
                         "is nothing that others could lose against; measure it in the same table.")
    asked = [len(setting_of(row).asked) for row in found.itertuples()]
    first = found.iloc[int(np.argmin(asked))]
    return found[_same_net(found, first)]


def _better(own: pd.DataFrame, whole: pd.DataFrame) -> pd.DataFrame:
    """The net as trained, or trained for longer, whichever scores higher on the same repeats."""
    same = own[(own.model == whole.model.iloc[0]) & _same_net(own, whole.iloc[0])]
    best, most = whole, whole.score.mean()
    for _, longer in same[same.tuned == LONGER].groupby(list(FIELDS), dropna=False, sort=False):
        dense = not _asked(longer, set(FIELDS) - set(OF_DENSE)).any()
        repeated = len(longer.merge(whole[REPEAT], on=REPEAT)) == len(whole) == len(longer)
        if dense and repeated and longer.score.mean() > most:
            best, most = longer, longer.score.mean()
    return best


def _candidates(own: pd.DataFrame, base: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of one task, a frame a candidate. A file holds more than its net's weights, so that
    its net is smaller is told by the parameters."""
    net = base.iloc[0]
    itself = (own.model == net.model) & _same_net(own, net)
    dense = ~_asked(own, set(FIELDS) - {*OF_DENSE, *OF_RUNNING})
    smaller = (own.size_bytes < base.size_bytes.median()).where(
        own.deploy == "", own.params < base.params.median())
    groups = own[itself | (dense & smaller)].groupby(["model", *FIELDS], dropna=False, sort=False)
    return [group for _, group in groups]


def _same_net(rows: pd.DataFrame, net: pd.Series) -> pd.Series:
    """Which rows are of the very net; epochs and rate of a further training are none of its own."""
    same, further = pd.Series(True, index=rows.index), _trained_further(rows)
    for name in OF_THE_NET:
        alike = rows[name].isna() if pd.isna(net[name]) else rows[name] == net[name]
        same &= alike if name in ("recipe", "sizes") else alike | further
    return same


def _trained_further(rows: pd.DataFrame) -> pd.Series:
    return (rows.tuned != "") | ~rows.schedule.isin(["", "one-shot"])


def _line(candidate: pd.DataFrame, pairs: pd.DataFrame, base: pd.DataFrame, whole: pd.DataFrame,
          scores: Mapping[str, np.ndarray]) -> dict | None:
    """A candidate's line from its pairs (its rows beside the base's); None where one is missing."""
    over = repeats(base) or "fold"
    lacking = set(base[over].dropna()) - set(pairs[over].dropna())
    if lacking or len(pairs) < len(candidate):
        return None
    first = candidate.iloc[0]
    loss, low, high, over = _interval(pairs, scores)
    return {"id": first["id"], "model": first.model, **{name: first[name] for name in FIELDS},
            "technique": _technique(first, whole), "against": _technique(base.iloc[0], whole),
            "against_id": base["id"].iloc[0], "metric": first.metric, "loss": loss, "low": low,
            "high": high, "over": over, "runs": len(pairs), "n": candidate.n.median(),
            "score": pairs.score.mean(),
            "KiB": candidate.size_bytes.median() / 1024,
            "base_KiB": whole.size_bytes.median() / 1024,
            "bits_asked": bits_asked(candidate).iloc[0], "sparsity": candidate.sparsity.mean(),
            "macs": candidate.macs.median()}


def _technique(row: pd.Series, whole: pd.DataFrame) -> str:
    """What was done to the net, for people; nothing parses it."""
    if row["id"] in set(whole["id"]):
        return UNTOUCHED
    asked = setting_of(row)
    return DENSE if asked == asked.net else str(asked.technique)


def _interval(pairs: pd.DataFrame, scores: Mapping[str, np.ndarray]
              ) -> tuple[float, float, float, str]:
    """(mean loss, low, high, what the interval is over)."""
    difference = pairs.score_base - pairs.score
    over = repeats(pairs)
    if over:
        return *t_interval(difference.groupby(pairs[over]).mean()), f"{over}s"
    pair, mean = pairs.iloc[0], float(difference.mean())
    if pair["id"] == pair.id_base:
        return 0.0, 0.0, 0.0, "examples"
    base, new = scores.get(pair.id_base), scores.get(pair["id"])
    if base is None or new is None:
        return mean, np.nan, np.nan, ""
    metric = METRICS[pair.metric]
    shares = metric.paired(base, new, pair.score_base)
    return mean, *metric.paired_interval(shares), "examples"
