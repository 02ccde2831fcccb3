"""A family of paired comparisons: gains in points, corrected for their number."""

import numpy as np
import pandas as pd
import pytest

from lib.results.family import COLUMNS, family


def rows(scores, metric="accuracy", name="a"):
    """One row a seed, of one model."""
    return pd.DataFrame({
        "id": [f"{name}{seed}" for seed in range(len(scores))], "metric": metric,
        "score": np.asarray(scores, float), "seed": np.arange(len(scores), dtype=float),
        "fold": np.nan, "draw": np.nan, "n": 100.0})


def test_a_gain_is_in_points_and_keeps_its_sign():
    table = family([({"net": "x"}, rows([92, 93, 91]), rows([90, 91, 90], name="b"))], {})
    line = table.iloc[0]
    assert line.gain == pytest.approx(5 / 3)
    assert line.low < line.gain < line.high
    assert (line.net, line.over, line.runs) == ("x", "seed", 3)
    assert line.score - line.base == pytest.approx(5 / 3)


def test_a_hundredth_of_r2_is_a_point():
    table = family([({}, rows([0.95, 0.96], "r2"), rows([0.93, 0.93], "r2", "b"))], {})
    assert table.gain[0] == pytest.approx(2.5)


def test_one_comparison_in_many_has_to_be_clearer():
    """The same gain is significant alone and not among twenty others."""
    base = rows([90.0, 90.3, 89.8], name="b")
    clear = ({"net": "clear"}, rows([91.0, 91.4, 90.7]), base)
    noise = [({"net": str(i)}, rows([90.0 + i / 20, 90.1, 90.0]), base) for i in range(20)]
    assert family([clear], {}).verdict[0] == "significantly higher"
    among = family([clear, *noise], {})
    assert among.verdict[0] == "inconclusive"
    assert (among.holm >= among.p).all()


def test_what_cannot_be_paired_has_no_line():
    base = rows([90.0, 91.0], name="b")
    assert family([({"net": "x"}, base.head(0), base)], {}).empty
    assert set(COLUMNS) <= set(family([], {}).columns)


def test_without_scores_per_example_nothing_is_decided():
    """One training on each side, whose scores per example were not kept."""
    table = family([({"net": "x"}, rows([95.0]), rows([90.0], name="b"))], {})
    assert table.gain[0] == 5 and np.isnan(table.low[0]) and table.verdict[0] == "inconclusive"
