"""Published tables of 08 and 09: what was selected, and what follows from the rows."""

import numpy as np
import pandas as pd
import pytest

from lib import results
from lib.base import paths
from lib.results.policies import against, policies


@pytest.fixture(autouse=True)
def published():
    before = paths.profile()
    paths.profile("published")
    yield
    paths.profile(before)


@pytest.mark.parametrize("name", ["08_fastest", "08_taken"])
def test_nothing_that_was_selected_is_a_control_or_beside_an_unconverged_baseline(name):
    table = results.load_table(name)
    assert len(table) and not table.control.any()
    nets = results.networks(results.load("08_deploy"), ["08_deploy"])
    unusable = nets[nets.why_not != ""]
    assert table.merge(unusable[["task", "net"]], on=["task", "net"]).empty
    within = table.get("within", table.get("tolerance")).astype(float)
    kept = (table.evaluated <= within + 1e-9) & ~(table.evaluated_ratio > 1.1)
    assert (kept == table.kept).all() and not kept.all()


def test_the_fastest_is_no_slower_than_the_fp32_file_of_its_network():
    fastest, files = results.load_table("08_fastest"), results.load_table("08_files")
    fp32 = files[files.itself & (files.deploy == "fp32") & ~files.control
                 & (files.pruner == "")].set_index(["task", "net"])["ms at 1"]
    own = fastest.set_index(["task", "net"]).ms
    both = pd.concat([own, fp32], axis=1, join="inner")
    assert len(both) and (both.ms <= both["ms at 1"]).all()


def test_controls_are_the_fp32_files_of_rounded_or_masked_weights():
    files = results.load_table("08_files")
    masked = (files.pruner != "") & ~files.structure.str.startswith("channel")
    assert (files.control == ((files.deploy == "fp32") & ((files.quantizer != "") | masked))).all()


def test_tables_of_09_follow_from_its_rows_and_costs():
    rows, costs = results.load("09_realtime"), results.load_costs("09_realtime")
    key = ["task", "model", "trace", "policy"]
    stored, again = (table.set_index(key).sort_index()
                     for table in (results.load_table("replay"), policies(rows, costs)))
    for name in ("on_time_accuracy", "slo_attainment_low", "goodput", "energy_mj_high"):
        assert np.allclose(stored[name], again[name], rtol=1e-4, atol=1e-6)
    gains = results.load_table("09_gains")
    names = [one for one in again.reset_index().policy.unique() if not one.startswith("fixed ")]
    assert set(gains.policy) == set(names)
    fresh = against(rows, costs, names, best=True).set_index(key).sort_index()
    assert np.allclose(gains.set_index(key).sort_index().holm, fresh.holm, atol=1e-5)
    assert gains.best.all() and (gains.holm >= gains.p - 1e-9).all()
