"""Packages of further runtimes, which nothing else needs."""

import importlib
from importlib.util import find_spec
from types import ModuleType

RUNTIMES = {"openvino": ("openvino",),
            "litert": ("ai_edge_litert", "litert_torch", "ai_edge_quantizer")}


def installed(way: str) -> bool:
    """Whether one of `deploy.WAYS` can be gone here: what its runtime needs is installed."""
    return all(find_spec(module) for module in RUNTIMES.get(way.partition("-")[0], ()))


def needed(module: str) -> ModuleType:
    """Import a module of a package that is not required. ModuleNotFoundError: what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise ModuleNotFoundError(f"{error}; pip install {package}, or leave this runtime "
                                  "out") from error
