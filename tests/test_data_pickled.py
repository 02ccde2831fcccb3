"""A saved torch module is read for its tensors alone: whatever else it says, nothing runs."""

import io
import os
import pickle
import random
import resource
import sys
import time
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from lib import data, measure, recipes
from lib.data import pickled
from lib.data.pickled import parameters
from lib.data.sources import DataError

RUN = {"pickle.find_class", "exec", "compile", "os.system", "os.exec", "os.posix_spawn",
       "subprocess.Popen", "open", "os.mkdir", "socket.connect", "ctypes.dlopen"}
NET = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Dropout(0.1), nn.Linear(2, 1))


def saved(module: object, **how) -> bytes:
    file = io.BytesIO()
    torch.save(module, file, **how)
    return file.getvalue()


def with_program(program: bytes, whole: bytes, **members: bytes) -> bytes:
    """The saved file with another program in place of its own, or with other members."""
    file, changed = io.BytesIO(), {"data.pkl": program, **members}
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(file, "w") as new:
        for info in old.infolist():
            name = info.filename.partition("/")[2]
            new.writestr(info.filename, changed.pop(name, old.read(info)))
        for name, content in changed.items():
            new.writestr(f"archive/{name}", content)
    return file.getvalue()


def program_of(whole: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        return file.read(next(n for n in file.namelist() if n.endswith("/data.pkl")))


WHOLE = saved(NET)


def test_tensors_come_back_by_name_without_the_class():
    found = parameters(WHOLE, "net.pt")
    assert list(found) == ["0.weight", "0.bias", "3.weight", "3.bias"]
    for name, value in NET.state_dict().items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], value.numpy())


def test_a_class_that_does_not_exist_is_only_a_name():
    renamed = program_of(WHOLE).replace(b"torch.nn.modules.container\nSequential",
                                        b"nowhere.to_be.found_at_all\nSequential")
    assert b"nowhere" in renamed
    assert list(parameters(with_program(renamed, WHOLE), "net.pt")) == [
        "0.weight", "0.bias", "3.weight", "3.bias"]


@pytest.fixture
def heard():
    """The events of RUN since the last `clear`; the interpreter tells of each. Its own modules,
    which it imports when they are first needed (code pages), do not count."""
    events: list[tuple] = []
    awake = [True]

    def hear(event: str, told: tuple) -> None:
        if awake and event in RUN and sys.base_prefix not in repr(told):
            events.append((event, told))

    sys.addaudithook(hear)
    yield events
    awake.clear()


class Runs:
    """Says, as any pickle may, that a function is to be called when it is read."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.how = function, arguments

    def __reduce__(self) -> tuple:
        return self.how


def test_nothing_that_a_file_asks_for_is_run(tmp_path, heard):
    mark = tmp_path / "ran"
    calls = [Runs(os.system, f"touch {mark}"), Runs(exec, f"open({str(mark)!r}, 'w')"),
             Runs(os.mkdir, str(mark)), OrderedDict(a=Runs(os.system, f"touch {mark}"))]
    for call in calls:
        for protocol in (0, 2, 4):
            content = with_program(pickle.dumps(call, protocol), WHOLE)
            heard.clear()
            with pytest.raises(DataError, match="net.pt is no module of float32 tensors"):
                parameters(content, "net.pt")
            assert heard == []
    hidden = nn.Sequential(nn.Linear(2, 2))
    hidden.secret = calls[0]
    content = saved(hidden)
    assert b"system" in content
    assert list(parameters(content, "net.pt")) == ["0.weight", "0.bias"]    # a name, and a text
    assert not mark.exists()


@pytest.mark.parametrize("content, cause", [
    (b"", "zip"), (b"PK\x05\x06" + bytes(18), "0 members called data.pkl"),
    (saved(NET.state_dict()), "a dict where"), (saved(torch.ones(3)), "not a module"),
    (saved(nn.ReLU()), "no parameter"),
    (saved(nn.Linear(2, 2).double()), "other values than float32"),
    (saved(NET, _use_new_zipfile_serialization=False), "zip"),
    (with_program(bytes(2**18 + 1), WHOLE), "more than 262144 bytes"),
    (with_program(program_of(WHOLE)[:-1], WHOLE), "exhausted before seeing STOP"),
    (with_program(program_of(WHOLE), WHOLE, **{"data/0": b"1"}), "in one piece of its 1 bytes"),
    (with_program(program_of(WHOLE), WHOLE, **{"data/1": np.full(2, np.nan, "<f4").tobytes()}),
     "not finite")])
def test_anything_else_is_refused_in_one_sentence(content, cause):
    with pytest.raises(DataError, match=cause) as told:
        parameters(content, "net.pt")
    assert str(told.value).startswith("net.pt is no module") and "\n" not in str(told.value)


def test_a_module_that_holds_itself_is_bounded():
    turn = nn.Sequential(nn.Linear(2, 2))
    turn.register_module("again", turn)
    turn.register_module("once_more", turn)
    with pytest.raises(DataError, match=f"more than {pickled.MOST_MODULES} modules"):
        parameters(saved(turn), "net.pt")


def mutated(draw: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.randint(1, 8)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    if draw.random() < 0.3:
        del changed[draw.randrange(len(changed)):]
    return bytes(changed)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.drill)])
def test_mutated_files_give_tensors_or_one_sentence(seconds, heard):
    draw, program = random.Random(0), program_of(WHOLE)
    read = refused = 0
    before, until = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic() + seconds
    heard.clear()
    while time.monotonic() < until:
        if draw.random() < 0.5:
            content = mutated(draw, WHOLE)
        else:
            content = with_program(mutated(draw, program), WHOLE)
        try:
            assert all(value.dtype == np.float32 for value in parameters(content, "x").values())
            read += 1
        except DataError as error:
            assert "\n" not in str(error) and len(str(error)) < 400
            refused += 1
    assert heard == [] and refused > 100 and read > 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18      # kB: 256 MB


PUBLISHED = {"churn": (85.65, 85.65), "telescope": (85.75, 86.70), "mv": (0.01278, 2.906),
             "california": (6182, 3827)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_edges_nets_score_on_its_test_set_as_it_published(name):
    try:
        task = data.load(f"{name}@edge")
        nets = [recipes.trained(task, f"mlp_{kind}-edge") for kind in ("simple", "complex")]
    except DataError as error:
        pytest.skip(str(error))
    for net, published in zip(nets, PUBLISHED[name], strict=True):
        row, _ = measure.measure(net, task)
        if task.classes:
            assert round(row.score, 2) == published
        else:               # it prints the mean of its batches' means
            assert row.score2**2 == pytest.approx(published, rel=0.01)


def test_edges_nets_answer_for_its_tables_alone():
    with pytest.raises(ValueError, match="no answer for breast_cancer; choose churn@edge"):
        recipes.trained("breast_cancer", "mlp_simple-edge")


def test_a_trial_of_a_net_that_others_trained_rests_on_its_files_content():
    from lib.study.trials import Trial, recipe_of
    try:
        told = recipe_of(Trial("churn@edge", "mlp_simple-edge"))
    except DataError as error:
        pytest.skip(str(error))
    assert told == {"weights": "a32b8e7d1d442caeb1bcd09524b56e060532e0c6724708f2e2b402e5252728c4"}
    assert recipe_of(Trial("churn@edge", "hgb")) == {}
    with pytest.raises(ValueError, match="no answer for churn; choose churn@edge"):
        recipe_of(Trial("churn", "mlp_simple-edge"))
