"""data/results/energy_remade: modelled energies of published rows, without a step."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from lib import energy, models, quant
from lib.base import paths
from lib.tables import store
from lib.tables.rows import setting_of

CHAPTERS = ("02_train", "03_ptq", "04_prune", "05_qat", "06_resnet_energy", "07_distill",
            "08_deploy", "09_realtime")


@pytest.fixture(scope="module")
def remade() -> pd.DataFrame:
    return store.load_table("energy_remade", paths.RESULTS)


@pytest.fixture(autouse=True)
def published():
    before = paths.profile()
    paths.profile("published")
    yield
    paths.profile(before)


def test_each_line_is_of_a_test_row_by_one_process_without_a_step(remade):
    rows = pd.concat([store.load(chapter) for chapter in CHAPTERS]).drop_duplicates("id")
    tested = set(rows[(rows.split == "test") & rows.macs.notna()].id)
    assert set(remade.id) <= tested
    assert list(remade.columns) == list(store.COST_COLUMNS)
    assert not store.of_step_model(remade).any()
    processes = remade.source.str.partition(",")[0]
    assert remade.groupby("id").size().eq(len(energy.PROCESSES)).all()
    assert not pd.DataFrame({"id": remade.id, "process": processes}).duplicated().any()
    ranged = remade[remade.low.notna()]
    assert (ranged.low <= ranged.value).all() and (ranged.value <= ranged.high).all()
    assert (remade.value > 0).all()


# (chapter, model, sizes, quantizer, bits): floats, and codes with a scale and a zero a channel
KNOWN = [("08_deploy", "resnet20", "", "", None), ("08_deploy", "resnet20", "width=8", "", None),
         ("03_ptq", "resnet20-akamaster", "", "affine", 4),
         ("03_ptq", "resnet20-akamaster", "", "gptq", 8)]


@pytest.mark.parametrize("chapter, model, sizes, quantizer, bits", KNOWN)
def test_energies_are_those_of_a_rebuilt_network(remade, chapter, model, sizes, quantizer, bits):
    rows = store.load(chapter)
    rows = rows[(rows.task == "cifar10") & (rows.model == model) & (rows.sizes == sizes)
                & (rows.split == "test") & (rows.pruner == "") & (rows.deploy == "")
                & (rows.tuned == "") & (rows.quantizer == quantizer) & rows.a_bits.isna()
                & (rows.bits.fillna(0) == (bits or 0)) & (rows.repairs == "")]
    assert len(rows) == 1
    task = SimpleNamespace(inputs=(3, 32, 32), outputs=10, mean=torch.zeros(3), std=torch.ones(3))
    net = models.build(model, task, **setting_of(rows.iloc[0]).build_arguments)
    net = quant.ptq(net, "affine", bits=bits) if quantizer else net.eval()
    table = energy.layers(net, torch.rand(1, 3, 32, 32))
    own = remade[remade.id == rows.id.iloc[0]].set_index("source").value
    for process in energy.PROCESSES:
        found = energy.modelled(table, process)
        assert own[found.attrs["source"]] == pytest.approx(found.energy_j.sum(), rel=1e-5)
