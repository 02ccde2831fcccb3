"""Where every file comes from, its hash and its licence; found, checked, and read in memory.

Searched in this order: `data/raw/`, the folder named by the environment variable GREENBITS_MIRROR
(checked against its own SHA256SUMS, for rebuilt archives differ from the authors'), the network.
Nothing is unpacked to disk and nothing is unpickled.
"""

import functools
import gzip
import hashlib
import io
import os
import re
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from lib import paths

MIRROR = "GREENBITS_MIRROR"
UNREADABLE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, RuntimeError)


class DataError(RuntimeError):
    """Data that is missing, damaged or unfit: one sentence with the file, the cause, the remedy."""


@dataclass(frozen=True)
class Source:
    """One file. `hash` is the authors' ("sha256:…", or "md5:…" where only that is published);
    `content` pins what lies inside (member -> sha256) where copies are packed anew; with neither,
    only the checksums inside the archive guard it. `url` None: put in place by hand, from `page`.
    """

    about: str
    url: str | None
    licence: str = "none stated"
    hash: str | None = None
    content: dict[str, str] = field(default_factory=dict)
    page: str | None = None

    @property
    def line(self) -> str:
        return f"{self.about}; {self.url or self.page}; licence: {self.licence}"


_EDGE = "https://raw.githubusercontent.com/mohitgulla/Edge/3edb7b0730fff998c8d53849272aca7bfc0de5ad"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_FASHION_ABOUT = "Fashion-MNIST (Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747)"
_CIFAR = "https://www.cs.toronto.edu/~kriz"
_AKAMASTER = "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models"

FILES = {
    "telescope.dat": Source(
        "MAGIC gamma telescope (Bock et al. 2004), Edge's copy", f"{_EDGE}/data/telescope.dat",
        "none stated by Edge; UCI's original CC BY 4.0",
        "sha256:b07bb5bcbb55d0cd762aaea99eb52655668412899c5936632fa3877cf7b109d6"),
    "churn.csv": Source(
        "bank customers who leave (Kaggle, Churn Modelling), Edge's copy",
        f"{_EDGE}/data/churn.csv",
        hash="sha256:3996cd1fa372e0db0cd9c0ebac35bbd4e8e3c65fb942bb010c826e7b1eeef0a0"),
    "mv.dat": Source(
        "MV, artificial regression data (KEEL), Edge's copy", f"{_EDGE}/data/mv.dat",
        hash="sha256:39bc066602fd26032f0a071e0dd46d29198a169bfd04e93fea542f3a5e4ccd46"),
    "california.dat": Source(
        "California house prices of the 1990 census (Pace & Barry 1997; KEEL), Edge's copy",
        f"{_EDGE}/data/california.dat",
        hash="sha256:ba289e08737e6d620511da6a9434c76562f7e43841d0cb7ad1ac502a2483e1cb"),
    # Fashion-MNIST: the pinned bytes are those inside, for image files are often compressed anew.
    "train-images-idx3-ubyte.gz": Source(
        _FASHION_ABOUT, f"{_FASHION}/train-images-idx3-ubyte.gz", "MIT",
        "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        {"": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"}),
    "train-labels-idx1-ubyte.gz": Source(
        _FASHION_ABOUT, f"{_FASHION}/train-labels-idx1-ubyte.gz", "MIT",
        "md5:25c81989df183df01b3e8a0aad5dffbe",
        {"": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"}),
    "t10k-images-idx3-ubyte.gz": Source(
        _FASHION_ABOUT, f"{_FASHION}/t10k-images-idx3-ubyte.gz", "MIT",
        "md5:bef4ecab320f06d8554ea6380940ec79",
        {"": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"}),
    "t10k-labels-idx1-ubyte.gz": Source(
        _FASHION_ABOUT, f"{_FASHION}/t10k-labels-idx1-ubyte.gz", "MIT",
        "md5:bb300cfdad3c16e7a12a480ee83cd310",
        {"": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"}),
    "cifar-10-binary.tar.gz": Source(
        "CIFAR-10 (Krizhevsky 2009)", f"{_CIFAR}/cifar-10-binary.tar.gz",
        hash="md5:c32a1d4ab5d03f1284b67883e8d87530"),
    "cifar-100-binary.tar.gz": Source(
        "CIFAR-100 (Krizhevsky 2009)", f"{_CIFAR}/cifar-100-binary.tar.gz",
        hash="md5:03b5dce01913d631647c71ecec9e9cb8"),
    # The authors publish no hash of the whole release, and their link is reported broken.
    "UniMiB-SHAR.zip": Source(
        "UniMiB SHAR (Micucci, Mobilio & Napoletano 2017, arXiv 1611.07688)", None,
        page="http://www.sal.disco.unimib.it/technologies/unimib-shar/",
        content={"data/split/split51/fall_splitted_data5_folds.mat":
                 "22934c94fdea4cadb500934a31088fa2a60875292b499450800099eca084f569",
                 "data/fall_labels.mat":
                 "5720f80804e20321d9734d699f55369b3cb499c4664b279edcb3d8ccdc91e565"}),
    # No hash is published for this one either.
    "USC-HAD.zip": Source(
        "USC-HAD (Zhang & Sawchuk 2012)", "https://sipi.usc.edu/had/USC-HAD.zip"),
    "resnet20-12fca82f.th": Source(
        "CIFAR-10 ResNet-20 trained by akamaster", f"{_AKAMASTER}/resnet20-12fca82f.th",
        "BSD 2-Clause",
        "sha256:12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8"),
}


def fetch(name: str) -> Path:
    """The path of one of FILES, its hash checked and noted as read; DataError if it cannot be had.

    A file whose content is pinned is checked on reading (`unpack`) instead of by its outside."""
    raw, source = paths.RAW / name, FILES[name]
    if raw.exists():
        return _checked(raw, None if source.content else source.hash, _remedy(source))
    if (mirror := _mirror(name)) is not None:
        return mirror
    if source.url is None:
        raise DataError(f"{name} is not there and cannot be fetched: "
                        f"ask for it at {source.page} and put it into {paths.RAW}.")
    return paths.reads(_download(name, source))


def digest(name: str) -> str:
    """sha256 of one of FILES, checked: what is parsed from it can be kept under this."""
    return _hash(fetch(name), "sha256")


def unpack(name: str, pattern: str = ".*") -> dict[str, bytes]:
    """Members of an archive of FILES whose path ends in `pattern`, a regular expression that starts
    at a folder; in memory. A plain .gz has one member, named "". DataError if it is damaged."""
    path, source = fetch(name), FILES[name]
    wanted = re.compile(rf"(?:.*/)?(?:{pattern})")
    try:
        found = _members(path, wanted)
    except UNREADABLE as error:
        raise DataError(f"{path} is damaged ({error}): {_remedy(source, path)}") from error
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
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return {n: archive.read(n) for n in archive.namelist() if wanted.fullmatch(n)}
    content = gzip.decompress(path.read_bytes())
    if not path.name.endswith(".tar.gz"):
        return {"": content}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {m.name: archive.extractfile(m).read()
                for m in archive if m.isfile() and wanted.fullmatch(m.name)}


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


def _checked(path: Path, pinned: str | None, remedy: str) -> Path:
    """Note `path` as read if its hash is the pinned one."""
    try:
        paths.reads(path)
        kind, _, wanted = (pinned or "").partition(":")
        found = _hash(path, kind) if pinned else ""
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    if found != wanted:
        raise DataError(f"{path} is not the file it should be ({path.stat().st_size} bytes with "
                        f"{kind} {found}, not {wanted}): {remedy}")
    return path


def _hash(path: Path, kind: str) -> str:
    stat = path.stat()
    return _hash_once(path, kind, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache
def _hash_once(path: Path, kind: str, size: int, modified: int) -> str:
    """A file that has not changed is hashed once per process: CIFAR's 168 MB take 0.1 to 0.3 s."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


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
