"""The ways in which a model is deployed, by the names that a Setting has for them."""

import tempfile
from pathlib import Path

from torch import nn

from lib.deploy import litert
from lib.deploy.export import exported
from lib.deploy.int8 import dynamic, static
from lib.deploy.litert import LiteRT
from lib.deploy.nbits import nbits
from lib.deploy.openvino import OpenVino
from lib.deploy.session import FLOATS, Codes, Session
from lib.layers.inputs import Inputs

WAYS = {"fp32": "as floats", "dynamic": "weights of matrix products in 8 bits, inputs as they come",
        "static": "weights and inputs in 8 bits, ranges from calibration",
        "nbits": "weights of linear layers in 4 bits, the model's own codes",
        "openvino": "the file of floats, in OpenVINO",
        "openvino-static": "the file of static int8, in OpenVINO",
        "litert": "as floats, in LiteRT",
        "litert-static": "weights and inputs in 8 bits, in LiteRT"}
CODES = {"fp32": FLOATS, "dynamic": Codes(8, 8, linear_only=True), "static": Codes(8, 8),
         "nbits": Codes(4, 8, linear_only=True), "openvino": FLOATS,
         "openvino-static": Codes(8, 8), "litert": FLOATS, "litert-static": Codes(8, 8)}
OF_ANOTHER = {"openvino": "fp32", "openvino-static": "static"}     # whose file it runs


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
    path = derived(floats, model, way, calibration, folder / file_name(way))
    return running(path, model, way, threads, passing)


def file_name(way: str) -> str:
    """What the file of one of WAYS is called; some ways run the file of another."""
    return f"{way}.tflite" if way.startswith("litert") else f"{OF_ANOTHER.get(way, way)}.onnx"


def derived(floats: Path, model: nn.Module, way: str, calibration: Inputs, path: Path) -> Path:
    """Write what one of WAYS makes of `floats`, the file of floats of `model`; returns where that
    is. calibration: as of `deployed`."""
    way = OF_ANOTHER.get(way, way)
    if way == "static":
        return static(floats, calibration, path)
    if way == "dynamic":
        return dynamic(floats, path)
    if way == "litert":
        return litert.converted(model, calibration, path)
    if way == "litert-static":
        as_floats = litert.converted(model, calibration, path.with_name("litert.tflite"))
        return litert.quantized(as_floats, calibration, path)
    return nbits(floats, model, path) if way == "nbits" else floats


def running(path: Path, model: nn.Module, way: str, threads: int = 1, keeps: object = None
            ) -> Session:
    """The Session of a file that was made of `model` one of WAYS; keeps: what must not go before
    it does, such as the file's temporary folder."""
    runtimes = {"openvino": OpenVino, "litert": LiteRT}
    runtime = runtimes.get(way.partition("-")[0], Session)
    session = runtime(path, threads, made_from=model, codes=CODES[way])
    session.keeps = keeps
    return session
