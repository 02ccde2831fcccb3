"""Run by test_fuzz_data in a process with little memory: one reader gets mutated files.

Usage: python tests/fuzz_data.py READER SECONDS FOLDER. The last line says how many files were read
and how many refused; anything but a DataError or ValueError of one sentence, a write outside of
FOLDER, or a program that is started ends in a traceback.
"""

import gzip
import io
import os
import resource
import sys
import tarfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from lib import data
from lib.base import paths
from lib.data import catalogue, images, series, sources

MEMORY = 3 * 10**9              # bytes beyond what Python, numpy, pandas and torch map themselves
# What a reader of data never does, as Python's audit events name it.
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class",
             "socket.connect", "shutil.rmtree", "os.rename", "os.remove", "os.mkdir")


def table() -> bytes:
    lines = [f"{i};{i * 0.5:.2f};{'ab'[i % 2]};\"t;{i % 3}\"" for i in range(60)]
    return b"n;x;y;t\n" + "\n".join(lines).encode()


def arrays() -> bytes:
    raw = io.BytesIO()
    random = np.random.RandomState(0)
    np.savez(raw, x=random.rand(50, 2, 4), y=np.arange(50) % 2, group=np.arange(50) % 5)
    return raw.getvalue()


def image(kind: str) -> Callable[[], bytes]:
    def written() -> bytes:
        raw = io.BytesIO()
        pixels = np.random.RandomState(0).randint(0, 256, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(raw, kind)
        return raw.getvalue()
    return written


def mat() -> bytes:
    raw = io.BytesIO()
    savemat(raw, {"m": np.random.RandomState(0).rand(5, 6)}, do_compression=True)
    return raw.getvalue()


def zipped() -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../a.bin", b"a" * 500)
        archive.writestr("in/b.bin", b"b" * 500)
    return raw.getvalue()


def tarred() -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        for name in ("../a.bin", "/tmp/b.bin", "in/c.bin"):
            told = tarfile.TarInfo(name)
            told.size = 500
            archive.addfile(told, io.BytesIO(b"c" * 500))
    return raw.getvalue()


def labels() -> bytes:
    return bytes([0, 0, 8, 1, 0, 0, 0, 50]) + bytes(i % 10 for i in range(50))


def read_mat(file: Path) -> None:
    series._matrix(file.read_bytes(), "m", str(file))


def read_archive(file: Path) -> None:
    sources.FILES = {file.name: sources.Source("toy", "http://127.0.0.1:9/x")}
    paths.RAW = file.parent
    sources.unpack(file.name)


def read_images(file: Path) -> None:
    catalogue.left_out(paths.ROOT / "own")
    data.load("imagefolder:own")


def read_idx(file: Path) -> None:
    _named(file, "fashion_mnist", lambda name: {"": file.read_bytes() if "labels" in name
                                                else bytes(16 + 50 * 784)})


def read_cifar(file: Path) -> None:
    _named(file, "cifar10", lambda name: {"batches.meta.txt": file.read_bytes(),
                                          "test_batch.bin": file.read_bytes()})


def _named(file: Path, task: str, unpack: Callable[[str], dict[str, bytes]]) -> None:
    images.digest = lambda name: name + str(time.time_ns())
    images.fetch = lambda name: file
    images.unpack = lambda name, pattern="": unpack(name)
    images._fashion.cache_clear()
    data.load(task)


READERS: dict[str, tuple[str, Callable[[], bytes], Callable[[Path], None]]] = {
    "csv": ("own.csv", table, lambda file: data.load("csv:own.csv#y")),
    "npz": ("own.npz", arrays, lambda file: (catalogue.kind("npz:own.npz"),
                                             data.load("npz:own.npz"))),
    "png": ("own/cat/1.png", image("PNG"), read_images),
    "jpeg": ("own/cat/1.jpg", image("JPEG"), read_images),
    "webp": ("own/cat/1.webp", image("WEBP"), read_images),
    "tiff": ("own/cat/1.tiff", image("TIFF"), read_images),
    "bmp": ("own/cat/1.bmp", image("BMP"), read_images),
    "mat": ("own.mat", mat, read_mat),
    "zip": ("own.zip", zipped, read_archive),
    "tar": ("own.tar.gz", tarred, read_archive),
    "gz": ("own.gz", lambda: gzip.compress(b"abc" * 500), read_archive),
    "idx": ("own.idx", labels, read_idx),
    "cifar": ("own.bin", lambda: b"plane car " * 20, read_cifar),
}


def mutated(base: bytes, seed: int) -> Iterator[bytes]:
    """The file itself, then endlessly many that differ in a few bytes, pieces or their length."""
    random = np.random.RandomState(seed)
    yield base
    while True:
        content = bytearray(base)
        for _ in range(random.randint(1, 5)):
            at, width = random.randint(len(content) + 1), random.choice([1, 1, 4, 8, 40])
            piece = random.choice([random.bytes(width), b"\xff" * width, b"\0" * width,
                                   bytes(content[random.randint(len(content) + 1):][:width])])
            kind = random.randint(4)
            if kind == 0:
                content[at:at + width] = piece
            elif kind == 1:
                content[at:at] = piece
            elif kind == 2:
                del content[at:at + width]
            else:
                del content[max(1, at):]
            content = content or bytearray(b"x")
        yield bytes(content)


def watched(folder: Path) -> Callable[[str, tuple], None]:
    def audit(event: str, told: tuple) -> None:
        if event in FORBIDDEN:
            raise SystemExit(f"a reader caused {event} {told}")
        if event == "open" and isinstance(told[1], str) and set(told[1]) & set("wax+"):
            if not str(Path(os.fsdecode(told[0])).absolute()).startswith(str(folder)):
                raise SystemExit(f"a reader wrote {told[0]}")
    return audit


def main(reader: str, seconds: float, folder: Path) -> None:
    place, base, read = READERS[reader]
    paths.ROOT, paths.CACHE = folder, folder / "cache"
    for kind in ("cat", "dog") if "own/" in place else ():
        (folder / "own" / kind).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (8, 8), (20 * i, 9, 9)).save(folder / "own" / kind / f"{i}0.png")
    file = folder / place
    before = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (before + MEMORY, before + MEMORY))
    warnings.simplefilter("ignore")
    good = refused = 0
    ends = None
    for content in mutated(base(), seed=0):
        file.write_bytes(content)
        if ends is None:                        # the first one imports what it needs
            try:
                read(file)
            except data.DataError:
                pass
            sys.addaudithook(watched(folder))
            ends = time.monotonic() + seconds
        try:
            read(file)
            good += 1
        except (data.DataError, ValueError) as error:
            assert "\n" not in str(error) and 10 < len(str(error)) < 2000, repr(error)
            refused += 1
        except BaseException:
            (folder / "guilty").write_bytes(content)
            raise
        if time.monotonic() > ends:
            break
    print(f"{good} read, {refused} refused")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]))
