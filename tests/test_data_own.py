"""A reader's own data: csv:, imagefolder:, npz:, and what is said when they cannot be used."""

import os

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lib import data
from lib.base import paths


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Paths count from the project's root, wherever the process stands."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.chdir(os.sep)
    return tmp_path


def frame(rows=100) -> pd.DataFrame:
    rng = np.random.RandomState(0)
    return pd.DataFrame({"age": rng.randint(18, 90, rows).astype(float),
                         "town": rng.choice(["Ulm", "Köln"], rows),
                         "member": rng.rand(rows) < 0.5, "income": rng.normal(50, 9, rows),
                         "kind": rng.choice(["no", "yes"], rows), "stars": rng.randint(1, 6, rows),
                         "empty": np.nan, "name": [f"person {i}" for i in range(rows)] if rows > 100
                         else "x"})


def written(folder, table: pd.DataFrame, name="own.csv") -> str:
    table.to_csv(folder / name, index=False)
    return f"csv:{name}"


def test_csv_texts_become_columns_and_the_target_decides_the_kind(elsewhere):
    own = written(elsewhere, frame().drop(columns=["empty", "name"]))
    task = data.load(f"{own}#kind", fold=2)
    assert task.features == ("age", "member", "income", "stars", "town_Köln", "town_Ulm")
    assert task.classes == ("no", "yes") and task.metric.name == "accuracy"
    assert task.train.group is None
    assert [len(p) for p in (task.train, task.val, task.test)] == [60, 20, 20]
    assert set(task.train.x[:, 4:].unique().tolist()) == {0.0, 1.0}
    assert data.load(f"{own}#stars").classes == ("1", "2", "3", "4", "5")
    assert data.load(f"{own}#member").classes == ("False", "True")
    regression = data.load(f"{own}#income")
    assert regression.metric.name == "r2" and regression.outputs == 1
    assert regression.train.y.mean().abs() < 1e-6
    assert task.source == "own file own.csv"
    assert str(elsewhere / "own.csv") in paths.inputs() or "own.csv" in paths.inputs()


def test_csv_folds_are_fixed_and_test_every_row_once(elsewhere):
    own = written(elsewhere, frame().drop(columns=["empty", "name"]))
    folds = [data.load(f"{own}#kind", fold=k) for k in range(5)]
    tested = torch.cat([task.test.x for task in folds])
    assert len(tested.unique(dim=0)) == len(tested) == 100
    assert folds[0].hash == data.load(f"{own}#kind").hash != folds[1].hash


def test_csv_holes_become_the_training_parts_mean_and_missing_texts_a_row_of_zeros(elsewhere):
    table = frame().drop(columns=["empty", "name"])
    table.loc[::7, "income"] = np.nan
    table.loc[3, "town"] = None
    own = written(elsewhere, table)
    task = data.load(f"{own}#kind")
    whole = torch.cat([task.train.x, task.val.x, task.test.x])
    values, counts = whole[:, 2].unique(return_counts=True)
    assert counts.max() == 15 and "15 missing numbers" in task.source
    filled = values[counts.argmax()]
    kept = task.train.x[:, 2][task.train.x[:, 2] != filled]
    assert torch.allclose(kept.mean(), filled, rtol=1e-5)
    assert (whole[:, 4:].sum(1) == 0).sum() == 1


@pytest.mark.parametrize("change, target, says", [
    (lambda t: t, "kinds", "no column 'kinds'; choose one of: age, town"),
    (lambda t: t[:30], "kind", "30 rows, too few"),
    (lambda t: t[:0], "kind", "0 rows, too few"),
    (lambda t: t, "kind", "no value in the training rows of column 'empty'"),
    (lambda t: t.assign(kind="no"), "kind", "one class only"),
    (lambda t: t.assign(kind=["a"] * 97 + ["b"] * 3), "kind", "3 rows of class b"),
    (lambda t: t.assign(kind=[None] + ["a", "b", "c"] * 33), "kind", "lacks 'kind' in 1 rows"),
    (lambda t: pd.concat([t] * 2).assign(empty=1, name=list(map(str, range(200))))
     .assign(name=lambda t: "p" + t.name), "kind", "200 different texts in column 'name'"),
    (lambda t: t[["kind"]], "kind", "no input column"),
    (lambda t: t.assign(empty=[1e300, 1.0] * 50), "kind", "too large"),
])
def test_an_unfit_table_is_refused_in_one_sentence(elsewhere, change, target, says):
    own = written(elsewhere, change(frame()))
    with pytest.raises((data.DataError, ValueError), match=says) as caught:
        data.load(f"{own}#{target}")
    assert "own.csv" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content, says", [
    (None, "there is no file"), (b"", "not a readable table"),
    ("a,b\nKöln,1\n".encode("latin-1"), "not UTF-8"), (b'a,b\n"1,2\n3,4\n', "not a readable table"),
    (b"a,b\n1,2\n3,4,5,6\n", "not a readable table")])
def test_an_unreadable_table_is_refused(elsewhere, content, says):
    if content is not None:
        (elsewhere / "own.csv").write_bytes(content)
    with pytest.raises(data.DataError, match=says) as caught:
        data.load("csv:own.csv#b")
    assert "own.csv" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="csv:PATH#COLUMN"):
        data.load("csv:own.csv")


def folder_of_images(root, grey=False, odd=False) -> None:
    rng = np.random.RandomState(0)
    for kind in ("cat", "dog"):
        (root / "own" / kind).mkdir(parents=True)
        for i in range(10):
            side = 12 if odd and i == 3 else 8
            pixels = rng.randint(0, 256, (side, side) if grey else (side, side, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(root / "own" / kind / f"{i}.png")


@pytest.mark.parametrize("grey", [True, False])
def test_images_in_folders_become_a_task(elsewhere, grey):
    folder_of_images(elsewhere, grey, odd=True)
    task = data.load("imagefolder:own")
    assert task.classes == ("cat", "dog") and task.inputs == ((1 if grey else 3), 8, 8)
    assert [len(p) for p in (task.train, task.val, task.test)] == [12, 4, 4]
    assert "2 of 20 resized" in task.source and 0 <= task.train.x.min() and task.train.x.max() <= 1
    first = np.atleast_3d(np.asarray(Image.open(elsewhere / "own/cat/0.png")))
    whole = torch.cat([task.train.x, task.val.x, task.test.x])
    wanted = torch.from_numpy(first.transpose(2, 0, 1) / 255).float()
    assert (whole - wanted).abs().amax((1, 2, 3)).min() < 1e-6


def test_bad_image_folders_are_refused(elsewhere):
    with pytest.raises(data.DataError, match="holds no images"):
        data.load("imagefolder:own")
    folder_of_images(elsewhere)
    file = elsewhere / "own" / "dog" / "4.png"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(data.DataError, match=r"dog/4\.png is not a readable image"):
        data.load("imagefolder:own")
    for kept in list((elsewhere / "own" / "dog").iterdir())[2:]:
        kept.unlink()
    file.unlink(missing_ok=True)
    with pytest.raises(data.DataError, match="of class dog"):
        data.load("imagefolder:own")


def saved(folder, **arrays) -> str:
    np.savez(folder / "own.npz", **arrays)
    return "npz:own.npz"


def test_npz_is_a_series_or_an_image_by_its_shape(elsewhere):
    rng = np.random.RandomState(0)
    y, group = np.arange(60) % 3, np.repeat(list("abcdefghij"), 6)
    task = data.load(saved(elsewhere, x=rng.normal(size=(60, 3, 20)), y=y, group=group), fold=1)
    assert (task.kind, task.inputs, len(task.classes)) == ("series", (3, 20), 3)
    train, val, test = (set(p.group.tolist()) for p in (task.train, task.val, task.test))
    assert len(train) == 6 and len(val) == len(test) == 2 and not (train | val) & test
    last = rng.randint(0, 256, (60, 8, 8, 3)).astype(np.uint8)
    task = data.load(saved(elsewhere, x=last, y=y))
    assert (task.kind, task.inputs) == ("image", (3, 8, 8)) and task.train.group is None
    assert task.train.x.max() == 1
    task = data.load(saved(elsewhere, x=last.transpose(0, 3, 1, 2) / 255, y=y * 0.5))
    assert (task.inputs, task.metric.name) == ((3, 8, 8), "r2")


@pytest.mark.parametrize("arrays, says", [
    ({"x": np.zeros((60, 3, 9))}, "no array 'y'"),
    ({"x": np.zeros((60, 9)), "y": np.arange(60)}, r"save x\[:, None\].*csv:PATH#TARGET"),
    ({"x": np.zeros((60, 3, 9)), "y": np.arange(59)}, "one target each"),
    ({"x": np.full((60, 3, 9), np.nan), "y": np.arange(60)}, "finite"),
    ({"x": np.full((60, 3, 9, 9), 2.0), "y": np.arange(60)}, "from 0 to 1"),
    ({"x": np.random.RandomState(0).rand(60, 3, 9), "y": np.arange(60) % 2,
      "group": np.arange(60) % 4}, "4 groups"),
    ({"x": np.zeros((60, 3, 9)), "y": np.array([{}] * 60, object)}, "without pickled objects")])
def test_unfit_arrays_are_refused(elsewhere, arrays, says):
    with pytest.raises(data.DataError, match=says):
        data.load(saved(elsewhere, **arrays))


def test_an_unreadable_npz_is_refused(elsewhere):
    with pytest.raises(data.DataError, match="there is no file"):
        data.load("npz:own.npz")
    (elsewhere / "own.npz").write_bytes(b"PK\3\4 not an archive")
    with pytest.raises(data.DataError, match="not a readable .npz"):
        data.load("npz:own.npz")
