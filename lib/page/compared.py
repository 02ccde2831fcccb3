"""Tables of comparisons for a reader: values with their intervals as words, and gains."""

import pandas as pd

from lib.base import titles
from lib.base.metric import METRICS
from lib.page import words

LEAST_P = 0.001


def cells(table: pd.DataFrame, *names: str) -> list[str]:
    """"0.12 [−0.30, 0.63]" of each line; names: the columns of value, low and high."""
    return [words.cell(*line) for line in zip(*(table[name] for name in names), strict=True)]


def networks(table: pd.DataFrame, net: str = "net", sizes: str = "sizes") -> list[str]:
    """"CIFAR-10 · ResNet-20" of each line; net, sizes: the columns that say so."""
    return [titles.network(*line) for line in zip(table.task, table[net], table[sizes],
                                                  strict=True)]


def gains(table: pd.DataFrame, **more: str) -> pd.DataFrame:
    """Gains as a reader's table. table: as `results.decided` gives it; more: column of `table` ->
    its title, shown behind the network."""
    scores = {name: [METRICS[metric].text(value) for metric, value in zip(
        table.metric, table[column], strict=True)]
        for name, column in (("score before", "before"), ("after", "score"))}
    return pd.DataFrame({
        "network": networks(table), **{title: table[column] for column, title in more.items()},
        **scores, "gain, points": cells(table, "gain", "low", "high"), "over": table.over + "s",
        "verdict": table.verdict,
        "corrected p": [f"{p:.2g}" if p >= LEAST_P else f"< {LEAST_P:g}" for p in table.holm]})
