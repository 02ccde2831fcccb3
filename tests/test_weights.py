"""Committed weights: used where they are of the step and key asked for, and as they were published.
"""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from lib.base import paths
from lib.study import cache, weights

STEP, KEY = "train toy net seed 0", {"version": 1, "seed": 0}


def committed(**changes) -> None:
    """A published file; changes: of its header's fields, None to drop one."""
    head = {"record": {"history": {"seconds": [1.0]}}, "step": STEP, "key": KEY} | changes
    head = {name: value for name, value in head.items() if value is not None}
    paths.WEIGHTS.mkdir(exist_ok=True)
    save_file({"w": np.arange(8, dtype=np.float32)}, cache.committed(STEP),
              {"json": json.dumps(head)})


def listed_as_it_is() -> None:
    path = cache.committed(STEP)
    file = paths.WEIGHTS / weights.LIST
    file.write_text(weights.as_list({path.name: (paths.sha256(path),)}))


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")


def test_a_listed_file_is_used_and_an_unlisted_one_without_a_hash_is_not(capsys):
    committed()
    assert weights.published(STEP, KEY) is None and "SHA256SUMS" in capsys.readouterr().out
    listed_as_it_is()
    arrays, record = weights.published(STEP, KEY)
    assert arrays["w"].tolist() == list(range(8)) and record["history"]["seconds"] == [1.0]
    assert capsys.readouterr().out == ""


def test_an_entry_of_the_cache_vouches_for_itself():
    cache.cached(STEP, KEY, lambda: ({"w": np.ones(3)}, {}))
    paths.WEIGHTS.mkdir()
    (paths.CACHE / cache.used[-1]["file"]).rename(cache.committed(STEP))
    assert weights.published(STEP, KEY)[0]["w"].tolist() == [1, 1, 1]


def flip(content: bytes) -> bytes:
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


@pytest.mark.parametrize("spoil", [flip, lambda content: content[:100], lambda content: b"",
                                   lambda content: b"\xff" * 64])
def test_a_damaged_file_is_named_and_not_used(spoil, capsys):
    committed()
    listed_as_it_is()
    path = cache.committed(STEP)
    path.write_bytes(spoil(path.read_bytes()))
    assert weights.published(STEP, KEY) is None
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and path.name in said and "git checkout restores it" in said


@pytest.mark.parametrize("changes", [{"step": "train toy net seed 1"}, {"key": None},
                                     {"record": None}, {"step": None}])
def test_a_file_of_another_step_or_without_its_fields_is_not_used(changes, capsys):
    committed(**changes)
    listed_as_it_is()
    assert weights.published(STEP, KEY) is None and "cannot be used" in capsys.readouterr().out


def test_a_file_of_another_recipe_is_passed_over_in_silence(capsys):
    committed()
    listed_as_it_is()
    assert weights.published(STEP, KEY | {"version": 2}) is None
    assert capsys.readouterr().out == ""


def test_while_a_file_is_replaced_both_of_its_hashes_are_accepted(capsys):
    hashes = []
    for version in (1, 2):
        committed(key=KEY | {"version": version})
        hashes.append(paths.sha256(cache.committed(STEP)))
    listing = paths.WEIGHTS / weights.LIST
    listing.write_text(weights.as_list({cache.committed(STEP).name: tuple(hashes)}))
    assert weights.listed() == {cache.committed(STEP).name: tuple(hashes)}
    for version in (1, 2):
        committed(key=KEY | {"version": version})
        assert weights.published(STEP, KEY | {"version": version}) is not None
    committed(record={"history": {"seconds": [2.0]}})
    assert weights.published(STEP, KEY) is None and "SHA256SUMS" in capsys.readouterr().out


@pytest.fixture
def real(monkeypatch):
    monkeypatch.setattr(paths, "WEIGHTS", paths.ROOT / "data/weights")


def test_all_committed_weights_are_what_the_list_says(real):
    assert weights.listed().keys() == {p.name for p in paths.WEIGHTS.glob("*.safetensors")}
    for name in weights.listed():
        with safe_open(paths.WEIGHTS / name, framework="numpy") as file:
            head = cache.header(file)
        arrays, _ = weights.published(head["step"], head["key"])
        assert arrays.keys() == load_file(paths.WEIGHTS / name).keys()
