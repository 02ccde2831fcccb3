"""The weights in data/weights: trained nets that are committed, each with its hash in SHA256SUMS.

A file is used only where it is of the very step and key that are asked for, and is what was
published; a damaged one is named, and its net is trained again.
"""

from safetensors import safe_open

from lib.base import paths
from lib.study import cache

LIST = "SHA256SUMS"             # as `sha256sum --check` reads it


def published(step: str, key: dict) -> cache.Built | None:
    """The arrays and record of a step as they were published under this key; None if they were
    not, or are not what was published, which is said."""
    path = cache.committed(step)
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            head, told = cache.header(file), file.metadata().get("sha256")
            if head["key"] != cache.plain(key):
                return None                             # of other sizes, or of another recipe
            if head["step"] != step:
                raise ValueError(f"it is of another step, {head['step']}")
            built = {name: file.get_tensor(name) for name in file.keys()}, head["record"]
            known = listed().get(path.name)
            if known is None and told != cache.content_hash(file.metadata()["json"], built[0]):
                raise ValueError(f"its hash is neither in its header nor in {LIST}")
        if known not in (None, paths.sha256(path)):
            raise ValueError(f"its content is not what {LIST} says")
    except cache.UNREADABLE as error:
        print(f"{paths.shown(path)} cannot be used ({error}); git checkout restores it; until then "
              "its net is trained again")
        return None
    paths.reads(path)
    return built


def listed() -> dict[str, str]:
    """Names of the published files -> their sha256, as SHA256SUMS says; empty without it."""
    try:
        lines = (paths.WEIGHTS / LIST).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return {name: told for told, _, name in (line.partition("  ") for line in lines)}


def write_list() -> None:
    """Write SHA256SUMS anew, from the files that lie there."""
    lines = [f"{paths.sha256(path)}  {path.name}\n"
             for path in sorted(paths.WEIGHTS.glob("*.safetensors"))]
    paths.write_atomic(paths.WEIGHTS / LIST, "".join(lines))
