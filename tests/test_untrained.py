"""An encoder under heads that nothing has trained."""

import pandas as pd
import pytest
import torch

from lib import models
from lib.base import paths
from lib.recipes import untrained
from lib.train import evaluate
from tests import toys


def test_each_head_scores_as_the_whole_network_with_it_would(monkeypatch):
    task = toys.sentences()
    given = models.build("bert_tiny", task, seed=3)
    monkeypatch.setattr(untrained, "recipe", lambda *names: {"start": "given"})
    monkeypatch.setattr(untrained, "fetch", lambda name: name)
    monkeypatch.setattr(untrained, "load_file", lambda path: given.state_dict())
    state = torch.random.get_rng_state()
    found = untrained.untrained(task, "bert_tiny", 4)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert found.seed.tolist() == [0, 1, 2, 3] and found.loss.nunique() == 4
    for line in found.itertuples():
        torch.manual_seed(line.seed)
        given.head = torch.nn.Linear(given.head.in_features, task.outputs)
        whole = evaluate(given, task)
        assert line.score == pytest.approx(whole.score)
        assert line.loss == pytest.approx(whole.loss, rel=1e-4)


def test_the_committed_heads_are_of_sst2s_dev_set():
    table = pd.read_csv(paths.RESULTS / f"{untrained.NAME}.csv")
    assert (table.n == 872).all() and table.seed.is_unique and len(table) >= 20
    assert table.score.to_numpy() == pytest.approx((100 * table.correct / table.n).to_numpy(), 1e-4)
