"""How a crew spent its time: who was busy in each bin, who starved, how often the busy one changed, what idled."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from corelens.reports.facts.crew import THREADS, Crew, Worker
from corelens.reports.facts.facts import Facts, ThreadFacts

# A worker counts as busy in a bin that it filled so far, and as idle in one that it hardly touched. Between them it
# did several short things, which tells nothing of who had work.
BUSY, IDLE = 0.75, 0.15
# A bin is short of one worker where more than this of a worker is missing.
_SLACK = 0.25


@dataclass(frozen=True, slots=True)
class CrewTime:
    """Sums over the span of one crew."""

    span_s: float
    room: float
    """Workers that could have run at once: no more than there are, nor than there are cores."""
    workers_mean: float
    """Workers that ran or wanted to, on average."""
    in_flight: float
    """Workers that had a task, on average: also those whose task waits for something."""
    single_share: float
    """Part of the time in which no more than one worker wanted a core."""
    full_share: float
    """Part of the time in which all the room was used."""
    task_wait: float
    """Workers that waited where the next task arrives, on average: one at a time does in most pools."""
    starving: float
    """Workers that waited for tasks, or in the queue for them, on average."""
    returns: int
    """Times that the busiest worker was one that had been it before, and another since."""
    second_share: float
    """What the second busiest worker had of all work."""
    boss_cores: float
    """Cores that the threads of the boss wanted while the crew was there."""
    idle_core_s: float
    """Capacity that nobody of the program used in the span."""


@lru_cache(maxsize=8)
def crew_time(facts: Facts, crew: Crew) -> CrewTime:
    """Sum one crew up."""
    bins = span_bins(facts, crew)
    busy = [sum(share(facts, worker, index) for worker in crew.workers) for index in bins]
    room = room_of(facts, crew)
    work = sorted((worker.wanted_s for worker in crew.workers), reverse=True)
    total_s = sum(work)
    return CrewTime(
        span_s=crew.span_s,
        room=room,
        workers_mean=mean(busy),
        in_flight=sum(worker.at_work_s for worker in crew.workers) / crew.span_s,
        single_share=mean([one <= 1 + _SLACK for one in busy]),
        full_share=mean([one >= room - _SLACK for one in busy]),
        task_wait=sum(worker.task_s * _within(facts, crew, worker) for worker in crew.workers) / crew.span_s,
        starving=sum(worker.starving_s * _within(facts, crew, worker) for worker in crew.workers)
        / crew.span_s,
        returns=_returns(facts, crew, bins),
        second_share=work[1] / total_s if total_s else 0.0,
        boss_cores=wanted_in(crew.bosses, bins) / crew.span_s,
        idle_core_s=idle_core_s(facts, bins),
    )


def _within(facts: Facts, crew: Crew, worker: Worker) -> float:
    """Part of a worker's waiting that lies in the span: before and after it, waiting is all that it did."""
    end_s = facts.wall_s if worker.died_s is None else min(worker.died_s, facts.wall_s)
    shared_s = max(0.0, min(end_s, crew.until_s) - max(worker.born_s, crew.from_s))
    outside_s = max(0.0, end_s - worker.born_s - shared_s)
    return max(0.0, 1 - outside_s / worker.starving_s) if worker.starving_s > 0 else 0.0


def span_bins(facts: Facts, crew: Crew) -> range:
    """Bins of the timeline from the first piece of work to the last."""
    step_s = facts.report.timeline.step_s
    last = max(int(crew.until_s / step_s + 0.5), 1)
    return range(min(int(max(crew.from_s, crew.first_work_s) / step_s), last - 1), last)


def room_of(facts: Facts, crew: Crew) -> float:
    """How many of the workers could run at once."""
    return max(1.0, min(float(len(crew.workers)), facts.report.capacity.cores))


def share(facts: Facts, worker: Worker, index: int) -> float:
    """Part of a bin for which a worker wanted a core, one at most."""
    return min(1.0, worker.wanted_s_by_bin.get(index, 0.0) / facts.report.timeline.step_s)


def wanted_in(threads: Iterable[ThreadFacts], bins: range) -> float:
    """Seconds for which threads wanted a core in some bins."""
    return sum(
        seconds
        for thread in threads
        for of_bin in (thread.run_s_by_bin, thread.queue_s_by_bin)
        for index, seconds in of_bin.items()
        if index in bins
    )


def idle_core_s(facts: Facts, bins: range) -> float:
    """Capacity that the program did not use in some bins."""
    timeline = facts.report.timeline
    known = range(bins.start, min(bins.stop, len(timeline.busy_cores)))
    idle = (max(0.0, timeline.capacity_cores[index] - (timeline.busy_cores[index] or 0.0)) for index in known)
    widths = (min(timeline.step_s, facts.wall_s - index * timeline.step_s) for index in known)
    return sum(cores * max(width, 0.0) for cores, width in zip(idle, widths, strict=True))


def mean(values: Iterable[float]) -> float:
    """Arithmetic mean, 0 of nothing."""
    every = list(values)
    return sum(every) / len(every) if every else 0.0


def _returns(facts: Facts, crew: Crew, bins: range) -> int:
    """A straggler or an uneven share makes the busy one change; only new tasks bring an earlier one back."""
    busiest = [
        max(range(len(crew.workers)), key=lambda place: share(facts, crew.workers[place], index))
        for index in bins
        if any(share(facts, worker, index) > IDLE for worker in crew.workers)
    ]
    in_turn = [place for place, _ in itertools.groupby(busiest)]
    return len(in_turn) - len(set(in_turn))


def waits_for_lock(crew: Crew) -> bool:
    """Whether idling cannot be told from waiting for a lock: threads wait for tasks on a lock."""
    return crew.kind == THREADS
