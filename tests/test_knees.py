"""Knees: chosen on validation, read on test."""

import numpy as np
import pandas as pd
import pytest

from lib import tables
from lib.page import findings
from lib.tables.losses import DENSE


def lines(losses: dict[float, float], net: str = "resnet20", **more) -> pd.DataFrame:
    """A pruned net's losses in points, by amount."""
    return pd.DataFrame([{"task": "cifar10", "net": net, "model": net, "sizes": "",
                          "technique": f"magnitude_l1 {100 * amount:g} %", "amount": amount,
                          "sparsity": amount - 0.001, "KiB": 1000 * (1 - amount), "macs": 4e7,
                          "loss": loss, "low": loss - 0.2, "high": loss + 0.2, "over": "examples",
                          "runs": 1, "n": 10_000} | more for amount, loss in losses.items()])


def test_the_knee_is_chosen_on_validation_and_read_on_test():
    val = lines({0.5: 0.1, 0.7: 0.4, 0.8: 0.9, 0.9: 2.0})
    test = lines({0.5: 0.0, 0.7: 0.3, 0.8: 1.4, 0.9: 0.1})     # 0.9 would be chosen here
    knee = tables.knees(test, val).iloc[0]
    assert (knee.amount, knee.loss, knee.low, knee.high) == pytest.approx((0.8, 1.4, 1.2, 1.6))
    assert knee.sparsity == pytest.approx(0.799) and knee.KiB == pytest.approx(200)


def test_an_amount_beyond_one_that_loses_too_much_is_luck():
    val = lines({0.5: 0.1, 0.7: 1.4, 0.8: 0.9})
    assert tables.knees(val, val).amount[0] == 0.5


def test_a_net_that_loses_at_once_has_no_knee_and_is_said_to():
    val = lines({0.5: 1.4, 0.7: 0.2})
    knee = tables.knees(val, val)
    assert knee.amount[0] == 0 and np.isnan(knee.loss[0])
    told, = findings.knees(knee)
    assert told == "cifar10 resnet20 loses more than a point on validation at the least share tried"


def test_a_dense_net_that_is_no_larger_stands_beside():
    val = lines({0.5: 0.1, 0.8: 0.6})
    dense = pd.concat([lines({size: loss}, technique=DENSE, sizes=f"width={width}", KiB=kib)
                       for size, loss, width, kib in ((0.1, 3.0, 4, 50), (0.2, 0.4, 8, 190),
                                                      (0.3, 0.1, 12, 300))])
    knee = tables.knees(val, val, pd.concat([val, dense], ignore_index=True))
    assert (knee.dense[0], knee.dense_KiB[0], knee.dense_loss[0]) == ("resnet20 width=8", 190, 0.4)
    told, = findings.knees(knee)
    assert told == ("cifar10 resnet20 can lose 80 % of its weights: chosen on validation, 0.60 "
                    "[0.40, 0.80] points over 10,000 examples on test, in 200 KiB; resnet20 "
                    "width=8, trained from scratch in 190 KiB, loses 0.40")
