"""A mirror that vouches for itself: what it holds is checked once it is read, and bounded."""

import gzip
import hashlib
import io
import os
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import savemat

from lib import data
from lib.base import paths
from lib.data import images, series, sources


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A function that puts files into a mirror of our own, all of them listed there."""
    monkeypatch.setattr(paths, "RAW", tmp_path / "raw")
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv(sources.MIRROR, str(folder))
    for kept in (images._fashion, images._cifar, series._usc, series._adl, series._falls):
        kept.cache_clear()

    def put(**files: bytes):
        for name, content in files.items():
            (folder / name.replace("__", ".").replace("_", "-")).write_bytes(content)
        (folder / "SHA256SUMS").write_text("".join(
            f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
            for file in folder.iterdir() if file.name != "SHA256SUMS"))
        return folder
    return put


def refused(name: str, says: str, **options) -> None:
    with pytest.raises(data.DataError, match=says) as caught:
        data.load(name, **options)
    assert "\n" not in str(caught.value)


def telescope(change: str = "", at: int = 0, width: int = 10) -> bytes:
    lines = [",".join([*(f"{i}.{c}" for c in range(width)), "gh"[i % 2]]) for i in range(19020)]
    lines[at] = change or lines[at]
    return "\n".join(lines).encode()


@pytest.mark.parametrize("content, says", [
    (telescope("nan,1,2,3,4,5,6,7,8,9,g", 3), "does not hold 50 or more rows of 10 finite inputs"),
    (telescope("inf,1,2,3,4,5,6,7,8,9,g", 3), "does not hold 50 or more rows of 10 finite inputs"),
    (telescope("x,1,2,3,4,5,6,7,8,9,g", 3), r"not a table of telescope \(ValueError\)"),
    (telescope("1,1,2,3,4,5,6,7,8,9,q", 3), r"not a table of telescope \(ValueError\)"),
    (telescope("1,1,2,3,4,5,6,7,8,9,g,1,2", 3), "not a table of telescope"),
    (telescope(width=11), "telescope"), (telescope(width=9), "telescope"),
    (telescope()[:3000], r"telescope\.txt does not give each|not a table of telescope"),
    (b"", "telescope.dat does not hold 50"),
    (b"\xff\xfe", "not a table of telescope")])
def test_a_table_that_is_not_the_authors_is_refused(mirror, content, says):
    mirror(telescope__dat=content)
    refused("telescope", says)


def test_the_table_that_those_faults_are_put_into_is_whole(mirror):
    mirror(telescope__dat=telescope())
    assert data.load("telescope").inputs == (10,)


def cifar(classes: int = 10, label: int = 9) -> bytes:
    raw = io.BytesIO()
    record = bytes([label]) + bytes(3072)
    members = {"test_batch.bin": record * 10_000,
               "batches.meta.txt": "\n".join("abcdefghij"[:classes]).encode()}
    members |= {f"data_batch_{i}.bin": record * 10_000 for i in range(1, 6)}
    with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=1) as archive:
        for name, content in members.items():
            told = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            told.size = len(content)
            archive.addfile(told, io.BytesIO(content))
    return raw.getvalue()


@pytest.mark.parametrize("told", [{"classes": 9}, {"classes": 0}, {"label": 10}])
def test_images_whose_labels_have_no_names_are_refused(mirror, monkeypatch, told):
    monkeypatch.setattr(images, "_in_order", lambda x, y: (x, y))       # takes a second
    folder = mirror()
    (folder / "cifar-10-binary.tar.gz").write_bytes(cifar(**told))
    mirror()
    refused("cifar10", r"cifar-10-binary\.tar\.gz (names|does not hold|lacks)")


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("matrix", [
    np.full((7579, 453), np.nan), np.full((7579, 453), 1e300), np.zeros((7579, 453), "U1")])
def test_series_that_are_no_numbers_are_refused(mirror, monkeypatch, matrix):
    unpinned = {name: replace(source, content={}) for name, source in sources.FILES.items()}
    monkeypatch.setattr(sources, "FILES", unpinned)
    labels = np.array([(c, s, 1) for c in range(1, 10) for s in range(1, 31)] * 29)[:7579]
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, value in (("adl_data", matrix), ("adl_labels", labels)):
            content = io.BytesIO()
            savemat(content, {name: value}, do_compression=True)
            archive.writestr(f"UniMiB-SHAR/data/{name}.mat", content.getvalue())
    folder = mirror()
    (folder / "UniMiB-SHAR.zip").write_bytes(raw.getvalue())
    mirror()
    refused("unimib_adl", "unimib_adl has inputs that are not finite|adl_data.mat is not a .mat")


def bomb(kind: str, size: int) -> bytes:
    raw = io.BytesIO()
    if kind == "gz":
        return gzip.compress(bytes(size), 1)
    if kind == "zip":
        with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.bin", bytes(size))
        return raw.getvalue()
    with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=1) as archive:
        told = tarfile.TarInfo("other.bin")                 # nobody asks for it
        told.size = size
        archive.addfile(told, io.BytesIO(bytes(size)))
    return raw.getvalue()


@pytest.mark.parametrize("ending", ["gz", "zip", "tar.gz"])
def test_an_archive_that_unpacks_to_more_than_it_may_is_never_held(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(paths, "RAW", tmp_path)
    monkeypatch.setattr(sources, "LARGEST", 10**6)
    monkeypatch.setattr(sources, "FILES", {f"b.{ending}": sources.Source("toy", "http://x/b")})
    for size, fits in ((900_000, True), (1_100_000, False)):
        (tmp_path / f"b.{ending}").write_bytes(bomb(ending, size))
        if fits:
            sources.unpack(f"b.{ending}")
            continue
        with pytest.raises(data.DataError, match="is damaged .it holds more than 1000000 bytes"):
            sources.unpack(f"b.{ending}")


def test_a_pipe_in_place_of_a_file_is_refused_at_once(mirror):
    folder = mirror(telescope__dat=b"1")
    paths.RAW.mkdir()
    os.mkfifo(paths.RAW / "telescope.dat")
    refused("telescope", r"raw/telescope\.dat cannot be read \(it is no file\)")
    (paths.RAW / "telescope.dat").unlink()
    (folder / "telescope.dat").unlink()
    os.mkfifo(folder / "telescope.dat")
    refused("telescope", r"mirror/telescope\.dat cannot be read \(it is no file\)")
