"""Policies replayed against real files, as rows."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from lib import results
from lib.base import Setting
from lib.measure import replays
from lib.realtime import Controller, Rung
from lib.study import run

PAIR = "breast_cancer/mlp_simple"
POLICIES = ["slack", "literal", "slack, unsure twice", "slack, half the joules"]
# Long enough that requests come to a net of any speed: the load counts in what it can answer.
ASKED = {"policies": [*POLICIES, "fixed"], "traces": ["step, load 0.01"],
         "seeds": [0, 1], "objective": 1e6, "seconds": 0.5, "examples": 2}


@pytest.fixture
def ran():
    run.start("09_realtime", {"profile": "test", "workers": 1}, show=False)
    rungs = run.grid([PAIR], deploy=["fp32", "static"])
    return run.replayed(rungs, **ASKED), run.costs()


def test_a_rung_takes_from_one_answer_to_the_next_what_the_loop_does_included(monkeypatch):
    """Its own work and what is done beside it: 3 ms, but of one request in ten 5."""
    def served(times, inputs, targets, controller):
        assert (times == 0).all() and controller.objective == np.inf and len(controller.rungs) == 1
        took = np.where(np.arange(1, len(times)) % 10, 0.003, 0.005)
        return pd.DataFrame({"done": np.append(1.0, 1.0 + took.cumsum())})

    monkeypatch.setattr(replays.realtime, "replay", served)
    run.start("09_realtime", {"profile": "test", "workers": 1}, show=False)
    task, model, _ = run.made(run.grid([PAIR], deploy="fp32")[0])
    [rung] = replays.profiled([model], [Setting(deploy="fp32")], task, 2)
    assert rung.typical == pytest.approx(0.003) and rung.seconds == pytest.approx(0.005)


def test_rungs_are_timed_anew_before_each_trace(monkeypatch):
    """On a machine that grows ever slower objective and load follow what the floats take then."""
    seconds = iter(range(1, 100))
    met = []

    def slower(rungs, x, y):
        now = float(next(seconds))
        return [dataclasses.replace(rung, seconds=2 * now, median=now) for rung in rungs]

    def noted(times, x, y, controller, escalation=None):
        met.append((len(times), controller.objective))
        return None

    monkeypatch.setattr(replays, "timed", slower)
    monkeypatch.setattr(replays.realtime, "arrivals",
                        lambda name, rate, seconds, seed: np.zeros(round(1200 * rate)))
    monkeypatch.setattr(replays, "_told", lambda row, *_: row)
    monkeypatch.setattr(replays.realtime, "replay", noted)
    run.start("09_realtime", {"profile": "test", "workers": 1}, show=False)
    task, model, _ = run.made(run.grid([PAIR], deploy="fp32")[0])
    replays.replayed([model], [Setting(deploy="fp32")], task, policies=["slack"], seeds=[0, 1],
                     traces=["poisson, load 2", "step, load 2"], objective=3.0, seconds=1.0)
    assert met == [(1200, 12.0), (800, 18.0), (600, 24.0), (480, 30.0)]


def test_each_policy_trace_and_seed_is_a_row_with_what_it_came_to(ran):
    rows, costs = ran
    assert (rows.score_low >= 0).all() and (rows.score_high <= 100).all()
    fixed = {policy for policy in rows.policy if policy[:6] == "fixed "}
    assert set(rows.policy) == set(POLICIES) | fixed and len(fixed) == 2
    assert set(rows.trace) == {"step, load 0.01"} and set(rows.seed) == {0, 1}
    assert rows["id"].is_unique and set(rows.model) == {"mlp_simple"}
    assert set(rows.n) == {114}                     # test examples; how many came is a cost
    told = costs.pivot_table(index="id", columns="quantity", values="value")
    assert (told.right_in_time <= told.attainment).all()
    floats = rows[rows.policy == "fixed fp32"]          # answer as floats, whatever the trace
    assert told.floats_score[floats["id"]].to_numpy() == pytest.approx(floats.score.to_numpy())
    assert (rows.metric == "accuracy").all() and (rows.size_bytes > 0).all()
    choosing = rows[~rows.policy.isin(fixed)]
    alone = rows[rows.policy.isin(fixed)].drop_duplicates("policy")
    assert set(choosing.size_bytes) == {alone.size_bytes.sum()}     # all that it may choose from
    assert set(costs[costs.quantity == "escalated"]["id"]) == set(
        rows[rows.policy == "slack, unsure twice"]["id"])
    frugal = rows[rows.policy == POLICIES[-1]]["id"]        # its budget changes the rung
    assert (told.attainment == 1).all()
    assert (told.switches_per_minute.drop(frugal) == 0).all()
    slack = rows[rows.policy == "slack"]["id"]
    assert (told.joules_per_1000[frugal].to_numpy() <= told.joules_per_1000[slack].max()).all()
    assert ((rows.score_low <= rows.score) & (rows.score <= rows.score_high)).all()
    kinds = costs.groupby("quantity").kind.first()
    assert kinds["attainment"] == "measured" and kinds["joules_per_1000"] == "modelled"
    assert costs[costs.quantity == "p95"].source.str.contains(
        f"arrivals of {ASKED['seconds']} s").all()
    run.save()
    assert len(results.load("09_realtime")) >= len(rows)


def test_a_budget_of_joules_that_nobody_knows_is_no_policy():
    unknown = [Rung("floats", lambda x: x, 0.01, 90.0)]
    assert list(replays._choices(POLICIES, unknown, ["floats"])) == POLICIES[:3]


def test_which_rows_there_are_does_not_depend_on_what_a_clock_says_of_the_rungs(monkeypatch):
    run.start("09_realtime", {"profile": "test", "workers": 1}, show=False)
    asked = run.grid([PAIR], deploy=["fp32", "static"])
    files = [run.made(trial)[1] for trial in asked]
    settings = [trial.setting for trial in asked]
    task = run.made(asked[0])[0]
    found = []
    for kept in (slice(0, 1), slice(1, 2), slice(0, 2)):
        monkeypatch.setattr(replays.realtime, "ladder", lambda known, kept=kept: known[kept])
        told = replays.replayed(files, settings, task, **ASKED | {"policies": ["slack", "fixed"]})
        found.append([(row.policy, row.seed, row.size_bytes) for row, _ in told])
    assert found[0] == found[1] == found[2] and len(found[0]) == 6


def test_what_was_replayed_is_not_replayed_again(ran):
    rows, _ = ran
    again = run.replayed(run.grid([PAIR], deploy=["fp32", "static"]), **ASKED)
    pd.testing.assert_frame_equal(rows, again)


def test_a_choice_is_timed():
    rungs = [Rung("slow", len, 0.010, 90.0), Rung("fast", len, 0.001, 80.0)]
    assert 0 < replays.deciding(Controller(rungs, "slack", 0.05)) < 0.05
