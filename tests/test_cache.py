import numpy as np
import pytest

from lib.base import paths
from lib.study import cache


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    monkeypatch.setattr(cache, "_redone", set())
    cache.fresh(False)
    return tmp_path


def counting(value=1.0):
    def build():
        build.calls += 1
        return {"w": np.full((2, 3), value, np.float32)}, {"rows": [1, None, "a"]}
    build.calls = 0
    return build


def test_a_step_is_built_once_and_comes_back_whole(capsys):
    build = counting()
    first, again = (cache.cached("train toy", {"lr": 1}, build) for _ in range(2))
    assert build.calls == 1
    assert np.array_equal(first.arrays["w"], again.arrays["w"])
    assert again.record == {"rows": [1, None, "a"]}
    assert "cached: train toy (" in capsys.readouterr().out


def test_another_key_is_another_step():
    build = counting()
    cache.cached("train toy", {"lr": 1}, build)
    cache.cached("train toy", {"lr": 2}, build)
    assert build.calls == 2


def test_fresh_redoes_each_step_once():
    build = counting()
    cache.cached("s", {}, build)
    cache.fresh(True)
    cache.cached("s", {}, build)
    cache.cached("s", {}, build)
    assert build.calls == 2


@pytest.mark.parametrize("damage", [b"", b"garbage that is no header", None])
def test_a_damaged_entry_is_built_again(folder, damage):
    build = counting()
    path = cache.cached("s", {}, build).path
    path.write_bytes(path.read_bytes()[:-4] if damage is None else damage)
    assert cache.cached("s", {}, build).arrays["w"].sum() == 6
    assert build.calls == 2


def test_a_step_whose_build_fails_leaves_nothing(folder):
    def build():
        raise RuntimeError("no")
    with pytest.raises(RuntimeError):
        cache.cached("s", {}, build)
    assert list(folder.iterdir()) == []


def test_a_changed_parent_rebuilds_the_child():
    parent, child = counting(), counting()

    def build():
        cache.cached("parent", {}, parent)
        return child()

    cache.cached("child", {}, build)
    cache.cached("child", {}, build)
    assert (parent.calls, child.calls) == (1, 1)
    path = cache.cached("parent", {}, parent).path
    path.unlink()
    cache.cached("parent", {}, counting(2.0))       # remade, and different
    cache.cached("child", {}, build)
    assert child.calls == 2


def test_comments_and_docstrings_change_no_hash():
    one = cache.tree('def f(x):\n    """Says this."""\n    return x + 1\n')
    assert one == cache.tree("def f(x):\n    # why\n    return x + 1\n")
    assert one != cache.tree("def f(x):\n    return x + 2\n")
