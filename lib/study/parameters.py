"""Parameter files: read, merged and checked against the notebooks before anything runs.

A profile is a folder, params/<profile>/common.yaml and <notebook>.yaml, or a user's own file.
Nothing here imports torch, so that a slip of the pen is found in a second.
"""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lib.base import paths
from lib.study import values

REPORT = "10_report"
RESERVED = ("quick", "full", "lab", "published")


class Mistakes(ValueError):
    """All that is wrong with some parameter files, one sentence a line."""

    def __init__(self, found: list[str]):
        super().__init__("\n".join(dict.fromkeys(found)))


@dataclass(frozen=True)
class Parameter:
    """One line of a notebook's parameter cell: its annotation and what it says by default."""

    kind: ast.expr
    default: Any


@dataclass(frozen=True)
class Plan:
    """What a study runs: for each notebook, in order, the parameters its files give it."""

    profile: str
    given: dict[str, dict[str, Any]] = field(default_factory=dict)

    def resolved(self, stem: str) -> dict[str, Any]:
        """All parameters of a notebook as they will be: its own cell, overridden by files."""
        return {k: p.default for k, p in cell(notebook(stem)).items()} | self.given[stem]


def notebooks() -> list[str]:
    """Stems of the study's notebooks, in order."""
    return sorted(p.stem for p in paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def notebook(stem: str) -> Path:
    return paths.NOTEBOOKS / f"{stem}.ipynb"


def cell(path: Path) -> dict[str, Parameter]:
    """The parameter cell of a notebook: lines `name: type = value` in the cell so tagged."""
    for one in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if "parameters" in one["metadata"].get("tags", []):
            lines = ast.parse("".join(one["source"])).body
            return {line.target.id: Parameter(line.annotation, ast.literal_eval(line.value))
                    for line in lines if isinstance(line, ast.AnnAssign)}
    raise Mistakes([f"{shown(path)}: no cell is tagged 'parameters'; tag the one that sets them"])


def shown(path: Path) -> str:
    """A path as a reader knows it: from the project's folder on, where it lies within."""
    return str(path.relative_to(paths.ROOT) if path.is_relative_to(paths.ROOT) else path)


def folder_plan(profile: str, first: str | None = None) -> Plan:
    """The plan of params/<profile>/, from the notebook numbered `first` on.

    A key of common.yaml goes to every notebook that has it; <notebook>.yaml overrides it.
    """
    known = {stem: cell(notebook(stem)) for stem in notebooks()}
    found: list[str] = []
    folder = paths.PARAMS / profile
    common, own = {}, {}
    for path in sorted(folder.glob("*.y*ml")):
        if path.stem == "common":
            common = _read(path, found)
            found += _misfits(path, common, known, f"any notebook in {paths.NOTEBOOKS.name}/")
        elif path.stem in known:
            own[path.stem] = _read(path, found)
            found += _misfits(path, own[path.stem], {path.stem: known[path.stem]}, path.stem)
        else:
            found.append(f"{shown(path)}: there is no notebook {path.stem!r}"
                         + values.allowed(path.stem, ["common", *known]))
        said = (common if path.stem == "common" else own.get(path.stem, {})).get("profile", profile)
        if said != profile:
            found.append(f"{shown(path)}: 'profile' is {said!r}; in this folder it can only be "
                         f"{profile!r}")
    chosen = [s for s in known if first is None or s[:2] >= first]
    if not chosen:
        found.append(f"there is no notebook from {first!r} on{values.allowed(first, list(known))}")
    return _plan(profile, known, chosen, common, own, found)


def study_plan(path: Path) -> Plan:
    """The plan of a user's own file; its stem names the profile.

    Flat keys go to every chosen notebook that has them, a mapping under a notebook's name to that
    one alone; `notebooks` chooses (all, if absent). The report is always made, and last.
    """
    if not path.is_file():
        raise Mistakes([f"{path}: there is no such parameter file"])
    if path.stem in RESERVED or not re.fullmatch(r"[\w-]+", path.stem):
        raise Mistakes([f"{path}: a study is named after its file, and {path.stem!r} cannot be its "
                        f"name; use letters, digits, - and _, and none of: {', '.join(RESERVED)}"])
    known = {stem: cell(notebook(stem)) for stem in notebooks()}
    found: list[str] = []
    written = _read(path, found)
    chosen = _chosen(path, written.pop("notebooks", None), list(known), found)
    if written.get("profile", path.stem) != path.stem:
        found.append(f"{shown(path)}: 'profile' is {written['profile']!r}, but this study is named "
                     f"after its file: {path.stem!r}")
    own = {k: v for k, v in written.items() if isinstance(v, dict)}
    common = {k: v for k, v in written.items() if k not in own}
    for stem, keys in own.items():
        if stem in known:
            found += _misfits(path, keys, {stem: known[stem]}, stem)
        else:
            found.append(f"{shown(path)}: {stem!r} is not the name of a notebook"
                         + values.allowed(stem, list(known)))
    chosen_cells = {s: c for s, c in known.items() if s in chosen}
    found += _misfits(path, common, chosen_cells, "the notebooks chosen")
    return _plan(path.stem, known, chosen, common, own, found, near=path.parent)


def _plan(profile: str, known: dict, chosen: list[str], common: dict, own: dict,
          found: list[str], near: Path = paths.ROOT) -> Plan:
    if found:
        raise Mistakes(found)
    given = {stem: {k: values.absolute(v, near) for k, v in (common | own.get(stem, {})).items()
                    if k in known[stem]} | {"profile": profile} for stem in chosen}
    plan = Plan(profile, given)
    for stem in chosen:                     # a default that someone edited can be wrong as well
        for key, value in plan.resolved(stem).items():
            found += [f"{shown(notebook(stem))}: {p}" for p in values.problems(key, value)]
    if found:
        raise Mistakes(found)
    return plan


def _chosen(path: Path, written: Any, known: list[str], found: list[str]) -> list[str]:
    """Notebooks by stem or number; all without a choice; the report always."""
    if written is None:
        return known
    wanted = written if isinstance(written, list) else [written]
    numbers = {int(stem[:2]): stem for stem in known}
    stems = [numbers.get(int(w), str(w)) if str(w).isdigit() else str(w) for w in wanted]
    found += [f"{shown(path)}: 'notebooks' names {stem!r}, which is none"
              + values.allowed(stem, known) for stem in stems if stem not in known]
    if not stems:
        found.append(f"{shown(path)}: 'notebooks' is empty; leave it out to run all of them")
    return [s for s in known if s in stems or s == REPORT]


def _misfits(path: Path, written: dict, cells: dict[str, dict[str, Parameter]],
             whose: str) -> Iterator[str]:
    """What is wrong with the keys and values of one file, for the notebooks it speaks to."""
    names = sorted({name for parameters in cells.values() for name in parameters})
    for key, value in written.items():
        if key not in names:
            if key != "profile":
                yield (f"{shown(path)}: {key!r} is not a parameter of {whose}"
                       + values.allowed(str(key), names))
            continue
        wrong = [f"{shown(path)}: {key!r} is {value!r}, but {stem} takes "
                 f"{ast.unparse(parameters[key].kind)}, as in {parameters[key].default!r}"
                 for stem, parameters in cells.items()
                 if key in parameters and not values.fits(
                     value, parameters[key].kind, parameters[key].default)]
        if value == [] and any(p[key].default for p in cells.values() if key in p):
            wrong += [f"{shown(path)}: {key!r} is an empty list; give it at least one value"]
        yield from wrong[:1] or (f"{shown(path)}: {p}"
                                 for p in values.problems(key, value, path.parent))


def _read(path: Path, found: list[str]) -> dict[str, Any]:
    try:
        written = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        found.append(f"{shown(path)} is not readable YAML: {' '.join(str(error).split())}")
        return {}
    if written is None:
        return {}
    if not isinstance(written, dict):
        found.append(f"{shown(path)}: expected lines `name: value`, found {written!r}")
        return {}
    return written


class _Loader(yaml.SafeLoader):
    """YAML as people expect it: 1e-3 is a number, and a key written twice is an error."""

    def construct_mapping(self, node, deep=False):
        seen = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in seen:
            if seen.count(key) > 1:
                raise yaml.YAMLError(f"the key {key!r} stands there twice")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(
    r"[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"), list("-+0123456789"))
