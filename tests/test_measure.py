import numpy as np
import pytest
import torch
from torch import nn

from lib import measure, models, train
from tests.toys import blobs, line


def test_a_row_says_what_the_model_is_and_does():
    task = blobs()
    net = models.build("mlp_simple", task)
    row = measure.measure(net, task, seed=3)
    result = train.evaluate(net, task)
    assert (row.task, row.model, row.method, row.setting) == (
        "blobs", "mlp_simple", "baseline", "baseline")
    assert row.score == result.score and row.loss == result.loss and row.n == len(task.test)
    assert row.score_low <= row.score <= row.score_high
    assert row.params == 4 * 10 + 10 + 10 * 3 + 3 == row.nonzero
    assert row.size_bytes == 4 * row.params and row.macs == 4 * 10 + 10 * 3
    assert (row.w_bits, row.a_bits, row.arithmetic, row.sparsity) == (32, 32, "float", 0)
    assert row.measured_j is None and row.measured_by.startswith("unavailable: ")
    assert row.scores.mean() * 100 == pytest.approx(row.score)


def test_regression_has_r2_and_rmse_in_the_targets_unit():
    task = line()
    row = measure.measure(models.build("mlp_simple", task), task)
    error = np.sqrt(row.scores.mean())
    assert row.metric == "r2" and row.metric2 == "rmse" and row.score2 == pytest.approx(error)
    assert 5 < row.score2 < 50


def test_compressed_tensors_are_asked_for_their_own_size():
    class Small:
        size_bytes, nonzero, bits = 7, 5, 2

    task = blobs()
    net = models.build("mlp_simple", task)
    layer = next(m for m in net.modules() if isinstance(m, nn.Linear))
    layer.compressed = {"weight": Small()}
    size = measure.size(net)
    assert size["size_bytes"] == 7 + 4 * (size["params"] - 40)
    assert size["nonzero"] == 5 + size["params"] - 40
    assert size["bits_per_weight"] == 8 * (7 + 4 * 30) / 70         # of 40 and 30 weights
    assert size["arithmetic"] == "simulated"


def test_zeroed_weights_are_achieved_sparsity():
    net = models.build("mlp_simple", blobs())
    layer = next(m for m in net.modules() if isinstance(m, nn.Linear))
    with torch.no_grad():
        layer.weight[:5] = 0
    size = measure.size(net)
    assert size["sparsity"] == pytest.approx(20 / 70) and size["nonzero"] == 63
    assert size["arithmetic"] == "float" and size["size_bytes"] == 4 * 83


def test_another_split_and_fewer_examples():
    task = blobs()
    net = models.build("mlp_simple", task)
    assert measure.measure(net, task, split="val").n == len(task.val)
    assert measure.measure(net, task, examples=20).n == 20


def test_latency_compares_in_one_window_and_pairs():
    small, large = torch.randn(64, 64), torch.randn(640, 640)
    frame = measure.latency({"small": lambda: small @ small, "large": lambda: large @ large},
                            windows=5).set_index("variant")
    assert list(frame.index) == ["small", "large"] and (frame.canary_s > 0).all()
    assert frame.speedup["small"] == 1 and frame.speedup["large"] < 1     # 1000 times the work
    assert (frame.latency_low <= frame.latency_s).all() and frame.windows.eq(5).all()
