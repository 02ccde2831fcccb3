"""The model beside this file as a PyTorch module: `python load.py`, or `from load import model`.

Needs GreenBits, its folder on PYTHONPATH, and the data that record.json names.
"""

import json
from pathlib import Path

from lib import data, measure, models
from lib.quant import packing

FOLDER = Path(__file__).resolve().parent
about = json.loads((FOLDER / "record.json").read_text(encoding="utf-8"))["about"]
task = data.load(about["task"], fold=about["fold"])
net = models.build(task=task, **packing.build_arguments(FOLDER / "model.safetensors"))
model = packing.load(net, FOLDER / "model.safetensors").eval()

if __name__ == "__main__":
    print(f"{about['model']} on {about['task']}: {measure.measure(model, task).score:.4g}")
