"""The sample of ImageNet, and the nets that torchvision trained on it."""

import hashlib
import io
import json
import zipfile

import pytest
import torch
from PIL import Image

from lib import data, measure, models, recipes
from lib.base import paths
from lib.data import sources

NET = "mobilenetv2-torchvision"
WEIGHTS = "mobilenet_v2-b0353104.pth"
WORDS = [f"n{number:08d}" for number in range(1000)]


def sample(classes=range(0, 100, 2)) -> bytes:
    """A zip as the sample is: an image of each of these classes, all of one colour."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        index = {str(i): [word, f"thing_{i}"] for i, word in enumerate(WORDS)}
        archive.writestr("imagenet/imagenet_class_index.json", json.dumps(index))
        for number in classes:
            image = io.BytesIO()
            Image.new("RGB", (300, 260), (number, 255 - number, 7)).save(image, "PNG")
            word = WORDS[number]
            archive.writestr(f"imagenet/val/{word}/{word}_0.JPEG", image.getvalue())
    return raw.getvalue()


@pytest.fixture
def raw(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RAW", tmp_path)
    monkeypatch.delenv("GREENBITS_MIRROR", raising=False)
    (tmp_path / "imagenet-sample.zip").write_bytes(sample())
    return tmp_path


def test_images_have_the_numbers_of_their_classes(raw):
    task = data.load("imagenet")
    assert task.inputs == (3, 224, 224) and task.outputs == 1000 and task.fold is None
    assert [len(part) for part in (task.train, task.val, task.test)] == [15, 5, 30]
    seen = []
    for part in (task.train, task.val, task.test):
        red, green, blue = (255 * part.x[:, c, 0, 0] for c in range(3))
        assert torch.equal(red.round().long(), part.y) and (blue.round() == 7).all()
        assert torch.equal((red + green).round(), torch.full((len(part),), 255.0))
        seen += part.y.tolist()
    assert sorted(seen) == list(range(0, 100, 2))
    assert task.classes[2] == "n00000002 thing_2" and "nets have seen" in task.source


def without_index() -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("imagenet/val/n0/n0_0.JPEG", b"")
    return raw.getvalue()


@pytest.mark.parametrize("content", [b"no archive", sample(classes=[]), without_index()])
def test_what_is_no_sample_is_said(raw, content):
    (raw / "imagenet-sample.zip").write_bytes(content)
    with pytest.raises(data.DataError, match="imagenet-sample.zip"):
        data.load("imagenet")


def test_torchvisions_weights_answer_on_imagenets_scale(raw, monkeypatch):
    task = data.load("imagenet")
    plain = models.build("mobilenetv2", task, seed=3).eval()
    torch.save(plain.state_dict(), raw / WEIGHTS)
    begins = hashlib.sha256((raw / WEIGHTS).read_bytes()).hexdigest()[:8]
    told = sources.FILES[WEIGHTS]
    assert told.begins == WEIGHTS[-12:-4] and told.hash is None
    with pytest.raises(data.DataError, match=f"{WEIGHTS} is not the file it should be"):
        recipes.trained("imagenet", NET)
    monkeypatch.setitem(sources.FILES, WEIGHTS, sources.Source(told.about, told.url, begins=begins))
    net = recipes.trained("imagenet", NET)
    x = task.test.batch(slice(4))
    mean, std = (torch.tensor(v)[:, None, None]
                 for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    back = (x - mean) / std * task.std[:, None, None] + task.mean[:, None, None]
    with torch.no_grad():
        assert torch.allclose(net(x), plain(back), atol=1e-4)
    row, _ = measure.measure(net, task)
    assert row.params == 3504872 and row.n == 30 and row.model == NET


def test_they_know_no_other_task():
    with pytest.raises(ValueError, match=f"{NET} does not fit digits: others trained it"):
        recipes.trained("digits", NET)
