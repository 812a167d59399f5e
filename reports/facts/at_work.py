"""Threads that had work for most of a stretch of time: those that a lack of cores holds up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts

# Wanting a core for half of the stretch makes a thread one that computes; less is coordination.
_AT_WORK = 0.5
_LEAST_S = 1.0
# Start-up runs on one core, and so falls below it where two threads or more compute afterwards.
_MOST = 0.6


@dataclass(frozen=True, slots=True)
class AtWork:
    """Who computes, and when."""

    threads: tuple[tuple[ProcessFacts, ThreadFacts], ...]
    from_s: float
    until_s: float
    run_s: float
    """Core time of all threads of the program in that stretch."""
    wanted_s: float
    """With the time for which they waited for a core."""
    own_run_s: float
    """Core time of the threads that compute."""
    own_wanted_s: float

    @property
    def length_s(self) -> float:
        """Of the stretch."""
        return self.until_s - self.from_s

    @property
    def processes(self) -> tuple[ProcessFacts, ...]:
        """Those that compute, each once."""
        return tuple({process.life: process for process, _ in self.threads}.values())


def at_work(facts: Facts) -> AtWork | None:
    """The stretch from the first to the last moment at which most of the usual number of threads computed."""
    step_s = facts.report.timeline.step_s
    wanted = [_wanted(thread) for thread in facts.threads]
    demand: dict[int, float] = {}
    for each in wanted:
        for place, value in each.items():
            demand[place] = demand.get(place, 0.0) + min(value, step_s)
    usual = median([value for value in demand.values() if value >= step_s / 2] or [0.0])
    busy = [place for place, value in demand.items() if value > 0 and value >= _MOST * usual]
    if not busy or (max(busy) + 1 - min(busy)) * step_s < _LEAST_S:
        return None
    return _between(facts, min(busy), max(busy) + 1)


def while_busiest(facts: Facts) -> AtWork | None:
    """The stretch in which the thread that computed most did so; None where it was short."""
    step_s = facts.report.timeline.step_s
    thread = max(facts.threads, key=lambda one: one.run_s, default=None)
    busy = [place for place, value in (_wanted(thread) if thread else {}).items() if value >= step_s / 2]
    if not busy or (max(busy) + 1 - min(busy)) * step_s < _LEAST_S:
        return None
    return _between(facts, min(busy), max(busy) + 1)


def _between(facts: Facts, first: int, last: int) -> AtWork:
    step_s = facts.report.timeline.step_s
    places = range(first, last)
    length_s = min(last * step_s, facts.wall_s) - first * step_s
    pairs = [(process, thread) for process in facts.processes for thread in process.threads]
    wants = {id(thread): _within(_wanted(thread), places) for _, thread in pairs}
    working = tuple(
        (process, thread) for process, thread in pairs if wants[id(thread)] >= _AT_WORK * length_s
    )
    return AtWork(
        threads=working,
        from_s=first * step_s,
        until_s=first * step_s + length_s,
        run_s=sum(_within(thread.run_s_by_bin, places) for _, thread in pairs),
        wanted_s=sum(wants.values()),
        own_run_s=sum(_within(thread.run_s_by_bin, places) for _, thread in working),
        own_wanted_s=sum(wants[id(thread)] for _, thread in working),
    )


def _wanted(thread: ThreadFacts) -> dict[int, float]:
    run, queue = thread.run_s_by_bin, thread.queue_s_by_bin
    return {place: run.get(place, 0.0) + queue.get(place, 0.0) for place in {*run, *queue}}


def _within(by_bin: Mapping[int, float], places: range) -> float:
    return sum(value for place, value in by_bin.items() if place in places)
