"""A program: damages files of compressed models for some seconds, and reads each.

python tests/fuzz_files.py SECONDS SEED: the reader must return a model or raise one ValueError of
one sentence, with no more than 1 GB of memory beyond the start. It prints how many were tried.
"""

import copy
import json
import random
import resource
import struct
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from lib import prune, quant
from lib.quant import fold, packing

MORE_MEMORY = 2**30
NASTY = (None, True, -1, 0, 1, 2, 3, 255, 2**16, 2**31, 2**39, 2**62, 10**400, 1e300, "", "x", [],
         [2**20], [2**39, 0], [2**12, 2**12], [1, 2**24], {}, "Normal", "Points", "Affine",
         "Codebook", "indices", "bitmask", "dense", "float64", "int64", "1.weight")


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4)).eval()


def files(folder: Path) -> list[bytes]:
    """One file of each form: codes of every class, masks, roundings, a folded norm."""
    x = torch.randn(64, 24)
    models = [quant.ptq(net(), method, bits=3, **more) for method, more in (
        ("affine", {"group": 7}), ("kmeans", {}), ("nearest_normal", {}), ("multipoint", {}))]
    models += [prune.prune(models[i], "l1", 0.9) for i in range(3)]
    models.append(prune.prune(net(), "l1", 0.98))
    models.append(quant.ptq(fold.fold_batch_norm(net()), "affine", a_bits=4, calibration=x,
                            smooth=0.5))
    found = []
    for model in models:
        packing.save(model, folder / "whole")
        found.append((folder / "whole").read_bytes())
    return found


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """The file with some of its bytes changed or cut, or with a value of its header replaced."""
    if chance.random() < 0.3:
        raw = bytearray(whole[:chance.randrange(len(whole))] if chance.random() < 0.3 else whole)
        for _ in range(chance.randrange(1, 9) if raw else 0):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        return bytes(raw)
    end = 8 + struct.unpack("<Q", whole[:8])[0]
    about = json.loads(whole[8:end])
    header = json.loads(about["__metadata__"]["model"])
    for _ in range(chance.randrange(1, 4)):
        replace(header, chance)
    about["__metadata__"]["model"] = json.dumps(header)
    text = json.dumps(about).encode()
    return struct.pack("<Q", len(text)) + text + whole[end:]


def replace(tree: object, chance: random.Random) -> None:
    """Replace one value, anywhere below."""
    while True:
        places = list(tree) if isinstance(tree, dict) else range(len(tree))
        place = chance.choice(list(places)) if len(places) else None
        if place is None:
            return
        if isinstance(tree[place], dict | list) and tree[place] and chance.random() < 0.9:
            tree = tree[place]
            continue
        tree[place] = copy.deepcopy(chance.choice(NASTY))       # or it may come to hold itself
        return


def main(seconds: float, seed: int) -> None:
    torch.set_num_threads(1)
    chance, tried = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        path, wholes = Path(folder) / "x", files(Path(folder))
        for whole in wholes:
            path.write_bytes(whole)
            packing.load(net(), path)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MORE_MEMORY, -1))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            path.write_bytes(damaged(chance.choice(wholes), chance))
            try:
                packing.load(net(), path)
            except ValueError as error:
                assert str(error).startswith(str(path)), error
            tried += 1
        assert sorted(p.name for p in Path(folder).iterdir()) == ["whole", "x"]
    print(tried)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
