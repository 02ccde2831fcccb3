"""run_all.sh and .venv: made once, by one start at a time, wherever the project stands; nothing
that is complete is ever deleted. The interpreters here are scripts: nothing is installed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib.base import paths

# Stands for a Python of the system: makes an environment whose python is this script again, and
# whose pip takes a while and leaves a mark. All else the real one does.
PYTHON = """\
#!/bin/bash
echo "$(basename "$0") $*" >>"$CALLS"
case "$*" in
"-m venv "*) [ -z "$VENV_FAILS" ] || exit 1
    target="${@: -1}"; mkdir -p "$target/bin"; cp "$0" "$target/bin/python" ;;
*"pip --version"*) [ ! -e "$(dirname "$0")/no-pip" ] ;;
*"pip --disable"*) sleep "${PIP_TAKES:-0}"; [ -z "$PIP_FAILS" ] || exit 1
    pwd >"$(dirname "$0")/link" ;;
"-P -s - "*) [ "$(cat "$(dirname "$0")/link")" = "${@: -1}" ] ;;
"-P - "*) [ ! -e "$(dirname "$0")/link" ] || echo "${@: -1}" >"$(dirname "$0")/link" ;;
*--check*) ;;
*"import torch"*) exit 0 ;;
*lib.study.commands*) echo "would run: ${*: -1}" ;;
*) exec REAL "$@" ;;
esac
"""


class Machine:
    """A project's folder with run_all.sh, and a Python on PATH."""

    def __init__(self, root: Path, tools: Path):
        self.root, self.tools, self.calls = root, tools, tools / "calls"
        root.mkdir(parents=True)
        shutil.copy(paths.ROOT / "run_all.sh", root)
        shutil.copy(paths.ROOT / "pyproject.toml", root)
        python = tools / "python3.11"
        python.write_text(PYTHON.replace("REAL", sys.executable))
        python.chmod(0o755)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        kept = {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}
        return subprocess.Popen(
            [self.root / "run_all.sh", *arguments], stdout=subprocess.PIPE, text=True,
            stderr=subprocess.STDOUT, cwd="/", start_new_session=True, errors="replace",
            env=kept | {"PATH": f"{self.tools}:/usr/bin:/bin", "CALLS": str(self.calls),
                        "VENV_FAILS": "", "PIP_FAILS": ""} | environment)

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        process = self.start(*arguments, **environment)
        said, _ = process.communicate(timeout=60)
        return process.returncode, said

    def called(self, words: str) -> int:
        return self.calls.read_text().count(words) if self.calls.exists() else 0

    def forget(self) -> None:
        self.calls.unlink(missing_ok=True)


@pytest.fixture(params=["project", "ü {b} #x $HOME"])
def machine(tmp_path, request) -> Machine:
    (tmp_path / "tools").mkdir()
    return Machine(tmp_path / request.param, tmp_path / "tools")


@pytest.fixture
def plain(tmp_path) -> Machine:
    (tmp_path / "tools").mkdir()
    return Machine(tmp_path / "project", tmp_path / "tools")


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_the_first_start_makes_it_and_the_second_uses_it(machine, locale):
    status, said = machine.run("quick", LC_ALL=locale, CDPATH="/tmp:/")
    assert status == 0 and "Setting up .venv" in said and said.endswith("would run: quick\n")
    machine.forget()
    status, said = machine.run("quick", LC_ALL=locale)
    assert (status, said) == (0, "would run: quick\n")
    assert machine.called("pip --disable") == machine.called("-m venv") == 0


def test_of_two_first_starts_one_waits_and_both_run(plain):
    starts = [plain.start("report", PIP_TAKES="2") for _ in range(2)]
    told = [start.communicate(timeout=60)[0] for start in starts]
    assert [start.returncode for start in starts] == [0, 0], told
    assert sum("Waiting for another start" in said for said in told) == 1
    assert plain.called("-m venv") == 1


def test_a_moved_environment_is_mended_without_a_network(plain, tmp_path):
    plain.run("report")
    plain.root.rename(tmp_path / "moved")
    plain.root = tmp_path / "moved"
    plain.forget()
    status, said = plain.run("report", PIP_FAILS="yes")
    assert (status, said) == (0, "would run: report\n")
    assert plain.called("-m venv") == plain.called("pip --disable") == 0


def test_what_does_not_start_is_kept_beside(plain):
    plain.run("report")
    broken = plain.root / ".venv/bin/python"
    broken.unlink()
    broken.symlink_to("/nowhere/python3")
    (plain.root / ".venv/mine").write_text("precious")
    status, said = plain.run("report")
    assert status == 0 and "kept as .venv." in said
    assert [path.read_text() for path in plain.root.glob(".venv.*/mine")] == ["precious"]


def test_an_environment_of_the_users_own_is_completed_not_replaced(plain):
    (plain.root / ".venv/bin").mkdir(parents=True)
    shutil.copy(plain.tools / "python3.11", plain.root / ".venv/bin/python")
    (plain.root / ".venv/mine").write_text("precious")
    status, said = plain.run("report")
    assert status == 0 and "Bringing .venv up" in said and plain.called("-m venv") == 0
    assert (plain.root / ".venv/mine").exists()


def test_a_failed_installation_says_so_and_the_next_start_goes_on(plain):
    status, said = plain.run("report", PIP_FAILS="yes")
    assert status == 1 and "The installation failed" in said
    status, said = plain.run("report")
    assert status == 0 and said.endswith("would run: report\n")
    assert not (plain.root / ".venv/greenbits.unfinished").exists()
    assert list(plain.root.glob(".venv.2*")) == []          # what was half made is gone


def test_no_virtual_environments_is_one_sentence(plain):
    status, said = plain.run("report", VENV_FAILS="yes")
    assert status == 1 and "python3-venv" in said.strip().splitlines()[-1]


def test_a_killed_first_start_holds_no_lock(plain):
    first = plain.start("report", PIP_TAKES="30")
    while not plain.called("pip --disable"):
        assert first.poll() is None
    os.killpg(first.pid, 9)
    first.communicate()
    status, said = plain.run("report")
    assert status == 0 and "Waiting" not in said
