"""Trainings that had converged and trainings that had not, on curves drawn for it."""

import numpy as np
import pandas as pd
import pytest

from lib.results.convergence import converged

METRICS = {"cifar10": "accuracy", "california": "r2"}
EPOCHS = np.arange(1, 51)
FLAT = 90 - 40 * np.exp(-EPOCHS / 4)                    # 90 for the second half of its epochs


def history(scores, **more) -> pd.DataFrame:
    told = {"task": "cifar10", "model": "resnet20", "recipe": "ours", "sizes": "", "seed": 0,
            "fold": np.nan}
    return pd.DataFrame({"epoch": np.arange(1, len(scores) + 1), "val_score": scores,
                         **(told | more)})


def noise(seed: int, spread: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, len(EPOCHS))


@pytest.mark.parametrize("name, scores, flat", [
    ("rising", 40 + 0.1 * EPOCHS, False),
    ("rising more slowly", 80 + 5 * np.log(EPOCHS), False),
    ("rising at the very end", np.where(EPOCHS > 45, 91.0, 90.0), False),
    ("flat", FLAT, True), ("constant", np.full(50, 70.0), True),
    ("overfitting", FLAT - 0.1 * np.clip(EPOCHS - 20, 0, None), True),
    ("fallen and recovered", np.where((EPOCHS > 30) & (EPOCHS < 42), 60.0, FLAT), True)])
def test_a_training_has_converged_if_its_last_fifth_adds_nothing(name, scores, flat):
    found = converged(history(scores), METRICS)
    assert found.converged.tolist() == [flat] and found.epochs_run.tolist() == [50]


def test_noise_neither_hides_a_rise_nor_is_one():
    flat = [converged(history(FLAT + noise(seed)), METRICS).converged[0] for seed in range(100)]
    rising = [converged(history(40 + 0.2 * EPOCHS + noise(seed)), METRICS).converged[0]
              for seed in range(100)]
    assert np.mean(flat) > 0.9 and np.mean(rising) < 0.05


def test_the_gain_by_hand():
    """Ten epochs, so no mean over epochs: 80 is the best of eight, 83 of the last two."""
    found = converged(history([50, 60, 70, 75, 78, 80, 79, 80, 82, 83]), METRICS)
    assert found.gain[0] == pytest.approx(3) and not found.converged[0]
    edge = [80.0] * 8 + [80.19] * 2, [80.0] * 8 + [80.21] * 2       # 0.2 points may be added
    assert [bool(converged(history(one), METRICS).converged[0]) for one in edge] == [True, False]


def test_a_rise_while_the_rate_decays_tells_only_if_it_goes_on_to_the_end():
    """A decaying rate lifts the score of a long training and of a short one alike."""
    decaying = np.cos(np.pi / 2 * EPOCHS / 50)
    annealed = np.where(EPOCHS > 40, 94.0, 90.0)
    found = pd.concat([history(annealed, lr=decaying),
                       history(annealed, lr=0.1, seed=1),
                       history(annealed + 2.0 * (EPOCHS > 48), lr=decaying, seed=2),
                       history(FLAT, lr=decaying, seed=3),
                       history([40, 55, 63, 68, 72, 77], lr=decaying[[0, 9, 19, 29, 39, 49]],
                               seed=4)])
    verdicts = converged(found, METRICS).set_index("seed").converged
    assert verdicts.isna().tolist() == [True, False, False, False, False]
    assert verdicts.dropna().tolist() == [False, False, True, False]


def test_each_metric_has_its_own_tolerance():
    scores = 0.8 + 0.001 * (EPOCHS > 45)
    found = pd.concat([history(scores, task="california"),
                       history(scores + 0.01 * (EPOCHS > 45), task="california", seed=1)])
    assert converged(found, METRICS).converged.tolist() == [True, False]


def test_what_cannot_be_known_is_missing():
    assert converged(history([1, 2, 3, 4]), METRICS).converged.isna().all()
    assert converged(history([5, 5, 5, 5, 5]), METRICS).converged.tolist() == [True]
    unknown = converged(history(FLAT, task="squad"), METRICS)
    assert unknown.converged.isna().all() and unknown.gain.isna().all()


def test_trainings_are_told_apart_by_all_that_was_asked():
    parts = [history(FLAT, lr=lr, training_lr=1e-3 / EPOCHS, epochs=50.0, fold=fold)
             for lr in (np.nan, 3e-3) for fold in (0, 1)]
    found = converged(pd.concat(parts), METRICS)
    assert len(found) == 4 and {"lr", "epochs", "fold", "recipe", "sizes"} <= set(found)
    own = converged(history(FLAT, lr=1e-3 / EPOCHS), METRICS)        # here each epoch's own rate
    assert len(own) == 1 and "lr" not in own
    with pytest.raises(ValueError, match="comes twice"):
        converged(pd.concat([history(FLAT), history(FLAT)]), METRICS)
