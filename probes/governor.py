"""The governor: keeps the recorder's own CPU under a budget by looking less often, and says so.

Pure: it is told what each second cost and answers with new periods.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

DEFAULT_BUDGET_CORES = 0.02
LONGEST_PERIOD_NS = 1_000_000_000
SLOWEST_PERIOD_NS = 10_000_000_000
# The first seconds hold first readings of everything.
_SETTLING_SECONDS = 3
# One dear second, as when a pool starts, is no reason to look less often.
_WINDOW_SECONDS = 5
_FACTOR = 2
# Slowing down a probe that costs less than this share of the whole would lose sight and gain nothing.
_WORTH_SLOWING = 0.1
# Processes that live shorter than its period are missed, so it is slowed down last.
_LAST = "tree"


@dataclass(frozen=True, slots=True)
class Change:
    """A new period for one probe."""

    probe: str
    period_ns: int
    reason: Literal["over-budget", "under-budget"]
    own_cores: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What a stretch of time cost: own CPU in all, and by probe."""

    wall_ns: int
    cpu_ns: int
    by_probe_ns: Mapping[str, int]


class Governor:
    """Doubles the period of the dearest probe when the mean of five seconds exceeds the budget.

    Below half the budget the last change is taken back.
    A budget of None lets everything as it is. A period of up to a second is never made longer than a second,
    a longer one never longer than ten.
    """

    def __init__(self, budget_cores: float | None, periods_ns: Mapping[str, int]) -> None:
        self.budget_cores = budget_cores
        self._first = dict(periods_ns)
        self._now = dict(periods_ns)
        self._slowed: list[str] = []
        self._seconds = 0
        self._window: deque[Cost] = deque(maxlen=_WINDOW_SECONDS)

    def account(self, cost: Cost) -> Change | None:
        """Take note of about one second, and answer with a change of one period if there is need."""
        self._seconds += 1
        if self.budget_cores is None or cost.wall_ns <= 0 or self._seconds <= _SETTLING_SECONDS:
            return None
        self._window.append(cost)
        if len(self._window) < _WINDOW_SECONDS:
            return None
        cores = sum(each.cpu_ns for each in self._window) / sum(each.wall_ns for each in self._window)
        change: Change | None = None
        if cores > self.budget_cores:
            change = self._slow_down(cores)
        elif cores < self.budget_cores / 2 and self._slowed:
            change = self._speed_up(cores)
        if change is not None:
            self._window.clear()
        return change

    def _slow_down(self, cores: float) -> Change | None:
        for probe in self._dearest_first():
            period_ns = self._now[probe]
            if period_ns * _FACTOR <= self._longest(probe):
                self._now[probe] = period_ns * _FACTOR
                self._slowed.append(probe)
                return Change(probe, self._now[probe], "over-budget", cores)
        return None

    def _dearest_first(self) -> list[str]:
        spent: Counter[str] = Counter()
        for cost in self._window:
            spent.update(cost.by_probe_ns)
        least = _WORTH_SLOWING * sum(each.cpu_ns for each in self._window)
        dear = [probe for probe, ns in spent.most_common() if probe in self._now and ns >= least]
        return sorted(dear, key=lambda probe: probe == _LAST)

    def _speed_up(self, cores: float) -> Change:
        probe = self._slowed.pop()
        self._now[probe] //= _FACTOR
        return Change(probe, self._now[probe], "under-budget", cores)

    def _longest(self, probe: str) -> int:
        return LONGEST_PERIOD_NS if self._first[probe] < LONGEST_PERIOD_NS else SLOWEST_PERIOD_NS
