"""What a deployed model costs and keeps, beside its row."""

from collections.abc import Sequence

import pandas as pd
from torch import nn

from lib import train
from lib.measure.timing import call, latency, timings
from lib.tables.rows import Cost, Row

RANGES_FROM = 32            # inputs, where only speed is asked for


def of_file(row: Row, session, task) -> list[Cost]:
    """memory_bytes of a `deploy.Session` in ONNX Runtime, beside its test row; and, where there
    are classes, its agreement: the percent of the row's examples that it answers as the model does
    that its file was made from."""
    from lib import deploy
    costs = []
    if row.split == "test" and row.runtime == "onnxruntime":
        middle, least, most, source = deploy.memory(session, task.test.batch(slice(1)))
        costs.append(Cost(row.id, "memory_bytes", "measured", source, middle, least, most))
    if task.classes:
        mine, other = (train.evaluate(one, task, row.split, examples=row.n).outputs.argmax(1)
                       for one in (session, session.made_from))
        costs.append(Cost(row.id, "agreement_percent", "measured",
                          f"{row.n} examples answered by the file and by the model it is of",
                          100 * float((mine == other).double().mean())))
    return costs


def speeds(model: nn.Module, task, ways: Sequence[str], windows: int = 30) -> pd.DataFrame:
    """How fast a net answers one example as the file of each of some `deploy.WAYS`, in turn in the
    same windows, a line a way: task, model, parameters, deploy, KiB, ms with ms_low and ms_high,
    speedup against the first way with speedup_low and speedup_high, and how many windows.

    It tells nothing of what the net answers, which may be untrained.
    """
    from lib import deploy
    few = task.train.batch(slice(RANGES_FROM))
    files = {way: deploy.deployed(model.eval(), way, few) for way in ways}
    times = latency({way: call(file, task) for way, file in files.items()}, windows)
    count = sum(parameter.numel() for parameter in model.parameters())
    sizes = getattr(model, "build_arguments", {"name": type(model).__name__})
    said = " ".join(str(value) if name == "name" else f"{name}={value}"
                    for name, value in sizes.items())
    found = pd.DataFrame({"task": task.name, "model": said, "parameters": count, "deploy": ways,
                          "KiB": [file.size_bytes / 1024 for file in files.values()]})
    return found.join(timings(times))
