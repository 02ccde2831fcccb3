"""A parameter file as YAML: its keys, or one bounded sentence about why it has none."""

import re
from pathlib import Path
from typing import Any

import yaml

from lib.base import paths
from lib.base.said import size

MOST_BYTES = 1_000_000                  # of a parameter file


def read(path: Path, found: list[str]) -> dict[str, Any]:
    """A file's keys; where it has none that can be read, `found` says why."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it is larger than {size(MOST_BYTES)}")
        written = yaml.load(path.read_text(encoding="utf-8-sig"), Loader)
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        cause = "it is nested too deeply" if isinstance(error, RecursionError) else error
        found.append(f"{paths.shown(path)} is not readable YAML: {cause}")
        return {}
    if not isinstance(written, dict | None):
        found.append(f"{paths.shown(path)}: expected lines `name: value`, found {written!r}")
        return {}
    return written or {}


class Loader(yaml.SafeLoader):
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


Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(
    r"[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"), list("-+0123456789"))
