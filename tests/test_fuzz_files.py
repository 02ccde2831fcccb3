"""Files of compressed models, damaged in every way: one sentence, in bounded memory."""

import os
import subprocess
import sys
from pathlib import Path

SECONDS, SEED = 5, 0


def test_damaged_files_end_in_one_sentence():
    root = Path(__file__).parents[1]
    ran = subprocess.run([sys.executable, "tests/fuzz_files.py", str(SECONDS), str(SEED)],
                         cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, text=True,
                         capture_output=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert int(ran.stdout) > 50
