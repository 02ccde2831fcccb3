"""Methods by name, found in the files of a folder: a new file needs no other one to be changed.

A file that defines methods lists them twice: as a literal tuple NAMES, which can be read without
importing anything, and as a dict from name to method.
"""

import ast
import importlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any


class Found(Mapping):
    """Name -> method. A file is imported when one of its names is first asked for.

    package: "lib.quant", whose files are in `folder`; table: what the dict is called in each.
    """

    def __init__(self, package: str, folder: Path, table: str = "METHODS") -> None:
        self.package, self.folder, self.table = package, folder, table

    @cached_property
    def files(self) -> dict[str, Path]:
        """Name -> the file that defines it. ValueError for a name in two files."""
        found: dict[str, Path] = {}
        for path in sorted(self.folder.glob("*.py")):
            for name in listed(path):
                if name in found:
                    raise ValueError(f"{name!r} is in NAMES of {found[name]} and of {path}; "
                                     "take another name in one of them")
                found[name] = path
        return found

    def file_of(self, name: str) -> Path:
        """The file that defines `name`. ValueError that lists the names if there is none."""
        if name not in self.files:
            raise ValueError(f"there is no {name!r} in {self.package}; choose one of: "
                             f"{', '.join(self.files)}")
        return self.files[name]

    def module_of(self, name: str) -> ModuleType:
        """That file, imported."""
        return importlib.import_module(f"{self.package}.{self.file_of(name).stem}")

    def __getitem__(self, name: str) -> Any:
        if name not in self.files:
            raise KeyError(name)
        return getattr(self.module_of(name), self.table)[name]

    def __contains__(self, name: object) -> bool:
        return name in self.files           # without importing what Mapping would look up

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


def listed(path: Path) -> tuple[str, ...]:
    """The file's NAMES, read from its text; none for a file that defines no methods."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "NAMES":
            return ast.literal_eval(node.value)
    return ()
