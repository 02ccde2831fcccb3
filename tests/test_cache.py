import json
from datetime import datetime

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from lib.base import paths
from lib.study import cache, work


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


@pytest.mark.parametrize("part, replacement", [
    (np.full(6, 1.0, np.float32).tobytes(), np.full(6, 1.5, np.float32).tobytes()),
    (rb'[1, null, \"a\"]', rb'[2, null, \"a\"]'),
    (b'"shape":[2,3]', b'"shape":[3,2]')], ids=["array", "record", "shape"])
def test_an_entry_that_is_not_what_was_written_is_built_again_and_says_so(
        capsys, part, replacement):
    build = counting()
    path = cache.cached("s", {}, build).path
    whole = path.read_bytes()
    assert whole.count(part) == 1
    path.write_bytes(whole.replace(part, replacement))
    again = cache.cached("s", {}, build)
    assert build.calls == 2 and again.record == {"rows": [1, None, "a"]}
    assert again.arrays["w"].tolist() == [[1.0] * 3] * 2 and path.read_bytes() != whole
    said = f"{path.name} cannot be used (its content is not what was written); it is built again"
    assert capsys.readouterr().out.count(said) == 1
    cache.cached("s", {}, build)
    assert build.calls == 2


@pytest.mark.parametrize("step, key", [("s", {"lr": 2}), ("other", {"lr": 1})])
def test_the_entry_of_another_step_is_never_used(capsys, step, key):
    mine = cache.cached("s", {"lr": 1}, counting(1.0)).path
    other = cache.cached(step, key, counting(2.0)).path
    other.rename(mine)
    assert cache.find("s", {"lr": 1}) is None
    assert cache.cached("s", {"lr": 1}, counting(1.0)).arrays["w"].sum() == 6
    assert f"it is of another step, {step}" in capsys.readouterr().out


@pytest.mark.parametrize("field", ["record", "step", "key", "seconds", "made", "parents", "sha256",
                                   "json"])
def test_an_entry_whose_header_lacks_a_field_is_built_again(capsys, field):
    build = counting()
    path = cache.cached("s", {}, build).path
    with safe_open(path, framework="numpy") as file:
        told, arrays = file.metadata(), {"w": file.get_tensor("w")}
    head = json.loads(told["json"])
    (told if field in told else head).pop(field)
    if field != "json":
        told["json"] = json.dumps(head)
    save_file(arrays, path, told)
    assert cache.cached("s", {}, build).arrays["w"].sum() == 6 and build.calls == 2
    assert field in capsys.readouterr().out


def test_what_is_built_is_what_is_read_later():
    arrays = {"one": np.array(3), "none": np.zeros((0, 2), np.float16), "all": np.ones((2, 3)).T}
    first, again = (cache.cached("s", {1: float("nan"), 10: (2,)},
                                 lambda: (arrays, {"pair": (1, 2), 3: None})) for _ in range(2))
    assert first.record == again.record == {"pair": [1, 2], "3": None}
    for entry in first, again:
        assert {name: (a.shape, a.dtype) for name, a in entry.arrays.items()} == {
            name: (a.shape, a.dtype) for name, a in arrays.items()}
    assert [used["cached"] for used in cache.used[-2:]] == [False, True]


def test_a_run_rests_on_what_its_cached_steps_rest_on_and_counts_each_second_once(monkeypatch):
    """A trial of 5 s, 4 of them a training, which took 1 s of a rounding's; then from the cache."""
    clock = iter([0.0, 0.5, 1.0, 2.0, 4.5, 5.0])
    monkeypatch.setattr(cache.time, "perf_counter", lambda: next(clock))

    def built(*inner):
        def build():
            if inner:
                cache.cached(inner[0], {}, built(*inner[1:]))
            return {}, None
        return build

    def told():
        return {step["step"]: (step["seconds"], step["cached"]) for step in work.rested_on()}

    cache.used.clear()
    cache.cached("trial", {}, built("train", "round"))
    own = {"trial": 1.0, "train": 3.0, "round": 1.0}
    assert told() == {step: (seconds, False) for step, seconds in own.items()}
    cache.used.clear()
    cache.cached("trial", {}, built())
    assert told() == {step: (seconds, True) for step, seconds in own.items()}
    cache.used.append({"step": "train b", "file": "elsewhere", "seconds": 7.0, "cached": False})
    assert told()["train b"] == (7.0, False)
    [rounding] = paths.CACHE.glob("round-*.safetensors")
    rounding.write_bytes(b"damaged")                # since then; no row may be lost for it
    assert told() == {"trial": (1.0, True), "train": (4.0, True), "train b": (7.0, False)}


def test_a_training_of_before_is_no_part_of_a_trial_s_time(monkeypatch):
    cache.used.clear()
    clock = iter([0.0, 100.0, 200.0, 230.0])
    monkeypatch.setattr(cache.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(cache, "datetime", Days([1, 2]))
    cache.cached("train", {}, counting())
    cache.cached("trial", {}, lambda: (cache.cached("train", {}, counting()).arrays, None))
    assert {step["step"]: step["seconds"] for step in work.rested_on()} == {
        "train": 100.0, "trial": 30.0}


class Days:
    """A clock that says these days of a month, one after the other."""

    def __init__(self, days):
        self.days = iter(days)

    def now(self, zone):
        return datetime(2026, 1, next(self.days), tzinfo=zone)


def test_a_step_built_elsewhere_rests_on_those_parents_that_lie_here_too():
    cache.cached("parent", {}, counting())
    made = cache.make(lambda: (cache.cached("parent", {}, counting()).arrays, None))
    [parent] = made.parents
    away = cache.Made(made.arrays, None, 2.0, {"of-another-machine.safetensors": "0", parent: "0"})
    for name, one, known in ("near", made, made.parents), ("away", away, {}):
        entry = cache.keep(name, {}, one)
        with safe_open(entry.path, framework="numpy") as file:
            assert cache.header(file)["parents"] == known
    assert cache.find("away", {}).seconds == 2.0
    cache.keep("parent", {}, cache.Made({}, "changed", 0.0, {}))
    assert cache.find("near", {}) is None and cache.find("away", {}) is not None


def test_fresh_leaves_what_another_process_redid_since(folder):
    build = counting()
    cache.cached("s", {}, build)
    cache.fresh(True)
    since = cache.fresh_since
    cache.cached("s", {}, build)
    cache.fresh(True, since - 10)           # as a process that began to work for this one
    cache.cached("s", {}, build)
    cache.fresh(True, since + 10)
    cache.cached("s", {}, build)
    assert build.calls == 3


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


def test_a_changed_parent_of_a_parent_rebuilds_all_below_it(capsys):
    """A score rests on a net that was trained on, and that on the net it began with."""
    tuned, score = counting(), counting()

    def tuning():
        cache.cached("net", {}, counting())
        return tuned()

    def scoring():
        cache.cached("tuned", {}, tuning)
        return score()

    cache.cached("score", {}, scoring)
    cache.cached("score", {}, scoring)
    assert (tuned.calls, score.calls) == (1, 1)
    cache.keep("net", {}, cache.Made({}, "changed", 0.0, {}))
    assert cache.find("score", {}) is None
    cache.cached("score", {}, scoring)
    cache.cached("score", {}, scoring)
    assert (tuned.calls, score.calls) == (2, 2)
    assert "on which it rests, has changed" in capsys.readouterr().out


def test_what_cannot_be_hashed_is_refused():
    with pytest.raises(ValueError, match="plain values only"):
        cache.cached("s", {"model": object()}, counting())
