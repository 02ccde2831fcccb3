"""What every room knows: names, numbers in words, paths as a reader knows them."""

import pytest

from lib.base import names, paths, said


@pytest.mark.parametrize("seconds, words", [(0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"),
                                            (3599, "59 min 59 s"), (7500, "2 h 05 min")])
def test_seconds_as_a_person_says_them(seconds, words):
    assert said.duration(seconds) == words


@pytest.mark.parametrize("count, words", [(0, "0.0 MB"), (25_000_000, "25.0 MB"), (3e9, "3.0 GB")])
def test_bytes_as_a_person_says_them(count, words):
    assert said.size(count) == words


def test_paths_within_the_project_are_shown_from_there(tmp_path):
    assert paths.shown(paths.ROOT / "data/raw/churn.csv") == "data/raw/churn.csv"
    assert paths.shown(tmp_path / "churn.csv") == str(tmp_path / "churn.csv")


def test_a_folder_weighs_what_its_files_do(tmp_path):
    (tmp_path / "within").mkdir()
    (tmp_path / "within/a").write_bytes(b"12345")
    (tmp_path / "b").write_bytes(b"67")
    assert paths.weight(tmp_path) == 7 and paths.weight(tmp_path / "nowhere") == 0


def test_names_of_methods_are_read_from_their_files_without_importing_them(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    room = tmp_path / "lib/quant"
    room.mkdir(parents=True)
    (room / "affine.py").write_text('NAMES = ("affine", "hqq")\nraise ImportError\n')
    (room / "layers.py").write_text('OTHER_NAMES = ("dense",)\n')
    (room / "rounding.py").write_text('"""Rounds."""\n\nNAMES = ("gptq",)\n')
    assert names.methods("quant") == ("affine", "hqq", "gptq")


@pytest.mark.parametrize("name, parts", [
    ("digits", ("digits", None)), ("california@edge", ("california", "edge")),
    ("csv:my@home.csv#y", ("csv:my@home.csv#y", None))])
def test_a_tasks_name_has_two_parts(name, parts):
    assert names.task_name(name) == parts
