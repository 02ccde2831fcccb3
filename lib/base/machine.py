"""The machine that a number was measured on."""

import os
import platform
import sys
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
    torch = sys.modules.get("torch")         # the report runs without torch
    gpu = torch.cuda.get_device_name() if torch and torch.cuda.is_available() else "none"
    return {"processor": processor(), "cores": os.cpu_count() or 1, "gpu": gpu,
            "memory_gib": round(psutil.virtual_memory().total / 2**30), "system": platform.system()}
