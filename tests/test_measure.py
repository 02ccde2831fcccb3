"""One model on one task is one row; calls are timed side by side."""

import multiprocessing
import time

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn

from lib import data, energy, measure, models, quant, train
from lib.base import Setting
from lib.measure import timing

from .toys import blobs, line


def test_a_row_says_what_the_model_is_and_does():
    task = blobs()
    net = models.build("mlp_simple", task)
    row, costs = measure.measure(net, task, seed=3, spent=(2.0, "clock"))
    result = train.evaluate(net, task)
    assert (row.task, row.model, row.seed, row.setting) == ("blobs", "mlp_simple", 3, Setting())
    assert [(c.id, c.quantity, c.kind, c.value) for c in costs[:1]] == [
        (row.id, "spent_s", "measured", 2.0)]
    assert [(c.quantity, c.kind) for c in costs[1:]] == [("energy_j", "modelled")] * 2
    table = energy.layers(net, task.test.x[:1])
    assert [c.value for c in costs[1:]] == [
        pytest.approx(energy.modelled(table, name).energy_j.sum()) for name in energy.PROCESSES]
    assert row.score == result.score and row.loss == result.loss and row.n == len(task.test)
    assert row.score_low <= row.score <= row.score_high
    assert row.params == 4 * 10 + 10 + 10 * 3 + 3 == row.nonzero
    assert row.size_bytes == 4 * (row.params + 2 * 4)       # and the inputs' mean and deviation
    assert row.macs == row.macs_nonzero == 4 * 10 + 10 * 3 and row.left_float == ""
    assert (row.bits_per_weight, row.a_bits_mean, row.sparsity) == (32, 32, 0)
    assert row.arithmetic == "float" and row.scores.mean() * 100 == pytest.approx(row.score)


def test_a_training_that_freezes_parts_spends_no_more_there_than_a_forward_pass():
    task = data.load("digits")
    course = {"examples": 10, "batch_size": 5, "optimizer": "adam", "bits": 32}
    spent = {}
    for frozen in (0, 1):
        net = models.build("resnet8", task, width=4, frozen=frozen)
        row, _ = measure.measure(net, task)
        costs = measure.of_training(row, net, task, course | {"frozen": net.frozen})
        spent[frozen] = {(cost.quantity, cost.source.split(",")[0]): cost.value for cost in costs}
    table = energy.layers(net, task.test.x[:1])
    resting = table.macs[table.layer.str.startswith(("conv1", "bn1", "layer1"))].sum()
    macs = [value for (quantity, _), value in spent[0].items() if quantity == "spent_macs"]
    less = [value for (quantity, _), value in spent[1].items() if quantity == "spent_macs"]
    assert macs == [30 * row.macs] and less == [30 * row.macs - 20 * resting] and resting > 0
    joules = [key for key in spent[0] if key[0] == "spent_energy_j"]
    assert len(joules) == 2 and all(spent[1][key] < spent[0][key] for key in joules)


def test_the_second_score_is_of_the_split_that_was_asked_for():
    task = blobs()
    net = models.build("mlp_simple", task)
    for split in ("val", "test"):
        row = measure.measure(net, task, split=split).row
        guesses = train.evaluate(net, task, split).outputs.argmax(1)
        truth = getattr(task, split).y
        assert row.metric2 == "macro_f1"
        assert row.score2 == pytest.approx(100 * f1_score(truth, guesses, average="macro"))
        assert row.score2 > 5


def test_regression_has_r2_and_rmse_in_the_targets_unit():
    task = line()
    row, _ = measure.measure(models.build("mlp_simple", task), task)
    error = np.sqrt(row.scores.mean())
    assert row.metric == "r2" and row.metric2 == "rmse" and row.score2 == pytest.approx(error)
    assert 5 < row.score2 < 50


def test_any_module_is_measured_under_its_class():
    row = measure.measure(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), blobs())
    assert row.model == "Sequential" and row.params == 67 and row.score > 0


def test_what_was_asked_and_what_was_reached_stay_apart():
    task = blobs()
    net = quant.ptq(models.build("mlp_simple", task), "affine", bits=3)
    asked = Setting(quantizer="affine", bits=3)
    row = measure.measure(net, task, setting=asked).row
    stored = sum(m.compressed["weight"].size_bytes for m in net.modules()
                 if hasattr(m, "compressed"))
    assert row.setting == asked and row.arithmetic == "simulated"
    assert row.bits_per_weight == pytest.approx(8 * stored / 70)
    assert row.size_bytes == stored + 4 * (13 + 2 * 4)


def test_bits_of_activations_are_a_mean_over_layers():
    task = blobs()
    net = models.build("mlp_simple", task, hidden=(8, 8))
    small = quant.ptq(net, "affine", bits=4, a_bits=4, calibration=task.calibration)
    assert measure.size(small)["a_bits_mean"] == pytest.approx((8 + 4 + 8) / 3)


def test_zeroed_weights_are_achieved_sparsity():
    net = models.build("mlp_simple", blobs())
    layer = next(m for m in net.modules() if isinstance(m, nn.Linear))
    with torch.no_grad():
        layer.weight[:5] = 0
    size = measure.size(net)
    assert size["sparsity"] == pytest.approx(20 / 70) and size["arithmetic"] == "float"
    row = measure.measure(net, blobs())
    assert (row.macs, row.macs_nonzero) == (70, 50)


def test_another_split_and_fewer_examples():
    task = blobs()
    net = models.build("mlp_simple", task)
    assert measure.measure(net, task, split="val").n == len(task.val)
    assert measure.measure(net, task, examples=20).n == 20


def test_a_row_says_how_many_threads_computed_it():
    task, before = blobs(), torch.get_num_threads()
    net = models.build("mlp_simple", task)
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert measure.measure(net, task).threads == threads
    finally:
        torch.set_num_threads(before)


def test_latency_compares_in_one_window_and_pairs():
    small, large = torch.randn(64, 64), torch.randn(640, 640)
    frame = measure.latency({"small": lambda: small @ small, "large": lambda: large @ large},
                            windows=5).set_index("variant")
    assert list(frame.index) == ["small", "large"] and (frame.canary_s > 0).all()
    assert frame.speedup["small"] == 1 and frame.speedup["large"] < 1     # 1000 times the work
    assert (frame.latency_low <= frame.latency_s).all() and frame.windows.eq(5).all()


def _spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_other_processes_are_noticed():
    clock = timing._others()
    process = multiprocessing.get_context("spawn").Process(target=_spin, args=(1.5,))
    process.start()
    while process.exitcode is None:
        time.sleep(0.05)
    assert timing._others(clock) > 0.3 * 1.5 / 10
    process.join()


def test_windows_in_which_others_computed_are_thrown_away(monkeypatch):
    busy = iter([0.0, 0.5, 0.0, 0.0] + [0.0, 0.01] * 10)
    monkeypatch.setattr(timing, "_others", lambda since=None: next(busy))
    frame = timing.latency({"one": lambda: None}, windows=3)
    assert frame.thrown[0] == 1 and not frame.noisy[0]
    monkeypatch.setattr(timing, "_others", lambda since=None: 0.5)
    frame = timing.latency({"one": lambda: None}, windows=2)
    assert frame.thrown[0] == timing.MOST_THROWN_AWAY and frame.noisy[0]


def test_it_does_not_matter_which_variant_went_before(monkeypatch):
    """By a clock of its own: calls of a millisecond, of two for a while after other work."""
    clock = {"now": 0.0, "last": None, "since": 0.0}

    def work(kind, seconds):
        if clock["last"] != kind:
            clock.update(last=kind, since=clock["now"])
        asleep = clock["now"] - clock["since"] < 0.006
        clock["now"] += seconds * (1 + asleep)

    def read():
        clock["now"] += 0.0001
        return clock["now"]

    class Matrix:
        def __matmul__(self, other):
            work("canary", 0.001)

    monkeypatch.setattr(timing.time, "perf_counter", read)
    monkeypatch.setattr(timing, "_others", lambda since=None: 0.0)
    monkeypatch.setattr(timing.torch, "randn", lambda *shape: Matrix())
    like = {name: (lambda: work("net", 0.001)) for name in ("first", "second")}
    long = {"long": lambda: work("net", 0.4)}
    frame = timing.latency(like | long, windows=3).set_index("variant")
    assert frame.latency_s["second"] == pytest.approx(frame.latency_s["first"], rel=1e-6)
    assert frame.speedup["second"] == pytest.approx(1.0, rel=1e-6)
    assert frame.latency_s["long"] == pytest.approx(0.4, rel=0.01)


def test_a_call_answers_like_the_model():
    task = blobs()
    net = models.build("mlp_simple", task)
    assert torch.equal(measure.call(net, task)(), net(task.test.batch(slice(1))))
