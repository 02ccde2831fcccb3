"""Bytes and files until a batch is drawn: the same inputs, whatever they are kept as."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from lib import data, models, train
from lib.base import paths
from lib.data import batches, facts, own, splits
from lib.data.task import Split


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    own._images.cache_clear()
    return tmp_path


@pytest.fixture
def folder(elsewhere):
    """Forty images of two classes, which brightness tells apart, one of another size, one grey."""
    random = np.random.RandomState(0)
    for kind in ("cat", "dog"):
        (elsewhere / "own" / kind).mkdir(parents=True)
        for i in range(20):
            shape = (12, 10) if (kind, i) == ("dog", 3) else (8, 8)
            shape = shape if (kind, i) == ("cat", 5) else (*shape, 3)
            pixels = random.randint(0, 160, shape) + (90 if kind == "dog" else 0)
            image = Image.fromarray(pixels.astype(np.uint8))
            image.save(elsewhere / "own" / kind / f"{i}.png")
    return elsewhere / "own"


def in_memory_and_from_files(monkeypatch, fold=1):
    whole = data.load("imagefolder:own", fold=fold)
    monkeypatch.setattr(batches, "LARGEST_IN_MEMORY", 100)
    own._images.cache_clear()
    streamed = data.load("imagefolder:own", fold=fold)
    assert isinstance(whole.train.stored, torch.Tensor)
    assert isinstance(streamed.train.stored, batches.ImageFiles)
    return whole, streamed


def test_images_that_stay_in_files_are_the_same_task(folder, monkeypatch):
    whole, streamed = in_memory_and_from_files(monkeypatch)
    assert streamed.hash == whole.hash and streamed.source == whole.source
    assert "1 of 40 resized" in streamed.source and streamed.inputs == (3, 8, 8)
    assert torch.equal(streamed.mean, whole.mean) and torch.equal(streamed.std, whole.std)
    assert torch.allclose(whole.mean, whole.train.x.mean((0, 2, 3)), atol=1e-6)
    assert torch.equal(streamed.calibration, whole.calibration)
    for name in ("train", "val", "test"):
        a, b = getattr(whole, name), getattr(streamed, name)
        index = torch.randperm(len(a), generator=torch.Generator().manual_seed(0))[:5]
        assert torch.equal(a.batch(index), b.batch(index)) and torch.equal(a.y, b.y)
        assert torch.equal(a.batch(slice(2, 4)), b.batch(slice(2, 4)))
        assert torch.equal(a.x, b.x) and len(a.x) == len(a)
    assert facts.duplicates(streamed) == facts.duplicates(whole)


def test_images_of_another_size_are_resized_bilinearly(folder):
    with Image.open(folder / "dog" / "3.png") as image:
        wanted = np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    task = data.load("imagefolder:own")
    whole = torch.cat([task.train.x, task.val.x, task.test.x])
    assert (whole == torch.from_numpy(wanted.copy()).float() / 255).flatten(1).all(1).sum() == 1


def test_a_training_from_files_ends_at_the_same_weights(folder, monkeypatch):
    ends, scores = [], []
    for task in in_memory_and_from_files(monkeypatch):
        net = models.build("mlp_simple", task)
        train.fit(net, task, epochs=3, lr=0.01, batch_size=8, augment=("flip",))
        ends.append(net.state_dict())
        scores.append(train.evaluate(net, task, batch_size=3).outputs)
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert torch.equal(*scores) and len(scores[0]) == 8


def test_a_set_that_does_not_fit_is_never_held_whole(folder, monkeypatch):
    """Nothing asks for more images than one batch, or AT_A_TIME where all are read once."""
    drawn = []
    decode = batches.ImageFiles.__getitem__
    monkeypatch.setattr(batches, "LARGEST_IN_MEMORY", 100)
    monkeypatch.setattr(splits, "AT_A_TIME", 7)

    def spied(self, index):
        found = decode(self, index)
        drawn.append(len(found))
        return found

    monkeypatch.setattr(batches.ImageFiles, "__getitem__", spied)
    task = data.load("imagefolder:own")
    assert drawn == [7, 7, 7, 7, 7, 5]
    drawn.clear()
    net = models.build("mlp_simple", task)
    train.fit(net, task, epochs=1, lr=0.01, batch_size=6)
    assert drawn == [6, 6, 6, 6, 8]                       # 24 train, 8 validate
    drawn.clear()
    own._images.cache_clear()
    assert data.load("imagefolder:own").hash == task.hash and drawn == []     # read once for good


def test_what_was_read_is_forgotten_when_an_image_changes(folder, monkeypatch):
    monkeypatch.setattr(batches, "LARGEST_IN_MEMORY", 100)
    before = data.load("imagefolder:own")
    for i in range(10):
        Image.new("RGB", (8, 8), "white").save(folder / "cat" / f"{i}.png")
    after = data.load("imagefolder:own")
    assert after.hash != before.hash and not torch.equal(after.mean, before.mean)
    for kept in (paths.CACHE / "images").iterdir():
        assert set(json.loads(kept.read_text())) == {"hash", "counts"}
        kept.write_text('{"hash": ')
    assert data.load("imagefolder:own").hash == after.hash             # half a file is read anew


def test_a_broken_image_in_files_is_named_when_the_set_is_loaded(folder, monkeypatch):
    monkeypatch.setattr(batches, "LARGEST_IN_MEMORY", 100)
    file = folder / "dog" / "4.png"
    file.write_bytes(file.read_bytes()[:-30])             # the head is whole, the pixels are not
    with pytest.raises(data.DataError, match=r"dog/4\.png is not a readable image"):
        data.load("imagefolder:own")


def test_bytes_are_shared_by_parts_and_tasks_and_become_floats_by_the_batch(folder, elsewhere):
    random = np.random.RandomState(0)
    x = random.randint(0, 256, (60, 8, 8, 3)).astype(np.uint8)
    np.savez(elsewhere / "own.npz", x=x, y=np.arange(60) % 2)
    for name in ("imagefolder:own", "npz:own.npz"):
        one, two = data.load(name, fold=0), data.load(name, fold=3)
        kept = {part.stored.data_ptr() for task in (one, two)
                for part in (task.train, task.val, task.test)}
        assert len(kept) == 1 and one.train.stored.dtype == torch.uint8
    assert torch.equal(torch.cat([one.test.x, one.val.x]).sort(0).values, torch.cat(
        [one.test.batch(torch.arange(12)), one.val.batch(slice(12))]).sort(0).values)
    rows = one.test.rows[[3, 5]]
    wanted = torch.from_numpy(x.transpose(0, 3, 1, 2)[rows]).float() / 255
    given = one.test.batch(torch.tensor([3, 5]))
    assert torch.equal(given, wanted) and given.is_contiguous()


def test_inputs_of_several_tensors_are_batched_together():
    words, mask = torch.arange(12).reshape(6, 2), torch.ones(6, 2, dtype=torch.bool)
    part = Split((words, mask), torch.zeros(6), rows=torch.tensor([5, 0, 3]))
    first, second = part.batch(torch.tensor([2, 0]))
    assert first.tolist() == [[6, 7], [10, 11]] and first.dtype == torch.int64
    assert second.shape == (2, 2) and second.dtype == torch.bool
    assert part.x[0].tolist() == [[10, 11], [0, 1], [6, 7]]
