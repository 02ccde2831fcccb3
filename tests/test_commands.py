"""Commands and run_all.sh: skipping, failing, stopping, never two at once, never half a file."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from lib.study import stamps

from .conftest import copy


def executed(said: str) -> list[str]:
    """Notebooks that a run executed, from its lines `[1/3] 01_one · quick · 14:02`."""
    return [line.split()[1] for line in said.splitlines()
            if line.startswith("[") and "unchanged" not in line]


def test_a_study_runs_in_order_and_then_rests(toy):
    first, again = toy.run("quick"), toy.run("quick")
    assert first.status == again.status == 0, first.said
    assert executed(first.said) == ["01_one", "02_two", "10_report"]
    assert "\none [0] 0.1\n" in first.said              # cells are heard while they run
    assert str(toy.root / "figures/quick/report.html") in first.said
    assert executed(again.said) == [] and again.seconds < 30
    assert not list(toy.root.rglob("*.running.ipynb"))


def test_what_changed_runs_again_and_only_that(toy):
    toy.run("quick")
    rows = toy.root / "data/runs/quick/01_one.csv"
    before = rows.read_bytes()
    toy.parameters("quick/01_one.yaml", "seeds: [0, 1]\n")
    assert executed(toy.run("quick").said) == ["01_one", "10_report"]    # the report read its rows
    toy.parameters("quick/01_one.yaml", "seeds: [0]\n")
    toy.run("quick")
    assert rows.read_bytes() == before
    rows.write_text(rows.read_text().replace("50.0", "99.0"))           # someone improved a number
    assert "01_one" in executed(toy.run("quick").said)
    assert rows.read_bytes() == before
    file = toy.root / "lib/base/paths.py"
    file.write_text(file.read_text() + "\n# a comment changes nothing\n")
    assert executed(toy.run("quick").said) == []
    file.write_text(file.read_text() + "\nCHANGED = True\n")
    assert executed(toy.run("quick").said) == ["01_one", "02_two", "10_report"]


def test_code_that_a_notebook_cannot_reach_redoes_nothing(toy):
    toy.notebook("02_two", "from lib.base import said", "print(said.duration(90))")
    toy.run("quick")
    for path, redone in (("page/report.py", []), ("study/commands.py", []),
                         ("base/said.py", ["02_two"])):
        file = toy.root / "lib" / path
        file.write_text(file.read_text() + "\nCHANGED = True\n")
        assert executed(toy.run("quick").said) == redone, path


def test_a_file_that_changed_while_it_was_used_is_read_again(toy):
    """The stamp holds what a notebook read, not what lies there when it ends."""
    table = toy.root / "table"
    table.write_text("1")
    toy.notebook("02_two", "from pathlib import Path; import json; from lib.base import paths",
                 f"table = paths.reads(Path({str(table)!r})); table.write_text('2')",
                 "paths.write_atomic(paths.RUNS / 'quick/02_two.json', "
                 "json.dumps({'inputs': paths.inputs()}))")
    toy.run("quick")
    assert executed(toy.run("quick").said) == ["02_two"]    # it read 1, and now 2 lies there
    assert executed(toy.run("quick").said) == []


def test_kernels_import_the_lib_of_the_driven_project(toy):
    toy.notebook("02_two", "import lib; print(lib.__file__)")
    assert f"{toy.root}/lib/__init__.py" in toy.run("quick").said


def test_a_failing_cell_ends_the_study_with_one_sentence(toy):
    toy.parameters("quick/02_two.yaml", "fail: true\n")
    failed = toy.run("quick")
    half = toy.root / "data/runs/quick/notebooks/02_two.running.ipynb"
    assert failed.status == 1 and executed(failed.said) == ["01_one", "02_two"]
    assert "02_two failed in cell [5] with AssertionError: told to" in failed.said
    assert f"The half-run notebook: {half}" in failed.said and "Traceback" not in failed.said
    nbformat.validate(nbformat.read(half, as_version=4))
    toy.parameters("quick/02_two.yaml", "fail: false\n")
    assert executed(toy.run("quick").said) == ["02_two", "10_report"]


def wait_for(path, seconds=60):
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.05)


def test_ctrl_c_ends_it_and_its_kernel(toy):
    mark = toy.root / "kernel"
    toy.notebook("02_two", f"import os, time\nopen({str(mark)!r}, 'w').write(str(os.getpid()))",
                 "time.sleep(60)")
    process = toy.start("quick")
    wait_for(mark)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert "Interrupted in 02_two, half-run: " in said and "Traceback" not in said
    assert "02_two.running.ipynb" in said
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def test_a_profile_is_never_run_twice_at_once(toy):
    toy.parameters("quick/02_two.yaml", "wait: 5.0\n")
    first = toy.start("quick")
    wait_for(toy.root / "data/runs/quick/notebooks/02_two.running.ipynb")
    second = toy.run("quick")
    assert second.status == 1 and f"by process {first.pid}" in second.said
    os.killpg(first.pid, signal.SIGKILL)                # a dead process holds no lock
    first.communicate()
    toy.parameters("quick/02_two.yaml", "wait: 0.0\n")
    assert toy.run("quick").status == 0


@pytest.mark.parametrize("arguments", [("full", "77"), ("full", "-"),
                                       ("study", "nowhere.yaml")])
def test_wrong_arguments_are_told_at_once(toy, arguments):
    told = toy.run(*arguments)
    assert told.status == 2 and told.seconds < 5 and arguments[1] in told.said


def test_wrong_parameters_are_told_before_the_environment_is_touched(toy):
    """A .venv that needs an update stays as it is, no notebook runs, and torch is not imported."""
    python = toy.root / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@" >>{toy.root}/called\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    stamp = toy.root / ".venv/greenbits.stamp"
    stamp.write_text("pins of long ago")
    wrong = toy.root / "mine.yaml"
    wrong.write_text("lr: 0.1\nsede: [0]\n")
    began = time.monotonic()
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    told = subprocess.run([toy.root / "run_all.sh", "study", "mine.yaml"], cwd=toy.root,
                          capture_output=True, text=True, check=False, env=environment)
    assert time.monotonic() - began < 5
    assert told.returncode == 2, told.stderr
    assert told.stderr.count("\n") == 1
    assert "mine.yaml: 'sede' is not a parameter" in told.stderr and "'seeds'" in told.stderr
    assert stamp.read_text() == "pins of long ago" and "pip" not in (
        toy.root / "called").read_text()
    assert not (toy.root / "data").exists()
    modules = subprocess.run(
        [sys.executable, "-c", "import lib.study.commands, lib.study.parameters, sys; "
         "print({'torch', 'numpy'} & set(sys.modules))"],
        cwd=toy.root, capture_output=True, text=True, check=True)
    assert modules.stdout == "set()\n"


@pytest.mark.parametrize("command, said", [("status", "torch not installed"), ("clean", "delete")])
def test_any_python_can_say_what_is_there_and_delete_it(toy, command, said):
    """-S: without any package."""
    (toy.root / "data/cache").mkdir(parents=True)
    told = subprocess.run([sys.executable, "-S", "-m", "lib.study.commands", command],
                          cwd=toy.root, env={**os.environ, "PYTHONPATH": ""}, capture_output=True,
                          text=True, check=False)
    assert told.returncode == 0 and said in told.stdout, told.stderr
    assert (toy.root / "data/cache").exists() == (command == "status")


@pytest.mark.parametrize("arguments, status", [(["--help"], 0), (["bogus"], 2),
                                               (["study"], 2), (["quick", "more"], 2)])
def test_run_all_knows_its_commands(toy, arguments, status):
    told = subprocess.run([toy.root / "run_all.sh", *arguments], capture_output=True, text=True,
                          check=False)
    assert told.returncode == status and "run_all.sh" in told.stdout + told.stderr


def last_word(said: str) -> str:
    return said.strip().splitlines()[-1]


def test_a_damaged_stamp_counts_as_none(toy):
    toy.run("quick")
    stamp = toy.root / "data/runs/quick/02_two.stamp.json"
    whole = stamp.read_text()
    assert stamps.read(stamp)["seconds"] > 0
    for text in ("", "{", "{}", '{"read": [], "made": 3}', "\0" * 9, whole[:-9], "null",
                 whole.replace('"longest"', '"shortest"')):
        stamp.write_text(text)
        assert stamps.read(stamp) is None, text
    stamp.write_text("[]")
    told = toy.run("quick")
    assert told.status == 0 and executed(told.said) == ["02_two"], told.said


def test_a_parameter_that_may_be_none_is_as_good_as_any(toy):
    toy.notebook("02_two", "print('epochs', epochs)", parameters="epochs: int | None = 6")
    toy.parameters("quick/02_two.yaml", "epochs: null\n")
    told = toy.run("quick")
    assert told.status == 0 and "epochs None" in told.said, told.said
    assert "unknown" not in told.said


@pytest.mark.parametrize("content", ["", '{"cells": []}', "no notebook"])
def test_a_broken_notebook_is_one_sentence(toy, content):
    (toy.root / "notebooks/05_broken.ipynb").write_text(content)
    told = toy.run("quick")
    assert told.status == 2 and told.said.count("\n") == 1 and "05_broken.ipynb" in told.said


@pytest.mark.parametrize("place", ["data", "data/runs", "data/cache", "figures",
                                   "data/runs/quick/notebooks"])
def test_a_file_where_a_folder_belongs_is_one_sentence(toy, place):
    path = toy.root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way")
    told = toy.run("quick")
    assert told.status == 1 and "Traceback" not in told.said
    assert place in last_word(told.said) and "move it" in last_word(told.said)
    assert path.read_text() == "in the way"


def test_a_kernel_that_dies_at_its_start_is_one_sentence(toy):
    """ipykernel is shadowed by one that ends at once."""
    (toy.root / "ipykernel_launcher.py").write_text("raise SystemExit(3)\n")
    told = toy.run("quick")
    assert told.status == 1 and "Traceback" not in told.said, told.said
    assert "01_one was not run: its Python process did not start" in last_word(told.said)


def test_papermill_warns_of_no_parameter_that_it_passes(toy):
    toy.notebook("02_two", "print(words, count)", parameters=(
        'words: list = ["digits/resnet8/width=4"]   # with = in it\ncount: int | None = None'))
    toy.parameters("quick/02_two.yaml", "count: 3\n")
    said = toy.run("quick").said
    assert "['digits/resnet8/width=4'] 3" in said
    assert "parse" not in said and "unknown" not in said


def test_a_kernel_that_dies_is_one_sentence(toy):
    toy.notebook("02_two", "import os; os._exit(9)")
    told = toy.run("quick")
    assert told.status == 1 and "Traceback" not in told.said
    assert "02_two failed: its Python process died" in told.said


def test_the_last_word_is_the_trial_that_failed_not_the_cell_that_missed_it(toy):
    toy.notebook("02_two", "print('3/7 churn majority  s0  FAILED\\n  OSError: no space')",
                 "{}['majority']")
    told = toy.run("quick")
    assert "02_two failed in cell [4] with KeyError: 'majority'" in told.said
    assert last_word(told.said) == "A trial had failed before: OSError: no space"


def listens(process, number=signal.SIGTERM) -> bool:
    """Has the process said what it does on this signal? Python itself does so for SIGINT alone."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
@pytest.mark.parametrize("later", [0.0, 0.03, 0.1, 0.3])
def test_an_interrupt_at_the_start_is_one_sentence(toy, later):
    """From the first line of the command on, before anything is imported."""
    process = toy.start("quick")
    while not listens(process):
        time.sleep(0.001)
    time.sleep(later)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 130 and "Interrupted" in last_word(said), said
    assert "Traceback" not in said


def test_an_interrupt_while_a_string_is_executed_is_one_too(toy):
    """Dataclasses execute strings; Python then forgets that the interrupt was caught."""
    path = toy.root / "lib/study/parameters.py"
    path.write_text(path.read_text() + "\nexec('import os, signal, time; '"
                    "'os.kill(os.getpid(), signal.SIGINT); time.sleep(9)')\n")
    told = toy.run("quick")
    assert told.status == 130 and "Interrupted" in last_word(told.said), told.said
    assert "Traceback" not in told.said


def test_whoever_stops_reading_hears_no_traceback(toy):
    (toy.root / "data/cache").mkdir(parents=True)
    for command in ("status", "quick"):
        process = subprocess.Popen(
            [sys.executable, "-m", "lib.study.commands", command], cwd=toy.root, text=True,
            env={**os.environ, "PYTHONPATH": str(toy.root)}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(60) == 1 and "Traceback" not in said and "Exception" not in said, said
        assert "Whoever read the output has gone" in said


def test_a_stream_of_ascii_gets_what_it_can_hold(toy):
    process = toy.start("quick", env={"PYTHONIOENCODING": "ascii"})
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and "[1/3] 01_one ? quick" in said


def test_clean_refuses_while_a_study_runs(toy):
    toy.parameters("quick/02_two.yaml", "wait: 60.0\n")
    study = toy.start("quick")
    wait_for(toy.root / "data/runs/quick/notebooks/02_two.running.ipynb")
    told = toy.run("clean")
    assert told.status == 1 and f"process {study.pid}" in last_word(told.said)
    assert (toy.root / "data/runs/quick/01_one.csv").exists()
    study.send_signal(signal.SIGINT)
    study.communicate(timeout=30)
    assert toy.run("clean").status == 0 and not (toy.root / "data/runs").exists()


def test_a_users_own_settings_stay_outside(toy, tmp_path):
    """Of IPython, matplotlib, kernels, and what Python runs at its start; and no git on PATH."""
    home = tmp_path / "home"
    for name, text in ((".ipython/profile_default/startup/00.py", "LEAK = 'startup'"),
                       (".ipython/profile_default/ipython_config.py", "c = 1 / 0"),
                       (".config/matplotlib/matplotlibrc", "savefig.dpi: 7"),
                       (".local/share/jupyter/kernels/python3/kernel.json",
                        '{"argv": ["/bin/false"], "display_name": "x", "language": "python"}'),
                       ("start.py", "LEAK = 'start'")):
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    toy.notebook("02_two", "print('leaks:', 'LEAK' in globals())",
                 "import sys, matplotlib",
                 "print(matplotlib.rcParams['savefig.dpi'], sys.executable)")
    process = toy.start("quick", env={
        "HOME": str(home), "PYTHONSTARTUP": str(home / "start.py"), "MPLBACKEND": "TkAgg",
        "PATH": "/nowhere", "PYTHONOPTIMIZE": "2"})
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert f"leaks: False\nfigure {sys.executable}\n" in said


def test_a_second_quick_run_executes_nothing(quick):
    project, _ = quick
    again = project.run("quick")
    assert again.status == 0 and executed(again.said) == []


def test_report_renders_the_committed_rows(quick, tmp_path):
    project = copy(quick[0].root, tmp_path / "greenbits")
    shutil.rmtree(project.root / "data/results", ignore_errors=True)
    nothing = project.run("report")
    assert nothing.status == 1 and "data/results has no rows yet" in nothing.said
    shutil.copytree(quick[0].root / "data/runs/quick", project.root / "data/results",
                    ignore=shutil.ignore_patterns("notebooks", "models", "*.stamp.json"))
    before = {p: p.read_bytes() for p in (project.root / "data/results").iterdir()}
    done = project.run("report")
    assert done.status == 0, done.said
    assert (project.root / "figures/full/report.html").exists()
    assert {p: p.read_bytes() for p in (project.root / "data/results").iterdir()} == before
    assert project.run("compare", "published").status == 0


def rows(project) -> dict[str, pd.DataFrame]:
    """Every notebook's rows; what a clock measured is among their costs. Which answers were right
    in a replay depends on a clock too: of these rows it is what was asked."""
    found = {}
    for path in sorted((project.root / "data/runs/quick").glob("[0-9][0-9]_*.npz")):
        table = pd.read_csv(path.with_suffix(".csv"))
        if "policy" in table:
            table.loc[table.policy.notna(), ["score", "score_low", "score_high"]] = None
        found[path.stem] = table
    return found


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.drill)])
def test_a_study_killed_again_and_again_ends_with_the_rows_of_an_uninterrupted_one(
        quick, tmp_path, kills):
    """Also says that the study is deterministic: this one trains everything itself."""
    whole, uninterrupted = quick
    project, chance = copy(whole.root, tmp_path / "greenbits"), random.Random(kills)
    for _ in range(kills):
        process = project.start("quick")
        try:
            process.communicate(timeout=chance.uniform(1, uninterrupted.seconds / 2))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        for path in project.root.glob("data/runs/quick/*.json"):
            json.loads(path.read_text())                # there is no half file at any time
        for path in project.root.glob("data/runs/quick/*.csv"):
            pd.read_csv(path)
    assert project.run("quick").status == 0
    expected, found = rows(whole), rows(project)
    assert expected.keys() == found.keys() and len(expected) >= 3
    for stem, table in expected.items():
        pd.testing.assert_frame_equal(table, found[stem], check_exact=True, obj=stem)
