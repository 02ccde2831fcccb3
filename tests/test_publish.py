"""Publishing, tidying up and telling what is there."""

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open

from lib import results
from lib.base import paths
from lib.study import cache, commands, execute, lasting, publish, stamps, upkeep, weights
from lib.tables import store


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch):
    for name in ("RAW", "CACHE", "RUNS", "WEIGHTS", "RESULTS"):
        monkeypatch.setattr(paths, name, tmp_path / "data" / name.lower())
    monkeypatch.setattr(paths, "FIGURES", tmp_path / "figures")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(publish, "COST", paths.RESULTS / "cost.json")
    monkeypatch.setattr(lasting, "LEAST_S", 0.0)
    monkeypatch.delenv("GREENBITS_MIRROR", raising=False)
    return tmp_path


COSTS = "id,quantity,kind,source,value,low,high\na,spent_s,measured,clock,2.5,,\n"


def file(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def scores(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(store.packed({"right": np.ones(5, np.uint8), "squared": np.ones(5, "f4")}))
    return path


def full_study(git="abc"):
    rows = paths.RUNS / "full"
    made = [file(rows / "02_train.csv", "task\nchurn\n"), scores(rows / "02_train.npz"),
            file(rows / "02_train_costs.csv", COSTS), file(rows / "02_history.csv")]
    file(rows / "02_train.json", json.dumps({"git": git}))
    read = stamps.fingerprints([file(paths.RAW / "churn.csv", "x" * 3000)])
    stamps.write(rows / "02_train.stamp.json", {}, read, made, 3700.0)
    stamps.write(rows / "02_train.stamp.json", {}, read, made, 10.0)


def test_costs_are_committed_compressed_and_read_as_they_were():
    full_study()
    old = file(paths.RESULTS / "02_train_costs.csv", "of an earlier study")
    assert publish.publish() == 0 and not old.exists()
    first = (paths.RESULTS / "02_train_costs.csv.gz").read_bytes()
    assert publish.publish() == 0               # the same bytes whenever it is done
    assert (paths.RESULTS / "02_train_costs.csv.gz").read_bytes() == first
    paths.profile("full")
    own = results.load_costs("02_train")
    paths.profile("published")
    pd.testing.assert_frame_equal(results.load_costs("02_train"), own)
    assert own.value.tolist() == [2.5]


def trained(name, seconds, key, size=3):
    cache.cached(f"train {name}", key, lambda: ({"w": np.ones(size, np.float32)}, {
        "history": {"seconds": [seconds]}}))
    return cache.used[-1]


def test_publish_copies_rows_and_tables_and_says_what_they_cost():
    assert publish.publish() == 1
    full_study()
    assert publish.publish() == 0
    assert sorted(p.name for p in paths.RESULTS.iterdir()) == [
        "02_history.csv", "02_train.csv", "02_train.json", "02_train.npz", "02_train_costs.csv.gz",
        "cost.json"]
    assert list(store.unpacked(paths.RESULTS / "02_train.npz")) == ["right"]   # errors are large
    told = publish.cost(["02_train"])
    assert "about 1 h 01 min on" in told            # the first run, not the one from caches
    assert "about 1 h 01 min, and what 05_qat, 07_distill take, never published yet, on" in (
        publish.cost(["02_train", "05_qat", "07_distill"]))
    assert "Still to download: 0.0 MB" in told
    (paths.RAW / "churn.csv").rename(paths.RAW / "lost.csv")
    cost = json.loads(publish.COST.read_text())
    assert cost["downloads"] == {"churn.csv": 3000}
    file(publish.COST, json.dumps(cost | {"downloads": {"churn.csv": 3e9}}))
    assert "Still to download: 3.0 GB" in publish.cost(["02_train"])


def test_a_resumed_study_costs_what_its_parts_took_once_each():
    """Two workers shared 9000 s of trials and a training of 400 s, whose weights came from a file
    this time; the next notebook has the same training and 20 s of its own."""
    full_study()
    step = trained("churn", 400.0, {"version": 1})
    rows = paths.RUNS / "full"
    stamps.write(rows / "03_ptq.stamp.json", {}, {}, [file(rows / "03_ptq.csv")], 1.0)
    for name, work in (("02_train", 9000.0), ("03_ptq", 20.0)):
        file(rows / f"{name}.json", json.dumps({
            "git": "abc", "steps": [step, step], "parameters": {"workers": 2},
            "work_seconds": work + step["seconds"]}))
    assert publish.publish() == 0
    seconds = json.loads(publish.COST.read_text())["seconds"]
    assert seconds["02_train"] == pytest.approx((9000 + 400) / 2, abs=0.1)
    assert seconds["03_ptq"] == pytest.approx(10.0, abs=0.1)


def test_files_of_a_mirror_are_downloads_whether_or_not_it_is_named_now(tmp_path):
    full_study()
    read = stamps.fingerprints(file(tmp_path / "mirror" / name, "x" * 2000)
                               for name in ("mv.dat", "notes.txt"))
    rows = paths.RUNS / "full"
    stamps.write(rows / "02_train.stamp.json", {}, read, [rows / "02_train.csv"], 1.0)
    assert publish.publish() == 0
    assert json.loads(publish.COST.read_text())["downloads"] == {"mv.dat": 2000}


def test_publish_keeps_lasting_weights_and_no_folder_of_this_machine():
    full_study()
    steps = []
    for name, key in (("lasting", {"version": 1, "seed": 0}), ("passing", {"code": "abc"}),
                      ("second", {"version": 1, "seed": 1})):
        steps.append(trained(f"toy {name}", 1, key))
    file(paths.RUNS / "full/02_train.json", json.dumps({
        "git": "abc", "steps": steps, "inputs": {"/home/me/data/churn.csv": "1", "data/a": "2"}}))
    assert publish.publish() == 0
    assert sorted(p.name for p in paths.WEIGHTS.iterdir()) == ["SHA256SUMS",
                                                               "toy-lasting.safetensors"]
    told = json.loads((paths.RESULTS / "02_train.json").read_text())
    assert told["inputs"] == {"churn.csv": "1", "data/a": "2"}


def test_what_is_trained_in_a_moment_is_not_committed(monkeypatch, capsys):
    full_study()
    monkeypatch.setattr(lasting, "LEAST_S", 60.0)
    steps = [trained("brief", 59, {"version": 1}), trained("long", 61, {"version": 1})]
    file(paths.RUNS / "full/02_train.json", json.dumps({"git": "abc", "steps": steps}))
    assert publish.publish() == 0
    assert weights.listed().keys() == {"long.safetensors"}
    assert "brief" not in capsys.readouterr().out


def test_where_weights_do_not_fit_those_that_took_longest_a_byte_stay(monkeypatch, capsys):
    full_study()
    monkeypatch.setitem(publish.MOST_MB, "data/weights", 0.012)
    steps = [trained(name, seconds, {"version": 1}, 2000) for name, seconds in (
        ("short", 1), ("long", 99))] + [trained("small", 50, {"version": 1})]
    file(paths.RUNS / "full/02_train.json", json.dumps({"git": "abc", "steps": steps}))
    for _ in range(2):                                          # publishing again changes nothing
        assert publish.publish() == 0
        assert "short.safetensors is left out" in capsys.readouterr().out
        assert sorted(p.name for p in paths.WEIGHTS.iterdir()) == [
            "SHA256SUMS", "long.safetensors", "small.safetensors"]


def test_weights_that_were_published_under_the_same_key_stay_as_they_are():
    full_study()
    for size, version, changes in ((3, 1, True), (4, 1, False), (4, 2, True)):
        before = [p.read_bytes() for p in paths.WEIGHTS.glob("*.safetensors")]
        for entry in paths.CACHE.glob("*"):
            entry.unlink()
        steps = [trained("net", 1, {"version": version}, size)]
        file(paths.RUNS / "full/02_train.json", json.dumps({"git": "abc", "steps": steps}))
        assert publish.publish() == 0
        assert ([p.read_bytes() for p in paths.WEIGHTS.glob("*.safetensors")] != before) == changes


def test_published_weights_are_listed_with_their_hashes_and_a_damaged_one_is_replaced():
    full_study()
    steps = [trained("net", 1, {"version": 1})]
    file(paths.RUNS / "full/02_train.json", json.dumps({"git": "abc", "steps": steps}))
    assert publish.publish() == 0
    path = paths.WEIGHTS / "net.safetensors"
    whole = path.read_bytes()
    assert weights.listed() == {"net.safetensors": (hashlib.sha256(whole).hexdigest(),)}
    path.write_bytes(whole[:-1] + b"!")
    assert publish.publish() == 0
    assert path.read_bytes() == whole


def test_a_part_run_on_another_machine_leaves_what_was_published_of_the_rest():
    full_study()
    first = [trained("first", 9, {"version": 1}), trained("damaged", 9, {"version": 1})]
    file(paths.RUNS / "full/02_train.json", json.dumps({"git": "abc", "steps": first}))
    assert publish.publish() == 0
    rows = (paths.RESULTS / "02_train.csv").read_text()
    (paths.WEIGHTS / "damaged.safetensors").write_text("x")
    for left in [*paths.CACHE.glob("*"), *(paths.RUNS / "full").glob("*"), *paths.RAW.glob("*")]:
        left.unlink()
    made = [file(paths.RUNS / "full/04_prune.csv", "task\n"),
            file(paths.RUNS / "full/04_prune.json",
                 json.dumps({"git": "abc", "steps": [trained("second", 1, {"version": 1})]}))]
    stamps.write(paths.RUNS / "full/04_prune.stamp.json", {}, {}, made, 60.0)
    assert publish.publish() == 0
    assert (paths.RESULTS / "02_train.csv").read_text() == rows
    assert {"first.safetensors", "second.safetensors"} <= weights.listed().keys()
    told = json.loads(publish.COST.read_text())
    assert told["seconds"] == {"02_train": 3700.0, "04_prune": 60.0}
    assert told["downloads"] == {"churn.csv": 3000} and told["disk_bytes"] >= 3000


def test_of_weights_that_lie_there_those_that_took_longest_a_byte_stay(monkeypatch):
    full_study()
    monkeypatch.setitem(publish.MOST_MB, "data/weights", 0.012)
    for name, seconds, left in (("short", 1, {"short"}), ("long", 99, {"long"}),
                                ("middle", 50, {"long"})):
        step = trained(name, seconds, {"version": 1}, 2000)
        file(paths.RUNS / "full/02_train.json", json.dumps({"git": "abc", "steps": [step]}))
        assert publish.publish() == 0
        assert weights.listed().keys() == {f"{one}.safetensors" for one in left}


@pytest.mark.parametrize("order", [1, -1])
def test_of_the_sizes_of_a_net_the_largest_is_published(order):
    full_study()
    steps = [trained("net", seconds, {"version": 1, "sizes": width}, width)
             for width, seconds in ((4, 90), (16, 10))]
    file(paths.RUNS / "full/02_train.json", json.dumps({"git": "abc", "steps": steps[::order]}))
    assert publish.publish() == 0
    with safe_open(paths.WEIGHTS / "net.safetensors", framework="numpy") as kept:
        assert cache.header(kept)["key"]["sizes"] == 16


def test_the_cost_counts_trainings_that_the_cache_spared():
    full_study()
    spent = {"step": "train a", "file": "a", "seconds": 5000}
    file(paths.RUNS / "full/02_train.json", json.dumps(
        {"steps": [spent, spent], "work_seconds": 5000}))
    assert publish.publish() == 0 and "1 h 23 min" in publish.cost(["02_train"])


def test_publish_warns_of_rows_that_no_commit_can_make_again(toy, capsys):
    subprocess.run(["git", "init", "-q", toy], check=True)
    full_study(git="abc-dirty")
    assert publish.publish() == 0
    assert "02_train were made by code that was not committed" in capsys.readouterr().out


def test_publish_warns_of_results_that_are_too_large_and_counts_no_picture_that_git_ignores(
        capsys, monkeypatch):
    full_study()
    monkeypatch.setitem(publish.MOST_MB, "data/results", 0.02)
    file(paths.FIGURES / "full/02_curves.png", "x" * 30_000)
    assert publish.publish() == 0 and "more than" not in capsys.readouterr().out
    file(paths.FIGURES / "full/02_curves.svg", "x" * 30_000)
    assert publish.publish() == 0
    assert "data/results holds 0.0 MB, with its figures, more than" in capsys.readouterr().out


STEPS = ("mkdir", "replace", "unlink", "rmdir")         # of os: all by which publish moves a file


def stop_at(monkeypatch, number, act):
    """Call `act` in place of the n-th change of the disk; returns how many there have been."""
    done = []

    def counted(change):
        def step(*arguments, **options):
            done.append(change)
            if len(done) == number:
                act()
            return change(*arguments, **options)
        return step
    for name in STEPS:
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    return done


def interrupted(number):
    """A publish during which Ctrl-C is pressed; False once it makes fewer changes."""
    def act():
        raise KeyboardInterrupt
    with pytest.MonkeyPatch.context() as patch:
        done = stop_at(patch, number, act)
        try:
            publish.publish()
        except KeyboardInterrupt:
            return True
    return len(done) >= number


def killed(number):
    """A publish by another process, which is killed; False once it makes fewer changes."""
    child = os.fork()
    if child == 0:
        try:
            stop_at(pytest.MonkeyPatch(), number, lambda: os.kill(os.getpid(), signal.SIGKILL))
            publish.publish()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def committed():
    """Path -> content of what publish writes for git, and of what it left in data besides."""
    files = [*paths.RESULTS.rglob("*"), *paths.WEIGHTS.rglob("*"), paths.ROOT / "README.md",
             *paths.RESULTS.parent.glob(".publish-*/*")]
    return {path: path.read_bytes() for path in files if path.is_file()}


def standing():
    """Name -> hash of each listed weights file that is read as it was published."""
    found = {}
    for name, accepted in weights.listed().items():
        head = cache.header_of(paths.WEIGHTS / name)
        sha = paths.sha256(paths.WEIGHTS / name)
        if sha in accepted and weights.published(head["step"], head["key"]) is not None:
            found[name] = sha
    return found


@pytest.fixture
def second(monkeypatch):
    """A study that is published already, and a later one: of its weights one stays, one is
    replaced, one is new, and a large one no longer fits; tables change, come and go."""
    monkeypatch.setattr(publish, "readme_answer", lambda: f"{len(weights.listed())} networks")
    full_study()
    file(paths.ROOT / "README.md", f"# A\n{publish.MARKS[0]}\n?\n{publish.MARKS[1]}\n# B\n")
    train_json = paths.RUNS / "full/02_train.json"
    first = [trained("stays", 9, {"version": 1}), trained("replaced", 9, {"version": 1}),
             trained("large", 1, {"version": 1}, 2000)]
    file(train_json, json.dumps({"git": "abc", "steps": first}))
    assert publish.publish() == 0
    file(paths.RESULTS / "02_train_costs.csv", "of an earlier format")
    for entry in paths.CACHE.glob("*"):
        entry.unlink()
    later = [trained("replaced", 9, {"version": 2}, 4), trained("new", 9, {"version": 1})]
    file(train_json, json.dumps({"git": "abd", "steps": later}))
    made = [file(paths.RUNS / "full/02_train.csv", "task\nmv\nchurn\ntelescope\n"),
            file(paths.RUNS / "full/02_more.csv")]
    stamps.write(paths.RUNS / "full/02_train.stamp.json", {}, {}, made, 1.0)
    monkeypatch.setitem(publish.MOST_MB, "data/weights", 0.008)


@pytest.mark.parametrize("stopped", [interrupted, killed])
def test_a_publish_stopped_at_any_step_loses_nothing_and_the_next_one_finishes(
        stopped, second, toy, capsys):
    before, old = committed(), standing()
    shutil.copytree(toy, toy.with_name(f"{toy.name}_before"))
    assert publish.publish() == 0
    after, new = committed(), standing()
    assert set(old) - set(new) == {"large.safetensors"} and len(old) == len(new) == 3
    number, stops = 0, True
    while stops:
        shutil.rmtree(toy)
        shutil.copytree(toy.with_name(f"{toy.name}_before"), toy)
        number += 1
        stops = stopped(number)
        now, here = committed(), standing()
        assert here.keys() == weights.listed().keys(), number
        assert here == new or all(here.get(name) in (sha, new.get(name))
                                  for name, sha in old.items()), number
        for path in before:
            assert now.get(path) in (before[path], after.get(path)) or path.name == weights.LIST
        assert publish.publish() == 0
        assert committed() == after, number
        assert not list(paths.RESULTS.parent.glob(".publish-*")), number
    assert number > 20


def test_the_disk_may_fill_up_at_any_file_and_nothing_is_published(second, capsys):
    before, write, left = committed(), Path.write_bytes, 0

    def full(path, content):
        nonlocal left
        left -= 1
        if left < 0:
            write(path, content[:len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        for count in range(6):                  # as many as are staged, at least
            left = count
            assert commands.main(["publish"]) == 1
            said = capsys.readouterr().err
            assert ".publish-" in said and "Free some space" in said
            assert committed() == before
    assert publish.publish() == 0


def test_what_a_disk_wrote_wrongly_is_not_published(second, capsys):
    before, write = committed(), Path.write_bytes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_bytes", lambda path, content: write(
            path, content[:-1] + b"!" if "new.safetensors" in path.name else content))
        assert publish.publish() == 1
    assert "new.safetensors" in capsys.readouterr().err and committed() == before


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("name, remedy", [
    ("runs/full/02_train.csv", "full makes it again"),       # whose stamp knows its hash
    ("runs/full/02_history.csv", "full makes it again"),
    ("runs/full/02_train.npz", "full makes it again"),
    ("runs/full/02_train.json", "full makes it again"),
    ("cache/*new*", "delete it"),
    ("results/cost.json", "git checkout"),
    ("results/01_data.json", "git checkout")])
def test_a_damaged_file_is_named_with_a_remedy_and_nothing_is_published(
        name, remedy, second, capsys):
    file(paths.RESULTS / "01_data.json", json.dumps({"git": "abc"}))
    [path] = paths.RESULTS.parent.glob(name)
    cut(path)
    before = committed()
    assert publish.publish() == 1
    said = capsys.readouterr().err
    assert f"data/{path.relative_to(paths.RESULTS.parent)}" in said and remedy in said
    assert said.count("\n") == 1 and committed() == before


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_published_weights_that_are_damaged_or_missing_are_named_and_stay_listed(
        damage, second, capsys):
    listed = weights.listed()["stays.safetensors"]
    damage(paths.WEIGHTS / "stays.safetensors")
    for _ in range(2):
        assert publish.publish() == 0
        assert "Warning: data/weights/stays.safetensors is missing" in capsys.readouterr().out
        assert weights.listed()["stays.safetensors"] == listed


def test_a_study_and_a_publish_exclude_each_other(second, capsys):
    before = committed()
    with execute.alone("full"):
        child = os.fork()
        if child == 0:
            os._exit(publish.publish() == 1 and committed() == before)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "_swap", lambda *arguments: held.append(taken()))
        held = []
        assert publish.publish() == 0 and held == [True]


def taken():
    """Does another process hold the lock of the full study?"""
    child = os.fork()
    if child == 0:
        try:
            with execute.alone("full"):
                os._exit(0)
        except execute.Stopped:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_without_an_answer_for_readme_rows_and_weights_are_published(second, capsys, monkeypatch):
    def fails():
        raise ValueError("no rows")
    monkeypatch.setattr(publish, "readme_answer", fails)
    readme = (paths.ROOT / "README.md").read_text()
    assert publish.publish() == 1
    assert "no rows" in capsys.readouterr().err and "new.safetensors" in weights.listed()
    assert (paths.ROOT / "README.md").read_text() == readme
    monkeypatch.setattr(publish, "readme_answer", lambda: "Four bits.")
    assert publish.publish() == 0
    assert "\nFour bits.\n" in (paths.ROOT / "README.md").read_text()


def test_chapters_of_several_versions_of_the_code_are_named(capsys):
    full_study()
    assert publish.publish() == 0 and "versions" not in capsys.readouterr().out
    file(paths.RESULTS / "01_data.json", json.dumps({"git": "0123456789"}))
    assert publish.publish() == 0
    said = capsys.readouterr().out
    assert "2 versions of the code: 0123456 (01_data); abc (02_train)" in said


def test_clean_says_what_it_deletes_and_spares_the_rest(toy, capsys, monkeypatch):
    doomed = [file(paths.CACHE / "a"), file(paths.RUNS / "quick/b"),
              file(paths.FIGURES / "quick/c")]
    spared = [file(paths.FIGURES / "full/report.html"), file(paths.RAW / "d"),
              file(paths.WEIGHTS / "e"), file(paths.RESULTS / "f")]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert upkeep.clean() == 1 and all(p.exists() for p in doomed)
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert upkeep.clean() == 0
    assert not any(p.exists() for p in doomed) and all(p.exists() for p in spared)
    said = capsys.readouterr().out
    for name in ("data/cache", "data/runs", "figures/quick"):
        assert f"delete {name}" in said


def test_status_tells_what_is_there(capsys):
    assert upkeep.status() == 0
    full_study()
    publish.publish()
    assert upkeep.status() == 0
    said = capsys.readouterr().out
    assert "full: 1 notebooks, 1 rows" in said and "1 rows in data/results" in said
