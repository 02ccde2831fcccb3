"""Where things live: always relative to this file, never to the working directory."""

import hashlib
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
PARAMS = ROOT / "params"
RAW = ROOT / "data" / "raw"
CACHE = ROOT / "data" / "cache"
RUNS = ROOT / "data" / "runs"
WEIGHTS = ROOT / "data" / "weights"
RESULTS = ROOT / "data" / "results"
PUBLISHED = ROOT / "data" / "published"
SPLITS = ROOT / "data" / "splits"
FIGURES = ROOT / "figures"

_profile = "lab"
_inputs: dict[str, str] = {}


def profile(name: str | None = None) -> str:
    """The profile of this process, set by `run.start`; `published` means the committed rows."""
    global _profile
    if name is not None:
        _profile = name
    return _profile


def run_folder() -> Path:
    """Where this profile's rows and tables are: data/runs/<profile>, or the committed ones."""
    return RESULTS if _profile == "published" else RUNS / _profile


def shown(path: Path) -> str:
    """A path as a reader knows it: from the project's folder on, where it lies within."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.absolute())


def own(path: str) -> Path:
    """Where a reader's own file lies: a relative path counts from the project's root, or names what
    a study linked in data/cache/own."""
    found, linked = ROOT / Path(path).expanduser(), CACHE / "own" / path
    return linked if linked.exists() and not found.exists() else found


def weight(folder: Path, names: str = "*") -> int:
    """Bytes of all files in a folder; names: a pattern, for those of such names alone."""
    return sum(path.stat().st_size for path in folder.rglob(names) if path.is_file())


def sha256(path: Path) -> str:
    """Hash of a file's content, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reads(path: Path) -> Path:
    """Note that this run's results depend on `path` (see `inputs`), and return it."""
    _inputs[shown(path)] = sha256(path)
    return path


def inputs(more: dict[str, str] | None = None) -> dict[str, str]:
    """Files read so far, `more` by other processes: path (relative within the project) -> sha256.
    """
    _inputs.update(more or {})
    return dict(_inputs)


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a whole file or none: to a temporary file beside it, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
        os.replace(temporary, path)
    except OSError as error:
        error.filename = str(path)              # of a full disk the system says only that it is
        raise
    finally:
        temporary.unlink(missing_ok=True)
