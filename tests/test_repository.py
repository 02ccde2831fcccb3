"""What holds of the source itself: rooms and their arrows, notebooks, parameters, ignore rules."""

import ast
import json
import os
import subprocess
import sys

import pytest

from lib.base import paths
from lib.study import parameters, values

LIB = paths.ROOT / "lib"
MOST_LINES, MOST_CELLS, LONGEST_CELL = 5000, 20, 16

# What each room may import of lib; notebooks and the driver's own rooms import anything.
NAMES = {"names", "paths"}
ARROWS = {
    "paths": set(), "names": set(), "cache": {"paths"}, "results": {"paths"},
    "workers": {"paths", "cache"}, "run": {"paths", "cache", "results", "workers"},
    "data": NAMES, "models": {"names"}, "train": set(),
    "quant": set(), "prune": set(), "energy": set(),
    "recipes": {*NAMES, "data", "models", "train", "quant", "prune", "cache"},
    "deploy": {"quant", "paths"}, "realtime": {"deploy", "energy", "quant"},
    "measure": {"energy", "deploy", "train", "results"}, "claims": {"results", "paths"},
    "figures": {"results", "paths"},
}
DRIVING = {"driver", "params", "values", "stamps", "report", "compare", "shelf"}
TORCH_FREE = DRIVING | {"paths", "names", "cache", "results", "figures", "claims"}
NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))


def rooms() -> dict[str, list]:
    """Room -> its files: lib/paths.py, or all of lib/data/."""
    found = {}
    for path in sorted(LIB.rglob("*.py")):
        inside = path.relative_to(LIB)
        if inside.name != "__init__.py" or len(inside.parts) > 1:
            found.setdefault(inside.parts[0].removesuffix(".py"), []).append(path)
    return found


def imports(path) -> list[tuple[str, bool]]:
    """(module, whether on import of the file) for all a file imports; lib's by room: lib.room."""
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import lib's rooms by their full name"
            found += [(f"lib.{alias.name}", id(node) in top) for alias in node.names] \
                if node.module == "lib" else [(node.module, id(node) in top)]
    return found


@pytest.mark.parametrize("room", sorted(rooms()))
def test_rooms_import_only_what_they_may(room):
    assert room in ARROWS or room in DRIVING, f"say in ARROWS what lib/{room} may import"
    for path in rooms()[room]:
        for name, _ in imports(path):
            if name.startswith("lib.") and room in ARROWS:
                other = name.split(".")[1]
                assert other == room or other in ARROWS[room], f"{path} imports {name}"


@pytest.mark.parametrize("room", sorted(TORCH_FREE & set(rooms())))
def test_some_rooms_never_import_torch(room):
    reached, ahead = set(), [room]
    while ahead:
        for path in rooms().get(one := ahead.pop(), []):
            for name, on_import in imports(path):
                if on_import:
                    assert name.split(".")[0] != "torch", f"{room} imports torch through {path}"
                    if name.startswith("lib.") and name.split(".")[1] not in reached:
                        ahead.append(name.split(".")[1])
        reached.add(one)


def code_lines(text: str) -> int:
    """Lines that do something: without blank ones, comments and docstrings, which are free."""
    tree = ast.parse(text)
    said = {line for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list)
            for first in node.body[:1] if isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
            for line in range(first.lineno, first.end_lineno + 1)}
    return sum(bool(line.strip()) and not line.strip().startswith("#") and number not in said
               for number, line in enumerate(text.splitlines(), 1))


def test_lib_is_thin(capsys):
    lines, public, long = 0, 0, []
    for path in sorted(LIB.rglob("*.py")):
        text = path.read_text()
        lines += code_lines(text)
        public += sum(isinstance(node, ast.FunctionDef | ast.ClassDef)
                      and not node.name.startswith("_") for node in ast.parse(text).body)
        if len(text.splitlines()) > 200:
            long.append(f"{path.relative_to(paths.ROOT)} {len(text.splitlines())}")
    with capsys.disabled():
        print(f"\nlib: {lines} lines of code, {public} public functions and classes; "
              f"files of more than 200 lines: {', '.join(long) or 'none'}")
    assert lines < MOST_LINES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_short_and_without_outputs(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [c for c in cells if c["cell_type"] == "code"]
    assert len(code) <= MOST_CELLS
    assert cells[0]["cell_type"] == "markdown" and "".join(cells[0]["source"]).startswith("# ")
    for cell in code:
        source = "".join(cell["source"])
        assert not cell["outputs"] and cell["execution_count"] is None, source
        if "parameters" not in cell["metadata"].get("tags", []):
            assert len(source.splitlines()) <= LONGEST_CELL, source
        tree = ast.parse(source)
        assert not any(isinstance(node, ast.ClassDef) for node in ast.walk(tree)), source
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):       # a trial: one row from one spec
                assert [a.arg for a in node.args.args] == ["spec"], f"{node.name} belongs in lib"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_parameter_cells_are_typed_flat_and_commented(path):
    cell = next(c for c in json.loads(path.read_text(encoding="utf-8"))["cells"]
                if "parameters" in c["metadata"].get("tags", []))
    lines = "".join(cell["source"]).splitlines()
    assert lines[0] == 'profile: str = "lab"'
    known = parameters.cell(path)
    assert len(known) == len(ast.parse("\n".join(lines)).body)      # nothing else stands there
    for name, parameter in known.items():
        assert values.fits(parameter.default, parameter.kind), name
        assert not isinstance(parameter.default, dict | tuple), name
        assert name == "profile" or any(
            line.startswith(f"{name}:") and "#" in line for line in lines), f"{name}: no comment"


@pytest.mark.parametrize("profile", sorted(p.name for p in paths.PARAMS.iterdir() if p.is_dir()))
def test_committed_parameter_files_fit_their_notebooks(profile):
    assert set(parameters.folder_plan(profile).given) == set(parameters.notebooks())


def test_quick_sets_only_its_profile_and_seeds():
    """The quick study is what the notebooks' own cells say."""
    assert [p.name for p in (paths.PARAMS / "quick").iterdir()] == ["common.yaml"]
    given = parameters.folder_plan("quick").given
    assert {key for keys in given.values() for key in keys} <= {"profile", "seeds"}


@pytest.mark.skipif(not (paths.ROOT / ".git").exists(), reason="not a git checkout")
@pytest.mark.parametrize("path, ignored", [
    ("lib/paths.py", False), ("lib/data/task.py", False), ("lib/cache.py", False),
    ("data/splits/churn.txt", False), ("data/published/x.csv", False),
    ("data/results/02_train.csv", False), ("data/weights/x.safetensors", False),
    ("figures/full/report.html", False), ("figures/full/chapters/01_data.html", False),
    ("notebooks/01_data.ipynb", False), ("params/full/common.yaml", False),
    ("data/raw/churn.csv", True), ("data/cache/x.safetensors", True),
    ("data/runs/quick/02_train.csv", True), ("figures/quick/report.html", True),
    (".venv/bin/python", True), ("lib/__pycache__/x.pyc", True),
    ("notebooks/.ipynb_checkpoints/x.ipynb", True),
])
def test_git_ignores_what_runs_make_and_nothing_else(path, ignored):
    told = subprocess.run(["git", "check-ignore", "-q", "--no-index", path], cwd=paths.ROOT,
                          check=False)
    assert (told.returncode == 0) == ignored


def test_versions_stand_in_one_place():
    pins = [line for line in (paths.ROOT / "pyproject.toml").read_text().splitlines()
            if "==" in line]
    assert pins
    for name in ("run_all.sh", "environment.yml"):
        text = (paths.ROOT / name).read_text()
        for pin in pins:
            assert pin.split("==")[1].split('"')[0] not in text, f"{name} repeats {pin.strip()}"


def test_lib_is_imported_from_anywhere(tmp_path):
    """Also where a folder of the same name stands, which is common."""
    (tmp_path / "lib").mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    told = subprocess.run([sys.executable, "-c", "import lib; print(lib.__file__)"], cwd=tmp_path,
                          env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip().endswith("/lib/__init__.py")
