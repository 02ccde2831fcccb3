"""Models as files that run without torch: ONNX, real int8 and 4 bits, and what calls them like a
model."""

from lib.deploy.bundle import bundle
from lib.deploy.export import exported
from lib.deploy.int8 import dynamic, static, vnni
from lib.deploy.memory import memory
from lib.deploy.nbits import nbits
from lib.deploy.session import Session
from lib.deploy.ways import WAYS, deployed, derived, installed, running

__all__ = ["Session", "WAYS", "bundle", "deployed", "derived", "dynamic", "exported", "installed",
           "memory", "nbits", "running", "static", "vnni"]
