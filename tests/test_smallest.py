"""The smallest of a kind: chosen on validation, read on test."""

import numpy as np
import pandas as pd
import pytest

from lib import tables
from lib.base import Setting
from lib.page import findings


def lines(kind: str, losses: dict[float, float], **more) -> pd.DataFrame:
    """A net's losses in points, by size in KiB."""
    return pd.DataFrame([{"task": "cifar10", "net": "resnet20", "model": "resnet20", "sizes": "",
                          "technique": f"{kind} to {kib}", "kind": kind, "amount": np.nan,
                          "sparsity": 0.5, "KiB": kib, "base_KiB": 1000.0, "macs": 4e7,
                          "loss": loss, "low": loss - 0.2, "high": loss + 0.2, "over": "examples",
                          "runs": 1, "n": 10_000} | more for kib, loss in losses.items()])


VAL = pd.concat([lines("pruned", {500.0: 0.1, 300.0: 0.4, 200.0: 0.9, 100.0: 2.0}),
                 lines("dense", {190.0: 1.4}), lines("", {1000.0: 0.0})], ignore_index=True)
TEST = pd.concat([lines("pruned", {500.0: 0.0, 300.0: 0.3, 200.0: 1.4, 100.0: 0.1}),
                  lines("dense", {190.0: 0.2}), lines("", {1000.0: 0.0})], ignore_index=True)


def test_the_choice_is_made_on_validation_and_read_on_test():
    found = tables.smallest(TEST, VAL, "kind").set_index("kind")
    pruned = found.loc["pruned"]                    # the test part alone would choose 100 KiB
    assert (pruned.KiB, pruned.loss, pruned.low, pruned.high) == pytest.approx(
        (200, 1.4, 1.2, 1.6))
    assert list(found.index) == ["pruned", "dense"]


def test_a_kind_that_loses_too_much_on_validation_offers_nothing():
    found = tables.smallest(TEST, VAL, "kind").set_index("kind")
    assert np.isnan(found.KiB["dense"])             # whatever the test part says
    told, = findings.smallest(found.reset_index(), "kind")
    assert told == ("cifar10 resnet20, 1,000 KiB as trained, gets smallest by “pruned”: 200 KiB "
                    "(pruned to 200.0), chosen on validation, loses 1.40 [1.20, 1.60] points over "
                    "10,000 examples on test; nothing within a point by “dense”")
    told, = findings.smallest(found.loc[["dense"]].reset_index(), "kind")
    assert told == "cifar10 resnet20: nothing within a point by “dense”"


@pytest.mark.parametrize("asked, kind", [
    ({}, ""), ({"tuned": "finetune"}, ""),
    ({"technique": "dense"}, "a smaller net"),
    ({"pruner": "wanda", "amount": 0.5}, "pruned"),
    ({"pruner": "wanda", "amount": 0.5, "tuned": "finetune"}, "pruned, trained on"),
    ({"pruner": "wanda", "amount": 0.5, "structure": "channel-16", "tuned": "rewind"},
     "channels gone, trained on"),
    ({"pruner": "wanda", "amount": 0.5, "structure": "2:4", "quantizer": "gptq", "bits": 4},
     "pruned, rounded"),
    ({"quantizer": "gptq", "bits": 4}, "rounded"),
    ({"quantizer": "gptq", "bits": 4, "tuned": "lsq"}, "trained through rounding"),
    ({"pruner": "wanda", "amount": 0.5, "tuned": "finetune+lsq", "quantizer": "lsq", "bits": 4},
     "pruned, trained on, trained through rounding"),
    ({"tuned": "distill", "teacher": "resnet56"}, "taught")])
def test_kinds_are_words(asked, kind):
    technique = {"technique": asked.pop("technique", "as asked")}
    line = pd.DataFrame([vars(Setting(**asked)) | technique])
    assert tables.by_kind(line).kind[0] == kind
