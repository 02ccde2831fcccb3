"""What CONTRIBUTING.md shows works as it stands."""

import importlib.util
import re

import torch

from lib.base import paths

TEXT = (paths.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_each_change_is_short():
    assert all(len(block.splitlines()) < 40 for block in blocks(r"\w+"))


def test_the_quantizer_quantizes(tmp_path):
    path = tmp_path / "powers.py"
    path.write_text(blocks("python")[0])
    spec = importlib.util.spec_from_file_location("powers", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert tuple(module.METHODS) == module.NAMES
    w = torch.tensor([[0.0, 1.0, -0.49, 0.26], [8.0, 3.9, 0.1, -2.2]])
    q = module.METHODS["powers_of_two"](w, bits=4)
    assert q.dequantize().tolist() == [[0.0, 1.0, -0.5, 0.25], [8.0, 4.0, 0.125, -2.0]]
    assert q.levels <= 16
