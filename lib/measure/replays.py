"""Policies that choose a precision, replayed in real time: a Row a policy, trace and seed."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from lib import realtime
from lib.base import machine
from lib.base.resampling import of_mean
from lib.base.setting import Setting
from lib.measure.row import Measured, measure, name_of
from lib.realtime import Controller, Rung
from lib.realtime.controller import DWELL_S, FRUGAL, TWICE
from lib.study import cache, trials
from lib.tables.rows import Cost, Row

TURNS, IN_A_TURN = 10, 20       # requests to each rung, of which the 95th percentile counts
CHOICES = 1000                  # of a rung, of whose times the median counts
REQUESTS = 2000                 # examples that requests are drawn from, in their order
JOULES = 0.5                    # of what the floats would take for all requests: a budget
SAVED = 0.1                     # of a trace, for which that budget may be saved up
# What a replay comes to, beside its score: what of it is measured in which unit.
QUANTITIES = ("attainment", "right_in_time", "p50", "p95", "p99", "shed", "failed", "escalated",
              "utilization", "switches_per_minute", "floats_score")


def recorded(said: dict[str, Any]) -> cache.Built:
    """What `replayed` gives of some trials' nets, as plain values.

    said: {"trials": their values, and the arguments of `replayed`}.
    """
    asked = [trials.Trial.of(values) for values in said["trials"]]
    nets = [trials.made(trial) for trial in asked]
    others = {name: value for name, value in said.items() if name != "trials"}
    return trials.records(replayed([model for _, model, _ in nets],
                                   [trial.setting for trial in asked], nets[0][0], **others))


def replayed(models: Sequence[nn.Module], settings: Sequence[Setting], task, *,
             policies: Sequence[str], traces: Sequence[str], seeds: Sequence[int],
             objective: float, seconds: float, examples: int = 1, dwell: float = DWELL_S
             ) -> list[Measured]:
    """Every policy on every trace and seed, against real rungs on this machine.

    models, settings: those of the net that all are measured by, as floats, first; policies: of
    `realtime.POLICIES`, which choose among the rungs that are worth having here, or "fixed" for
    each model alone; traces: as of `realtime.loaded`, with their load as a multiple of what the
    floats can answer, one after the other (by their median); objective: from arrival to answer, as
    a multiple of what they take (95th percentile); seconds: of a trace; examples: that a request
    holds; dwell: as of `realtime.Controller`. Policies take turns on the same arrivals, before
    which the rungs are timed anew, for a machine is not always as fast. A row's n is of the
    examples that requests are drawn from, its size that of all files that the policy could choose
    from: neither depends on a clock. floats_score is what the floats would have scored on the
    requests that were answered.
    ValueError: a task without classes.
    """
    if not task.classes:
        raise ValueError(f"{task.name} predicts a number; requests are judged right or wrong")
    loads = {trace: realtime.loaded(trace) for trace in traces}
    known = profiled(models, settings, task, examples)
    names = [rung.name for rung in realtime.ladder(known)]
    again = _asked_again(realtime.ladder(known), task, examples) if TWICE in policies else None
    net, (x, y) = _net(models[0]), _requests(task.test, examples)
    right = _right(known[0], x, y)
    offered = sum(rung.bytes for rung in known)
    found = []
    for trace, (name, load) in loads.items():
        for seed in seeds:
            known = timed(known, x, y)
            floats, by_name = known[0], {rung.name: rung for rung in known}
            rungs = [by_name[rung] for rung in names]
            times = realtime.arrivals(name, load / floats.typical, seconds, seed)
            for policy, choice in _choices(policies, known, rungs).items():
                controller = Controller(choice, policy, objective * floats.seconds, dwell,
                                        _budget(policy, floats, load), SAVED * seconds, seed)
                lines = realtime.replay(times, x, y, controller,
                                        escalation=again if policy == TWICE else None)
                row = Row(task=task.name, model=net, seed=seed, fold=task.fold,
                          n=len(y.flatten()), policy=policy, trace=trace,
                          size_bytes=offered if policy in policies else choice[0].bytes)
                found.append(_told(row, lines, controller, seconds, right))
    return found


def profiled(models: Sequence[nn.Module], settings: Sequence[Setting], task, examples: int = 1
             ) -> list[Rung]:
    """The rungs of some models, in their order: their 95th percentile of a request of so many
    examples, their score on the validation part, bits and bytes, and modelled joules; each of the
    name that `called` gives it."""
    rungs = []
    for model, setting in zip(models, settings, strict=True):
        row, costs = measure(model, task, setting=setting, split="val")
        joules = [cost.value for cost in costs if cost.quantity == "energy_j"]
        codes = getattr(model, "codes", None)
        rungs.append(Rung(called(_net(model), setting, _net(models[0])),
                          partial(_several, model.eval()), np.nan, row.score,
                          (codes and codes.w_bits) or 32,
                          examples * joules[0] if joules else np.nan, row.size_bytes or 0))
    return timed(rungs, *_requests(task.test, examples))       # those that will be replayed


def timed(rungs: Sequence[Rung], x: torch.Tensor, y: torch.Tensor) -> list[Rung]:
    """The rungs with what a request takes each now, as it is served: from one answer to the next
    of requests that all wait, so that what the loop does beside a rung's own work counts too.

    x, y: requests, and what they should be answered. Rungs take turns.
    """
    took = np.zeros((TURNS, len(rungs), IN_A_TURN))
    for turn in range(-1, TURNS):                   # the first is to get warm
        for place, rung in enumerate(rungs):
            controller = Controller([replace(rung, seconds=0.0)], f"fixed {rung.name}", np.inf)
            with torch.no_grad():
                lines = realtime.replay(np.zeros(IN_A_TURN + 1), x, y, controller)
            took[turn, place] = np.diff(lines.done)
    usual, slow = np.quantile(took, [0.5, 0.95], axis=(0, 2))
    return [replace(rung, seconds=float(slow[place]), median=float(usual[place]))
            for place, rung in enumerate(rungs)]


def called(net: str, setting: Setting, first: str) -> str:
    """What a rung is called: its setting, after the net where that is not the first one."""
    return str(setting) if net == first else f"{net} {setting}"


def deciding(controller: Controller) -> float:
    """Median seconds of a choice, where one request waits."""
    took, now = np.zeros(CHOICES), 0.0
    for place in range(CHOICES):
        clock = realtime.Clock()
        controller.choose(now, [now])
        took[place] = clock.now()
        now += controller.objective
    return float(np.median(took))


def _choices(policies: Sequence[str], known: Sequence[Rung], rungs: Sequence[Rung]
             ) -> dict[str, Sequence[Rung]]:
    """What each policy chooses from: the rungs, or of "fixed" one file alone, whatever it is. A
    budget of joules needs to know them."""
    choices = {policy: rungs for policy in policies if policy != "fixed"}
    if not known[0].joules > 0:
        choices.pop(FRUGAL, None)
    if "fixed" in policies:
        choices |= {f"fixed {rung.name}": [rung] for rung in known}
    return choices


def _requests(part, examples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first requests of a part, of so many examples each: (requests, examples, …)."""
    count = min(REQUESTS, len(part)) // examples
    x, y = part.batch(slice(count * examples)), part.y[:count * examples]
    return x.unflatten(0, (count, examples)), y.unflatten(0, (count, examples))


def _net(model: nn.Module) -> str:
    """The name of a model, or of that which a file is of."""
    return name_of(getattr(model, "made_from", model))


def _right(rung: Rung, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Which requests a rung answers right, or the share of each one's examples: (requests,)."""
    with torch.no_grad():
        found = [(rung.call(one[None])[0].argmax(-1) == target).double().mean()
                 for one, target in zip(x, y, strict=True)]
    return torch.stack(found).numpy()


def _budget(policy: str, floats: Rung, load: float) -> float | None:
    """Joules a second that a policy may spend; None for what it likes."""
    if policy != FRUGAL:
        return None
    return JOULES * floats.joules * load / floats.typical


def _asked_again(rungs: Sequence[Rung], task, examples: int) -> realtime.Escalation | None:
    """How unsure the fastest rung must be for its answers to be asked of the first again, by the
    validation part; None where that gains nothing."""
    first, last = rungs[0], min(rungs, key=lambda rung: rung.typical)
    x, y = _requests(task.val, examples)
    with torch.no_grad():
        answers = [torch.cat([rung.call(request[None]) for request in x])
                   for rung in (last, first)]
    return realtime.that_pays(*answers, y, 1 - last.typical / first.typical)


def _several(model: nn.Module, requests: torch.Tensor) -> torch.Tensor:
    """The answers to requests that hold several examples each, (n, examples, outputs)."""
    answers = model(requests.flatten(0, 1))
    return answers.unflatten(0, requests.shape[:2])


def _told(row: Row, lines: pd.DataFrame, controller: Controller, seconds: float,
          right: np.ndarray) -> Measured:
    """The row of one replay, filled in, and its costs; right: of each request, by the floats."""
    answered = lines[lines.correct.notna()]
    told = realtime.summary(lines, controller, seconds)
    if controller.policy != TWICE:
        told.pop("escalated")               # nobody else asks twice
    if len(answered):
        correct = answered.correct.to_numpy(float)
        low, high = np.clip(100 * np.array(of_mean(correct)), 0, 100)      # of few it reaches on
        told["floats_score"] = 100 * right[answered.index.to_numpy() % len(right)].mean()
        row = replace(row, metric="accuracy", score=told["score"], score_low=low, score_high=high)
    row = replace(row, runtime="onnxruntime", batch=1)
    source = f"arrivals of {seconds:g} s on {machine.processor()}, 1 thread"
    costs = [Cost(row.id, name, "measured", source, float(told[name])) for name in QUANTITIES
             if np.isfinite(told.get(name, np.nan))]
    if np.isfinite(told["joules_per_1000"]):
        costs.append(Cost(row.id, "joules_per_1000", "modelled",
                          "45 nm, by the rungs that answered", told["joules_per_1000"]))
    return Measured(row, costs)
