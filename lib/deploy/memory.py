"""The memory that a file takes while it answers, measured in processes of their own."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from lib.deploy.session import Session
from lib.layers.inputs import Inputs

SCRIPT = Path(__file__).with_name("resident.py")
SOURCE = ("resident memory that a fresh process gains by loading the file and answering one "
          "example, least, median and most of {} processes")


def memory(session: Session, example: Inputs, times: int = 3) -> tuple[int, int, int, str]:
    """Bytes of resident memory that a fresh process gains by loading `session`'s file and answering
    `example`: median, least and most of so many processes, and how this was measured."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        np.savez(inputs, **session.named(example))
        told = subprocess.run([sys.executable, SCRIPT, session.path, inputs, str(times)],
                              capture_output=True, text=True, check=False)
    if told.returncode:
        raise RuntimeError(f"{session.path.name} could not be run in a process of its own: "
                           f"{told.stderr.strip().splitlines()[-1]}")
    grown = sorted(int(line) for line in told.stdout.split())
    return grown[len(grown) // 2], grown[0], grown[-1], SOURCE.format(times)
