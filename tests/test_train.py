import numpy as np
import pytest
import torch

from lib import models, train
from lib.train import augment
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
        monkeypatch.setattr(train, "bfloat16_is_faster", lambda device, faster=faster: faster)
        histories.append(fitted(blobs(), epochs=3, lr=0.1, autocast="faster")[1])
    plain, rounded = histories
    assert [h.attrs["autocast"] for h in histories] == [False, True]
    assert rounded.train_loss.tolist() != plain.train_loss.tolist()
    assert rounded.train_loss.tolist() == pytest.approx(plain.train_loss.tolist(), rel=0.05)


def test_whether_bfloat16_is_faster_is_measured_once():
    first = train.bfloat16_is_faster(torch.device("cpu"))
    assert isinstance(first, bool) and first == train.bfloat16_is_faster(torch.device("cpu"))


def test_hooks_and_own_loss_are_called():
    steps, epochs, losses = [], [], []

    def loss(model, x, y):
        losses.append(len(y))
        return torch.nn.functional.cross_entropy(model(x), y)

    fitted(blobs(), epochs=2, loss=loss, after_step=lambda m, s: steps.append(s),
           after_epoch=lambda m, e: epochs.append(e))
    assert steps == list(range(len(losses))) and epochs == [0, 1] and set(losses) == {32}


class Killed(Exception):
    pass


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path):
    task, file = blobs(), tmp_path / "toy.pt"
    whole, history = fitted(task, model="mlp_complex")

    def die(model, epoch):
        if epoch == 3:
            raise Killed

    net = models.build("mlp_complex", task)
    with pytest.raises(Killed):
        train.fit(net, task, seed=0, checkpoint=file, after_epoch=die, **HOW)
    assert file.exists()
    again, resumed = fitted(task, model="mlp_complex", checkpoint=file)
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
