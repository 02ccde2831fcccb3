"""Edge's tables, recomputed on the nets that it published, cell by cell."""

import numpy as np
import pytest
import torch

from lib import data, quant, recipes, results
from lib.base import paths
from lib.data.sources import DataError

TASKS = ("churn", "telescope", "mv", "california")
BITS = (16, 12, 10, 8, 6, 4)
MISSED = ("california@edge", "mlp_complex", "edge_nearest_histogram", 6)    # by 1.4 %


def edges_net(name: str, kind: str):
    try:
        task = data.load(f"{name}@edge")
        return task, recipes.trained(task, f"mlp_{kind}-edge")
    except DataError as error:
        pytest.skip(str(error))


@torch.no_grad()
def score(net: torch.nn.Module, task: data.Task) -> float:
    """As Edge prints it: percent with two decimals, or the mean squared error."""
    scale = task.target_mean, task.target_std
    scores = task.metric.per_example(net(task.test.x), task.test.y, scale)
    if not task.classes:
        return float(scores[:, 0].mean())
    return round(task.metric.total(scores), 2)


@pytest.mark.parametrize("kind", ["simple", "complex"])
@pytest.mark.parametrize("name", TASKS)
def test_roundings_without_chance_come_back_to_the_printed_digit(name, kind):
    task, net = edges_net(name, kind)
    published = results.load_table("edge_ptq", paths.PUBLISHED)
    cells = published[(published.task == task.name) & (published.model == f"mlp_{kind}")
                      & published.points.isna()]
    cells = cells[~cells.quantizer.isin([n for n in quant.METHODS if quant.is_random(n)])]
    assert len(cells) == (30 if task.classes else 36)
    for cell in cells.itertuples():
        ours = score(quant.ptq(net, cell.quantizer, bits=cell.bits, axis=None), task)
        if (cell.task, cell.model, cell.quantizer, cell.bits) == MISSED:
            assert 0.01 < 1 - ours / cell.score < 0.015
        elif task.classes:
            assert ours == cell.score, cell
        else:                               # Edge prints the mean of shuffled batches' means
            assert ours == pytest.approx(cell.score, rel=0.01), cell


@pytest.mark.parametrize("kind", ["simple", "complex"])
@pytest.mark.parametrize("name, printed", [("churn", 79.75), ("telescope", 63.99)])
def test_where_edge_printed_one_class_its_code_divides_by_zero(name, printed, kind):
    """Mid-rise within the fences, at every number of bits: the output bias has two values, so its
    quartiles coincide; the net answers NaN, whose argmax is class 0."""
    task, net = edges_net(name, kind)
    assert round(100 * float((task.test.y == 0).double().mean()), 2) == printed
    for bits in BITS:
        with pytest.raises(ValueError, match="a range of zero width, for which Edge's code"):
            quant.ptq(net, "edge_mid_rise_iqr", bits=bits, axis=None)


def test_chance_is_what_a_constant_answer_scores_on_edges_test_rows():
    published = results.load_table("edge_ptq", paths.PUBLISHED)
    for name in TASKS:
        task, _ = edges_net(name, "simple")
        y = task.test.y.double().numpy()
        told = published[published.task == task.name].chance.unique()
        constant = np.bincount(y.astype(int)).max() / len(y) * 100 if task.classes else y.var()
        assert told == pytest.approx([constant], rel=1e-3)
