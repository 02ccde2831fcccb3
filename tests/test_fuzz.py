"""What reads files of a user or of a disk, given rubbish: a clear error or the right answer, in
bounded time and memory, with no file written and no code run. `--drill` gives each a minute.
"""

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lib.base import paths
from lib.study import cache, parameters, stamps, weights

SECONDS = pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.drill)])
MEMORY = 6 * 2**30          # bytes of address space; torch is not imported
YAML = """\
notebooks: [2, 03_ptq]
seeds: [0, 1, 2]
pairs: [digits/resnet8, "breast_cancer/mlp_simple/epochs=3 lr=0.01"]
02_train: {classical: [majority], search_lrs: [1e-3, 0.01]}
03_ptq:
  bits: [2, 4]
  active: [8/8, 4/8]
  methods: &few [gptq, affine]
  active_methods: *few
tasks: ["csv:mine.csv#label", !!python/object/apply:os.system ["touch harmed"]]
"""
SIGNS = ["[", "{", "}", "]", "&a ", "*a", "<<: ", "!!", "- ", "? ", ": ", "|\n", "\t", "\0", "#",
         "'", '"', "\\ud800", "9" * 5000, "1e999", ".nan", "0x", "~", "2024-01-01", "é", "\ufeff",
         "[" * 300, "&a [*a, *a]", "!!binary ", "!!set ", "%YAML 9", "---\n", "...\n"]


def mixed(content: bytes, chance: random.Random) -> bytes:
    """The content with a few bytes changed, dropped, doubled or put in."""
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(content) + 1)
        till = min(len(content), at + chance.choice((0, 1, 4, 40)))
        put = chance.choice((b"", bytes([chance.randrange(256)]), content[at:till] * 2,
                             chance.choice(SIGNS).encode("utf-8", "surrogatepass")))
        content = content[:at] + put + content[till:]
    return content


def limited(name: str, folder: Path, seconds: float) -> None:
    """Run a function of this file in a process of its own with little memory, in `folder`."""
    code = (f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}))\n"
            f"from tests import test_fuzz; test_fuzz.{name}({seconds})")
    told = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True,
                          timeout=seconds + 60, check=False,
                          env={"PYTHONPATH": str(paths.ROOT), "PATH": "/usr/bin:/bin"})
    assert told.returncode == 0, told.stderr[-3000:]
    assert not list(folder.glob("**/harmed"))


def fuzz_yaml(seconds: float) -> None:
    chance, until, tried = random.Random(0), time.monotonic() + seconds, 0
    file = Path("mine.yaml").absolute()
    while time.monotonic() < until:
        file.write_bytes(mixed(YAML.encode(), chance))
        began = time.monotonic()
        try:
            parameters.study_plan(file)
        except parameters.Mistakes as mistakes:
            lines = str(mistakes).splitlines()
            assert 1 <= len(lines) <= 21 and max(map(len, lines)) <= 600, lines
        assert time.monotonic() - began < 3, file.read_bytes()
        tried += 1
    assert tried > 20 and [path.name for path in Path().iterdir()] == ["mine.yaml"]


def fuzz_entries(seconds: float) -> None:
    """Entries of the cache, committed weights and stamps."""
    for name in ("CACHE", "WEIGHTS"):
        setattr(paths, name, Path(name).absolute())
        getattr(paths, name).mkdir()
    step, key = "train toy seed 0", {"version": 1, "seed": 0}
    right = np.arange(40, dtype=np.float32)
    path = cache.cached(step, key, lambda: ({"w": right}, {"history": [1]})).path
    whole, published = path.read_bytes(), cache.committed(step)
    chance, until, refused = random.Random(0), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        spoilt = mixed(whole, chance)
        for file in (path, published, Path("stamp")):
            file.write_bytes(spoilt)
        entry, built = cache.find(step, key), weights.published(step, key)
        assert stamps.read(Path("stamp")) is None
        assert entry is None or np.array_equal(entry.arrays["w"], right), spoilt
        assert built is None or np.array_equal(built[0]["w"], right), spoilt
        refused += entry is None
    assert refused > 100


@SECONDS
def test_rubbish_in_a_parameter_file_is_a_bounded_sentence(tmp_path, seconds):
    limited("fuzz_yaml", tmp_path, seconds)


@SECONDS
def test_rubbish_in_an_entry_is_no_entry(tmp_path, seconds):
    limited("fuzz_entries", tmp_path, seconds)
