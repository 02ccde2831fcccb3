"""The files of sources.toml: found, checked against their hashes, and read in memory.

Searched in this order: `data/raw/`, the folder named by the environment variable GREENBITS_MIRROR
(checked against its own SHA256SUMS, for rebuilt archives differ from the authors'), an installed
package that carries the file, the network.
Nothing is unpacked to disk and nothing is unpickled.
"""

import functools
import gzip
import hashlib
import importlib.util
import os
import re
import stat
import struct
import tarfile
import time
import tomllib
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from lib.base import paths

MIRROR = "GREENBITS_MIRROR"
LARGEST = 10**9            # bytes of a file once unpacked; the largest, CIFAR's, have 185 MB
SETTLED_NS = 2 * 10**9     # ns; a younger file may change again within one tick of its clock
UNREADABLE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error, EOFError, OSError,
              RuntimeError, ValueError, TypeError, LookupError, OverflowError, MemoryError)


class DataError(RuntimeError):
    """Data that is missing, damaged or unfit: one sentence with the file, the cause, the remedy."""


@dataclass(frozen=True)
class Source:
    """One file; sources.toml says what its fields mean."""

    about: str
    url: str | None = None
    licence: str = "none stated"
    hash: str | None = None
    begins: str = ""
    content: dict[str, str] = field(default_factory=dict)
    page: str | None = None
    package: str | None = None

    @property
    def pinned(self) -> str | None:
        """Its hash, or of its sha256 what is known."""
        return self.hash or (f"sha256:{self.begins}" if self.begins else None)

    @property
    def line(self) -> str:
        return f"{self.about}; {self.url or self.page}; licence: {self.licence}"


FILES = {name: Source(**told) for name, told in tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")).items()}


def fetch(name: str) -> Path:
    """The path of one of FILES, its hash checked and noted as read; DataError if it cannot be had.

    A file whose content is pinned is checked on reading (`unpack`) instead of by its outside."""
    raw, source = paths.RAW / name, FILES[name]
    if raw.exists():
        return _checked(raw, None if source.content else source.pinned, _remedy(source))
    if (mirror := _mirror(name)) is not None:
        return mirror
    if (packed := _packed(source)) is not None:
        return _checked(packed, source.hash, "install its package again.")
    if source.url is None:
        raise DataError(f"{name} is not there and cannot be fetched: "
                        f"ask for it at {source.page} and put it into {paths.RAW}.")
    return paths.reads(_download(name, source))


def found(name: str) -> Path:
    """Where one of FILES lies, in data/raw or in the mirror, fetched if it lies in neither; what
    is there is not checked and not noted as read."""
    places = [paths.RAW / name]
    if folder := os.environ.get(MIRROR):
        places.append(Path(folder) / name)
    return next((place for place in places if place.exists()), None) or fetch(name)


def hashed(path: Path, kind: str = "sha256") -> str:
    """Hash of a file, once a process as long as it does not change: CIFAR's 168 MB take 0.1 to
    0.3 s."""
    seen = path.stat()
    if time.time_ns() - seen.st_mtime_ns < SETTLED_NS:
        return _hash(path, kind)
    return _hash_once(path, kind, seen.st_size, seen.st_mtime_ns, seen.st_ino)


@functools.lru_cache(maxsize=1000)
def _hash_once(path: Path, kind: str, size: int, modified: int, number: int) -> str:
    return _hash(path, kind)


def _hash(path: Path, kind: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def digest(name: str) -> str:
    """sha256 of one of FILES, checked: what is parsed from it can be kept under this."""
    return hashed(fetch(name))


def unpack(name: str, pattern: str = ".*") -> dict[str, bytes]:
    """Members of an archive of FILES whose path ends in `pattern`, a regular expression that starts
    at a folder; in memory. A plain .gz has one member, named "". DataError if it is damaged."""
    path, source = fetch(name), FILES[name]
    wanted = re.compile(rf"(?:.*/)?(?:{pattern})")
    try:
        found = _members(path, wanted)
    except UNREADABLE as error:
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path} is damaged ({cause}): {_remedy(source, path)}") from error
    for member, content in found.items():
        for pinned, digest in source.content.items():
            fits = member == pinned or member.endswith(f"/{pinned}")
            if fits and hashlib.sha256(content).hexdigest() != digest:
                raise DataError(f"{path} holds {member or 'data'} with other bytes than the "
                                f"authors': {_remedy(source, path)}")
    return found


def member(name: str, ending: str) -> bytes:
    """The one member of an archive whose path ends in `ending`; DataError if there is none."""
    found = unpack(name, re.escape(ending))
    if not found:
        source = FILES[name]
        raise DataError(f"{fetch(name)} lacks {ending}: put the authors' whole {name} "
                        f"({source.url or source.page}) into {paths.RAW}.")
    return next(iter(found.values()))


def _members(path: Path, wanted: re.Pattern) -> dict[str, bytes]:
    """The members whose name is wanted. OSError if they, or a tar, are larger than LARGEST once
    unpacked: no more than that is ever held."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            chosen = [info for info in archive.infolist() if wanted.fullmatch(info.filename)]
            _bounded(sum(info.file_size for info in chosen))
            return {info.filename: archive.read(info) for info in chosen}
    if not path.name.endswith(".tar.gz"):
        with gzip.open(path) as file:
            content = file.read(LARGEST + 1)
        _bounded(len(content))
        return {"": content}
    found = {}
    with tarfile.open(path, "r|gz") as archive:             # as a stream: never unpacked whole
        for member in archive:
            _bounded(member.offset_data + member.size)
            if member.isfile() and wanted.fullmatch(member.name):
                found[member.name] = archive.extractfile(member).read()
    return found


def _bounded(size: int) -> None:
    if size > LARGEST:
        raise OSError(f"it holds more than {LARGEST} bytes")


def _mirror(name: str) -> Path | None:
    """The mirror's copy, checked against the mirror's own list; None if there is no copy."""
    if not (folder := os.environ.get(MIRROR)):
        return None
    path, sums = Path(folder) / name, Path(folder) / "SHA256SUMS"
    if not sums.is_file():
        raise DataError(f"{sums} is missing: {MIRROR} must name a folder with that list, "
                        "or be unset.")
    if not path.exists():
        return None
    listed = re.search(rf"^([0-9a-f]{{64}}) [ *]{re.escape(name)}$", sums.read_text(), re.MULTILINE)
    if listed is None:
        raise DataError(f"{path} is not listed in {sums}: {_remedy(FILES[name], path)}")
    return _checked(path, f"sha256:{listed[1]}", _remedy(FILES[name], path))


def _packed(source: Source) -> Path | None:
    """Where an installed package has the file, without importing it; None if it does not."""
    if source.package is None:
        return None
    package, _, inside = source.package.partition("/")
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    path = Path(places[0]) / inside if places else None
    return path if path is not None and path.is_file() else None


def _checked(path: Path, pinned: str | None, remedy: str) -> Path:
    """Note `path` as read if its hash is the pinned one."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):       # to read a pipe would wait for ever
            raise OSError(0, "it is no file")
        paths.reads(path)
        kind, _, wanted = (pinned or "").partition(":")
        found = hashed(path, kind) if pinned else ""
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    if not found.startswith(wanted):            # of some no more than the beginning is known
        raise DataError(f"{path} is not the file it should be ({path.stat().st_size} bytes with "
                        f"{kind} {found}, not {wanted}): {remedy}")
    return path


def _remedy(source: Source, path: Path | None = None) -> str:
    if path is not None and path.parent != paths.RAW:
        return f"rebuild the mirror or unset {MIRROR}."
    if source.url is None:
        return f"replace it by the authors' file ({source.page})."
    return "delete it, and it will be fetched again."


def _download(name: str, source: Source) -> Path:
    """Fetch into a temporary file in data/raw that is renamed only when its hash fits (pooch)."""
    import pooch
    import requests

    def download(url: str, output: str, _: object) -> None:
        pooch.HTTPDownloader(progressbar=True)(url, output, None)
        if not _hash(Path(output), "sha256").startswith(source.begins):
            raise ValueError(f"its hash does not begin with {source.begins}")
        if source.hash is None:                 # then the archive's own checksums must do
            with zipfile.ZipFile(output) as archive:
                if (bad := archive.testzip()) is not None:
                    raise zipfile.BadZipFile(f"{bad} is damaged")

    remedy = (f"try again later, put it into {paths.RAW}, or name a folder that holds it in "
              f"{MIRROR}.")
    try:
        return Path(pooch.retrieve(source.url, source.hash, name, paths.RAW, downloader=download))
    except ValueError:
        raise DataError(f"{source.url} gave another file than {name} should be (its hash does "
                        f"not fit): {remedy}") from None
    except (requests.RequestException, zipfile.BadZipFile, OSError) as error:
        cause = type(error).__name__
        raise DataError(f"{name} could not be fetched from {source.url} ({cause}): "
                        f"{remedy}") from None
