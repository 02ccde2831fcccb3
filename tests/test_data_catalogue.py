"""The catalogue: what there is and what it is made of, known without loading it."""

import os
import shutil
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest
import sklearn
from PIL import Image

from lib import data
from lib.base import names, paths
from lib.data import catalogue, sources

EARLIER = time.time_ns() - 10**12                         # ns: long enough ago to be remembered


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    return tmp_path


def aged(path, when=EARLIER):
    os.utime(path, ns=(when, when))
    return path


@pytest.fixture
def folder(elsewhere):
    for kind in ("cat", "dog"):
        (elsewhere / "own" / kind).mkdir(parents=True)
        for i in range(6):
            file = elsewhere / "own" / kind / f"{i}.png"
            Image.new("L", (4, 4), 20 * i + (kind == "dog")).save(file)
            aged(file)
    return elsewhere / "own"


def test_the_catalogue_needs_neither_torch_nor_pandas():
    code = ("import sys; from lib import data; from lib.data import catalogue; "
            "catalogue.content('digits'), catalogue.kind('cifar10'), data.folds('mv'); "
            "print([m for m in ('torch', 'pandas', 'sklearn', 'scipy') if m in sys.modules])")
    told = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True,
                          text=True, check=True)
    assert told.stdout == "[]\n"


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "diabetes", "har_synthetic"])
def test_kinds_and_split_files_are_those_of_the_loaded_task(name, monkeypatch):
    read = []
    monkeypatch.setattr(paths, "reads", lambda path: read.append(path) or path)
    assert catalogue.kind(name) == data.load(name).kind
    assert read == [catalogue.split_file(name)] == catalogue.files(name)


def test_every_name_has_a_kind_and_files_that_are_known():
    kinds = {name: catalogue.kind(name) for name in names.TASKS}
    assert (kinds["mv"], kinds["cifar100"], kinds["usc_had"]) == ("tabular", "image", "series")
    bundled = {*catalogue.BUNDLED, "har_synthetic"}
    assert set(names.TASKS) == bundled | set(catalogue.RAW_FILES)
    assert {file for all in catalogue.RAW_FILES.values() for file in all} <= set(sources.FILES)
    for name in names.TASKS:
        split = catalogue.split_file(name)
        assert (split is None) == (data.folds(name) == [None])
        assert split is None or split.is_file()
    assert catalogue.split_file("unimib_falls@random").name == "unimib_falls@random.txt"
    assert catalogue.split_file("churn@edge") is None


def test_an_npz_is_known_by_its_head_alone(elsewhere):
    y = np.arange(60)
    np.savez(elsewhere / "images.npz", x=np.zeros((60, 8, 8, 3), np.uint8), y=y)
    np.savez_compressed(elsewhere / "series.npz", y=y, x=np.zeros((60, 3, 20)))
    np.savez(elsewhere / "none.npz", y=y)
    assert catalogue.kind("npz:images.npz") == "image"
    assert catalogue.kind("npz:series.npz") == "series"
    for name in ("npz:none.npz", "npz:absent.npz"):
        with pytest.raises(data.DataError) as told:
            catalogue.kind(name)
        with pytest.raises(data.DataError) as loading:
            data.load(name)
        assert str(told.value) == str(loading.value)
    whole = (elsewhere / "images.npz").read_bytes()
    (elsewhere / "cut.npz").write_bytes(whole[:500])
    with pytest.raises(data.DataError, match=r"cut\.npz is not a readable \.npz"):
        catalogue.kind("npz:cut.npz")
    assert catalogue.kind("csv:absent.csv#a") == "tabular"
    assert catalogue.kind("imagefolder:absent") == "image"


def test_a_changed_table_or_array_is_other_content(elsewhere):
    for name, file in (("csv:own.csv#b", "own.csv"), ("npz:own.npz", "own.npz")):
        (elsewhere / file).write_text("a,b\n1,2\n")
        before = catalogue.content(name)
        assert list(before) == [file] and catalogue.content(name) == before
        (elsewhere / file).write_text("a,b\n1,3\n")         # as long, and within the same moment
        assert catalogue.content(name) != before


def test_a_table_outside_the_project_goes_by_its_whole_path(tmp_path):
    (tmp_path / "own.csv").write_text("a,b\n1,2\n")
    assert list(catalogue.content(f"csv:{tmp_path}/own.csv#b")) == [f"{tmp_path}/own.csv"]


def test_a_changed_renamed_added_or_removed_image_is_other_content(folder):
    def content():
        (place, told), = catalogue.content("imagefolder:own").items()
        assert place == "own"
        return told

    seen = [content()]
    assert content() == seen[0]
    (folder / "notes.txt").write_text("no image")
    (folder / "cat" / "notes.txt").write_text("no image")
    assert content() == seen[0]
    file = folder / "cat" / "3.png"
    image = aged(file).read_bytes()
    Image.new("L", (4, 4), 99).save(file)
    aged(file, EARLIER + 1)
    seen.append(content())
    file.write_bytes(image)
    aged(file)
    assert content() == seen[0]                              # the content counts, not the time
    file.rename(folder / "cat" / "9.png")
    seen.append(content())
    (folder / "cat" / "9.png").rename(folder / "dog" / "9.png")
    seen.append(content())
    (folder / "dog" / "9.png").unlink()
    seen.append(content())
    assert len(set(seen)) == 5


def test_a_changed_split_is_other_content(monkeypatch, tmp_path):
    before = catalogue.content("digits")
    assert set(before) == {"data/splits/digits.txt", "scikit-learn"}
    splits = tmp_path / "splits"
    shutil.copytree(paths.SPLITS, splits)
    monkeypatch.setattr(paths, "SPLITS", splits)
    text = (splits / "digits.txt").read_text()
    unchanged = catalogue.content("digits")
    assert set(unchanged.values()) == set(before.values())
    (splits / "digits.txt").write_text(text.replace("01", "10", 1))
    assert catalogue.content("digits") != unchanged
    (splits / "digits.txt").unlink()
    with pytest.raises(data.DataError, match=r"digits\.txt is missing: restore it"):
        catalogue.content("digits")


def test_another_scikit_learn_may_bundle_other_data(monkeypatch):
    before = catalogue.content("diabetes")
    assert before["scikit-learn"] == sklearn.__version__
    monkeypatch.setattr(catalogue, "_version", lambda package: "99")
    assert catalogue.content("diabetes") == before | {"scikit-learn": "99"}


@pytest.fixture
def telescope(tmp_path, monkeypatch):
    """A telescope.dat of our own in data/raw."""
    monkeypatch.setattr(paths, "RAW", tmp_path / "raw")
    monkeypatch.delenv(sources.MIRROR, raising=False)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "telescope.dat").write_text("1,2,g\n")
    return tmp_path


def test_raw_files_count_with_their_entry_in_sources_toml(telescope, monkeypatch):
    before = catalogue.content("telescope")
    assert set(before) == {"telescope.dat", "lib/data/sources.toml: telescope.dat",
                           "data/splits/telescope.txt"}
    assert catalogue.files("telescope") == [telescope / "raw/telescope.dat", catalogue.TOML,
                                            paths.SPLITS / "telescope.txt"]
    text = catalogue.TOML.read_text()
    for changed, told, same in (("telescope", text.replace("MAGIC gamma", "Another", 1), False),
                                ("mv", text.replace("MV, artificial", "Another", 1), True)):
        assert told != text, changed
        entries = {name: sources.Source(**entry) for name, entry in tomllib.loads(told).items()}
        monkeypatch.setattr(sources, "FILES", entries)
        assert (catalogue.content("telescope") == before) == same, changed


def test_a_raw_file_is_the_same_wherever_it_lies(telescope, monkeypatch):
    before = catalogue.content("telescope")
    mirror = telescope / "mirror"
    (telescope / "raw").rename(mirror)
    with pytest.raises(data.DataError, match="could not be fetched"):
        monkeypatch.setitem(sources.FILES, "telescope.dat",
                            sources.Source("about", "http://127.0.0.1:9/telescope.dat"))
        catalogue.content("telescope")
    monkeypatch.undo()
    monkeypatch.setattr(paths, "RAW", telescope / "raw")
    monkeypatch.setenv(sources.MIRROR, str(mirror))
    assert catalogue.content("telescope") == before
    (mirror / "telescope.dat").write_text("1,3,g\n")
    assert catalogue.content("telescope") != before


def test_what_does_not_change_is_hashed_once(folder, telescope, monkeypatch):
    aged(telescope / "raw" / "telescope.dat")
    counted = []
    for place, name in ((sources, "_hash"), (catalogue, "_image_hashes")):
        function = getattr(place, name)
        monkeypatch.setattr(place, name, lambda *given, function=function: (
            counted.append(given), function(*given))[1])
    for _ in range(2000):
        catalogue.content("telescope")
    first = len(counted)
    for _ in range(20):
        catalogue.content("imagefolder:own")
    assert first <= 2 and len(counted) - first == 1


def test_files_lists_every_image(folder):
    assert catalogue.files("imagefolder:own") == sorted(folder.glob("*/*.png"))
    with pytest.raises(data.DataError, match="holds no images"):
        catalogue.files("imagefolder:nowhere")
    with pytest.raises(data.DataError, match="there is no file .*own.csv: correct the path"):
        catalogue.files("csv:own.csv#a")
    with pytest.raises(ValueError, match="write csv:PATH#COLUMN"):
        catalogue.files("csv:own.csv")
