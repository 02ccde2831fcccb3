"""A reader's own study: the example that ships, from a net of one's own to files of small ones."""

import json
import subprocess
import sys

import pytest
from bs4 import BeautifulSoup

from lib.base import paths
from tests.conftest import copy

SMALL = """notebooks: [3, 8]
folds: [0]
pairs: ["breast_cancer/module:net.py:Residual/hidden=24"]
03_ptq:
  methods: [gptq]
  learned_pairs: []
  controls: ["breast_cancer/module:net.py:Residual/hidden=4"]
  ladder_pairs: []
  pruned_pairs: []
08_deploy:
  small_pairs: ["breast_cancer/module:net.py:Residual/hidden=4"]
  coded_pairs: []
  channel_pairs: []
  windows: 2
  within: [0.5, 3.0]
"""


@pytest.fixture
def project(tmp_path):
    return copy(paths.ROOT, tmp_path / "greenbits")


def taken(project, profile):
    """The folders of models that a study left, with what their records say."""
    folders = sorted((project.root / "data/runs" / profile / "models").iterdir())
    return {folder: json.loads((folder / "record.json").read_text()) for folder in folders}


def check(project, profile):
    """Each model answers as it did, by the runner, and where it is stored by its loader too."""
    found = taken(project, profile)
    assert found
    for folder, record in found.items():
        told = subprocess.run([sys.executable, folder / "run.py"], capture_output=True, text=True,
                              check=True).stdout
        assert "answers" in told
        if (folder / "load.py").exists():
            told = subprocess.run([sys.executable, folder / "load.py"], capture_output=True,
                                  text=True, check=True, cwd=project.root,
                                  env={"PYTHONPATH": str(project.root)}).stdout
            assert told.splitlines()[-1].endswith(f": {record['about']['score']:.4g}")
    pages = project.root / "figures" / profile
    report = BeautifulSoup((pages / "report.html").read_text("utf-8"), "html.parser")
    for code in report.find_all(["script", "pre", "code"]):
        code.decompose()
    assert "Residual" in report.get_text() and "module:" not in report.get_text()
    exported = (pages / "chapters" / "08_deploy.html").read_text("utf-8")
    assert all(folder.name in exported for folder in found)


def test_the_example_says_nothing_wrong(project):
    assert project.run("study", "params/example.yaml", "--check").status == 0


def test_a_net_of_ones_own_becomes_files_of_small_ones(project):
    (project.root / "mine").mkdir()
    net = (paths.PARAMS / "example_net.py").read_text()
    (project.root / "mine/net.py").write_text(net)
    (project.root / "mine/small.yaml").write_text(SMALL)
    done = project.run("study", "mine/small.yaml")
    assert done.status == 0, done.said
    check(project, "small")


@pytest.mark.drill
def test_the_example_goes_all_the_way(project):
    done = project.run("study", "params/example.yaml")
    assert done.status == 0 and done.seconds < 600, done.said
    check(project, "example")
