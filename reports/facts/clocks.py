"""CPU that the recorded processes used by their own clocks, in total and over time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import repeat
from operator import itemgetter

from corelens.recording import Recording
from corelens.reports.facts.bins import Amounts, Grid
from corelens.reports.facts.pace import Pace
from corelens.reports.facts.processes import Life, Lives, start_ns

_Row = tuple[int, int, int | None]
"""When, which pid, and its clock."""


@dataclass(slots=True)
class Clock:
    """The clock of one process: `total_ns` since it began, `used_ns` of that while it was recorded."""

    read_ns: int
    total_ns: int | None = None
    used_ns: int = 0


@dataclass(frozen=True, slots=True)
class Clocks:
    """All clocks, and what they showed spread over time."""

    by_life: dict[Life, Clock]
    busy: Amounts
    unreadable: frozenset[Life] = field(default_factory=frozenset[Life])
    """Processes of which no clock reading exists, so that slower counters of 10 ms stand in."""

    @property
    def used_ns(self) -> int:
        """CPU of all processes by their own clocks."""
        return sum(clock.used_ns for clock in self.by_life.values())


def clocks(recording: Recording, lives: Lives, grid: Grid) -> Clocks:
    """Read every process clock, from its first value to its last."""
    pace = Pace(recording, "tree")
    cores = recording.header["host"].get("logical_cores") or 1
    busy = Amounts(grid)
    by_life = {life: _opened(recording, life, busy) for life in lives.all}
    seen: set[Life] = set()
    for t_ns, life, total_ns in _readings(recording, lives):
        seen.add(life)
        _advance(by_life[life], t_ns, total_ns, pace, cores, busy)
    unreadable = {life for life in lives.all if life.first_cpu_ns is None and life not in seen}
    for t_ns, life, total_ns in _slow_readings(recording, lives, unreadable):
        _advance(by_life[life], t_ns, total_ns, pace, cores, busy)
    for life in lives.all:
        if life.died_ns is not None and life.final_cpu_ns is not None:
            _advance(by_life[life], life.died_ns, life.final_cpu_ns, pace, cores, busy)
    return Clocks(by_life, busy, frozenset(unreadable))


def _opened(recording: Recording, life: Life, busy: Amounts) -> Clock:
    """The clock at the first look: a baseline for what ran before, already used time for what is new."""
    clock = Clock(life.born_ns, life.first_cpu_ns)
    if life.began_before:
        return clock
    began_ns = life.born_ns if life.start_ticks is None else start_ns(recording, life.start_ticks)
    clock.read_ns = min(life.born_ns, max(0, began_ns))
    if life.first_cpu_ns:
        clock.used_ns = life.first_cpu_ns
        busy.add(clock.read_ns, life.born_ns, life.first_cpu_ns)
        clock.read_ns = life.born_ns
    clock.total_ns = clock.total_ns or 0
    return clock


def _advance(clock: Clock, t_ns: int, total_ns: int, pace: Pace, cores: int, busy: Amounts) -> None:
    used_ns = 0 if clock.total_ns is None else total_ns - clock.total_ns
    if used_ns > 0:
        clock.used_ns += used_ns
        busy.add(pace.since(clock.read_ns, t_ns, used_ns / cores), t_ns, used_ns)
    # A counter that goes backwards tells no rate; it counts on from where it is.
    clock.read_ns, clock.total_ns = t_ns, total_ns


def _readings(recording: Recording, lives: Lives) -> Iterator[tuple[int, Life, int]]:
    kinds = (_clock_rows(recording), _repeated_rows(recording))
    for t_ns, pid, cpu_ns in heapq.merge(*kinds, key=itemgetter(0)):
        life = lives.at(pid, t_ns)
        if life is not None and cpu_ns is not None:
            yield t_ns, life, int(cpu_ns)


def _clock_rows(recording: Recording) -> Iterator[_Row]:
    for line in recording.lines("processes"):
        yield from zip(repeat(line["t_ns"]), line["pid"], line["cpu_ns"])


def _repeated_rows(recording: Recording) -> Iterator[_Row]:
    """Where a birth is lost, its repetition may hold the only reading of a process that does nothing."""
    for line in recording.lines("process.born"):
        if line["again"]:
            yield line["t_ns"], line["pid"], line["cpu_ns"]


def _slow_readings(
    recording: Recording, lives: Lives, unreadable: set[Life]
) -> Iterator[tuple[int, Life, int]]:
    for line in recording.lines("process.detail") if unreadable else []:
        t_ns = line["t_ns"]
        for pid, user_ns, system_ns in zip(line["pid"], line["user_ns"], line["system_ns"], strict=False):
            life = lives.at(pid, t_ns)
            if life in unreadable:
                yield t_ns, life, user_ns + system_ns
