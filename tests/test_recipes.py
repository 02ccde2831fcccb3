import numpy as np
import pytest
import torch

from lib import data, measure, recipes, train
from lib.base import Setting, paths
from lib.study import cache
from tests.toys import blobs

FAST = dict(epochs=2, batch_size=64)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path / "weights")
    cache.fresh(False)


def test_a_trained_model_comes_back_from_the_cache_alike():
    task = data.load("breast_cancer")
    one = recipes.trained(task, "mlp_simple", seed=1, **FAST)
    assert not cache.used[-1]["cached"]
    two = recipes.trained("breast_cancer", "mlp_simple", seed=1, **FAST)
    assert cache.used[-1]["cached"]
    assert torch.equal(train.evaluate(one, task).outputs, train.evaluate(two, task).outputs)
    assert len(two.history) == 2 and two.trained_s > 0 and not two.training


def test_what_was_asked_for_is_part_of_the_key():
    states = []
    for asked in ({"seed": 0}, {"seed": 1}, {"fold": 1}, {"lr": 0.02}):
        recipes.trained("breast_cancer", "mlp_simple", **(FAST | asked))
        assert not cache.used[-1]["cached"]
        states.append(cache.used[-1]["file"])
    assert len(set(states)) == 4


def test_committed_weights_spare_the_training(monkeypatch):
    task = blobs()
    how = FAST | {"version": 1}
    recipes.trained(task, "mlp_simple", **how)
    entry = paths.CACHE / cache.used[-1]["file"]
    paths.WEIGHTS.mkdir()
    entry.rename(cache.committed("train blobs mlp_simple seed 0"))
    monkeypatch.setattr(train, "fit", lambda *a, **k: pytest.fail("trained again"))
    assert len(recipes.trained(task, "mlp_simple", **how).history) == 2


def test_committed_weights_of_another_recipe_are_not_taken():
    task = blobs()
    recipes.trained(task, "mlp_simple", version=1, **FAST)
    paths.WEIGHTS.mkdir()
    (paths.CACHE / cache.used[-1]["file"]).rename(
        cache.committed("train blobs mlp_simple seed 0"))
    assert len(recipes.trained(task, "mlp_simple", version=2, epochs=3, batch_size=64).history) == 3


def test_a_long_training_tells_an_epoch_a_line_and_whose_it_is(capsys):
    history = recipes.trained(blobs(), "mlp_simple", version=1, **FAST).history
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("train blobs mlp_simple seed 0 · epoch 1/2 · loss ")
    assert f"validation {history.val_score[1]:.3g} · " in last and last.endswith(" s")


def test_what_is_asked_of_the_net_names_its_step_and_its_file():
    task = blobs()
    asked = Setting(sizes="hidden=4", epochs=1)
    net = recipes.trained(task, "mlp_simple", setting=asked, batch_size=64)
    assert net.layers[0].out_features == 4 and len(net.history) == 1
    assert cache.used[-1]["step"] == "train blobs mlp_simple hidden=4 epochs=1 seed 0"


def test_edges_recipe_is_edges_own_and_what_is_changed_is_asked_for():
    own = recipes.recipe("fashion_mnist@edge", "cnn_edge", "edge")
    assert (own["epochs"], own["batch_size"]) == (5, 16)
    assert "sizes" not in recipes.recipe("fashion_mnist@edge", "resnet9", "edge")


def test_a_net_just_trained_and_one_from_disk_lie_in_memory_alike():
    task = data.load("digits")
    one, two = (recipes.trained(task, "resnet8", epochs=1, batch_size=256, channels_last=True)
                for _ in range(2))
    for first, again in zip(one.parameters(), two.parameters(), strict=True):
        assert first.stride() == again.stride()
    assert torch.equal(train.evaluate(one, task).outputs, train.evaluate(two, task).outputs)


def test_rivals_are_those_that_a_task_can_have():
    pairs = ["digits/resnet8", "breast_cancer/mlp_simple", "breast_cancer/mlp_complex"]
    assert recipes.rivals(pairs, ["majority", "hgb"]) == [
        "digits/majority", "breast_cancer/majority", "breast_cancer/hgb"]


def test_weights_stored_in_half_are_measured_after_rounding():
    task = blobs()
    net = recipes.trained(task, "mlp_simple", store="float16", **FAST)
    for value in net.state_dict().values():
        assert value.dtype == torch.float32 and torch.equal(value, value.half().float())
    again = recipes.trained(task, "mlp_simple", store="float16", **FAST)
    assert measure.measure(net, task).loss == measure.measure(again, task).loss


@pytest.mark.parametrize("model", ["majority", "knn", "svm", "hgb"])
def test_classical_models_are_rows_like_any_other(model):
    row = measure.measure(recipes.trained("breast_cancer", model), data.load("breast_cancer"))
    assert row.score > (55 if model == "majority" else 90)
    assert row.params is None and row.macs is None and row.size_bytes is None
    assert np.isfinite(row.score2)


def test_edges_recipe_is_only_for_what_edge_trained():
    with pytest.raises(ValueError, match="churn, telescope, mv, california"):
        recipes.recipe("digits", "resnet8", "edge")
    assert recipes.recipe("mv@edge", "mlp_simple", "edge")["epochs"] == 20


@pytest.mark.parametrize(("task", "model", "word"), [
    ("cifar10", "resnet20", "crop"), ("fashion_mnist", "resnet20", "crop2"),
    ("imagefolder:photos", "resnet18", "flip"), ("usc_had", "transformer_t1", "rotate")])
def test_each_family_has_a_recipe_that_survives_code_changes(task, model, word):
    how = recipes.recipe(task, model)
    assert word in how["augment"] and how["version"]
    how["epochs"] = 0
    assert recipes.recipe(task, model)["epochs"] > 0        # a copy: no caller changes the next's


def test_edges_nets_for_images_learn_by_its_optimizer():
    how = recipes.recipe("fashion_mnist@edge", "resnet9", "edge")
    assert (how["lr"], how["weight_decay"], how["schedule"]) == (0.01, 1e-5, "onecycle")
    assert "augment" not in how and "optimizer" not in how          # Adam, fit's default
    assert recipes.recipe("cifar100", "cnn_edge", "edge")["store"] == "float16"


def test_a_net_that_others_trained_is_loaded_as_they_published_it():
    with pytest.raises(ValueError, match="was trained on cifar10"):
        recipes.trained("breast_cancer", recipes.AKAMASTER)
    try:
        task = data.load("cifar10")
        net = recipes.trained(task, recipes.AKAMASTER)
    except data.DataError as error:
        pytest.skip(str(error))
    row = measure.measure(net, task, examples=1000)
    assert row.model == "resnet20-akamaster" and row.params == 269_722
    assert row.score > 90.5         # published: 91.73 on all 10 000


@pytest.mark.parametrize("record, told", [
    ({"threads": 2, "processor": "AMD EPYC", "autocast": True},
     "clock of the training, AMD EPYC, 2 threads, bfloat16"),
    ({"threads": 1, "device": "cuda"}, "clock of the training, cuda of an earlier run, 1 thread")])
def test_seconds_say_on_how_many_threads_and_in_which_numbers_they_were_spent(record, told):
    assert recipes.training.spent_by(record) == told


def test_the_plan_of_resnet_energy_is_a_recipe_for_any_net():
    for task, model in (("cifar10@small", "resnet8"), ("digits", "mlp_simple")):
        how = recipes.recipe(task, model, "plan")
        assert (how["optimizer"], how["lr"], how["batch_size"], how["epochs"]) == (
            "adam", 1e-3, 64, 50)
        assert recipes.recipe(task, model, "plan-bf16") == how | {"autocast": True}
    assert "version" not in recipes.recipe("digits", "resnet8", "plan")     # takes seconds
    with pytest.raises(ValueError, match="ours, edge, plan"):
        recipes.recipe("digits", "resnet8", "mine")
