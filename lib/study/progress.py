"""The growing table: one aligned line a finished row, with how many are done and the time left."""

import sys
import time

from lib.base import titles
from lib.base.metric import METRICS
from lib.base.said import duration
from lib.study.trials import Trial
from lib.tables.rows import Row

WIDTH = 100                     # columns of a line
NUMBERS = 52                    # of these for what stands behind the names


class Lines:
    """Prints a line for each row of some trials, in their order."""

    def __init__(self, trials: list[Trial]) -> None:
        self.total, self.done, self.began, self.worked = len(trials), 0, time.monotonic(), 0
        self.digits = len(str(self.total))
        names = [len(named(trial)) for trial in trials]
        self.width = min(max(names, default=0), WIDTH - NUMBERS - 2 * self.digits - 2)
        head = f"{'done':<{2 * self.digits + 1}} {'network and technique':<{self.width}} "
        print(head + f"{'repeat':<8} {'score':>8} {'95 % interval':>18} {'took':>8} left")

    def finished(self, trial: Trial, rows: list[Row], seconds: float, cached: bool) -> None:
        """One line for each row that a trial left."""
        self.done, self.worked = self.done + 1, self.worked + (not cached)
        for row in rows:
            took = "cached" if cached else f"{seconds:.1f} s"
            self._print(trial, f"{_score(row)} {took:>8} {self._left()}")
            if row.left_float:
                print(f"  kept in FP32: {row.left_float}")

    def failed(self, trial: Trial, error: str) -> None:
        """A trial that left nothing, and why."""
        self.done, self.worked = self.done + 1, self.worked + 1
        self._print(trial, "FAILED")
        print(f"  {error}")

    def _print(self, trial: Trial, numbers: str) -> None:
        place, name = f"{self.done:>{self.digits}}/{self.total}", named(trial)
        if len(name) > self.width:              # a long name has a line of its own, whole
            print(f"{place} {name}")
            place, name = " " * len(place), ""
        parts = {"s": trial.seed, "f": trial.fold, "d": trial.draw}
        repeat = " ".join(f"{letter}{at}" for letter, at in parts.items() if at is not None)
        print(f"{place} {name:<{self.width}} {repeat:<8} {numbers}".rstrip())
        sys.stdout.flush()

    def _left(self) -> str:
        """The time that the other trials will take, if they take as long as those so far."""
        rest = self.total - self.done
        if not rest or not self.worked:
            return ""
        return duration((time.monotonic() - self.began) / self.worked * rest)


def named(trial: Trial) -> str:
    """A trial's network and technique as a reader knows them."""
    network = titles.network(trial.task, trial.model, trial.setting.sizes)
    done = titles.technique(trial.setting)
    return network if done == titles.BASELINE else f"{network} · {done}"


def _score(row: Row) -> str:
    if row.score is None:
        return f"{'–':>8} {'':>18}"
    text = METRICS[row.metric].text
    return f"{text(row.score):>8} {f'[{text(row.score_low)}, {text(row.score_high)}]':>18}"
