"""Files: found in order, checked, never half-written; every failure one sentence with a remedy."""

import gzip
import hashlib
import http.server
import io
import threading
import zipfile

import numpy as np
import pytest
from scipy.io import savemat

from lib import data
from lib.base import paths
from lib.data import sources

CONTENT = b"the authors' bytes" * 1000


def zipped(**members: bytes) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return raw.getvalue()


ARCHIVE = zipped(weights=CONTENT)       # as torch writes them


@pytest.fixture
def room(tmp_path, monkeypatch):
    """data/raw and a mirror of our own, and four files: plain, packed, by hand, unhashed."""
    for name in ("raw", "mirror"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(paths, "RAW", tmp_path / "raw")
    monkeypatch.delenv("GREENBITS_MIRROR", raising=False)
    digest = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setattr(sources, "FILES", {
        "plain.dat": sources.Source("plain", "http://127.0.0.1:9/plain.dat",
                                    hash=f"md5:{hashlib.md5(CONTENT).hexdigest()}"),
        "packed.gz": sources.Source("packed", "http://127.0.0.1:9/packed.gz", hash="md5:0",
                                    content={"": digest}),
        "hand.zip": sources.Source("by hand", None, page="http://example.org/ask",
                                   content={"in/a.bin": digest}),
        "free.zip": sources.Source("free", "http://127.0.0.1:9/free.zip"),
        "begun.pth": sources.Source("begun", "http://127.0.0.1:9/begun.pth",
                                    begins=hashlib.sha256(ARCHIVE).hexdigest()[:8])})
    return tmp_path


def mirror(room, monkeypatch, listed=True, **files: bytes):
    folder = room / "mirror"
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    (folder / "SHA256SUMS").write_text("".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in folder.iterdir() if listed and path.name != "SHA256SUMS"))
    monkeypatch.setenv("GREENBITS_MIRROR", str(folder))
    return folder


def refused(match: str, name: str = "plain.dat", call=sources.fetch):
    with pytest.raises(data.DataError, match=match) as caught:
        call(name)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_raw_comes_before_the_mirror_and_both_are_noted(room, monkeypatch):
    folder = mirror(room, monkeypatch, plain__dat=b"rebuilt")
    assert sources.fetch("plain.dat") == folder / "plain.dat"
    (room / "raw" / "plain.dat").write_bytes(CONTENT)
    assert sources.fetch("plain.dat") == room / "raw" / "plain.dat"
    noted = paths.inputs()
    assert noted[str(room / "raw" / "plain.dat")] == hashlib.sha256(CONTENT).hexdigest()
    assert sources.digest("plain.dat") == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT.replace(b"b", b"c"), b""])
def test_a_truncated_or_tampered_file_is_refused_and_left_alone(room, content):
    file = room / "raw" / "plain.dat"
    file.write_bytes(content)
    refused(r"raw/plain\.dat is not the file.*delete it")
    assert file.read_bytes() == content


def test_a_file_that_changes_after_it_was_checked_is_noticed(room):
    file = room / "raw" / "plain.dat"
    file.write_bytes(CONTENT)
    sources.fetch("plain.dat")
    file.write_bytes(CONTENT + b"!")
    refused("is not the file")


def test_an_unreadable_file_is_refused(room):
    (room / "raw" / "plain.dat").mkdir()
    refused(r"plain\.dat cannot be read")


def test_a_mirror_must_list_what_it_holds(room, monkeypatch):
    folder = mirror(room, monkeypatch, plain__dat=CONTENT)
    (folder / "plain.dat").write_bytes(CONTENT[:100])
    refused("unset GREENBITS_MIRROR")
    mirror(room, monkeypatch, listed=False)
    refused("is not listed in .*SHA256SUMS")
    (folder / "SHA256SUMS").unlink()
    refused("SHA256SUMS is missing")
    monkeypatch.setenv("GREENBITS_MIRROR", str(room / "nowhere"))
    refused("SHA256SUMS is missing")


def test_a_file_packed_anew_is_judged_by_what_is_inside(room):
    file = room / "raw" / "packed.gz"
    file.write_bytes(gzip.compress(CONTENT, 1))
    assert sources.unpack("packed.gz") == {"": CONTENT}
    file.write_bytes(gzip.compress(CONTENT + b"!"))
    refused("other bytes than the authors'", "packed.gz", sources.unpack)
    file.write_bytes(gzip.compress(CONTENT)[:-20])
    refused("packed.gz is damaged", "packed.gz", sources.unpack)


def test_archives_are_read_in_memory_and_checked(room):
    file = room / "raw" / "hand.zip"
    refused(r"cannot be fetched.*example\.org", "hand.zip")
    file.write_bytes(zipped(top__in__a_bin=b"")[:-9])
    refused("hand.zip is damaged", "hand.zip", sources.unpack)
    file.write_bytes(zipped(**{"top__in__a.bin": CONTENT, "top__in__b.bin": b"other"}))
    assert sources.member("hand.zip", "in/a.bin") == CONTENT
    assert set(sources.unpack("hand.zip", r"in/.\.bin")) == {"top/in/a.bin", "top/in/b.bin"}
    refused(r"lacks in/c\.bin.*example\.org", "hand.zip",
            lambda name: sources.member(name, "in/c.bin"))
    file.write_bytes(zipped(**{"top__in__a.bin": CONTENT + b"!"}))
    refused("other bytes", "hand.zip", sources.unpack)
    whole = bytearray(zipped(**{"top__in__a.bin": CONTENT}))
    whole[200] ^= 1                                             # a flipped bit in a stored member
    file.write_bytes(whole)
    refused("hand.zip is damaged", "hand.zip", sources.unpack)
    assert sorted(p.name for p in (room / "raw").iterdir()) == ["hand.zip"]


@pytest.fixture
def server(room, monkeypatch):
    """Serves `answers[name]` = (status, promised length, bytes) on this machine."""
    answers = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, length, content = answers[self.path.strip("/")]
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setattr(sources, "FILES", {
            name: sources.Source(s.about, s.url and s.url.replace(":9", f":{running.server_port}"),
                                 hash=s.hash, begins=s.begins)
            for name, s in sources.FILES.items()})
        yield answers
        running.shutdown()


def test_a_download_arrives_whole_or_not_at_all(room, server, capsys):
    (room / "raw").rmdir()                                     # the folder may be absent
    for answer, says in (((200, len(CONTENT), CONTENT[:50]), "could not be fetched"),
                         ((200, 4, b"else"), "its hash does not fit"),
                         ((404, 0, b""), "could not be fetched")):
        server["plain.dat"] = answer
        refused(says)
        assert not list((room / "raw").glob("*"))
    server["plain.dat"] = (200, len(CONTENT), CONTENT)
    assert sources.fetch("plain.dat").read_bytes() == CONTENT
    assert [p.name for p in (room / "raw").iterdir()] == ["plain.dat"]
    assert "100%" in capsys.readouterr().err                   # the progress bar


def test_a_download_without_a_known_hash_is_checked_by_its_archive(room, server):
    whole = zipped(a=CONTENT)
    damaged = bytearray(whole)
    damaged[100] ^= 1
    for content in (b"<html>moved</html>", whole[:-30], bytes(damaged)):
        server["free.zip"] = (200, len(content), content)
        refused("could not be fetched", "free.zip")
        assert not list((room / "raw").iterdir())
    server["free.zip"] = (200, len(whole), whole)
    assert sources.unpack("free.zip", "a") == {"a": CONTENT}


def test_a_hash_of_which_the_beginning_is_known_is_checked_so_far(room, server):
    other = zipped(weights=CONTENT + b"!")
    server["begun.pth"] = (200, len(other), other)
    refused("its hash does not fit", "begun.pth")
    assert not list((room / "raw").iterdir())
    server["begun.pth"] = (200, len(ARCHIVE), ARCHIVE)
    assert sources.fetch("begun.pth").read_bytes() == ARCHIVE
    (room / "raw" / "begun.pth").write_bytes(other)
    refused("begun.pth is not the file it should be", "begun.pth")


def test_without_network_the_remedy_is_named(room):
    refused("could not be fetched from http.*put it into .*raw.*GREENBITS_MIRROR")


def test_every_source_says_where_from_and_under_which_licence():
    for name, source in sources.FILES.items():
        assert source.url is None or source.url.endswith(f"/{name}")
        assert source.url or source.page
        assert "licence: " in source.line and source.licence
        kind, _, digest = (source.hash or "sha256:" + "0" * 64).partition(":")
        assert len(digest) == {"md5": 32, "sha256": 64}[kind]


# ------------------------------------------------------------------ the UniMiB SHAR release

def release(room, **mats: np.ndarray) -> None:
    """A UniMiB-SHAR.zip in data/raw with the given matrices as the release names them."""
    members = {}
    for name, matrix in mats.items():
        raw = io.BytesIO()
        savemat(raw, {name: matrix})
        members[f"UniMiB-SHAR__data__{name}.mat"] = raw.getvalue()
    (room / "UniMiB-SHAR.zip").write_bytes(zipped(**members))


def activities() -> tuple[np.ndarray, np.ndarray]:
    """Rows as the release has them: 151 x, 151 y, 151 z; labels (class, subject, trial)."""
    labels = np.array([(c, s, t) for c in range(1, 10) for s in range(1, 31) for t in (1, 2)])
    axes = np.repeat([1.0, 2.0, 3.0], 151) * 1000
    return axes + labels[:, :1] * 100 + labels[:, 1:2], labels.astype(np.uint8)


def test_daily_activities_come_from_the_release_that_a_user_puts_in_place(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RAW", tmp_path)
    x, labels = activities()
    release(tmp_path, adl_data=x, adl_labels=labels)
    tested = []
    for k in range(5):
        task = data.load("unimib_adl", fold=k)
        assert task.inputs == (3, 151) and len(task.classes) == 9
        tested += sorted(set(task.test.group.tolist()))
        values = task.test.x[:, :, 0].long()
        axis, rest = values // 1000, values % 1000
        assert (axis == torch_row(1, 2, 3)).all()
        assert (rest[:, 0] // 100 == task.test.y + 1).all()
        assert (rest[:, 0] % 100 == task.test.group).all()
    assert sorted(tested) == list(range(1, 31))
    green = data.load("unimib_adl", variant="green")
    assert green.fold is None and green.name == "unimib_adl@green"
    assert sorted(set(green.test.group.tolist())) == [2, 3, 13, 17, 18, 30]
    assert sorted(set(green.val.group.tolist())) == [1, 9, 16, 23, 25, 28]
    assert len(set(green.train.group.tolist())) == 18


def torch_row(*values):
    import torch
    return torch.tensor(values)


def test_a_release_that_lacks_the_activities_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RAW", tmp_path)
    x, labels = activities()
    release(tmp_path, adl_labels=labels)
    with pytest.raises(data.DataError, match=r"lacks data/adl_data\.mat.*unimib-shar"):
        data.load("unimib_adl")
    release(tmp_path, adl_data=x[:, :400], adl_labels=labels)
    with pytest.raises(data.DataError, match=r"not \(n, 453\)"):
        data.load("unimib_adl")
    (tmp_path / "UniMiB-SHAR.zip").write_bytes(zipped(UniMiB__data__adl_data_mat=b"", **{
        "U__data__adl_data.mat": b"not a matrix", "U__data__adl_labels.mat": b""}))
    with pytest.raises(data.DataError, match="adl_data"):
        data.load("unimib_adl")
