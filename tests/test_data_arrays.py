"""Images and arrays that people bring: right, or told with the name of the file."""

import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from lib import data, models, train
from lib.base import paths
from lib.data import own


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    own._images.cache_clear()
    return tmp_path


def folder(root, change=None, ending="png"):
    """Twenty images of 8×6 pixels (width, height), of which `change(i, image)` may be others."""
    for i in range(20):
        pixels = np.full((6, 8, 3), 8 * i, np.uint8)
        image = Image.fromarray(pixels)
        image = change(i, image) if change else image
        file = root / "own" / ("cat", "dog")[i % 2] / f"{i}.{ending}"
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file)
    return root / "own"


def values(task) -> list[float]:
    """The mean of each image, as bytes, sorted."""
    x = torch.cat([task.train.x, task.val.x, task.test.x])
    return sorted(round(float(v), 3) for v in 255 * x.mean((1, 2, 3)))


WANTED = [8.0 * i for i in range(20)]


@pytest.mark.parametrize("ending", ["webp", "bmp", "tif", "tiff", "PNG"])
def test_images_are_read_whatever_lossless_kind_they_are(elsewhere, ending):
    root = folder(elsewhere, ending=ending)
    if ending == "webp":                            # lossy unless told
        for i, file in enumerate(sorted(root.glob("*/*"), key=lambda file: int(file.stem))):
            Image.new("RGB", (8, 6), (8 * i,) * 3).save(file, lossless=True)
    task = data.load("imagefolder:own")
    assert task.inputs == (3, 6, 8) and values(task) == WANTED


def test_a_file_is_read_by_its_content(elsewhere):
    root = folder(elsewhere)
    Image.new("RGB", (8, 6), (0, 0, 0)).save(root / "cat" / "0.png", "BMP")
    assert values(data.load("imagefolder:own")) == WANTED
    (root / "cat" / "0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n")
    with pytest.raises(data.DataError, match=r"cat/0\.png is not a readable image"):
        data.load("imagefolder:own")


def test_grey_of_sixteen_bits_keeps_its_upper_eight(elsewhere):
    folder(elsewhere, lambda i, image: Image.fromarray(
        np.full((6, 8), 256 * 8 * i + 200, np.uint16)))
    task = data.load("imagefolder:own")
    assert task.inputs == (1, 6, 8) and values(task) == WANTED
    assert "20 of 20 with 16 bits, of which the upper 8 are kept" in task.source


def test_palettes_and_transparency_look_as_on_white_paper(elsewhere):
    folder(elsewhere, lambda i, image: image.quantize(16))
    assert values(data.load("imagefolder:own")) == WANTED

    def clear(i, image):
        return Image.new("RGBA", (8, 6), (9, 9, 9, 0)) if i == 4 else image
    folder(elsewhere, clear)
    task = data.load("imagefolder:own")
    assert values(task) == sorted([*WANTED[:4], *WANTED[5:], 255.0]) and task.inputs == (3, 6, 8)
    assert "1 of 20 with transparency, laid on white" in task.source


def test_a_camera_that_was_turned_gives_upright_images(elsewhere):
    root = folder(elsewhere)
    pixels = np.zeros((8, 6, 3), np.uint8)
    pixels[:4] = 250                                # bright above, as it lies in the file: upright
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6                                # to be turned by 90° clockwise
    image.save(root / "cat" / "0.png", exif=exif)
    task = data.load("imagefolder:own")
    assert "resized" not in task.source             # 6×8 turned is 8×6
    x = torch.cat([task.train.x, task.val.x, task.test.x])
    (turned,) = (one for one in x if one.std() > 0.1)
    assert turned[:, :, 4:].min() > 0.9 and turned[:, :, :4].max() < 0.1


def test_what_is_hidden_or_no_image_is_left_out(elsewhere):
    root = folder(elsewhere)
    for name in (".thumbnails/0.png", ".ipynb_checkpoints/1.png", "__MACOSX/2.png", "cat/._0.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"no image")
    task = data.load("imagefolder:own")
    assert task.classes == ("cat", "dog") and task.source == "own images own"
    (root / "notes.txt").write_text("taken in May")
    (root / "cat" / "more").mkdir()
    (root / "cat" / "more" / "0.png").write_bytes(b"")
    assert data.load("imagefolder:own").source == "own images own; 2 other files left out"
    os.mkfifo(root / "cat" / "pipe.png")
    assert len(data.load("imagefolder:own").train) == 12


@pytest.mark.parametrize("first", [0, 10])
def test_one_large_image_makes_no_others_large(elsewhere, first):
    folder(elsewhere, lambda i, image: image.resize((900, 900)) if i == first else image)
    task = data.load("imagefolder:own")
    assert task.inputs == (3, 6, 8) and values(task) == WANTED
    assert "1 of 20 resized to the median size, 8×6" in task.source


def test_images_too_large_for_a_net_are_refused(elsewhere):
    folder(elsewhere, lambda i, image: image.resize((1000, 700)))
    with pytest.raises(data.DataError, match="have 1000×700 pixels and more, too many for a net"):
        data.load("imagefolder:own")


@pytest.mark.parametrize("pixels", [10, 30])
def test_an_image_that_blows_up_is_named(elsewhere, monkeypatch, pixels):
    folder(elsewhere)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)      # an error from twice as many on
    with warnings.catch_warnings(), pytest.raises(
            data.DataError, match=rf"cat/0\.png has more than {pixels} pixels"):
        warnings.simplefilter("error")
        data.load("imagefolder:own")


def test_pages_and_pixels_of_32_bits_are_refused(elsewhere):
    root = folder(elsewhere, ending="tiff")
    page = Image.new("RGB", (8, 6))
    page.save(root / "cat" / "0.tiff", save_all=True, append_images=[page])
    with pytest.raises(data.DataError, match=r"cat/0\.tiff has 2 pages"):
        data.load("imagefolder:own")
    Image.fromarray(np.zeros((6, 8), np.float32)).save(root / "cat" / "0.tiff")
    with pytest.raises(data.DataError, match=r"cat/0\.tiff has pixels of 32 bits"):
        data.load("imagefolder:own")


def arrays(root, **told):
    np.savez(root / "own.npz", **{"y": np.arange(60) % 2, **told})
    return data.load("npz:own.npz")


def series(*shape) -> np.ndarray:
    return np.random.RandomState(0).normal(size=(60, *shape))


def everything(task) -> torch.Tensor:
    return torch.cat([task.train.x, task.val.x, task.test.x])


def test_channels_stand_last_or_in_the_middle(elsewhere):
    x = series(128, 9)
    last, middle = arrays(elsewhere, x=x), arrays(elsewhere, x=x.transpose(0, 2, 1))
    assert last.inputs == middle.inputs == (9, 128) and torch.equal(last.train.x, middle.train.x)
    assert "x read as (n, time, channel): 9 channels of 128 samples" in last.source
    assert middle.source == "own file own.npz"
    many = arrays(elsewhere, x=series(64, 32))
    assert many.inputs == (64, 32) and "read as (n, channel, time): 64 channels" in many.source


def test_a_channel_that_never_varies_is_left_out_and_said(elsewhere):
    x = series(3, 20)
    x[:, 1] = 9.81
    task = arrays(elsewhere, x=x)
    assert task.inputs == (2, 20) and "channel 2 of 3 left out" in task.source
    assert torch.equal(everything(task)[:, 1].sort().values, everything(
        arrays(elsewhere, x=x[:, [0, 2]]))[:, 1].sort().values)


def test_a_channel_far_from_0_keeps_its_resolution(elsewhere):
    x = series(2, 20)
    x[:, 1] = 101325e3 + np.arange(20)
    task = arrays(elsewhere, x=x)
    seen = (task.train.x[:, 1] - task.mean[1]) / task.std[1]
    assert len(seen.unique()) == 20 and abs(seen.std(correction=0) - 1) < 1e-4
    assert "channel 2 of 2 counted from 101325010.0" in task.source


@pytest.mark.parametrize("told, says", [
    ({"x": np.where(series(2, 9) > 2, 1e300, series(2, 9))}, "channel 1 of x has 1e.300, a number"),
    ({"x": series(2, 9) * 1e-30}, "channel 1 of x has numbers that differ by"),
    ({"x": np.ones((60, 2, 9))}, "the same number everywhere"),
    ({"x": np.zeros((60, 3, 0))}, "or more finite series"),
    ({"x": np.zeros((60, 3, 0, 4), np.uint8)}, "or more finite series"),
    ({"x": np.zeros((60, 5, 4, 4, 4))}, "or more finite series"),
    ({"x": series(2, 9) + 1j}, "or more finite series"),
    ({"x": series(2, 9), "y": np.zeros((60, 3))}, "one target each"),
    ({"x": series(2, 9), "group": np.zeros((60, 2))}, "one target each"),
    ({"x": np.zeros((60, 5, 8, 8))}, r"images \(5, 8, 8\): bring"),
    ({"x": np.full((60, 3, 8, 8), 300)}, "images from 300 to 300"),
    ({"x": series(2, 9), "y": np.arange(60) * 1e300}, "a number too large"),
])
def test_arrays_that_cannot_be_meant_are_refused(elsewhere, told, says):
    with pytest.raises(data.DataError, match=says) as caught:
        arrays(elsewhere, **told)
    assert "\n" not in str(caught.value) and "own.npz" in str(caught.value)


def test_only_what_is_asked_for_is_read(elsewhere):
    task = arrays(elsewhere, x=series(2, 9), notes=np.array([{}], object))
    assert task.inputs == (2, 9)


def test_targets_in_a_column_of_bytes_or_truths_are_classes(elsewhere):
    x = series(2, 9)
    assert arrays(elsewhere, x=x, y=np.arange(60)[:, None] % 3).classes == ("0", "1", "2")
    assert arrays(elsewhere, x=x, y=np.array([b"a", b"b"] * 30)).classes == ("a", "b")
    assert arrays(elsewhere, x=x, y=np.arange(60) % 2 == 0).classes == ("False", "True")
    assert len(arrays(elsewhere, x=x, y=np.repeat(2**53 + np.arange(6), 10)).classes) == 6


def test_transparent_arrays_are_laid_on_white(elsewhere):
    x = np.full((60, 8, 8, 4), 100, np.uint8)
    x[:, :4, :, 3], x[:, 4:, :, 3] = 0, 255
    for told in (x, x / 255):
        task = arrays(elsewhere, x=told)
        assert task.inputs == (3, 8, 8) and "transparency laid on white" in task.source
        assert torch.allclose(task.train.x[:, :, 0], torch.tensor(1.0))
        assert torch.allclose(task.train.x[:, :, 7], torch.tensor(100 / 255))
    assert torch.equal(arrays(elsewhere, x=x[..., :3].astype(np.int64)).train.stored,
                       torch.full((60, 3, 8, 8), 100, dtype=torch.uint8))


def test_an_archive_that_unpacks_to_gigabytes_is_refused_before(elsewhere, monkeypatch):
    from lib.data import arrays as room
    monkeypatch.setattr(room, "LARGEST_BYTES", 10**5)
    np.savez_compressed(elsewhere / "own.npz", x=np.zeros((60, 3, 1000)), y=np.arange(60) % 2)
    assert (elsewhere / "own.npz").stat().st_size < 10**4
    with pytest.raises(data.DataError, match="1440128 bytes in 'x', but at most 100000"):
        data.load("npz:own.npz")


def test_nets_learn_series_of_two_channels_and_small_images(elsewhere):
    from lib import recipes
    task = arrays(elsewhere, x=series(2, 40))
    net = recipes.trained(task, "transformer_small", epochs=1)
    assert train.evaluate(net, task).outputs.shape == (12, 2)
    tiny = arrays(elsewhere, x=np.random.RandomState(0).randint(0, 256, (60, 4, 4, 3), np.uint8))
    net = recipes.trained(tiny, "resnet8", epochs=1)
    assert train.evaluate(net, tiny).outputs.shape == (12, 2)


def test_a_net_just_trained_on_a_folder_answers_as_the_loaded_one(elsewhere):
    from lib import recipes
    folder(elsewhere)
    task = data.load("imagefolder:own")
    first = recipes.trained(task, "resnet8", epochs=1)
    again = recipes.trained(task, "resnet8", epochs=1)
    for name, value in first.state_dict().items():
        assert value.is_contiguous() and torch.equal(value, again.state_dict()[name])
    assert torch.equal(train.evaluate(first, task).outputs, train.evaluate(again, task).outputs)


def test_a_net_that_cannot_learn_a_task_says_so_before_training(elsewhere):
    task = arrays(elsewhere, x=series(2, 40))
    assert models.misfit("transformer_small", task) is None
    assert models.misfit("mlp_simple", task) is None and models.misfit("knn", task) is None
    assert "this net takes images" in models.misfit("resnet8", task)
    assert "d=30 does not divide into heads=4" in models.misfit("transformer_small", task, d=30)
    small = arrays(elsewhere, x=np.random.RandomState(0).randint(0, 256, (60, 4, 4, 3), np.uint8))
    assert "8 px become one" in models.misfit("cnn_edge", small)
    assert "others trained it, on cifar10" in models.misfit("resnet20-akamaster", small)
    assert models.misfit("resnet18", small) is None
    with pytest.raises(ValueError, match="there is no model"):
        models.misfit("resnet7", task)
