"""Parameter files: read, merged and checked against the notebooks before anything runs.

A profile is a folder, params/<profile>/common.yaml and <notebook>.yaml, or a user's own file.
Nothing here imports torch, so that a slip of the pen is found in a second.
"""

import ast
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lib.base import paths
from lib.base.said import bounded, size
from lib.study import values

REPORT = "10_report"
MOST_SENTENCES, MOST_OF_A_SENTENCE = 20, 600
MOST_BYTES = 1_000_000                  # of a parameter file
MAY_NOT_BE_EMPTY = re.compile(r"tasks|pairs|(\w+_)?(seeds|folds)")
RESERVED = ("quick", "full", "lab", "published")


class Mistakes(ValueError):
    """All that is wrong with some parameter files, one sentence a line."""

    def __init__(self, *found: str):
        lines = list(dict.fromkeys(bounded(one, MOST_OF_A_SENTENCE) for one in found))
        more = [f"… and {len(lines) - MOST_SENTENCES} more"] if len(lines) > MOST_SENTENCES else []
        super().__init__("\n".join(lines[:MOST_SENTENCES] + more))


class Parameter(NamedTuple):
    """One line of a notebook's parameter cell: its annotation and what it says by default."""

    kind: ast.expr
    default: Any


class Given(NamedTuple):
    """What a file, or a part of it, says to some notebooks; whose: these, in words."""

    path: Path
    keys: dict[str, Any]
    stems: list[str]
    whose: str


@dataclass(frozen=True)
class Plan:
    """What a study runs: for each notebook, in order, the parameters its files give it.

    own: names of a user's data outside of the project -> where they lie.
    """

    profile: str
    given: dict[str, dict[str, Any]]
    own: dict[str, Path] = field(default_factory=dict)

    def resolved(self, stem: str) -> dict[str, Any]:
        """All parameters of a notebook as they will be: its own cell, overridden by files."""
        return {k: p.default for k, p in cell(notebook(stem)).items()} | self.given[stem]


def notebooks() -> list[str]:
    """Stems of the study's notebooks, in order."""
    return sorted(p.stem for p in paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def notebook(stem: str) -> Path:
    """Where the notebook of this stem lies."""
    return paths.NOTEBOOKS / f"{stem}.ipynb"


def cell(path: Path) -> dict[str, Parameter]:
    """The parameter cell of a notebook: lines `name: type = value` in the cell so tagged."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        tagged = [one for one in cells if "parameters" in one["metadata"].get("tags", [])]
        if not tagged:
            raise ValueError("no cell is tagged 'parameters'")
        lines = ast.parse("".join(tagged[0]["source"])).body
        return {line.target.id: Parameter(line.annotation, ast.literal_eval(line.value))
                for line in lines if isinstance(line, ast.AnnAssign)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SyntaxError) as error:
        raise Mistakes(f"{paths.shown(path)} is no notebook with a parameter cell that can be read "
                       f"({type(error).__name__}: {error}); restore it with git checkout, or move "
                       "it elsewhere") from None


def folder_plan(profile: str, first: str | None = None) -> Plan:
    """The plan of params/<profile>/, from the notebook `first` on, by its number or name.

    A key of common.yaml goes to every notebook that has it; <notebook>.yaml overrides it.
    """
    known, found = notebooks(), []
    given: list[Given] = []
    for path in sorted((paths.PARAMS / profile).glob("*.y*ml"), key=lambda path: (
            path.stem != "common", path)):
        keys = _read(path, found)
        if path.stem == "common":
            given.append(Given(path, keys, known, "any notebook in notebooks/"))
        elif path.stem in known:
            given.append(Given(path, keys, [path.stem], path.stem))
        else:
            found.append(f"{paths.shown(path)}: there is no notebook {path.stem!r}"
                         + values.allowed(path.stem, ["common", *known]))
    begin = known[0] if first is None else _named(first, known)
    if begin not in known:
        found.append(f"there is no notebook {first!r}{values.allowed(first, known)}")
    return _plan(profile, [stem for stem in known if stem >= begin], given, found)


def study_plan(path: Path) -> Plan:
    """The plan of a user's own file; its stem names the profile.

    Flat keys go to every chosen notebook that has them, a mapping under a notebook's name to that
    one alone; `notebooks` chooses (all, if absent). The report is always made, and last.
    """
    if not os.path.isfile(path):
        raise Mistakes(f"{str(path)!r}: there is no such parameter file")
    if path.stem in RESERVED or not re.fullmatch(r"[\w-]+", path.stem):
        raise Mistakes(f"{path}: a study is named after its file, and {path.stem!r} cannot be its "
                       f"name; use letters, digits, - and _, and none of: {', '.join(RESERVED)}")
    known, found = notebooks(), []
    keys, where = _read(path, found), paths.shown(path)
    wanted = keys.pop("notebooks", None)
    words = known if wanted is None else wanted if isinstance(wanted, list) else [wanted]
    stems = [_named(word, known) for word in words]
    found += [f"{where}: 'notebooks' names {stem!r}, which is none" + values.allowed(stem, known)
              for stem in stems if stem not in known]
    if not stems:
        found.append(f"{where}: 'notebooks' is empty; leave it out to run all of them")
    chosen = [stem for stem in known if stem in (*stems, REPORT)]
    nested = {key: value for key, value in keys.items() if isinstance(value, dict)}
    flat = {key: value for key, value in keys.items() if key not in nested}
    given = [Given(path, flat, chosen, "the notebooks chosen")]
    for key, value in nested.items():
        stem = _named(key, known)
        if stem in known:
            given.append(Given(path, value, [stem], stem))
        else:
            found.append(f"{where}: {key!r} is not the name of a notebook"
                         + values.allowed(stem, known))
    return _plan(path.stem, chosen, given, found)


def _plan(profile: str, chosen: list[str], given: list[Given], found: list[str]) -> Plan:
    """What all files say, later ones overriding; Mistakes, if `found` or anything else is wrong."""
    cells = {stem: cell(notebook(stem)) for stem in notebooks()}
    merged: dict[str, dict[str, Any]] = {stem: {} for stem in chosen}
    own: dict[str, Path] = {}
    for one in given:
        found += _misfits(one, profile, cells)
        for stem in one.stems:
            if stem in merged:
                merged[stem] |= {key: values.named(value, one.path.parent, profile, own)
                                 for key, value in one.keys.items() if key in cells[stem]}
    plan = Plan(profile, {stem: keys | {"profile": profile} for stem, keys in merged.items()}, own)
    for stem in [] if found else chosen:    # a default that someone edited can be wrong as well
        for key, value in plan.resolved(stem).items():
            found += [f"{paths.shown(notebook(stem))}: {problem}"
                      for problem in values.problems(key, value) if key not in merged[stem]]
    if found:
        raise Mistakes(*found)
    return plan


def _named(word: Any, known: list[str]) -> str:
    """The notebook that a number or a name means: 2, "02" and "02_train" are the same."""
    numbers = {int(stem[:2]): stem for stem in known}
    return numbers.get(int(word), str(word)) if str(word).isdecimal() else str(word)


def _misfits(given: Given, profile: str, cells: dict[str, dict[str, Parameter]]) -> Iterator[str]:
    """What is wrong with the keys and values of one file, for the notebooks it speaks to."""
    where = paths.shown(given.path)
    names = sorted({name for stem in given.stems for name in cells[stem]} | {"profile"})
    for key, value in given.keys.items():
        if key not in names:
            yield f"{where}: {key!r} is not a parameter of {given.whose}" + values.allowed(
                str(key), names)
        elif key == "profile" and value != profile:
            yield (f"{where}: 'profile' is {value!r}, but this study is named after its file or "
                   f"folder: {profile!r}")
        else:
            takers = {stem: cells[stem][key] for stem in given.stems if key in cells[stem]}
            wrong = [f"{where}: {key!r} is {value!r}, but {stem} takes {ast.unparse(taker.kind)}, "
                     f"as in {taker.default!r}" for stem, taker in takers.items()
                     if not values.fits(value, taker.kind, taker.default)]
            if value == [] and MAY_NOT_BE_EMPTY.fullmatch(str(key)):
                wrong.append(f"{where}: {key!r} is an empty list; give it at least one value")
            yield from wrong[:1] or (f"{where}: {problem}" for problem in values.problems(
                key, value, given.path.parent))


def _read(path: Path, found: list[str]) -> dict[str, Any]:
    """A file's keys; where it has none that can be read, `found` says why."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it is larger than {size(MOST_BYTES)}")
        written = yaml.load(path.read_text(encoding="utf-8-sig"), _Loader)
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        cause = "it is nested too deeply" if isinstance(error, RecursionError) else error
        found.append(f"{paths.shown(path)} is not readable YAML: {cause}")
        return {}
    if not isinstance(written, dict | None):
        found.append(f"{paths.shown(path)}: expected lines `name: value`, found {written!r}")
        return {}
    return written or {}


class _Loader(yaml.SafeLoader):
    """YAML as people expect it: 1e-3 is a number, a date is text, a key written twice is an error,
    and so is what says much in few letters (an alias, a merge)."""

    yaml_implicit_resolvers = {
        sign: [one for one in known if not one[0].endswith((":timestamp", ":merge"))]
        for sign, known in yaml.SafeLoader.yaml_implicit_resolvers.items()}

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.YAMLError(f"line {event.start_mark.line + 1} repeats *{event.anchor}; write "
                                 "the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        seen = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in seen:
            if key == "<<":
                raise yaml.YAMLError("'<<' merges nothing here; write the keys out")
            if seen.count(key) > 1:
                raise yaml.YAMLError(f"the key {key!r} stands there twice")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(
    r"[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"), list("-+0123456789"))
