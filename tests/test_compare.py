"""compare: what came back, what did not, and by which yardstick."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy import stats

from lib.base import paths
from lib.study import compare
from lib.tables import store
from lib.tables.rows import Row, frame

STEP = "train churn mlp_simple seed 0 fold 1"
OWN = "train-churn-mlp-simple-seed-0-fold-1-ab.safetensors"


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch):
    for name in ("RUNS", "RESULTS", "WEIGHTS", "CACHE"):
        monkeypatch.setattr(paths, name, tmp_path / name)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    yield tmp_path
    paths.profile("lab")


def row(score=90.0, seed=0, first=0, **more):
    """Of 1000 examples as many are wrong as the score says, from the `first` on."""
    scores = np.ones(1000, np.uint8)
    scores[(first + np.arange(round(10 * (100 - score)))) % 1000] = 0
    return Row(**{"task": "churn", "model": "mlp_simple", "recipe": "ours", "metric": "accuracy",
                  "score": score, "score_low": score - 1, "score_high": score + 1, "seed": seed,
                  "fold": 1, "n": 1000, "scores": scores} | more)


def publish(*rows):
    keep(paths.RESULTS, rows)


def keep(folder, rows, steps=()):
    runs, paths.RUNS = paths.RUNS, folder.parent
    paths.profile(folder.name)
    store.save("02_train", list(rows), [], {"steps": list(steps)})
    paths.RUNS = runs


def verdict(capsys, *rows, steps=()):
    keep(paths.RUNS / "full", rows, steps)
    status = compare.compare()
    said = capsys.readouterr().out
    verdicts = [line.split()[0] for line in said.splitlines() if line.startswith("  ")]
    assert status == int("OUT" in verdicts or "MISSING" in verdicts)
    return verdicts


def weights(path, value, step=STEP, key="as committed"):
    path.parent.mkdir(exist_ok=True)
    head = {"step": step, "key": {"recipe": key}}
    save_file({"w": np.full(3, value, np.float32)}, path, {"json": json.dumps(head)})


def test_the_same_rows_are_the_same(capsys):
    publish(row(), row(seed=1))
    assert verdict(capsys, row(90.1), row(89.9, seed=1, first=2)) == ["same", "same"]


def test_rows_from_committed_weights_have_a_tenth_of_a_point(capsys):
    publish(*(row(90 + seed, seed) for seed in range(5)))           # a wide interval
    weights(paths.WEIGHTS / "churn-mlp_simple-seed-0-fold-1.safetensors", 1)
    rest = [row(90 + seed, seed) for seed in range(1, 5)]
    assert verdict(capsys, row(90.5), *rest)[0] == "OUT"
    assert verdict(capsys, row(90.0, first=6), *rest)[0] == "OUT"   # the same score by luck
    used = [{"step": STEP, "file": OWN}]
    weights(paths.CACHE / OWN, 1)
    assert verdict(capsys, row(90.5), *rest, steps=used)[0] == "OUT"
    weights(paths.CACHE / OWN, 2)                                   # this machine trained its own
    assert verdict(capsys, row(90.5), *rest, steps=used)[0] == "within"
    assert verdict(capsys, row(90.5), *rest)[0] == "OUT"            # but this run did not use it
    weights(paths.CACHE / OWN, 1, key="of another recipe")
    assert verdict(capsys, row(90.5), *rest, steps=used)[0] == "within"


@pytest.mark.parametrize("asked, name", [
    ({"recipe": "edge", "epochs": 3, "batch_size": 64},
     "epochs-3-batch_size-64-seed-{}-recipe-edge"),
    ({"sizes": "width=8"}, "width-8-seed-{}"),
    ({"quantizer": "gptq", "bits": 4}, "seed-{}")])
def test_nets_of_other_recipes_and_sizes_have_committed_weights_too(capsys, asked, name):
    publish(*(row(90 + seed, seed, fold=None, **asked) for seed in range(5)))
    weights(paths.WEIGHTS / f"churn-mlp_simple-{name.format(0)}.safetensors", 1)
    mine = [row(90.5 + seed, seed, fold=None, **asked) for seed in range(5)]
    assert verdict(capsys, *mine) == ["OUT", "within", "within", "within", "within"]


def test_what_is_trained_again_does_not_come_from_committed_weights(capsys):
    publish(*(row(90 + seed, seed, tuned="finetune") for seed in range(5)))
    weights(paths.WEIGHTS / "churn-mlp_simple-seed-0-fold-1.safetensors", 1)
    mine = [row(90.5 + seed, seed, tuned="finetune") for seed in range(5)]
    assert set(verdict(capsys, *mine)) == {"within"}


def test_retrained_rows_lie_where_one_more_seed_would(capsys):
    scores = [90.0, 90.4, 89.8, 90.1, 90.2]
    publish(*(row(score, seed) for seed, score in enumerate(scores)))
    half = stats.t.ppf(0.975, 4) * np.std(scores, ddof=1) * np.sqrt(1 + 1 / 5)
    table = frame([row(score, seed) for seed, score in enumerate(scores)])
    low, high, over = compare.interval(table, next(table.itertuples()))
    assert (low, high) == pytest.approx((90.1 - half, 90.1 + half)) and over == "5 seeds and folds"
    rest = [row(score, seed) for seed, score in enumerate(scores)][1:]
    assert verdict(capsys, row(90.1 + half - 0.01), *rest)[0] == "within"
    assert verdict(capsys, row(90.1 + half + 0.01), *rest)[0] == "OUT"


def test_the_spread_of_seeds_is_taken_from_all_folds_and_their_differences_are_not():
    rows = [row(score, seed, fold=fold) for fold, scores in enumerate(
        ([90.0, 91.0, 92.0], [60.0, 60.5, 61.0])) for seed, score in enumerate(scores)]
    table = frame(rows)
    spread = np.sqrt((2 * 1.0 + 2 * 0.25) / 4)
    half = stats.t.ppf(0.975, 4) * spread * np.sqrt(1 + 1 / 3)
    low, high, over = compare.interval(table, table.iloc[3])
    assert (low, high) == pytest.approx((60.5 - half, 60.5 + half)) and "6 seeds" in over


def test_folds_do_not_stand_in_for_seeds_their_examples_do(capsys):
    """Folds that lie 21 points apart let no bug of a few points pass."""
    publish(*(row(70.0 + 7 * fold, fold=fold) for fold in range(4)))
    mine = [row(70.0 + 7 * fold - 3.0, fold=fold) for fold in range(4)]
    assert set(verdict(capsys, *mine)) == {"OUT"}       # 30 lost, none gained
    # As many again are answered otherwise, about as many gained as lost.
    mine = [row(70.0 + 7 * fold - 0.3, fold=fold, first=20) for fold in range(4)]
    assert set(verdict(capsys, *mine)) == {"within"}


def test_draws_do_not_stand_in_for_seeds(capsys):
    publish(*(row(80.0 + 4 * draw, draw=draw) for draw in range(3)))
    assert set(verdict(capsys, *(row(77.0 + 4 * draw, draw=draw) for draw in range(3)))) == {"OUT"}


def test_an_interval_that_excludes_little_is_told_apart(capsys):
    publish(*(row(80.0 + 8 * (seed % 2), seed) for seed in range(4)))
    mine = [row(80.5 + 8 * (seed % 2), seed) for seed in range(4)]
    assert set(verdict(capsys, *mine)) == {"wide"}


def test_nets_that_others_trained_have_the_same_weights_everywhere(capsys):
    theirs = {"model": "resnet20-akamaster", "recipe": "", "fold": None}
    publish(row(**theirs))
    assert verdict(capsys, row(89.8, **theirs)) == ["OUT"]
    assert verdict(capsys, row(90.0, first=3, **theirs)) == ["OUT"]     # 99.4 % alike
    assert verdict(capsys, row(90.0, first=2, **theirs)) == ["same"]


def test_a_missing_row_is_told_and_another_machine_is_not_another_row(capsys):
    publish(row(), row(seed=1))
    assert verdict(capsys, row(threads=8, device="cuda")) == ["same", "MISSING"]


def test_r2_is_compared_in_hundredths_of_points(capsys):
    errors = np.ones(100, np.float32)
    publish(row(0.8, metric="r2", n=100, scores=errors))
    assert verdict(capsys, row(0.8009, metric="r2", n=100, scores=errors * 1.004)) == ["same"]
    # 0.2 of a mean squared deviation is the mean error: 0.01 of it is 0.002 of the deviation.
    assert verdict(capsys, row(0.8009, metric="r2", n=100, scores=errors * 1.01)) == ["within"]
    assert verdict(capsys, row(0.8011, metric="r2", n=100, scores=errors)) == ["OUT"]


def test_nothing_to_compare_is_a_failure(capsys):
    assert compare.compare() == 1
    publish(row())
    assert compare.compare() == 1
    assert "run ./run_all.sh full first" in capsys.readouterr().err


def test_one_run_without_scores_per_example_must_come_back(capsys):
    publish(row(90.0, scores=None))
    assert verdict(capsys, row(90.2, scores=None)) == ["OUT"]
    assert verdict(capsys, row(90.05, scores=None)) == ["same"]
