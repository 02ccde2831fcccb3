"""Models as files, in tables and sentences."""

import pandas as pd
import pytest

from lib import tables
from lib.base.setting import FIELDS, TEXT_FIELDS
from lib.page import figures, findings_of_files
from lib.study import run

PAIR, SMALL = "breast_cancer/mlp_simple", "breast_cancer/mlp_simple/hidden=4"


@pytest.fixture
def ran():
    run.start("08_deploy", {"profile": "test", "workers": 1}, show=False)
    trials = run.grid([PAIR, SMALL]) + run.grid([PAIR, SMALL], deploy=["fp32", "static"])
    rows = run.each(trials)
    val = run.each(run.on_validation(trials))
    first = run.grid([PAIR], deploy="fp32")
    times = {batch: run.timed(list(dict.fromkeys(first + trials)), 2, batch) for batch in (1, 64)}
    points = tables.in_points(tables.losses(rows, [PAIR], run.scores()))
    val_points = tables.in_points(tables.losses(val, [PAIR], run.scores(), split="val"))
    return rows, tables.files(points, run.costs(), times), val_points


def test_each_file_has_its_loss_bytes_memory_and_times(ran):
    rows, found, val_points = ran
    assert set(found["id"]) == set(rows["id"]) and found["id"].is_unique
    assert set(FIELDS) <= set(found.columns)
    files = found[found.deploy != ""]
    assert (files["MiB resident"] > 0).all() and (files.agreement > 90).all()
    assert found[found.deploy == ""].agreement.isna().all()
    sizes = rows.set_index("id").size_bytes / 1024
    assert found.KiB.tolist() == pytest.approx(sizes[found["id"]].tolist())
    whole = found[found.deploy == "static"].set_index("sizes")
    floats = found[found.deploy == "fp32"].set_index("sizes")
    assert whole.by_codes.to_dict() == pytest.approx((whole.loss - floats.loss).to_dict())
    assert floats.by_codes.isna().all()
    reference = found[(found.deploy == "fp32") & (found.sizes == "")]
    assert reference["speedup at 1"].tolist() == reference["speedup at 64"].tolist() == [1.0]
    assert (found["ms at 64"] < found["ms at 1"]).all()             # of one example, each
    assert found.itself.tolist() == (found.sizes == "").tolist()


def test_a_net_that_a_pair_gives_its_sizes_is_itself_and_a_thinner_one_never_the_first():
    """Times pay back against the file of the net as trained, not against that of a masked one."""
    pair = "breast_cancer/mlp_simple/hidden=9"
    run.start("08_deploy", {"profile": "test", "workers": 1}, show=False)
    trials = [*run.grid([pair], deploy="fp32", pruner="magnitude_l1", amount=0.5, tuned="finetune",
                        epochs=1), *run.grid([pair]), *run.grid([pair], deploy="fp32")]
    rows = run.each(trials)
    points = tables.in_points(tables.losses(rows, run.nets_of([pair]), run.scores()))
    order = points.assign(first=points.pruner == "").sort_values("first").drop(columns="first")
    times = pd.DataFrame({"id": rows["id"], "latency_s": [0.001, 0.003, 0.002], "latency_low": 0.0,
                          "latency_high": 0.0, "speedup": 1.0, "speedup_low": 1.0,
                          "speedup_high": 1.0, "windows": 9})
    found = tables.files(order, run.costs(), {1: times})
    assert found.itself.all() and (found.iloc[0].pruner, len(found)) == ("magnitude_l1", 3)
    back = tables.seconds_back(found, run.costs())
    spared = (back.training_s / back.by_seconds).dropna()           # of the masked file alone
    assert spared.tolist() == pytest.approx([0.001] * 2)            # a line a process


def test_a_smaller_net_beside_several_has_the_times_of_each_one_s_own_windows():
    pairs = [PAIR, "breast_cancer/mlp_complex"]
    run.start("08_deploy", {"profile": "test", "workers": 1}, show=False)
    rows = run.each(run.grid([*pairs, SMALL], deploy="fp32") + run.grid([*pairs, SMALL]))
    points = tables.in_points(tables.losses(rows, run.nets_of(pairs), run.scores()))
    one = {"latency_low": 0.0, "latency_high": 0.0, "windows": 9}
    one |= dict.fromkeys(("speedup_low", "speedup_high"), 1.0)
    small = rows[(rows.sizes != "") & (rows.deploy != "")]["id"].item()
    times = pd.DataFrame([{"id": small, "net": "mlp_simple", "latency_s": 0.002, "speedup": 2.0},
                          {"id": small, "net": "mlp_complex", "latency_s": 0.003, "speedup": 3.0}])
    found = tables.files(points, run.costs(), {1: times.assign(**one)})
    assert not found.duplicated(["id", "net"]).any() and len(found) == len(points)
    told = found[found["id"] == small].set_index("net")
    assert told["speedup at 1"].to_dict() == {"mlp_simple": 2.0, "mlp_complex": 3.0}
    back = tables.seconds_back(found, run.costs())      # each against the net that it stands under
    assert len(back) and not back.duplicated(["net", "model", "technique", "process"]).any()
    with pytest.raises(pd.errors.MergeError):       # whose windows they are must be told
        tables.files(points, run.costs(), {1: times.assign(**one).drop(columns="net")})


def test_the_fastest_is_chosen_by_validation_among_files_alone(ran):
    _, found, val_points = ran
    chosen = tables.fastest(found, val_points)
    assert len(chosen) <= 1 and (chosen.deploy != "").all()
    everything = tables.fastest(found, val_points.assign(loss=0.0))
    files = found[found.deploy != ""]
    assert everything["ms at 1"].tolist() == [files["ms at 1"].min()]
    assert tables.fastest(found, val_points.assign(loss=2.0)).empty


def test_pictures_and_sentences_come_of_the_table(ran):
    _, found, val_points = ran
    others = found[(found.sizes == "") & (found.deploy != "fp32")]
    figure = figures.deploy.speedups(others, (1, 64))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "static int8", "torch"]
    axis = figures.deploy.front(found, "ms at 1", "ms").axes[0]
    assert axis.get_title("left") == "breast_cancer · mlp_simple"
    assert "Of 2 files in whole numbers" in findings_of_files.kept(found)
    assert "no file in whole numbers" in findings_of_files.kept(found[found.deploy == "fp32"])


def line(**more):
    nothing = {name: "" if name in TEXT_FIELDS else None for name in FIELDS}
    return {**nothing, "itself": True, "task": "t", "net": "n", "model": "n",
            "technique": "static int8", "speedup at 1": 2.0, "speedup_low at 1": 1.5,
            "speedup_high at 1": 2.5, "windows at 1": 9, "ms at 1": 3.0, "loss": 0.2,
            "low": -0.1, "high": 0.5, "deploy": "static"} | more


@pytest.mark.parametrize("low, high, told", [(1.5, 2.5, False), (0.9, 2.5, True),
                                             (0.4, 0.9, False)])
def test_a_speed_is_claimed_only_where_its_range_carries_it(low, high, told):
    chosen = pd.DataFrame([line(**{"speedup_low at 1": low, "speedup_high at 1": high})])
    sentence, = findings_of_files.fastest(chosen)
    assert ("cannot be told apart" in sentence) == told
    spoken, = findings_of_files.speeds(chosen, 1)
    assert f"2.00 [{low:.2f}, {high:.2f}] times as fast as the file of floats" in spoken
    assert ("cannot be told apart" in spoken) == told
    spoken, = findings_of_files.speeds(pd.concat([chosen, chosen.assign(net="other")]), 1)
    assert f"faster than the file of floats on {2 * int(low > 1)} of 2 nets" in spoken
    assert f"slower on {2 * int(high < 1)};" in spoken


def test_a_smaller_net_that_is_surely_better_gains_points():
    better = {"loss": -4.0, "low": -5.0, "high": -3.0}
    smaller, = findings_of_files.fastest(pd.DataFrame([line(itself=False, **better)]))
    assert "and gains 4.00 [3.00, 5.00] points on test on the net as trained" in smaller
    itself, = findings_of_files.fastest(pd.DataFrame([line(**better)]))
    assert "and loses -4.00 [-5.00, -3.00] points on test;" in itself
    unsure, = findings_of_files.fastest(pd.DataFrame([line(itself=False, loss=-1.0, low=-3.0)]))
    assert "and loses -1.00 [-3.00, 0.50] points on test;" in unsure


def test_a_net_whose_own_floats_are_fastest_is_told_so():
    """A ratio of a file to itself, 1.00 [1.00, 1.00], would be read as a measurement."""
    floats = line(deploy="fp32", technique="a file of floats", **{"speedup at 1": 1.0})
    sentence, = findings_of_files.fastest(pd.DataFrame([floats]))
    assert sentence == ("t n: of the files that lose no more than a point on validation none "
                        "answers faster than the net's own file of floats, 3 ms")
    for other in (line(**floats | {"itself": False}), line(**floats | {"pruner": "magnitude_l1"})):
        spoken, = findings_of_files.fastest(pd.DataFrame([other]))
        assert "n, a file of floats, answers in 3 ms" in spoken


def test_what_the_same_arithmetic_seems_to_gain_is_no_gain():
    same = {"deploy": "fp32", "speedup_low at 1": 1.01, "windows at 1": 9}
    found = pd.DataFrame([
        line(deploy="fp32", **{"speedup at 1": 1.0}),
        line(pruner="magnitude_l1", **same, **{"speedup at 1": 1.1}),
        line(quantizer="gptq", **same, **{"speedup at 1": 0.97}),
        line(pruner="magnitude_l1", structure="channel", **same, **{"speedup at 1": 1.6}),
        line(pruner="magnitude_l1", deploy="static", **{"speedup at 1": 3.0}),
        line(itself=False, quantizer="gptq", **same, **{"speedup at 1": 5.0})])
    control = findings_of_files.seeming(found, 1)
    assert control == (0.97, 1.1) and findings_of_files.seeming(found.head(1), 1) == (1.0, 1.0)
    sentence, = findings_of_files.controlled(found, 1)
    assert "seemed 0.97 to 1.10 times" in sentence
    assert findings_of_files.controlled(found.head(1), 1) == []
    little = pd.DataFrame([line(**{"speedup at 1": 1.09, "speedup_low at 1": 1.05})])
    assert "cannot be told" in findings_of_files.fastest(little, control)[0]
    assert "cannot be told" in findings_of_files.speeds(little, 1, control)[0]
    much = little.assign(**{"speedup at 1": 1.2})
    assert "cannot be told" not in findings_of_files.fastest(much, control)[0]
    several, = findings_of_files.speeds(pd.concat([little, much.assign(net="m")]), 1, control)
    assert "faster than the file of floats on 1 of 2 nets, slower on 0" in several


def test_few_windows_carry_no_speed():
    """Three of three are on one side once in four times."""
    one = pd.DataFrame([line(**{"windows at 1": 3})])
    for sentence in (*findings_of_files.fastest(one), *findings_of_files.speeds(one, 1)):
        assert "[1.50, 2.50] times as fast as the" in sentence
        assert "of 3 windows, which carries nothing" in sentence
    several, = findings_of_files.speeds(pd.concat([one, one.assign(net="other")]), 1)
    assert "on 0 of 2 nets, slower on 0" in several and several.endswith("carries nothing")
    enough, = findings_of_files.fastest(one.assign(**{"windows at 1": 6}))
    assert "carries nothing" not in enough and "cannot be told" not in enough


def test_a_training_has_paid_back_when_what_answers_spare_is_what_it_took():
    files = pd.DataFrame([
        line(id="a", deploy="fp32", sizes="", **{"ms at 1": 4.0}),
        line(id="b", deploy="static", sizes="", **{"ms at 1": 1.0}),
        line(id="c", deploy="static", sizes="", **{"ms at 1": 5.0})])
    costs = []
    for name, answer, training in (("a", 8.0, None), ("b", 2.0, 600.0), ("c", 9.0, 600.0)):
        costs.append((name, "energy_j", "modelled", "45 nm, x", answer))
        if training:
            costs += [(name, "spent_energy_j", "modelled", "45 nm, x", training),
                      (name, "spent_s", "measured", "clock", 30.0)]
    told = pd.DataFrame(costs, columns=["id", "quantity", "kind", "source", "value"])
    back = tables.seconds_back(files, told).set_index("training_s")
    first, second = back.iloc[0], back.iloc[1]
    assert first.by_seconds == pytest.approx(30 / 0.003) and first.by_joules == 100
    assert pd.isna(second.by_seconds) and pd.isna(second.by_joules)     # slower, and dearer
