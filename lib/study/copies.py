"""Copies of the notebooks for JupyterLab, so that running one leaves the repository as it is.

A copy whose cells the reader changed is never written over; the others follow the project's.
"""

import json
import shutil
from pathlib import Path

from lib.base import paths
from lib.study import parameters
from lib.study.cache import digest

FOLDER = paths.ROOT / "data" / "lab" / "notebooks"
COPIED = "copied.json"      # name of a notebook -> its cells as they were when it was copied


def refresh(folder: Path = FOLDER) -> list[str]:
    """Bring the copies up to date; a sentence for each that was kept with a reader's changes."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        known = dict(json.loads((folder / COPIED).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        known = {}
    kept = []
    for stem in parameters.notebooks():
        source, copy = parameters.notebook(stem), folder / f"{stem}.ipynb"
        now = cells(source)
        if copy.exists() and now in (cells(copy), known.get(stem)):
            known[stem] = now if cells(copy) == now else known[stem]
        elif copy.exists() and cells(copy) != known.get(stem):
            kept.append(f"{paths.shown(copy)} has your changes and is kept; to get the project's "
                        "newer version, move it away and start this again.")
        else:
            shutil.copyfile(source, copy)
            known[stem] = now
    paths.write_atomic(folder / COPIED, json.dumps(known, indent=1) + "\n")
    return kept


def cells(path: Path) -> str:
    """Hash of a notebook's cells without their outputs; "" if it is not one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return digest([(cell["cell_type"], "".join(cell["source"])) for cell in found])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
