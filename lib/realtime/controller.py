"""Which rung answers next: policies, and what keeps them from going to and fro.

A policy sees what waits and what time is left, and names a rung. The most accurate rung with which
everyone who waits now is still answered in time is *slack* (after SlackFit of SuperServe, Khare et
al. 2023, arXiv 2312.16733). The plan of the Real-time study is *literal*: it starts at 32 bits,
decides every 1000 requests, and halves the bits, down to 8. Two more go by slack: one whose unsure
answers are asked again (`lib.realtime.escalation`), and one that may spend no more than a budget of
joules.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lib.realtime.rungs import Rung

DWELL_S = 1.0               # that a rung is kept before a more accurate one may be tried
ROOM = 0.7                  # of the time that is left: what a more accurate rung may need
INTERVAL = 1000             # requests between two decisions of the literal rule
RATIO = 0.5                 # of the bits, at each
FLOOR = 8                   # bits


@dataclass
class Signals:
    """What is known when a request is about to be answered.

    now: seconds since the trace began; waiting: times of arrival of all that wait, the oldest
    first; tokens: joules that the budget holds, None without one; latest: seconds that the answers
    of late took, waiting included; coming: arrivals still to come, for the clairvoyant alone.
    """

    now: float
    waiting: Sequence[float]
    tokens: float | None = None
    latest: Sequence[float] = ()
    due: float = np.inf


@dataclass
class Controller:
    """Chooses a rung for each request and remembers what it chose.

    rungs: the most accurate first (`ladder`); policy: one of POLICIES, or "fixed NAME"; objective:
    seconds from arrival to answer; dwell: seconds that a rung is kept before the next more accurate
    one; budget: joules a second, saved up for at most `saved` seconds, None for none. ValueError:
    an unknown policy or rung.
    """

    rungs: Sequence[Rung]
    policy: str
    objective: float
    dwell: float = DWELL_S
    budget: float | None = None
    saved: float = 10.0
    seed: int = 0
    rung: int = 0
    switches: int = 0
    dead: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        names = [rung.name for rung in self.rungs]
        fixed = self.policy.removeprefix("fixed ")
        if self.policy != fixed and fixed not in names:
            raise ValueError(f"there is no variant {fixed!r} to stay with; choose one of: "
                             f"{', '.join(names)}")
        if self.policy == fixed and self.policy not in POLICIES:
            raise ValueError(f"no policy {self.policy!r}; choose one of: {', '.join(POLICIES)}, or "
                             "fixed and the name of a variant")
        self._wish = POLICIES[self.policy] if self.policy == fixed else (
            lambda controller, signals: names.index(fixed))
        self.draw = np.random.default_rng(self.seed)
        self.answered, self._begun = 0, False
        self._since = -np.inf
        self._tokens = None if self.budget is None else self.budget * self.saved
        self._refilled = 0.0
        self._latest: deque[float] = deque(maxlen=INTERVAL)

    def choose(self, now: float, waiting: Sequence[float], due: float = np.inf) -> int:
        """The place of the rung that answers the oldest of `waiting`; due: as of Signals.
        RuntimeError: every rung is dead."""
        self._refill(now)
        signals = Signals(now, waiting, self._tokens, self._latest, due)
        wish = self._alive(self._affordable(self._wish(self, signals)))
        if wish < self.rung and self.rung not in self.dead and not self._may_rise(signals, wish):
            wish = self.rung
        if wish != self.rung:
            self.switches += self._begun        # where it begins is no switch
            self.rung, self._since = wish, now
        self._begun = True
        return wish

    def note(self, seconds: float) -> None:
        """A request was answered, so long after it came."""
        self.answered += 1
        self._latest.append(seconds)

    def spend(self, rung: int) -> float:
        """The joules of an answer by this rung, which the budget pays."""
        if self._tokens is not None:
            self._tokens -= self.rungs[rung].joules
        return self.rungs[rung].joules

    def affords(self, rung: int) -> bool:
        """Does the budget hold an answer by this rung?"""
        return self._tokens is None or self.rungs[rung].joules <= self._tokens

    def lose(self, rung: int) -> None:
        """This rung is dead: it is not chosen any more."""
        self.dead.add(rung)

    def alive(self) -> list[int]:
        """The places of the rungs that are not dead."""
        return [place for place in range(len(self.rungs)) if place not in self.dead]

    def _refill(self, now: float) -> None:
        if self._tokens is not None:
            earned = self.budget * (now - self._refilled)
            self._tokens = min(self._tokens + earned, self.budget * self.saved)
            self._refilled = now

    def _affordable(self, wish: int) -> int:
        """The first rung from `wish` on that the budget pays for, else that of fewest joules."""
        if self._tokens is None:
            return wish
        for place in range(wish, len(self.rungs)):
            if place not in self.dead and self.affords(place):
                return place
        known = [place for place in self.alive() if self.rungs[place].joules >= 0]
        return min(known, key=lambda place: self.rungs[place].joules, default=wish)

    def _alive(self, wish: int) -> int:
        """The nearest rung that is not dead, a faster one first."""
        if wish not in self.dead:
            return wish
        alive = self.alive()
        if not alive:
            raise RuntimeError("every variant has failed, so no request can be served")
        return next((place for place in alive if place > wish), alive[-1])

    def _may_rise(self, signals: Signals, wish: int) -> bool:
        """Whoever goes up waits out the dwell, and needs room to spare; the plain policies do not
        ask."""
        if self.policy not in STEADY:
            return True
        return (signals.now - self._since >= self.dwell
                and in_time(self.rungs[wish].seconds / ROOM, signals, self.objective))


def in_time(seconds: float, signals: Signals, objective: float) -> bool:
    """Would everyone who waits now be answered in time, at so many seconds each?"""
    return seconds <= longest(signals, objective)


def longest(signals: Signals, objective: float) -> float:
    """Seconds that each answer may take for everyone who waits now to be answered in time."""
    left = objective - (signals.now - np.asarray(signals.waiting))
    return float((left / np.arange(1, len(left) + 1)).min())


def _slack(controller: Controller, signals: Signals) -> int:
    """The most accurate rung with which all that wait are answered in time; else the fastest."""
    most = longest(signals, controller.objective)
    for place, rung in enumerate(controller.rungs):
        if place not in controller.dead and rung.seconds <= most:
            return place
    return _fastest(controller)


def _fastest(controller: Controller) -> int:
    return min(controller.alive(), key=lambda place: controller.rungs[place].seconds, default=0)


def _random(controller: Controller, signals: Signals) -> int:
    return int(controller.draw.integers(len(controller.rungs)))


def _literal(controller: Controller, signals: Signals) -> int:
    """Every 1000 requests: half the bits or fewer, not below 8, if the 95th percentile of these
    answers came late; twice the bits, if it took less than half of what is allowed."""
    if not controller.answered or controller.answered % INTERVAL:
        return controller.rung
    p95, rungs = np.quantile(signals.latest, 0.95), controller.rungs
    bits = rungs[controller.rung].bits
    if p95 > controller.objective:
        fewer = [rung.bits for rung in rungs if FLOOR <= rung.bits <= max(FLOOR, bits * RATIO)]
        bits = max(fewer, default=bits)
    elif p95 < controller.objective / 2:
        bits = min((rung.bits for rung in rungs if rung.bits >= bits / RATIO), default=bits)
    return next(place for place, rung in enumerate(rungs) if rung.bits == bits)


def _clairvoyant(controller: Controller, signals: Signals) -> int:
    """The most accurate rung that leaves time for all that wait and all that will come, if the
    fastest answers these; the fastest, if even that is too slow."""
    for place, rung in enumerate(controller.rungs):
        if place not in controller.dead and signals.now + rung.seconds <= signals.due:
            return place
    return _fastest(controller)


def begin_by(times: np.ndarray, objective: float, seconds: float) -> np.ndarray:
    """By when each request, and after it all others, must be begun at the latest if each takes so
    many `seconds` (of the fastest rung); (n + 1,), the last being infinite. One that would have to
    begin before it comes is lost anyway, and takes no time from those before it."""
    latest, found = np.inf, np.full(len(times) + 1, np.inf)
    for place in reversed(range(len(times))):
        own = min(times[place] + objective, latest) - seconds
        latest = own if own >= times[place] else latest
        found[place] = latest
    return found


TWICE, FRUGAL = "slack, unsure twice", "slack, half the joules"
POLICIES: dict[str, Callable[[Controller, Signals], int]] = {
    "slack": _slack, "slack at once": _slack, TWICE: _slack, FRUGAL: _slack, "literal": _literal,
    "random": _random, "clairvoyant": _clairvoyant}
STEADY = ("slack", TWICE, FRUGAL)           # policies that go up with hysteresis
