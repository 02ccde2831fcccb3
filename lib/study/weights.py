"""The weights in data/weights: trained networks that are committed, with hashes in SHA256SUMS.

A file is used only where it is of the very step and key that are asked for, and is what was
published; a damaged one is named, and its network is trained again.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import safe_open

from lib.base import paths
from lib.study import cache

LIST = "SHA256SUMS"             # as `sha256sum --check` reads it


def published(step: str, key: dict) -> cache.Built | None:
    """The arrays and record of a step as they were published under this key; None if they were
    not, or are not what was published, which is printed."""
    path = cache.committed(step)
    if not path.exists():
        return None
    try:
        if cache.header_of(path)["key"] != cache.plain(key):
            return None                                 # of other sizes, or of another recipe
        arrays, head = whole(path)
        if head["step"] != step:
            raise ValueError(f"it is of another step, {head['step']}")
        record = head["record"]
    except cache.UNREADABLE as error:
        print(f"{paths.shown(path)} cannot be used ({error}); git checkout restores it; until then "
              "its network is trained again")
        return None
    paths.reads(path)
    return arrays, record


def whole(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays and header of a file that has a hash listed for it or, unlisted, the hash in its own
    header. One of `cache.UNREADABLE` for any other file; its message gives the reason."""
    with safe_open(path, framework="numpy") as file:
        metadata, head = file.metadata(), cache.header(file)
        arrays = {name: file.get_tensor(name) for name in file.keys()}
    known = listed().get(path.name)
    if known is None and metadata.get("sha256") != cache.content_hash(metadata["json"], arrays):
        raise ValueError(f"its hash is neither in its header nor in {LIST}")
    if known is not None and paths.sha256(path) not in known:
        raise ValueError(f"its content is not what {LIST} says")
    return arrays, head


def usable() -> dict[Path, dict]:
    """Each file in data/weights that `whole` accepts -> its header."""
    heads = {}
    for path in sorted(paths.WEIGHTS.glob("*.safetensors")):
        try:
            heads[path] = whole(path)[1]
        except cache.UNREADABLE:
            continue
    return heads


def listed() -> dict[str, tuple[str, ...]]:
    """Names of the published files -> the sha256 that SHA256SUMS accepts; empty without it. It is
    one hash a file, two while a publish replaces the file."""
    try:
        lines = (paths.WEIGHTS / LIST).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    hashes: dict[str, tuple[str, ...]] = {}
    for sha, name in (line.split("  ", 1) for line in lines):
        hashes[name] = (*hashes.get(name, ()), sha)
    return hashes


def as_list(hashes: Mapping[str, tuple[str, ...]]) -> str:
    """The text of SHA256SUMS, from what `listed` returns."""
    return "".join(f"{sha}  {name}\n" for name in sorted(hashes) for sha in hashes[name])
