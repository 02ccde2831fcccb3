"""Policies replayed against real files, as rows, tables and sentences."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from lib import tables
from lib.base import Setting, resampling
from lib.measure import replays
from lib.page import figures, findings_of_replays
from lib.realtime import Controller, Rung
from lib.study import run
from lib.tables import Row
from lib.tables.cells import UNTESTED

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
    assert len(tables.load("09_realtime")) >= len(rows)


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


def test_a_table_and_a_picture_of_policies_come_of_it(ran):
    rows, costs = ran
    told = tables.replays(rows, costs)
    assert len(told) == rows.policy.nunique() and (told.seeds == 2).all()
    assert (told.attainment_low == 1).all()
    axis = figures.realtime.policies(told).axes[0]
    assert axis.get_title("left") == "breast_cancer · step, load 0.01"
    assert "slack 0" in findings_of_replays.steady(told, 0.5)
    assert "goes up at most 120 times" in findings_of_replays.steady(told, 0.5)
    better = tables.better(rows, costs, "slack")
    assert better.attainment_gained.tolist() == [0]
    sentence, = findings_of_replays.gained(better, "slack")
    assert "surely more on 0 of 1 trace, surely fewer on 0; from +0.00 to +0.00 points" in sentence


def test_a_policy_beside_another_is_told_with_its_joules():
    rows = pd.DataFrame({"id": list("abcd"), "task": "t", "model": "m", "trace": "step",
                         "policy": ["slack", "slack", "frugal", "frugal"], "seed": [0, 1, 0, 1],
                         "score": [90.0, 90.0, 88.0, 88.2]})
    costs = pd.DataFrame({"id": list("abcd") * 2, "quantity": ["attainment"] * 4
                          + ["joules_per_1000"] * 4,
                          "value": [0.9, 0.9, 0.95, 0.96, 4.0, 4.0, 2.0, 1.0]})
    right = costs[costs.quantity == "attainment"].assign(quantity="right_in_time")
    costs = pd.concat([costs, right.assign(value=right.value - 0.1)])
    table = tables.beside(rows, costs, "frugal", "slack")
    line = table.iloc[0]
    assert line.joules == pytest.approx(0.375) and line.score_gained == pytest.approx(-1.9)
    assert line.attainment_gained == pytest.approx(0.055)
    assert line.score_gained_high > line.score_gained
    sentence = findings_of_replays.beside(table, "frugal", "slack")
    assert sentence == ("frugal against slack: surely more on 0 of 1 trace, surely fewer on 0; "
                        "from +5.50 to +5.50 points of all requests, at 0.38 to 0.38 times the "
                        "joules (modelled)")
    none = tables.beside(rows, costs, "random", "slack")
    assert findings_of_replays.beside(none, "random", "slack").endswith("met on no trace")


def test_a_choice_is_timed():
    rungs = [Rung("slow", len, 0.010, 90.0), Rung("fast", len, 0.001, 80.0)]
    assert 0 < replays.deciding(Controller(rungs, "slack", 0.05)) < 0.05


def replayed(attainments, policy):
    return [(f"{policy}{seed}", "t", "m", "bursty", policy, seed, 90.0, value)
            for seed, value in enumerate(attainments)]


def costs_of(rows):
    """What replays came to: all that is in time is right; the floats are, to 91.5 of 100."""
    told = {"attainment": rows.attainment, "right_in_time": rows.attainment, "floats_score": 91.5}
    return pd.concat([pd.DataFrame({"id": rows["id"], "quantity": name, "value": values})
                      for name, values in told.items()])


@pytest.mark.parametrize("own, told", [
    ((0.9, 0.92, 0.91), "surely more on 1 of 1 trace, surely fewer on 0"),
    ((0.9, 0.7, 0.8), "surely more on 0 of 1 trace, surely fewer on 0"),
    ((0.5, 0.52, 0.51), "surely more on 0 of 1 trace, surely fewer on 1")])
def test_a_gain_is_claimed_only_where_seeds_carry_it(own, told):
    """Fixed rungs answer 0.8, 0.81, 0.79 in time; pairs are of one seed."""
    lines = replayed(own, "slack") + replayed((0.8, 0.81, 0.79), "fixed a")
    lines += replayed((0.5, 0.5, 0.5), "fixed b")
    rows = pd.DataFrame(lines, columns=["id", "task", "model", "trace", "policy", "seed", "score",
                                        "attainment"])
    costs = costs_of(rows)
    better = tables.better(rows.drop(columns="attainment"), costs, "slack").iloc[0]
    assert better.fixed == "fixed a"
    gained = np.array(own) - [0.8, 0.81, 0.79]
    assert better.attainment_gained == pytest.approx(gained.mean())
    sentence, = findings_of_replays.gained(pd.DataFrame([better]), "slack")
    assert told in sentence and "most on bursty, against a alone: " in sentence


def test_what_is_kept_of_the_floats_is_told_with_what_they_answer_in_time():
    lines = replayed((0.99, 1.0), "slack") + replayed((0.3, 0.5), "fixed fp32")
    lines += replayed((1.0, 1.0), "clairvoyant")
    rows = pd.DataFrame(lines, columns=["id", "task", "model", "trace", "policy", "seed", "score",
                                        "attainment"])
    costs, plain = costs_of(rows), rows.drop(columns="attainment")
    table = tables.against_floats(plain, costs, "slack", "fixed fp32")
    line, = table.to_dict("records")
    assert line["floats_in_time"] == pytest.approx(0.4)
    assert line["in_time"] == pytest.approx(0.995) and line["behind"] == pytest.approx(0.005)
    assert line["lost"] == pytest.approx(1.5)           # 91.5 by the floats, 90 by what answered
    sentence, = findings_of_replays.kept(table, "slack")
    assert "least in time on bursty, 40.0 %, where slack answers 99.50 %" in sentence
    assert "99.50 %, on no trace less;" in sentence
    worse = table.assign(trace="step", floats_in_time=0.8, in_time=0.9)
    of_both, = findings_of_replays.kept(pd.concat([table, worse]), "slack")
    assert "99.50 %, its own least being 90.00 % on step;" in of_both
    assert "loses most score to the floats on bursty, 1.50 [1.50, 1.50] points" in sentence
    none = tables.against_floats(plain, costs, "slack", "fixed static")
    assert none.empty and findings_of_replays.kept(none, "slack") == []
    nobody = tables.better(plain, costs, "random")      # not among the policies
    assert nobody.empty and findings_of_replays.gained(nobody, "random") == []
    assert list(nobody.columns) == list(tables.better(plain, costs, "slack").columns)
    assert findings_of_replays.kept(table.assign(lost=np.nan), "slack") == []


def test_one_seed_carries_nothing():
    lines = replayed((0.9,), "slack") + replayed((0.8,), "fixed a")
    rows = pd.DataFrame(lines, columns=["id", "task", "model", "trace", "policy", "seed", "score",
                                        "attainment"])
    costs = costs_of(rows)
    better = tables.better(rows.drop(columns="attainment"), costs, "slack")
    sentence, = findings_of_replays.gained(better, "slack")
    assert "of one seed, which carries nothing" in sentence


def test_a_trace_is_a_picture_of_load_queue_rung_and_latency():
    lines = pd.DataFrame({"arrived": [0.0, 0.1, 0.2], "waiting": [1, 2, 1],
                          "began": [0.0, 0.1, np.nan], "done": [0.05, 0.2, np.nan],
                          "rung": ["a", "b", ""]})
    load, queue, chosen, took = figures.realtime.trace(lines, ["a", "b"], 0.08).axes
    assert max(load.lines[0].get_ydata()) > 0
    assert list(chosen.lines[0].get_ydata()) == [2, 1]
    assert list(took.lines[0].get_ydata()) == pytest.approx([50, 100])


CLAIMS = pd.DataFrame([("Real-time", "encoder", "said", 48.739, 48.739),
                       ("Real-time", "adapts", "said", None, None)],
                      columns=["study", "claim", "said", "low", "high"])


@pytest.mark.parametrize("own, verdict", [((0.9, 0.92, 0.91), "generalizes"),
                                          ((0.5, 0.4, 0.45), "does not generalize"),
                                          ((0.9, 0.7, 0.8), "undecided")])
def test_the_plans_rule_is_judged_against_the_best_single_model(own, verdict):
    lines = replayed(own, "literal") + replayed((0.8, 0.81, 0.79), "fixed a")
    rows = pd.DataFrame(lines, columns=["id", "task", "model", "trace", "policy", "seed", "score",
                                        "attainment"])
    costs = costs_of(rows)
    files = tables.frame([])
    told = tables.judge_serving(files, rows.drop(columns="attainment"), costs, CLAIMS)
    encoder, rule = told.to_dict("records")
    assert encoder["verdict"] == UNTESTED and rule["verdict"] == verdict
    assert rule["ours"] == pytest.approx(100 * (np.mean(own) - 0.8)) and rule["rows"] == 6


@pytest.mark.parametrize("right, verdict", [(425, "generalizes"), (790, "does not generalize")])
def test_the_encoders_score_is_judged_by_ours_as_trained(right, verdict):
    low, high = (100 * end for end in resampling.of_share(right, 872))
    more = {"task": "sst2", "model": "minilm", "n": 872, "metric": "accuracy",
            "score_low": low, "score_high": high}
    rows = tables.frame([Row(score=100 * right / 872, **more),
                         Row(score=99.0, deploy="static", **more)])
    none = tables.frame([])
    told = tables.judge_serving(rows, none, tables.load_costs("nothing"), CLAIMS)
    assert (told.verdict[0], told.rows[0]) == (verdict, 1)
    assert told.ours[0] == pytest.approx(100 * right / 872)
    assert told.verdict[1] == UNTESTED
