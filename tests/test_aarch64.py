"""Bundles on another processor: under user-mode emulation, which shows that they run, not how fast.

A drill: it takes Debian's packages for arm64, and wheels from the package index, into a folder of
its own. `apt-get install qemu-user-static` before.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from lib import data, deploy, models, quant
from tests import toys

EMULATOR = shutil.which("qemu-aarch64-static") or ""
DEBIAN = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6", "libgomp1")
# The newest onnxruntime that qemu 7.2 runs: 1.32 dies of a wrong instruction when it is imported.
WHEELS = ("numpy==2.2.6", "onnxruntime==1.23.2")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64",
             "manylinux2014_aarch64")

pytestmark = [pytest.mark.drill,
              pytest.mark.skipif(not EMULATOR, reason="needs qemu-aarch64-static")]


def run(*words: str | Path, **variables: str) -> str:
    told = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          timeout=600, check=False, env=os.environ | variables)
    assert told.returncode == 0, told.stderr[-2000:]
    return told.stdout


@pytest.fixture(scope="module")
def device(tmp_path_factory) -> Path:
    """A folder with Python, numpy and ONNX Runtime for aarch64."""
    folder = tmp_path_factory.mktemp("aarch64")
    state, cache = folder / "state", folder / "cache"
    for part in (state / "lists/partial", cache / "archives/partial", folder / "root/packages"):
        part.mkdir(parents=True)
    (state / "status").touch()
    asked = {"APT::Architecture": "arm64", "APT::Architectures::": "arm64",
             "APT::Install-Recommends": "false", "Dir::State": state,
             "Dir::State::status": state / "status", "Dir::Cache": cache}
    (folder / "apt.conf").write_text("".join(
        f'{name} "{value}";\n' for name, value in asked.items()))
    apt = {"APT_CONFIG": str(folder / "apt.conf")}
    run("apt-get", "update", **apt)
    run("apt-get", "install", "-y", "--download-only", *DEBIAN, **apt)
    for package in (cache / "archives").glob("*.deb"):
        run("dpkg", "-x", package, folder / "root")
    run(sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest",
        folder / "wheels", "--python-version", "3.11", "--implementation", "cp",
        *(f"--platform={platform}" for platform in PLATFORMS), *WHEELS)
    for wheel in (folder / "wheels").glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(folder / "root/packages")
    return folder / "root"


def on_device(device: Path, *words: str | Path) -> str:
    return run(EMULATOR, "-L", device, "-E", f"PYTHONPATH={device / 'packages'}",
               device / "usr/bin/python3.11", *words)


def test_it_is_another_processor(device):
    told = on_device(device, "-c", "import platform; print(platform.machine())")
    assert told.strip() == "aarch64"


@pytest.mark.parametrize("way", ["fp32", "static", "dynamic", "nbits"])
def test_a_bundle_answers_there_as_it_did_here(device, tmp_path, way):
    torch.manual_seed(0)
    if way in ("fp32", "static"):
        task = data.load("digits")
        model = models.build("resnet8", task, width=8).eval()
    else:
        task = toys.sentences()
        model = models.build("bert_tiny", task, d=32, heads=2, ff=64).eval()
    if way == "nbits":
        model = quant.ptq(model, "gptq", bits=4, group=32, calibration=task.calibration)
    session = deploy.deployed(model, way, task.calibration)
    folder = deploy.bundle(session, task.test.batch(slice(8)), tmp_path / way)
    told = on_device(device, folder / "run.py")
    number, _, apart = told.partition(" examples answered, up to ")
    assert number == "8" and float(apart.split()[0]) < 1e-2, told
