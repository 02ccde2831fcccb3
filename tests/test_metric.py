"""Metrics: per-example values, totals and intervals, each against a number worked out otherwise."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as known

from lib.base import paths, resampling
from lib.base.metric import METRICS

accuracy, r2, mcc = METRICS["accuracy"], METRICS["r2"], METRICS["mcc"]
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


def judged(n=300, right=0.8, seed=0):
    """Two outputs and classes, of which so many are answered rightly."""
    draw = np.random.default_rng(seed)
    y = (draw.uniform(size=n) < 0.7).astype(int)
    answer = np.where(draw.uniform(size=n) < right, y, 1 - y)
    return torch.eye(2)[torch.from_numpy(answer)], torch.from_numpy(y)


def test_matthews_correlation_is_the_known_one_and_0_where_one_class_is_answered():
    outputs, y = judged()
    cells = mcc.per_example(outputs, y, SCALE)
    assert mcc.total(cells) == pytest.approx(known.matthews_corrcoef(y, outputs.argmax(1)))
    assert mcc.total(mcc.stored(cells)) == mcc.total(cells) and mcc.stored(cells).dtype == np.uint8
    assert mcc.total(mcc.per_example(torch.eye(2)[y], y, SCALE)) == mcc.best
    alone = mcc.per_example(torch.tensor([[0.0, 1.0]]).repeat(300, 1), y, SCALE)
    assert mcc.total(alone) == 0 and mcc.interval(alone) == (0, 0)
    assert mcc.second(outputs, y, SCALE) == (
        "accuracy", pytest.approx(100 * known.accuracy_score(y, outputs.argmax(1))))
    with pytest.raises(ValueError, match="of two classes, not 3"):
        mcc.per_example(*answers(), SCALE)


def test_a_lost_correlation_is_the_difference_with_an_interval_that_pairs_narrow():
    before = mcc.per_example(*judged(), SCALE)
    outputs, y = judged()
    outputs[:12] = outputs[:12].flip(1)                 # twelve answers change, most of them right
    after = mcc.per_example(outputs, y, SCALE)
    lost = mcc.paired(before, after, mcc.total(before))
    assert lost.mean() == pytest.approx(mcc.total(before) - mcc.total(after))
    low, high = mcc.paired_interval(lost)
    apart = [mcc.interval(cells) for cells in (before, after)]
    assert low < lost.mean() < high
    assert high - low < sum(high - low for low, high in apart) / 2


def test_the_interval_of_a_correlation_holds_the_truth():
    """0.7 of the classes, 0.8 right: by its definition the correlation is 0.548."""
    counts = np.array([0.3 * 0.8, 0.3 * 0.2, 0.7 * 0.2, 0.7 * 0.8])
    tn, fp, fn, tp = counts
    truth = (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    held = 0
    for seed in range(60):
        low, high = mcc.interval(mcc.per_example(*judged(200, seed=seed), SCALE))
        held += low <= truth <= high
    assert held >= 54


def test_macro_f1_is_the_mean_over_classes_in_percent():
    outputs, y = answers()
    guess = outputs.argmax(1)
    each = []
    for c in range(3):
        both = ((guess == c) & (y == c)).sum().item()
        each.append(2 * both / ((guess == c).sum() + (y == c).sum()).item())
    assert accuracy.second(outputs, y, SCALE) == ("macro_f1", pytest.approx(100 * np.mean(each)))
    assert min(each) > 0.3 and max(each) - min(each) > 0.01


def test_the_interval_of_an_accuracy_is_wilsons():
    right = np.array([1.0] * 8 + [0.0] * 2)
    low, high = accuracy.interval(right)                    # of 8 in 10, as in Newcombe (1998)
    assert (low, high) == pytest.approx((49.02, 94.33), abs=0.01)
    assert accuracy.interval(right) == accuracy.interval(right.astype(np.uint8))
    assert accuracy.interval(np.ones(10)) == pytest.approx((72.25, 100.0), abs=0.01)
    low, high = accuracy.interval(np.zeros(10))
    assert low == 0 and high == pytest.approx(27.75, abs=0.01)
    with pytest.raises(ValueError, match="0 and 1"):
        accuracy.interval(right * 0.5)


@pytest.mark.parametrize("share", [0.8, 0.98, 0.03])
def test_the_interval_of_an_accuracy_covers_as_often_as_it_says(share):
    random, covered = np.random.default_rng(1), 0
    for _ in range(1000):
        low, high = accuracy.interval(random.random(300) < share)
        covered += low <= 100 * share <= high
    assert 0.93 <= covered / 1000 <= 0.98


def exponential(random, n):
    """Squared errors and targets with one long tail each; R² = 1 - 0.25 / 1."""
    y, error = random.exponential(1, n), 0.5 * (random.exponential(1, n) - 1)
    return np.stack([error**2, (y - y.mean()) ** 2], 1), 0.75


def lognormal(random, n):
    """Errors that grow with a lognormal target: R² = 1 - 0.09 E[y²] / Var[y]."""
    y = random.lognormal(0, 0.7, n)
    square, mean_square = np.exp(2 * 0.49), np.exp(0.49)
    error = 0.3 * y * random.normal(size=n)
    return (np.stack([error**2, (y - y.mean()) ** 2], 1),
            1 - 0.09 * square / (square - mean_square))


@pytest.fixture
def fewer(monkeypatch):
    """Draws enough to cover as often as 1000 do, in a fifth of the time."""
    monkeypatch.setattr(resampling, "DRAWS", 200)


@pytest.mark.parametrize("made", [exponential, lognormal])
@pytest.mark.parametrize("n", [100, 200, 400])
def test_the_interval_of_r2_covers_skewed_errors(n, made, fewer):
    """A percentile bootstrap covers 88 to 92 % of these."""
    random, covered, percentile = np.random.default_rng(n), 0, 0
    for _ in range(200):
        scores, true = made(random, n)
        low, high = r2.interval(scores)
        covered += low <= true <= high
        drawn = random.multinomial(n, np.full(n, 1 / n), 200) @ scores
        ends = np.percentile(1 - drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
        percentile += ends[0] <= true <= ends[1]
        assert low <= r2.total(scores) <= high <= 1
    assert 0.93 <= covered / 200 <= 0.99 and covered > percentile


@pytest.mark.parametrize("draw, true", [
    (lambda random, n: random.exponential(1, n), 1.0),
    (lambda random, n: random.lognormal(0, 1, n), np.exp(0.5)),
    (lambda random, n: random.normal(size=n), 0.0)])
def test_the_interval_of_a_mean_covers_skewed_values(draw, true, fewer):
    random, covered = np.random.default_rng(1), 0
    for _ in range(200):
        low, high = resampling.of_mean(draw(random, 150))
        covered += low <= true <= high
    assert 0.93 <= covered / 200 <= 0.985


@pytest.mark.parametrize("lost, won", [(0.005, 0.005), (0.02, 0.005), (0.3, 0.2)])
def test_the_interval_of_paired_answers_covers_where_few_differ(lost, won):
    random, covered = np.random.default_rng(4), 0
    for _ in range(600):
        paired = random.choice([100.0, -100.0, 0.0], 300, p=[lost, won, 1 - lost - won])
        low, high = accuracy.paired_interval(paired)
        covered += low <= 100 * (lost - won) <= high
    assert covered / 600 >= 0.94


def test_no_difference_among_the_examples_is_not_taken_for_certain():
    low, high = accuracy.paired_interval(np.zeros(998))
    assert high == -low == pytest.approx(100 * 1.96 * np.sqrt(1e-3) / np.sqrt(1000), rel=1e-3)
    assert r2.paired_interval(np.zeros(50)) == (0, 0)       # the very same predictions


def test_intervals_of_faultless_and_of_constant_answers_have_no_length():
    assert r2.interval(np.stack([np.zeros(9), np.ones(9)], 1)) == (1, 1)
    assert r2.interval(np.ones((9, 2))) == pytest.approx((0, 0))


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
    assert [m.label for m in METRICS.values()] == [
        "accuracy, %", "R²", "Matthews correlation", "F1 of words, %"]


def test_a_page_reads_metrics_without_torch():
    code = ("import sys; from lib.base.metric import METRICS; import numpy as np; "
            "METRICS['r2'].interval(np.ones((9, 2))); print('torch' in sys.modules)")
    told = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True,
                          text=True, check=True)
    assert told.stdout == "False\n"
