import numpy as np
import pytest
import torch

from lib import models, train
from lib.train import augment, precision
from tests.toys import blobs, line

HOW = dict(epochs=6, lr=0.01, batch_size=32, schedule="onecycle")


def fitted(task, seed=0, model="mlp_simple", **how):
    net = models.build(model, task, seed=seed)
    return net, train.fit(net, task, seed=seed, **(HOW | how))


def test_fit_learns_and_history_tells():
    task = blobs()
    net, history = fitted(task)
    assert train.evaluate(net, task).score > 70
    assert history.train_loss.iloc[-1] < 0.7 * history.train_loss.iloc[0]
    assert list(history.epoch) == list(range(1, 7)) and (history.seconds > 0).all()


def test_regression_scores_are_in_original_units():
    task = line()
    net, _ = fitted(task, epochs=20)
    result = train.evaluate(net, task)
    assert result.score > 0.85
    assert result.scores[:, 1].mean() == pytest.approx(
        (task.test.y * 10).var(correction=0).item(), rel=1e-4)


def test_one_seed_is_one_result_and_the_callers_generator_is_left_alone():
    task = blobs()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two = (fitted(task, model="mlp_complex")[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert torch.equal(before, torch.get_rng_state())
    other = fitted(task, seed=1, model="mlp_complex")[0].state_dict()
    assert not all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("optimizer", train.OPTIMIZERS)
@pytest.mark.parametrize("schedule", train.SCHEDULES)
def test_every_optimizer_and_schedule_lowers_the_loss(optimizer, schedule):
    _, history = fitted(blobs(), optimizer=optimizer, schedule=schedule, clip=1.0,
                        label_smoothing=0.1)
    assert history.val_loss.iloc[-1] < history.val_loss.iloc[0]


def test_best_keeps_the_weights_of_the_best_validation_loss():
    task = blobs(60)
    net, history = fitted(task, epochs=30, lr=0.1, schedule="constant")
    assert train.evaluate(net, task, "val").loss == pytest.approx(history.val_loss.min(), rel=1e-5)
    last, history = fitted(task, epochs=30, lr=0.1, schedule="constant", keep="last")
    assert train.evaluate(last, task, "val").loss == pytest.approx(
        history.val_loss.iloc[-1], rel=1e-5)


def test_bfloat16_is_taken_where_it_is_faster(monkeypatch):
    histories = []
    for faster in (False, True):
        monkeypatch.setattr(precision, "bfloat16_is_faster", lambda device, faster=faster: faster)
        histories.append(fitted(blobs(), epochs=3, lr=0.1, autocast="faster")[1])
    plain, rounded = histories
    assert [h.attrs["autocast"] for h in histories] == [False, True]
    assert rounded.train_loss.tolist() != plain.train_loss.tolist()
    assert rounded.train_loss.tolist() == pytest.approx(plain.train_loss.tolist(), rel=0.05)


def test_whether_bfloat16_is_faster_is_measured_once():
    precision.bfloat16_is_faster.cache_clear()
    for _ in range(2):
        precision.bfloat16_is_faster(torch.device("cpu"))
    assert precision.bfloat16_is_faster.cache_info().misses == 1


def test_hooks_and_own_loss_are_called():
    steps, epochs, losses = [], [], []

    def loss(model, x, y):
        losses.append(len(y))
        return torch.nn.functional.cross_entropy(model(x), y)

    fitted(blobs(), epochs=2, loss=loss, keep="last", after_step=lambda m, s: steps.append(s),
           after_epoch=lambda m, e: epochs.append(e))
    assert steps == list(range(len(losses))) and epochs == [0, 1] and set(losses) == {32}


def test_a_hook_that_changes_the_model_must_keep_the_last():
    for hook in ("after_step", "after_epoch"):
        with pytest.raises(ValueError, match='say keep="last"'):
            fitted(blobs(60), **{hook: lambda model, number: None})


def test_a_schedule_that_prunes_ends_as_sparse_as_it_made_the_net():
    """The loss on validation is lowest before anything is pruned; what counts is the last mask."""
    def prune(model, epoch):
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(torch.where(torch.arange(p.numel()).reshape(p.shape) % 6 < epoch, 0, p))

    net, history = fitted(blobs(), after_epoch=prune, keep="last", lr=0.05)
    assert history.val_loss.idxmin() < 5
    assert all((p.flatten()[::6] == 0).all() for p in net.parameters())


def two_groups(model):
    weights = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim == 1]
    return [{"params": weights, "weight_decay": 0.1}, {"params": biases, "lr": 0.001}]


def test_groups_learn_at_their_own_rates_of_which_the_schedule_gives_a_share():
    task, moved = blobs(), {}
    start = models.build("mlp_simple", task).state_dict()
    start = {name: v.clone() for name, v in start.items()}
    for rate in (0.5, 1.0):
        def groups(model, rate=rate):
            return [two_groups(model)[1] | {"lr": rate}]

        net, history = fitted(task, epochs=1, batch_size=len(task.train), optimizer="sgd",
                              groups=groups, keep="last")
        moved[rate] = {name: v - start[name] for name, v in net.state_dict().items()}
    share = train.SCHEDULES["onecycle"](0)
    assert history.lr[0] == pytest.approx(0.01 * share)
    for name in start:
        if start[name].ndim > 1:                         # in no group: it stays as it was
            assert not moved[1.0][name].any()
        else:                                            # twice the rate, twice the step
            assert moved[0.5][name].any()
            assert torch.allclose(moved[1.0][name], 2 * moved[0.5][name], rtol=1e-3)


def test_one_group_of_all_is_the_same_as_none():
    task = blobs()
    plain, _ = fitted(task, optimizer="adamw", weight_decay=0.1)
    grouped, _ = fitted(task, optimizer="adamw", weight_decay=0.1,
                        groups=lambda model: [{"params": list(model.parameters())}])
    other, _ = fitted(task, optimizer="adamw", weight_decay=0.1, groups=two_groups)
    plain, grouped, other = (net.state_dict() for net in (plain, grouped, other))
    assert all(torch.equal(plain[name], grouped[name]) for name in plain)
    assert not any(torch.equal(plain[name], other[name]) for name in plain)


@pytest.mark.parametrize("task, model, how, losses, score", [
    (blobs(), "mlp_complex", dict(epochs=4, lr=0.01, batch_size=32),
     [0.16982, 0.23473, 0.12305, 0.11059], 95.5556),
    (blobs(), "mlp_simple", dict(epochs=4, lr=0.05, batch_size=32, optimizer="sgd", clip=1.0,
                                 schedule="onecycle", weight_decay=1e-3),
     [0.72495, 0.31416, 0.19104, 0.18002], 96.1111),
    (blobs(), "mlp_simple", dict(epochs=3, lr=0.01, batch_size=50, optimizer="adamw",
                                 schedule="cosine", weight_decay=0.1, keep="last",
                                 label_smoothing=0.1), [0.85780, 0.72925, 0.70684], 76.1111),
    (line(), "mlp_simple", dict(epochs=3, lr=0.01, batch_size=64, schedule="onecycle"),
     [0.57210, 0.39133, 0.35102], 0.516956)], ids=["adam", "sgd", "adamw", "regression"])
def test_trainings_come_back(task, model, how, losses, score):
    """What the loop gave that trained the published nets: order, draws, schedule, validation."""
    net = models.build(model, task, seed=1)
    history = train.fit(net, task, seed=1, **how)
    assert history.val_loss.tolist() == pytest.approx(losses, rel=1e-3)
    assert train.evaluate(net, task).score == pytest.approx(score, rel=1e-3)


class Killed(Exception):
    pass


@pytest.mark.parametrize("how", [{}, {"optimizer": "sgd", "groups": two_groups}])
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, how):
    task, file = blobs(), tmp_path / "toy.pt"
    whole, history = fitted(task, model="mlp_complex", keep="last", **how)

    def die(model, epoch):
        if epoch == 3:
            raise Killed

    net = models.build("mlp_complex", task)
    with pytest.raises(Killed):
        train.fit(net, task, seed=0, checkpoint=file, after_epoch=die, keep="last", **HOW | how)
    assert file.exists()
    again, resumed = fitted(task, model="mlp_complex", keep="last", checkpoint=file, **how)
    assert not file.exists()
    assert all(torch.equal(a, b) for a, b in zip(
        whole.state_dict().values(), again.state_dict().values(), strict=True))
    assert np.array_equal(history.val_loss, resumed.val_loss)


def test_a_broken_checkpoint_starts_anew(tmp_path, capsys):
    file = tmp_path / "toy.pt"
    file.write_bytes(b"half a file")
    _, history = fitted(blobs(), checkpoint=file)
    assert len(history) == HOW["epochs"] and "starts anew" in capsys.readouterr().out


def test_evaluate_leaves_the_model_training_and_counts_every_example():
    task = blobs()
    net = models.build("mlp_complex", task).train()
    small = train.evaluate(net, task, batch_size=7)
    assert net.training and len(small.scores) == len(task.test)
    assert torch.allclose(small.outputs, train.evaluate(net, task).outputs, atol=1e-6)
    assert len(train.evaluate(net, task, examples=10).scores) == 10


@pytest.mark.parametrize("wrong, words", [
    (dict(epochs=0), "epochs must be above 0"), (dict(lr=-1), "lr must be above 0"),
    (dict(optimizer="lion"), "choose one of: adam"), (dict(keep="all"), "best, last"),
    (dict(schedule="step"), "onecycle"), (dict(augment=("spin",)), "choose from: crop")])
def test_impossible_arguments_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        fitted(blobs(60), **wrong)


def test_divergence_is_said():
    with pytest.raises(FloatingPointError, match="diverged in epoch"):
        fitted(line(), lr=1e30, optimizer="sgd", schedule="constant", epochs=50)


@pytest.mark.parametrize("name", augment.AUGMENTATIONS)
def test_augmentations_keep_shape_and_change_values(name):
    images = name in {"crop", "crop2", "flip", "cutout"}
    x = torch.rand(32, 3, 16, 16) if images else torch.randn(32, 3, 60)
    torch.manual_seed(0)
    y = augment.AUGMENTATIONS[name](x)
    assert y.shape == x.shape and y.dtype == x.dtype and not torch.equal(x, y)
    torch.manual_seed(0)
    assert torch.equal(y, augment.AUGMENTATIONS[name](x))


def test_a_flip_is_a_flip_and_a_crop_a_shift():
    torch.manual_seed(0)
    x = torch.rand(64, 1, 8, 8)
    flipped = augment.flip(x)
    same = (flipped == x).flatten(1).all(1)
    mirrored = (flipped == x.flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all() and 10 < mirrored.sum() < 54
    cropped = augment.crop(x, 2)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="reflect")
    window = padded.unfold(2, 8, 1).unfold(3, 8, 1)
    found = (window[:, 0] == cropped[:, :, None]).flatten(3).all(3)
    assert found.flatten(1).any(1).all()


def test_turning_the_sensor_keeps_every_length():
    x = torch.randn(16, 3, 50)
    assert torch.allclose(augment.rotate(x).norm(dim=1), x.norm(dim=1), atol=1e-4)
