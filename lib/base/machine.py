"""The machine that a number was measured on."""

import os
import platform
import shutil
import subprocess
from pathlib import Path


def processor() -> str:
    """Its processor's name, as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def hardware() -> dict[str, str | int]:
    """Processor, cores, memory and accelerator of this machine."""
    import psutil
    return {"processor": processor(), "cores": os.cpu_count() or 1, "gpu": _gpu(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30), "system": platform.system()}


def _gpu() -> str:
    """The first NVIDIA accelerator's name, asked of the driver: torch would start CUDA to tell it,
    after which no process can be forked."""
    if shutil.which("nvidia-smi") is None:
        return "none"
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)
    names = told.stdout.strip().splitlines() if told.returncode == 0 else []
    return names[0] if names else "none"
