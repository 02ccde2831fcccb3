"""A trace of requests against the rungs of a task, one request at a time, in the order they come.

The clock is the machine's own, so that what a rung takes is measured; a test puts another in its
place. Two stated rules keep the loop going. A request that has waited so long that even the fastest
rung would answer it late is shed. A request that is malformed, or on which every rung fails, gets a
sentence in place of an answer.
"""

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib.realtime.controller import Controller, begin_by
from lib.realtime.escalation import Escalation, margin

NOTHING = {"began": np.nan, "done": np.nan, "rung": "", "correct": np.nan, "margin": np.nan,
           "escalated": False, "joules": np.nan, "error": ""}     # of a request without an answer
AWAKE_S = 0.002             # before a request comes, the loop waits without sleeping
COLUMNS = ("arrived", "waiting", *NOTHING)


class Clock:
    """The machine's own, from 0 at its making."""

    def __init__(self):
        self._start = time.perf_counter()

    def now(self) -> float:
        return time.perf_counter() - self._start

    def sleep_until(self, then: float) -> None:
        """Sleep, and be awake at the very moment: a sleeper is woken up to a millisecond late."""
        time.sleep(max(0.0, then - self.now() - AWAKE_S))
        while self.now() < then:
            pass


def replay(times: np.ndarray, inputs: Sequence[Tensor], targets: Tensor, controller: Controller,
           clock: Clock | None = None, escalation: Escalation | None = None) -> pd.DataFrame:
    """Answer requests that come at `times`; a line a request, in that order.

    times: (n,) seconds, ascending; inputs, targets: of the requests, taken in turn; a request may
    hold several examples. Columns: COLUMNS; began, done: seconds, missing where nothing was
    answered; rung: its name, "" where there was none; correct: of the answer's largest output, or
    its share; margin: between its two largest, of their softmax; waiting: how many waited when it
    was begun; joules: modelled, of every rung that it was asked of; error: why there is no answer.
    Answers are judged when the trace is over: that is no part of serving.
    """
    clock = clock or Clock()
    begun = begin_by(times, controller.objective,
                     min(rung.seconds for rung in controller.rungs))
    lines: list[dict] = []
    answers: dict[int, Tensor] = {}
    came = 0                                    # how many have come so far
    while len(lines) < len(times):
        place = len(lines)
        if came == place:
            clock.sleep_until(times[place])
        now = clock.now()
        came = max(came, int(np.searchsorted(times, now, side="right")))
        if came == place:
            continue                            # a timer may wake a little early
        x = inputs[place % len(inputs)]
        line = NOTHING | {"arrived": times[place], "waiting": came - place}
        fault = malformed(x, inputs[0].shape) or too_late(now, times[place], controller)
        if not fault:
            due = min(times[place] + controller.objective, begun[place + 1])
            line |= _turn(x, times[place:came], due, controller, clock, escalation)
            if "logits" in line:
                answers[place] = line.pop("logits")
        lines.append(line | ({"error": fault} if fault else {}))
    found = pd.DataFrame(lines, columns=COLUMNS)
    right = {place: float((logits.argmax(-1) == targets[place % len(targets)]).double().mean())
             for place, logits in answers.items()}
    margins = {place: margin(logits) for place, logits in answers.items()}
    return found.assign(correct=pd.Series(right, index=found.index, dtype=float),
                        margin=pd.Series(margins, index=found.index, dtype=float))


def _turn(x: Tensor, waiting: np.ndarray, due: float, controller: Controller, clock: Clock,
          escalation: Escalation | None) -> dict:
    """One request's answer; waiting: times of arrival of all that wait, its own first."""
    began, ends = clock.now(), waiting[0] + controller.objective
    try:
        chosen = controller.choose(began, waiting, due)
    except RuntimeError as nothing:
        return {"error": str(nothing)}
    answer = _answered(x, chosen, controller, clock, escalation, ends)
    if "logits" in answer:
        controller.note(answer["done"] - waiting[0])
    return {"began": began} | answer


def malformed(x: Tensor, expected: torch.Size) -> str:
    """Why a request cannot be answered, or ""."""
    if not isinstance(x, Tensor) or x.shape != expected:
        found = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        return f"a request has the shape {tuple(expected)}, not {found}"
    if x.is_floating_point() and not x.isfinite().all():
        return "a request holds finite numbers, and this one does not"
    return ""


def too_late(now: float, came: float, controller: Controller) -> str:
    """Why a request is shed, or ""."""
    left = came + controller.objective - now
    alive = [controller.rungs[place].seconds for place in controller.alive()]
    least = min(alive, default=-np.inf)         # where all are dead, that is what is said
    return "" if left >= least else (
        f"shed: {max(left, 0):.3f} s are left of {controller.objective:g} s, and the fastest rung "
        f"takes {least:.3f} s")


def _answered(x: Tensor, chosen: int, controller: Controller, clock: Clock,
              escalation: Escalation | None, due: float) -> dict:
    """An answer by the chosen rung, or, if that dies, by another; and once more if it is unsure."""
    while True:
        try:
            logits = controller.rungs[chosen].call(x[None])[0]
            if not logits.isfinite().all():
                raise ValueError("its answer is not finite")
            break
        except Exception as error:              # a rung is anything that can be called
            controller.lose(chosen)
            try:
                chosen = controller.choose(clock.now(), [clock.now()])
            except RuntimeError as nothing:
                return {"error": f"{nothing}; the last said: {error}"}
    line = {"rung": controller.rungs[chosen].name, "logits": logits, "done": clock.now(),
            "joules": controller.spend(chosen)}
    best = controller.alive()[0]
    unsure = escalation and margin(logits) < escalation.margin and chosen != best
    in_time = clock.now() + controller.rungs[best].seconds <= due
    if unsure and in_time and controller.affords(best):
        line |= _again(x, best, controller, clock, line["joules"])
    return line


def _again(x: Tensor, best: int, controller: Controller, clock: Clock, joules: float) -> dict:
    """What the best rung changes of an answer that took so many joules so far; nothing if it dies
    of it: there is an answer already."""
    try:
        logits = controller.rungs[best].call(x[None])[0]
        if not logits.isfinite().all():
            raise ValueError("its answer is not finite")
    except Exception:                           # a rung is anything that can be called
        controller.lose(best)
        return {"done": clock.now()}
    return {"logits": logits, "done": clock.now(), "escalated": True,
            "joules": joules + controller.spend(best)}


def switching(lines: pd.DataFrame) -> pd.DataFrame:
    """What a switch costs: a line a rung that others gave way to: rung, usual (median seconds of an
    answer, the choice included, where the one before was by this rung too), after (of its first
    answers after a switch), switches. Answers that were asked twice do not count."""
    answered = lines[lines.done.notna()]
    took = answered.assign(seconds=answered.done - answered.began,
                           changed=answered.rung != answered.rung.shift(fill_value=""))
    took = took.iloc[1:][~took.iloc[1:].escalated.astype(bool)]
    found = []
    for rung, part in took.groupby("rung", sort=False):
        first = part[part.changed]
        if len(first):
            found.append({"rung": rung, "usual": part[~part.changed].seconds.median(),
                          "after": first.seconds.median(), "switches": len(first)})
    return pd.DataFrame(found, columns=["rung", "usual", "after", "switches"])


def summary(lines: pd.DataFrame, controller: Controller, seconds: float) -> dict[str, float]:
    """What a replay comes to.

    attainment: the share of all requests that were answered in time; right_in_time: that of those
    that were answered right as well; score: percent right of those that were answered; p50, p95,
    p99: seconds from arrival to answer, of those; shed, failed: shares; utilization: the share of
    the trace that a rung was at work; switches_per_minute; joules_per_1000: modelled, of 1000
    answers, nan where those of one are not known.
    """
    answered = lines[lines.done.notna()]
    took = answered.done - answered.arrived
    in_time = took <= controller.objective
    quantiles = took.quantile([0.5, 0.95, 0.99]) if len(took) else pd.Series([np.nan] * 3)
    shed = lines.error.map(lambda words: words[:5] == "shed:")
    return {
        "requests": len(lines), "attainment": float(in_time.sum()) / max(1, len(lines)),
        "right_in_time": float(answered.correct[in_time].sum()) / max(1, len(lines)),
        "score": 100 * float(answered.correct.mean()),
        "p50": float(quantiles.iloc[0]), "p95": float(quantiles.iloc[1]),
        "p99": float(quantiles.iloc[2]), "shed": float(shed.mean()),
        "failed": float(((lines.error != "") & ~shed).mean()),
        "escalated": float(answered.escalated.mean()),
        "utilization": float((answered.done - answered.began).sum()) / seconds,
        "switches_per_minute": 60 * controller.switches / seconds,
        "joules_per_1000": 1000 * float(answered.joules.mean(skipna=False))}
