"""Every reader of data gets damaged files: an error of one sentence, nothing written, nothing run.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from lib.base import paths

FUZZ = Path(__file__).with_name("fuzz_data.py")
READERS = ("csv", "npz", "png", "jpeg", "webp", "tiff", "bmp", "mat", "zip", "tar", "gz", "idx",
           "cifar")


def fuzzed(reader: str, seconds: float, folder: Path) -> None:
    told = subprocess.run([sys.executable, FUZZ, reader, str(seconds), folder], cwd=folder,
                          env={"PYTHONPATH": str(paths.ROOT), "OMP_NUM_THREADS": "1"},
                          capture_output=True, text=True, timeout=seconds + 120)
    assert told.returncode == 0, told.stdout[-2000:] + told.stderr[-4000:]
    good, refused = (int(part.split()[0]) for part in told.stdout.split("\n")[-2].split(", "))
    assert refused > 10 and (good or reader in ("idx", "cifar"))      # those hold no whole set


@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_file_is_refused_in_one_sentence(reader, tmp_path):
    fuzzed(reader, 2 if reader in ("png", "jpeg", "webp", "tiff", "bmp", "gz") else 5, tmp_path)


@pytest.mark.drill
@pytest.mark.parametrize("reader", READERS)
def test_a_minute_of_damaged_files_is_refused_in_one_sentence(reader, tmp_path):
    fuzzed(reader, 60, tmp_path)


def test_the_fuzzer_notices_a_reader_that_writes_or_fails(tmp_path):
    for body, says in (("open('/tmp/greenbits_written', 'w')", "a reader wrote"),
                       ("__import__('os').system('true')", "a reader caused os.system"),
                       ("[][0]", "IndexError")):
        code = ("import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
                "import fuzz_data, sys\nseen = []\n"
                f"def read(file):\n    seen.append(1)\n    len(seen) > 1 and {body}\n"
                "fuzz_data.READERS['csv'] = ('own.csv', fuzz_data.table, read)\n"
                "fuzz_data.main('csv', 1, Path(sys.argv[1]))")
        told = subprocess.run([sys.executable, "-c", code, tmp_path, FUZZ.parent],
                              env={"PYTHONPATH": str(paths.ROOT)}, capture_output=True, text=True)
        assert told.returncode != 0 and says in told.stderr, told.stderr
