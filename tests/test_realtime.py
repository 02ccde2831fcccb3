"""A precision that adapts: traces, ladders, policies, and a replay on a clock that is not real."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from lib import realtime
from lib.realtime import Controller, Rung
from lib.realtime.controller import DWELL_S, INTERVAL

CLASSES = 4


class Pretended(realtime.Clock):
    """A clock that goes only when something is done."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    def sleep_until(self, then):
        self.time = max(self.time, then)


def requests(count=200, seed=0):
    """Inputs that hold their class, and the classes."""
    y = torch.arange(count) % CLASSES
    return torch.nn.functional.one_hot(y, CLASSES).float(), y


def rung(name, seconds, score, clock=None, **more):
    """A rung that takes so long, and is right so often (by an even pattern)."""
    calls = itertools.count(1)

    def call(x):
        if clock is not None:
            clock.time += seconds
        number = next(calls)
        right = int(number * score / 100) > int((number - 1) * score / 100)
        return 4 * x if right else -4 * x
    return Rung(name, call, seconds, score, **more)


def ladder(clock=None):
    return realtime.ladder([rung("fp32", 0.010, 92.0, clock, bits=32, joules=4.0, bytes=400),
                            rung("int8", 0.003, 91.0, clock, bits=8, joules=1.0, bytes=100),
                            rung("student", 0.001, 85.0, clock, bits=8, joules=0.3, bytes=50)])


def played(policy, rate, seconds=20.0, trace="poisson", objective=0.05, seed=0, **more):
    clock = Pretended()
    controller = Controller(ladder(clock), policy, objective, seed=seed, **more)
    x, y = requests()
    lines = realtime.replay(realtime.arrivals(trace, rate, seconds, seed), x, y, controller, clock)
    return realtime.summary(lines, controller, seconds), lines, controller


def test_judging_answers_takes_nobodys_time(monkeypatch):
    """Whether an answer is right is asked by whoever reads the replay, not by who waits."""
    clock = Pretended()
    x, y = requests()
    judged = realtime.replay.__globals__["margin"]

    def slow(logits):
        clock.time += 1.0
        return judged(logits)

    monkeypatch.setitem(realtime.replay.__globals__, "margin", slow)
    controller = Controller([rung("only", 0.01, 92.0, clock)], "fixed only", 100.0)
    lines = realtime.replay(np.zeros(50), x, y, controller, clock)
    assert np.diff(lines.done) == pytest.approx(0.01) and clock.time > 50
    assert lines.correct.sum() == 46 and lines.margin.notna().all()


@pytest.mark.parametrize("trace", list(realtime.TRACES))
def test_a_trace_comes_from_its_seed_and_has_the_rate_asked_for(trace):
    counts = []
    for seed in range(20):
        times = realtime.arrivals(trace, 50.0, 40.0, seed)
        assert (np.diff(times) >= 0).all() and 0 <= times.min() and times.max() < 40
        assert np.array_equal(times, realtime.arrivals(trace, 50.0, 40.0, seed))
        counts.append(len(times))
    spread = np.std(counts, ddof=1) / np.sqrt(len(counts))
    assert abs(np.mean(counts) - 2000) < 4 * spread
    assert not np.array_equal(times, realtime.arrivals(trace, 50.0, 40.0, 99))


def test_steps_and_days_are_where_they_are_said_to_be():
    times = realtime.arrivals("step", 100.0, 60.0, 0)
    thirds = np.histogram(times, [0, 20, 40, 60])[0]
    assert 3 < thirds[1] / thirds[0] < 5 and 3 < thirds[1] / thirds[2] < 5
    times = realtime.arrivals("diurnal", 100.0, 60.0, 0)
    assert 2 < (times < 30).sum() / (times >= 30).sum() < 5
    spread = [np.var(np.histogram(realtime.arrivals(trace, 100.0, 60.0, 0), 120)[0])
              for trace in ("poisson", "bursty")]
    assert spread[1] > 5 * spread[0]


@pytest.mark.parametrize("trace, rate, seconds, said", [
    ("weekly", 1, 1, "no trace 'weekly'; choose one of: poisson, bursty, diurnal, step"),
    ("step", 0, 1, "0 requests a second for 1 s"), ("step", 1, -1, "1 requests a second for -1 s")])
def test_what_is_no_trace_is_refused(trace, rate, seconds, said):
    with pytest.raises(ValueError, match=said):
        realtime.arrivals(trace, rate, seconds, 0)


def test_a_trace_is_written_with_its_load():
    assert realtime.loaded("bursty, load 1.2") == ("bursty", 1.2)
    for wrong in ("bursty", "bursty, load 0", "weekly, load 1", "bursty, load much"):
        with pytest.raises(ValueError, match="write it as in 'bursty, load 1.2', with one of: poi"):
            realtime.loaded(wrong)


def test_a_rung_that_saves_neither_time_nor_energy_is_none():
    slow = rung("four bits", 0.011, 91.5, joules=5.0)
    frugal = rung("frugal", 0.011, 91.4, joules=0.5)
    names = [one.name for one in realtime.ladder([*ladder(), slow, frugal])]
    assert names == ["fp32", "frugal", "int8", "student"]
    noise = rung("nested at 4 bits", 0.00291, 90.0, joules=1.0)     # int8 kernels, as int8 takes
    assert [one.name for one in realtime.ladder([*ladder(), noise])] == ["fp32", "int8", "student"]
    # The 95th percentiles of one file, taken twice, differ by noise.
    jumpy = rung("again int8", 0.0025, 90.0, joules=1.0, median=0.0030)
    steady = rung("int8", 0.003, 91.0, joules=1.0, median=0.0030)
    assert [one.name for one in realtime.ladder([steady, jumpy])] == ["int8"]
    for bad in ([], [slow, slow]):
        with pytest.raises(ValueError, match="variants of different names"):
            realtime.ladder(bad)


def test_under_light_load_the_score_is_that_of_the_most_accurate_rung():
    found, lines, controller = played("slack", rate=5)
    fixed, same, _ = played("fixed fp32", rate=5)
    assert set(lines.rung) == {"fp32"} and controller.switches == 0
    assert found["score"] == fixed["score"] and found["attainment"] == 1
    assert lines.done.equals(same.done)


def test_where_the_accurate_rung_is_too_slow_the_controller_keeps_time_and_score():
    """200 a second are twice what fp32 can answer."""
    fixed, adaptive = played("fixed fp32", 200)[0], played("slack", 200)[0]
    assert fixed["attainment"] < 0.6 and adaptive["attainment"] >= 0.99
    assert adaptive["score"] > played("fixed student", 200)[0]["score"]
    assert adaptive["joules_per_1000"] < fixed["joules_per_1000"]


@pytest.mark.parametrize("trace", ["bursty", "step"])
def test_on_a_mixed_trace_it_beats_every_fixed_rung_and_is_close_to_who_knows_what_comes(trace):
    adaptive = played("slack", 120, trace=trace)[0]
    oracle = played("clairvoyant", 120, trace=trace)[0]
    for name in ("fp32", "int8", "student"):
        fixed = played(f"fixed {name}", 120, trace=trace)[0]
        assert (adaptive["attainment"] > fixed["attainment"] + 0.01
                or adaptive["score"] > fixed["score"] + 0.2), name
    assert adaptive["attainment"] >= oracle["attainment"] - 0.02
    assert oracle["score"] >= adaptive["score"] - 0.5


def test_dwell_bounds_how_often_it_goes_to_and_fro():
    steady, _, controller = played("slack", 120, trace="bursty")
    jumpy = played("slack at once", 120, trace="bursty")[0]
    assert 0 < steady["switches_per_minute"] <= 2 * 60 / DWELL_S * (len(controller.rungs) - 1)
    assert steady["switches_per_minute"] < 0.5 * jumpy["switches_per_minute"]


def test_the_literal_rule_halves_the_bits_every_thousand_requests():
    found, lines, _ = played("literal", 150, seconds=30.0)
    answered = lines[lines.done.notna()].reset_index()
    changes = answered.index[answered.rung != answered.rung.shift()].tolist()[1:]
    assert changes and all(place % INTERVAL == 0 for place in changes)
    assert answered.rung[0] == "fp32" and answered.rung[changes[0]] == "int8"
    calm = played("literal", 5, seconds=400.0)[1]
    assert set(calm.rung) == {"fp32"}


def test_a_budget_is_not_overdrawn():
    free, _, _ = played("slack", 20, seconds=60)
    bound, lines, controller = played("slack", 20, seconds=60, budget=30.0, saved=2.0)
    spent = (lines.rung.map({one.name: one.joules for one in controller.rungs})).sum()
    assert spent <= 30.0 * (60 + 2) + 4.0 and bound["attainment"] == 1
    assert free["joules_per_1000"] == 4000 > bound["joules_per_1000"]


def test_what_is_malformed_gets_a_sentence_and_the_loop_goes_on():
    clock = Pretended()
    controller = Controller(ladder(clock), "slack", 0.05)
    x, y = requests(6)
    broken = [x[0], x[1][:3], x[2] * np.nan, "text", x[4], x[5]]
    lines = realtime.replay(np.arange(6) / 10, broken, y, controller, clock)
    assert lines.error.map(bool).tolist() == [False, True, True, True, False, False]
    assert lines.error[1] == "a request has the shape (4,), not (3,)"
    assert "finite numbers" in lines.error[2] and "not str" in lines.error[3]
    assert realtime.summary(lines, controller, 1.0)["failed"] == 0.5


def test_what_can_no_longer_be_in_time_is_shed_and_counted():
    found, lines, _ = played("fixed fp32", 500, seconds=5.0)
    shed = lines[lines.error != ""]
    assert found["shed"] == len(shed) / len(lines) > 0.5
    assert shed.error.map(lambda words: words[:5] == "shed:").all()
    assert found["p99"] <= 0.05 + 0.010 + 1e-9                  # who is answered is not far off
    assert len(lines) == len(realtime.arrivals("poisson", 500, 5.0, 0))


def test_a_rung_that_dies_is_replaced_and_when_all_are_dead_it_is_said():
    clock, x, y = Pretended(), *requests(20)

    def dies(_):
        raise RuntimeError("out of memory")
    rungs = ladder(clock)
    broken = [Rung("fp32", dies, 0.010, 92.0), *rungs[1:]]
    controller = Controller(broken, "slack", 0.05)
    lines = realtime.replay(np.arange(20) / 10, x, y, controller, clock)
    assert set(lines.rung) == {"int8"} and (lines.error == "").all() and controller.dead == {0}
    nothing = Controller([Rung("nan", lambda x: x * np.nan, 0.001, 1.0)], "slack", 0.05)
    lines = realtime.replay(np.arange(3) / 10, x, y, nothing, Pretended())
    assert lines.error.map(lambda words: "every variant has failed" in words).all()
    assert "its answer is not finite" in lines.error[0]


def test_an_unsure_answer_is_asked_again_where_there_is_time():
    clock, (x, y) = Pretended(), requests(40)
    unsure = Rung("unsure", lambda x: 0.01 * torch.roll(x, 1, -1), 0.001, 25.0)
    rungs = [rung("sure", 0.010, 100.0, clock), unsure]
    for objective, asked_again in ((0.05, True), (0.005, False)):
        controller = Controller(rungs, "fixed unsure", objective)
        lines = realtime.replay(np.arange(40) / 10 + clock.now(), x, y, controller, clock,
                                realtime.Escalation(0.5))
        assert (lines.escalated == asked_again).all()
        assert lines.correct.mean() == (1.0 if asked_again else 0.0)


def asked_again(**more):
    """A rung that is always unsure, and what a best one makes of its answers."""
    clock, (x, y) = Pretended(), requests(40)
    unsure = Rung("unsure", lambda x: 0.01 * x, 0.001, 25.0, joules=1.0)
    best = more.pop("best", rung("sure", 0.010, 100.0, clock, joules=4.0))
    controller = Controller([best, unsure], "fixed unsure", 0.05, **more)
    lines = realtime.replay(np.arange(40) / 10, x, y, controller, clock, realtime.Escalation(0.5))
    return lines, realtime.summary(lines, controller, 4.0), controller


def test_a_budget_pays_for_answers_that_are_asked_again():
    lines, free, _ = asked_again()
    assert (lines.joules == 5.0).all() and free["joules_per_1000"] == 5000
    lines, bound, _ = asked_again(budget=20.0, saved=0.5)       # 10 joules saved, 2 a request
    assert 0 < lines.escalated.sum() < 40 and (lines.error == "").all()
    assert lines.joules.sum() <= 20.0 * 4 + 10.0 + 4.0


def test_a_rung_that_dies_when_it_is_asked_again_leaves_the_answer_there_was():
    def dies(_):
        raise RuntimeError("out of memory")
    lines, _, controller = asked_again(best=Rung("dies", dies, 0.010, 100.0, joules=4.0))
    assert controller.dead == {0} and not lines.escalated.any() and (lines.error == "").all()
    assert (lines.correct == 1).all() and (lines.joules == 1.0).all()


def test_joules_that_are_not_known_are_not_told():
    rungs = [rung("floats", 0.010, 92.0), rung("int8", 0.003, 91.0, joules=1.0)]
    x, y = requests()
    for saving, expected in ((False, "floats"), (True, "int8")):
        controller = Controller(rungs, "slack", 0.05, budget=100.0 if saving else None)
        lines = realtime.replay(np.arange(20) / 10, x, y, controller, Pretended())
        assert set(lines.rung) == {expected}
        told = realtime.summary(lines, controller, 2.0)["joules_per_1000"]
        assert told == 1000 if saving else np.isnan(told)


def test_who_waits_is_shed_by_the_fastest_rung_that_lives():
    clock, (x, y) = Pretended(), requests(20)

    def dies(_):
        raise RuntimeError("out of memory")
    rungs = [rung("slow", 0.030, 92.0, clock), Rung("fast", dies, 0.001, 90.0)]
    controller = Controller(rungs, "fixed fast", 0.05)
    lines = realtime.replay(np.zeros(5), x, y, controller, clock)
    assert lines.rung.tolist() == ["slow", "", "", "", ""] and controller.dead == {1}
    assert lines.error[1].endswith("the fastest rung takes 0.030 s")


def test_asking_again_pays_below_a_margin_that_gains_on_other_requests():
    """Of ten requests the faster rung is wrong in the three that it is least sure of, and right in
    the rest; the best is wrong where the faster one is surest."""
    targets = torch.zeros(10, dtype=torch.long)
    sure = torch.linspace(0.1, 2.0, 10)
    fast = torch.stack([sure, torch.zeros(10)], 1)
    fast[:3] = fast[:3].flip(1)
    best = torch.tensor([[3.0, 0.0]]).repeat(10, 1)
    best[9] = best[9].flip(0)
    found = realtime.that_pays(fast, best, targets, most=0.5)
    margins = [float(logits.softmax(-1).diff().abs()) for logits in fast]
    assert margins[2] < found.margin < margins[3]
    few = realtime.that_pays(fast, best, targets, most=0.25)            # two of ten
    assert margins[1] < few.margin < margins[2]
    assert realtime.that_pays(best, fast, targets, most=0.05) is None   # none may be asked
    assert realtime.that_pays(fast, fast, targets, most=1.0) is None    # nothing is gained
    several = realtime.that_pays(fast.reshape(5, 2, 2), best.reshape(5, 2, 2),
                                 targets.reshape(5, 2), most=0.5)
    assert margins[2] < several.margin < margins[4]     # the least sure of each request counts


def test_what_a_switch_costs_is_told_of_first_answers():
    began = np.arange(6.0)
    lines = pd.DataFrame({"began": began, "done": began + [0.1, 0.1, 0.3, 0.2, 0.2, 0.5],
                          "rung": ["a", "a", "b", "b", "b", "a"], "escalated": False})
    told = realtime.switching(lines).set_index("rung")
    assert told.loc["b"].tolist() == [pytest.approx(0.2), pytest.approx(0.3), 1]
    assert told.loc["a"].tolist() == [pytest.approx(0.1), pytest.approx(0.5), 1]
    assert realtime.switching(lines[lines.rung == "a"].head(2)).empty


def test_unknown_policies_and_rungs_are_named():
    with pytest.raises(ValueError, match="no policy 'best'; choose one of: slack, slack at once"):
        Controller(ladder(), "best", 0.05)
    with pytest.raises(ValueError, match="no variant .int2. to stay with; choose one of: fp32"):
        Controller(ladder(), "fixed int2", 0.05)


def test_who_is_lost_anyway_takes_no_time_from_those_before():
    times = np.array([0.0, 1.0, 1.0, 1.0, 1.0])
    by = realtime.begin_by(times, 1.0, 0.5)
    assert by.tolist() == [0.5, 1.0, 1.0, 1.0, 1.5, np.inf]
