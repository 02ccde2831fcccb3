"""Shared by the tests: a finished quick study, and a toy project that runs in seconds."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest
from hypothesis import settings

from lib import results
from lib.base import paths

# The same examples in every run: a suite that fails by chance would say nothing about a change.
settings.register_profile("greenbits", derandomize=True, deadline=None)
settings.load_profile("greenbits")

MADE = shutil.ignore_patterns(".git", ".venv", "__pycache__", "runs", "cache", "raw",
                              ".pytest_cache", ".ruff_cache", "*.egg-info")


@pytest.fixture(autouse=True)
def closed():
    """Figures that a test drew are gone when the next begins."""
    yield
    plt.close("all")


@dataclass
class Project:
    """A copy of the project, or a toy one, that the commands run on its own."""

    root: Path

    def start(self, *arguments: str, **options) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": str(self.root), **options.pop("env", {})}
        return subprocess.Popen(
            [sys.executable, "-m", "lib.study.commands", *arguments], cwd=self.root,
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True, **options)

    def run(self, *arguments: str) -> "Finished":
        began = time.monotonic()
        process = self.start(*arguments)
        said, _ = process.communicate()
        return Finished(process.returncode, said, time.monotonic() - began)

    def notebook(self, stem: str, *cells: str, parameters: str = "") -> None:
        """Write a toy notebook; a cell that starts with # is Markdown."""
        first = nbformat.v4.new_code_cell(f'profile: str = "lab"\n{parameters}'.strip())
        first.metadata["tags"] = ["parameters"]
        nodes = [nbformat.v4.new_markdown_cell(c) if c.startswith("#") else
                 nbformat.v4.new_code_cell(c) for c in cells]
        path = self.root / "notebooks" / f"{stem}.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=[
            nbformat.v4.new_markdown_cell(f"# What does {stem} say?"), first, *nodes]), path)

    def parameters(self, name: str, text: str) -> Path:
        path = self.root / "params" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


@dataclass
class Finished:
    status: int
    said: str
    seconds: float


def copy(source: Path, target: Path) -> Project:
    """A project's own files, without what runs have made."""
    shutil.copytree(source, target, ignore=MADE)
    return Project(target)


def pytest_addoption(parser):
    parser.addoption("--drill", action="store_true", help="the long fault drills, and only these")


def pytest_configure(config):
    config.addinivalue_line("markers", "drill: a long fault drill, run by --drill")


def pytest_collection_modifyitems(config, items):
    wanted = config.getoption("--drill")
    other = [item for item in items if ("drill" in item.keywords) != wanted]
    config.hook.pytest_deselected(items=other)
    items[:] = [item for item in items if item not in other]


@dataclass
class Published:
    """The committed rows of the chapters that make networks smaller, and what follows from them."""

    rows: pd.DataFrame
    scores: dict
    nets: pd.DataFrame              # all of them, those left out with the reason
    candidates: pd.DataFrame        # on the test set, with their losses on the selection data


@contextmanager
def profile(name: str):
    """Another profile for a while."""
    before = paths.profile()
    paths.profile(name)
    try:
        yield
    finally:
        paths.profile(before)


@pytest.fixture(scope="session")
def committed() -> Published:
    """What data/results holds, computed once: it takes some ten seconds."""
    with profile("published"):
        rows, scores, costs = results.rows_of()
        nets = results.networks(rows)
        usable = nets[nets.why_not == ""]
        table = results.candidates(rows, scores, costs, usable)
        validated = results.candidates(rows, scores, costs, usable, "val")
    table = table.join(results.selection_losses(table, validated))
    return Published(rows, scores, nets, table)


@pytest.fixture(scope="session")
def quick(tmp_path_factory) -> tuple[Project, Finished]:
    """The quick study, executed once, in a copy of its own."""
    project = copy(paths.ROOT, tmp_path_factory.mktemp("quick") / "greenbits")
    finished = project.run("quick")
    assert finished.status == 0, finished.said
    return project, finished


@pytest.fixture
def toy(tmp_path) -> Project:
    """Three tiny notebooks: one measures, one can be told to wait and to fail, one reports."""
    project = Project(tmp_path / "toy")
    shutil.copytree(paths.ROOT / "lib", project.root / "lib", ignore=MADE)
    shutil.copy(paths.ROOT / "run_all.sh", project.root)
    shutil.copy(paths.ROOT / "pyproject.toml", project.root)
    # What tables and run do, without pandas, which takes a second to import.
    begin = "from lib.base import paths; paths.profile(profile)"
    save = ("import json; paths.write_atomic(paths.run_folder() / {stem!r}, {text})\n"
            "paths.write_atomic((paths.run_folder() / {stem!r}).with_suffix('.json'),"
            " json.dumps({{'inputs': paths.inputs()}}))")
    project.notebook("01_one", begin, "print('one', seeds, lr)", save.format(
        stem="01_one.csv", text="f'seeds,lr,score\\n{len(seeds)},{lr},50.0'"),
        parameters="seeds: list = [0]\nlr: float = 0.1")
    project.notebook("02_two", begin, "import time; time.sleep(wait)", "assert not fail, 'told to'",
                     save.format(stem="02_two.csv", text="''"),
                     parameters="wait: float = 0.0\nfail: bool = False")
    project.notebook("10_report", begin, "# The answer is $x^2$", "paths.reads(paths.run_folder() "
                     "/ '01_one.csv').read_text()", save.format(stem="10_report.csv", text="''"))
    project.parameters("quick/common.yaml", "profile: quick\n")
    return project
