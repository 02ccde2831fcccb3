"""What a pre-trained encoder scores under a head that nothing has trained.

    python -m lib.recipes.untrained        # writes data/results/untrained_head.csv and .json
"""

import json
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file
from torch import nn

from lib import data, models
from lib.base import machine, paths
from lib.data.sources import fetch
from lib.recipes.training import recipe
from lib.train import evaluate

NAME, HEADS = "untrained_head", 100


def untrained(task, model: str, heads: int) -> pd.DataFrame:
    """Scores of `heads` classification heads, each drawn anew as PyTorch draws a linear layer.

    The encoder is run once; its outputs are then the inputs of every head. Columns: task, model,
    seed, n (examples), correct, score (percent), loss (nats).
    """
    lines = []
    with torch.no_grad(), torch.random.fork_rng():
        net = models.build(model, task)
        net.start_from(load_file(fetch(recipe(task.name, model)["start"])))
        width = net.head.in_features
        net.head = nn.Linear(width, width, bias=False)  # the identity: outputs are its inputs
        net.head.weight.copy_(torch.eye(width))
        inputs, labels = evaluate(net, task).outputs, task.test.y
        for seed in range(heads):
            torch.manual_seed(seed)
            outputs = nn.Linear(width, task.outputs)(inputs)
            correct = int((outputs.argmax(1) == labels).sum())
            lines.append({"task": task.name, "model": model, "seed": seed, "n": len(labels),
                          "correct": correct, "score": 100 * correct / len(labels),
                          "loss": float(nn.functional.cross_entropy(outputs, labels))})
    return pd.DataFrame(lines)


def main() -> None:
    """Write the table of SST-2 and MiniLM, with its provenance, beside the published rows."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    commit = subprocess.run(["git", "-C", str(paths.ROOT), "rev-parse", "HEAD"], check=False,
                            capture_output=True, text=True).stdout.strip() or "unknown"
    versions = {name: version(name) for name in ("torch", "numpy", "safetensors", "tokenizers")}
    table = untrained(data.load("sst2"), "minilm", HEADS).assign(
        processor=machine.processor(),
        versions=", ".join(f"{name} {number}" for name, number in versions.items()))
    provenance = {
        "notebook": NAME, "parameters": {"task": "sst2", "model": "minilm", "heads": HEADS},
        "started": started, "git": commit, "versions": versions, "hardware": machine.hardware(),
        "inputs": {Path(name).name: sha for name, sha in paths.inputs().items()}}
    paths.write_atomic(paths.RESULTS / f"{NAME}.csv", table.to_csv(index=False,
                                                                   float_format="%.6g"))
    paths.write_atomic(paths.RESULTS / f"{NAME}.json", json.dumps(provenance, indent=1) + "\n")


if __name__ == "__main__":
    main()
