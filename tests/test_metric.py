"""Metrics: per-example values, totals and intervals, each against a number worked out otherwise."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as known

from lib.base import paths
from lib.base.metric import METRICS

accuracy, r2 = METRICS["accuracy"], METRICS["r2"]
SCALE = (50.0, 10.0)


def answers(n=200):
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(n, 3, generator=generator)
    y = torch.randint(3, (n,), generator=generator)
    outputs[torch.arange(n), y] += 1
    return outputs, y


def predictions(n=200):
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(n, generator=generator)
    return (y + 0.3 * torch.randn(n, generator=generator))[:, None], y


def test_accuracy_is_the_share_of_right_classes_in_percent():
    outputs, y = answers()
    scores = accuracy.per_example(outputs, y, SCALE)
    assert scores.shape == (200,) and set(scores) == {0.0, 1.0}
    assert accuracy.total(scores) == pytest.approx(
        100 * known.accuracy_score(y, outputs.argmax(1)))
    assert accuracy.total(np.ones(7)) == accuracy.best


def test_r2_is_measured_in_the_targets_own_unit():
    outputs, y = predictions()
    scores = r2.per_example(outputs, y, SCALE)
    target, guess = (10 * v.double().numpy() + 50 for v in (y, outputs[:, 0]))
    assert np.allclose(scores[:, 0], (guess - target) ** 2)
    assert np.allclose(scores[:, 1], (target - target.mean()) ** 2)
    assert r2.total(scores) == pytest.approx(known.r2_score(target, guess))
    assert r2.total(r2.per_example(y[:, None], y, SCALE)) == pytest.approx(r2.best)
    assert r2.second(outputs, y, SCALE) == (
        "rmse", pytest.approx(known.root_mean_squared_error(target, guess)))


def test_macro_f1_is_the_mean_over_classes_in_percent():
    outputs, y = answers()
    guess = outputs.argmax(1)
    each = []
    for c in range(3):
        both = ((guess == c) & (y == c)).sum().item()
        each.append(2 * both / ((guess == c).sum() + (y == c).sum()).item())
    assert accuracy.second(outputs, y, SCALE) == ("macro_f1", pytest.approx(100 * np.mean(each)))
    assert min(each) > 0.3 and max(each) - min(each) > 0.01


def test_intervals_are_the_published_ones_to_the_last_digit():
    """The numbers of the code that made the published rows, for the same values."""
    random = np.random.RandomState(3)
    right = (random.rand(400) < 0.8).astype(float)
    squares = np.ascontiguousarray(np.abs(random.normal(size=(300, 2))) * [0.1, 1.0])
    assert accuracy.interval(right) == (78.75, 86.5)
    assert r2.interval(squares) == (0.8947242101349424, 0.9158206243841033)
    assert accuracy.interval(right) == accuracy.interval(right.astype(np.uint8))
    with pytest.raises(ValueError, match="0 and 1"):
        accuracy.interval(right * 0.5)


def test_an_interval_covers_as_often_as_it_says():
    random, covered = np.random.default_rng(1), 0
    for _ in range(300):
        low, high = accuracy.interval(random.random(400) < 0.8)
        covered += low <= 80 <= high
    assert 0.91 < covered / 300 < 0.98


def test_losses_are_those_of_a_training():
    outputs, y = answers()
    assert accuracy.loss(outputs, y) == F.cross_entropy(outputs, y)
    assert accuracy.loss(outputs, y, 0.1) == F.cross_entropy(outputs, y, label_smoothing=0.1)
    assert accuracy.loss(outputs, y, 0.1) != accuracy.loss(outputs, y)
    outputs, y = predictions()
    assert r2.loss(outputs, y.double()).item() == pytest.approx(
        (outputs[:, 0] - y).square().mean().item())


def test_what_is_kept_on_disk_gives_the_score_back():
    outputs, y = answers()
    scores = accuracy.per_example(outputs, y, SCALE)
    kept = accuracy.stored(scores)
    assert kept.dtype == np.uint8 and accuracy.total(kept) == accuracy.total(scores)
    outputs, y = predictions()
    scores = r2.per_example(outputs, y, SCALE)
    kept = r2.stored(scores)
    assert kept.dtype == np.float32 and kept.shape == (200,)
    assert np.allclose(kept, scores[:, 0])


def test_scores_are_written_as_people_read_them():
    assert accuracy.text(86.22999999999999) == "86.23" and r2.text(0.99342) == "0.9934"
    assert (accuracy.tolerance, r2.tolerance) == (1.0, 0.01)
    assert [m.label for m in METRICS.values()] == ["accuracy, %", "R²"]


def test_a_page_reads_metrics_without_torch():
    code = ("import sys; from lib.base.metric import METRICS; import numpy as np; "
            "METRICS['r2'].interval(np.ones((9, 2))); print('torch' in sys.modules)")
    told = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True,
                          text=True, check=True)
    assert told.stdout == "False\n"
