"""Equal bins of time, and the two ways to fill them: amounts spread over an interval, and levels held.

All times are nanoseconds since the recording began.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

NS_PER_S = 1_000_000_000
MOST_BINS = 600
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_HOUR_NS = 3600 * NS_PER_S
# Two readings to a bin, so that the jitter of single readings evens out.
_PERIODS_PER_BIN = 2
# So much silence means that nobody looked: the recorder writes of itself every second.
_SILENCE_NS = 3 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Grid:
    """The bins from 0 to `end_ns`; the last one may reach beyond it."""

    step_ns: int
    end_ns: int

    @property
    def count(self) -> int:
        """Number of bins, at least one."""
        return max(1, -(-self.end_ns // self.step_ns))

    def width_ns(self, index: int) -> int:
        """Recorded part of a bin: the last one ends with the recording."""
        return min(self.step_ns, self.end_ns - index * self.step_ns) or self.step_ns

    def index(self, t_ns: int) -> int:
        """The bin of a moment; one outside the grid falls to its first or last bin."""
        return max(0, min(t_ns // self.step_ns, self.count - 1))


def shares(grid: Grid, start_ns: int, end_ns: int) -> Iterator[tuple[int, float]]:
    """The bins of an interval, each with its part of it; all of it in the last bin where it has no length."""
    first, last = grid.index(start_ns), grid.index(end_ns - 1)
    if first >= last or end_ns <= start_ns:
        yield last, 1.0
        return
    length, step = end_ns - start_ns, grid.step_ns
    yield first, ((first + 1) * step - start_ns) / length
    for index in range(first + 1, last):
        yield index, step / length
    yield last, (end_ns - last * step) / length


def grid_for(end_ns: int, period_ns: int) -> Grid:
    """Choose the finest round step with at most 600 bins and two samples to a bin."""
    least_ns = max(-(-end_ns // MOST_BINS), _PERIODS_PER_BIN * period_ns)
    steps_ns = (round(step_s * NS_PER_S) for step_s in _STEPS_S)
    whole_hours_ns = -(-least_ns // _HOUR_NS) * _HOUR_NS
    return Grid(
        next((step_ns for step_ns in steps_ns if step_ns >= least_ns), whole_hours_ns), max(end_ns, 1)
    )


class Amounts:
    """Amounts per bin: what is added for an interval is spread over it evenly."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.bins = [0.0] * grid.count
        self._reach_ns = grid.end_ns

    def add(self, start_ns: int, end_ns: int, amount: float) -> None:
        """Spread an amount; what lies outside the grid falls to its first or last bin."""
        last = len(self.bins) - 1
        step = self.grid.step_ns
        self._reach_ns = max(self._reach_ns, end_ns)
        first_bin, last_bin = max(0, min(start_ns // step, last)), max(0, min((end_ns - 1) // step, last))
        if first_bin >= last_bin or end_ns <= start_ns:
            self.bins[last_bin] += amount
            return
        rate = amount / (end_ns - start_ns)
        self.bins[first_bin] += rate * ((first_bin + 1) * step - start_ns)
        for index in range(first_bin + 1, last_bin):
            self.bins[index] += rate * step
        self.bins[last_bin] += rate * (end_ns - last_bin * step)

    def rates(self) -> list[float]:
        """Amount per nanosecond in each bin: cores, when CPU nanoseconds were added."""
        widths = [self.grid.width_ns(index) for index in range(len(self.bins))]
        # The last look may come after the end: what it adds was not used within a sliver of a last bin.
        widths[-1] += self._reach_ns - self.grid.end_ns
        return [amount / width for amount, width in zip(self.bins, widths, strict=True)]

    def until(self, t_ns: int) -> float:
        """What fell to the time before `t_ns`."""
        whole, rest = divmod(min(t_ns, self.grid.end_ns), self.grid.step_ns)
        part = self.bins[whole] * rest / self.grid.width_ns(whole) if whole < len(self.bins) else 0.0
        return sum(self.bins[:whole]) + part


Levels = Sequence[tuple[int, int]]
"""A step function: (time, value from then on), by rising time."""


def largest(levels: Levels, grid: Grid) -> list[int]:
    """Largest value in each bin; 0 before the first level."""
    return [value for _, value in when_largest(levels, grid)]


def when_largest(levels: Levels, grid: Grid) -> list[tuple[int, int]]:
    """The first moment of the largest value in each bin, with that value; 0 before the first level."""
    found: list[tuple[int, int]] = []
    value, index = 0, 0
    for number in range(grid.count):
        start_ns, end_ns = number * grid.step_ns, (number + 1) * grid.step_ns
        # A level that begins with the bin replaces what held before it.
        while index < len(levels) and levels[index][0] <= start_ns:
            value, index = levels[index][1], index + 1
        top = (start_ns, value)
        while index < len(levels) and levels[index][0] < end_ns:
            t_ns, value = levels[index]
            index += 1
            top = (t_ns, value) if value > top[1] else top
        found.append(top)
    return found


def time_mean(levels: Iterable[tuple[int, float]], start_ns: int, end_ns: int) -> float | None:
    """Mean over an interval of a quantity that holds its value; its first value counts from `start_ns`."""
    ordered = sorted(levels)
    if not ordered:
        return None
    if end_ns <= start_ns:
        return ordered[-1][1]
    total, value, since = 0.0, ordered[0][1], start_ns
    for t_ns, following in ordered:
        until = min(max(t_ns, since), end_ns)
        total += value * (until - since)
        value, since = following, until
    return (total + value * (end_ns - since)) / (end_ns - start_ns)


def unseen_bins(times: Iterable[int], grid: Grid) -> set[int]:
    """Bins in which nobody looked at all; `times` are those of all readings."""
    ordered = sorted({0, grid.end_ns, *times})
    holes: set[int] = set()
    for before, after in itertools.pairwise(ordered):
        if after - before > _SILENCE_NS:
            holes.update(range(-(-before // grid.step_ns), after // grid.step_ns))
    return {index for index in holes if index < grid.count}


def value_at(levels: Sequence[tuple[int, float]], t_ns: int) -> float:
    """Value of a step function; its first value also before it."""
    index = bisect.bisect_right(levels, t_ns, key=lambda level: level[0]) - 1
    return levels[max(index, 0)][1]
