"""The ways in which a model is deployed, by the names that a Setting has for them."""

import tempfile
from pathlib import Path
from typing import NamedTuple

from torch import nn

from lib.deploy import litert
from lib.deploy.export import exported
from lib.deploy.int8 import dynamic, static
from lib.deploy.litert import LiteRT
from lib.deploy.nbits import nbits
from lib.deploy.openvino import OpenVino
from lib.deploy.other import Other
from lib.deploy.session import FLOATS, Codes, Session
from lib.layers.inputs import Inputs


class Way(NamedTuple):
    """What a file holds, what it is called, of what its products are made, and what runs it."""

    said: str
    file: str
    codes: Codes
    session: type[Session] = Session


LINEAR_ONLY = Codes(8, 8, linear_only=True)
WAYS = {
    "fp32": Way("as floats", "fp32.onnx", FLOATS),
    "dynamic": Way("weights of matrix products in 8 bits, inputs as they come", "dynamic.onnx",
                   LINEAR_ONLY),
    "static": Way("weights and inputs in 8 bits, ranges from calibration", "static.onnx",
                  Codes(8, 8)),
    "nbits": Way("weights of linear layers in 4 bits, the model's own codes", "nbits.onnx",
                 Codes(4, 8, linear_only=True)),
    "openvino": Way("the file of floats, in OpenVINO", "fp32.onnx", FLOATS, OpenVino),
    "openvino-static": Way("the file of static int8, in OpenVINO", "static.onnx", Codes(8, 8),
                           OpenVino),
    "litert": Way("as floats, in LiteRT", "litert.tflite", FLOATS, LiteRT),
    "litert-static": Way("weights and inputs in 8 bits, in LiteRT", "litert-static.tflite",
                         Codes(8, 8), LiteRT)}


def installed(way: str) -> bool:
    """Whether one of WAYS can be gone here: what its runtime needs is installed."""
    session = WAYS[way].session
    return session.installed() if issubclass(session, Other) else True


def deployed(model: nn.Module, way: str, calibration: Inputs, folder: str | Path | None = None,
             threads: int = 1) -> Session:
    """`model` as an ONNX file in `folder`, deployed one of WAYS, and running.

    calibration: some hundred inputs; the first few check the export, all of them give static its
    ranges. folder: None for one that goes with the session. ValueError: an unknown way, or a model
    that cannot go it.
    """
    if way not in WAYS:
        raise ValueError(f"no way {way!r} to deploy a model; choose one of: {', '.join(WAYS)}")
    passing = tempfile.TemporaryDirectory() if folder is None else None
    folder = Path(passing.name if passing else folder)
    folder.mkdir(parents=True, exist_ok=True)
    floats = exported(model, calibration, folder / "fp32.onnx")
    path = derived(floats, model, way, calibration, folder / WAYS[way].file)
    return running(path, model, way, threads, passing)


def derived(floats: Path, model: nn.Module, way: str, calibration: Inputs, path: Path) -> Path:
    """Write what one of WAYS makes of `floats`, the file of floats of `model`; returns where that
    is. calibration: as of `deployed`."""
    match WAYS[way].file:
        case "static.onnx":
            return static(floats, calibration, path)
        case "dynamic.onnx":
            return dynamic(floats, path)
        case "nbits.onnx":
            return nbits(floats, model, path)
        case "litert.tflite":
            return litert.converted(model, calibration, path)
        case "litert-static.tflite":
            as_floats = litert.converted(model, calibration, path.with_name("litert.tflite"))
            return litert.quantized(as_floats, calibration, path)
    return floats


def running(path: Path, model: nn.Module, way: str, threads: int = 1, keeps: object = None
            ) -> Session:
    """The Session of a file that was made of `model` one of WAYS; keeps: what must not go before
    it does, such as the file's temporary folder."""
    session = WAYS[way].session(path, threads, made_from=model, codes=WAYS[way].codes)
    session.keeps = keeps
    return session
