"""Tables of comparisons as a reader sees them."""

import pandas as pd
import pytest

from lib.page import compared


@pytest.fixture
def table():
    line = {"task": "cifar10", "net": "resnet20", "sizes": "", "metric": "accuracy",
            "before": 91.754, "score": 92.0, "gain": 0.246, "low": -0.104, "high": 0.596,
            "over": "example", "verdict": "equivalent within 1 pp", "holm": 0.25, "width": "4-bit"}
    r2 = {"task": "mv", "net": "mlp_complex", "sizes": "hidden=9", "metric": "r2",
          "before": 0.99996, "score": 0.5, "over": "fold", "holm": 2e-8}
    return pd.DataFrame([line, line | r2])


def test_a_gain_has_the_digits_of_its_metric_and_of_its_interval(table):
    shown = compared.gains(table, width="width of weights")
    assert shown["network"].tolist() == ["CIFAR-10 · ResNet-20", "MV · MLP, hidden 9"]
    assert shown["score before"].tolist() == ["91.75", "1.0000"]
    assert shown["gain, points"].tolist() == ["0.25 [−0.10, 0.60]"] * 2
    assert shown["corrected p"].tolist() == ["0.25", "< 0.001"]
    assert shown["over"].tolist() == ["examples", "folds"]
    assert list(shown)[:2] == ["network", "width of weights"]


def test_an_interval_that_is_missing_leaves_the_value(table):
    table = table.assign(low=float("nan"), high=float("nan"))
    assert compared.cells(table, "gain", "low", "high") == ["0.25", "0.25"]


def test_nothing_compared_is_a_table_without_lines(table):
    assert compared.gains(table.head(0)).empty
