"""Faults on purpose: a study that is killed, starved or spoilt ends with the right rows, or with
one sentence that says why it did not. `--drill` runs the long ones.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from lib.base import paths
from tests.conftest import MADE, Project
from tests.test_commands import executed

NETS = """\
pairs: list = ["breast_cancer/mlp_simple/epochs=1", "diabetes/mlp_simple/epochs=1"]
folds: list = [0, 1]
engine: str = "fork"
workers: int = 2
threads: int = 1
"""
MEASURED = [
    "from lib.study import run\nrun.start('01_nets', globals())",
    "rows = run.each(run.grid(pairs, [0], folds))",
    "rows = run.each(run.grid(pairs, [0], folds, draws=2, bits=[2, 4],\n"
    "                quantizer=['affine', 'gptq', 'stochastic_uniform']))",
    "run.save();"]


def small(folder: Path) -> Project:
    """A study of a few nets that train in a moment, and a report."""
    project = Project(folder)
    for name in ("lib", "data/splits"):
        shutil.copytree(paths.ROOT / name, folder / name, ignore=MADE)
    project.notebook("01_nets", *MEASURED, parameters=NETS)
    project.notebook("10_report", "from lib.base import paths; paths.profile(profile)",
                     "print(len(paths.reads(paths.run_folder() / '01_nets.csv').read_text()))")
    project.parameters("quick/common.yaml", "profile: quick\n")
    return project


def rows(project: Project, profile: str = "quick") -> bytes:
    return (project.root / f"data/runs/{profile}/01_nets.csv").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Project, float]:
    """The study without a fault, and the seconds it took."""
    project = small(tmp_path_factory.mktemp("whole") / "project")
    finished = project.run("quick")
    assert finished.status == 0, finished.said
    assert rows(project).count(b"\n") == 37             # 4 nets; 4 × 2 × (2 methods + 2 draws)
    return project, finished.seconds


@pytest.fixture
def again(whole, tmp_path) -> Project:
    """The finished study in another folder, where faults may happen."""
    shutil.copytree(whole[0].root, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def unfinished(project: Project) -> None:
    """The rows have to be made anew, from what the cache holds."""
    for path in project.root.glob("data/runs/*/*.stamp.json"):
        path.unlink()


def family(process: subprocess.Popen) -> list[psutil.Process]:
    """A driver and the kernels and workers that it started, in this order."""
    try:
        driver = psutil.Process(process.pid)
        return [driver, *driver.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def killed(project: Project, seconds: float, chance: random.Random) -> str:
    """Start the study, and kill one of its processes, or all, after so many seconds; what it said.
    Nothing of it lives on."""
    process = project.start("quick")
    try:
        said, _ = process.communicate(timeout=seconds)
        return said
    except subprocess.TimeoutExpired:
        alive = family(process)
    for victim in alive if chance.random() < 0.3 else [chance.choice(alive)]:
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            pass
    said, _ = process.communicate(timeout=120)
    _, left = psutil.wait_procs(alive, timeout=20)
    assert left == [] and "Traceback" not in said, said
    return said


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.drill)])
def test_whoever_is_killed_the_rows_come_and_no_process_stays(whole, tmp_path, kills):
    """Also: from an empty cache the rows are those of another day, to the byte."""
    project, chance = small(tmp_path / "project"), random.Random(kills)
    for _ in range(kills):
        killed(project, chance.uniform(0.5, whole[1]), chance)
    finished = project.run("quick")
    assert finished.status == 0, finished.said
    assert rows(project) == rows(whole[0])


@pytest.mark.parametrize("engine, workers", [
    ("fork", 3), pytest.param("fork", 1, marks=pytest.mark.drill),
    pytest.param("here", 1, marks=pytest.mark.drill)])
def test_rows_are_the_same_bytes_whoever_makes_them(whole, tmp_path, engine, workers):
    project = small(tmp_path / "project")
    project.parameters("quick/common.yaml", f"engine: {engine}\nworkers: {workers}\n")
    finished = project.run("quick")
    assert finished.status == 0, finished.said
    assert rows(project) == rows(whole[0])


@pytest.mark.drill
def test_rows_are_the_same_bytes_on_a_cluster(whole, tmp_path):
    distributed = pytest.importorskip("distributed")
    project = small(tmp_path / "project")
    environment = {"PYTHONPATH": str(project.root)}     # workers run the project's lib
    kept = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None,
                                      worker_class=distributed.Nanny) as cluster:
            project.parameters("quick/common.yaml", f"engine: '{cluster.scheduler_address}'\n")
            finished = project.run("quick")
    finally:
        for name, value in kept.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    assert finished.status == 0, finished.said
    assert rows(project) == rows(whole[0])


def flipped(content: bytes) -> bytes:
    place = len(content) - 9
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1:]


def test_spoilt_entries_of_the_cache_are_built_again(whole, again):
    entries = sorted((again.root / "data/cache").glob("*.safetensors"))
    spoilers = [flipped, lambda content: content[:len(content) // 2], lambda content: b"", bytes]
    for place, path in enumerate(entries):
        path.write_bytes(spoilers[place % 4](path.read_bytes()))
    unfinished(again)
    finished = again.run("quick")
    assert finished.status == 0, finished.said
    assert finished.said.count("it is built again") >= len(entries) // 2
    assert rows(again) == rows(whole[0])


@pytest.mark.drill
def test_an_entry_of_another_step_is_not_taken_for_this_one(whole, again):
    one, other = sorted((again.root / "data/cache").glob("train-*.safetensors"))[:2]
    shutil.copy(other, one)
    for path in (again.root / "data/cache").glob("trial-*"):
        path.unlink()
    unfinished(again)
    finished = again.run("quick")
    assert finished.status == 0 and "of another step" in finished.said, finished.said
    assert rows(again) == rows(whole[0])


@pytest.mark.parametrize("year", [1999, pytest.param(2037, marks=pytest.mark.drill)])
def test_no_clock_is_trusted(whole, again, year):
    """Files of another time are judged by what they hold."""
    then = time.mktime((year, 1, 1, 0, 0, 0, 0, 0, 0))
    page = again.root / "figures/quick/report.html"
    right = page.read_bytes()
    page.write_text("an edited page")
    for path in again.root.rglob("*"):
        os.utime(path, (then, then))
    rested = again.run("quick")
    assert executed(rested.said) == [] and page.read_bytes() == right
    table = again.root / "data/runs/quick/01_nets.csv"
    table.write_bytes(rows(again).replace(b"mlp_simple", b"mlp_sample"))
    os.utime(table, (then, then))
    assert "01_nets" in executed(again.run("quick").said)
    assert rows(again) == rows(whole[0])


def test_two_studies_with_one_cache_leave_the_same_rows(whole, tmp_path):
    project = small(tmp_path / "project")
    studies = []
    for name in ("one", "two"):
        path = project.root / f"{name}.yaml"
        path.write_text("workers: 1\n")
        studies.append(project.start("study", str(path)))
    told = [process.communicate(timeout=300)[0] for process in studies]
    assert [process.returncode for process in studies] == [0, 0], told
    assert rows(project, "one") == rows(project, "two") == rows(whole[0])


@contextmanager
def mounted(folder: Path, *options: str):
    """A file system of its own at `folder`, as root may make one; else the test is skipped."""
    folder.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("only root may mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def last_word(said: str) -> str:
    return said.strip().splitlines()[-1]


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root may mount")
@pytest.mark.parametrize("size", ["64k", *(pytest.param(size, marks=pytest.mark.drill)
                                            for size in ("24k", "160k"))])
def test_a_full_disk_is_the_last_word_and_then_it_goes_on(whole, tmp_path, size):
    project = small(tmp_path / "project")
    for folder in ("cache", "runs"):
        (project.root / "data" / folder).symlink_to(tmp_path / "disk" / folder)
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        for folder in ("cache", "runs"):
            (tmp_path / "disk" / folder).mkdir()
        full = project.run("quick")
        assert full.status == 1 and "Traceback" not in full.said, full.said
        assert "No space left on device" in last_word(full.said), full.said
        subprocess.run(["mount", "-o", "remount,size=64m", tmp_path / "disk"], check=True)
        later = project.run("quick")
        assert later.status == 0, later.said
        assert rows(project) == rows(whole[0])


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root may mount")
@pytest.mark.parametrize("folder", ["data/cache", "data/runs", pytest.param(
    "figures", marks=pytest.mark.drill)])
def test_a_folder_that_is_read_only_is_the_last_word(again, folder):
    place = again.root / folder
    unfinished(again)
    shutil.rmtree(again.root / "data/cache")
    (again.root / "data/cache").mkdir()
    with mounted(place, "--bind", str(place)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        told = again.run("quick")
    assert told.status == 1 and "Traceback" not in told.said, told.said
    assert "Read-only file system" in last_word(told.said), told.said


def test_signals_end_a_study_and_all_its_processes(again):
    shutil.rmtree(again.root / "data")
    shutil.copytree(paths.ROOT / "data/splits", again.root / "data/splits")
    process = again.start("quick")
    until = time.monotonic() + 60
    while len(family(process)) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    alive = family(process)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=30)
    _, left = psutil.wait_procs(alive, timeout=20)
    assert process.returncode == 130 and left == [] and "Traceback" not in said, said
