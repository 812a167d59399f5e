"""When each worker of a crew ran out of work: who went on alone, and what idled meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from corelens.reports.facts.crew import Crew, Worker
from corelens.reports.facts.crew_time import (
    BUSY,
    IDLE,
    idle_core_s,
    mean,
    room_of,
    share,
    span_bins,
    wanted_in,
)
from corelens.reports.facts.facts import Facts


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """The time in which some workers had work and others had run out of it."""

    alone: tuple[Worker, ...]
    """Who worked then, the longest first."""
    finished: tuple[Worker, ...]
    """Who had run out of work, or never had any."""
    from_s: float
    until_s: float
    alone_share: float
    """How busy those who worked were, on average."""
    rest_share: float
    """How busy the others were."""
    boss_cores: float
    idle_core_s: float
    body_share: float | None
    """How busy all workers were before; None where there was no time before."""
    starved_share: float
    """Part of this time for which the others waited for tasks, or were gone."""
    work_s: float
    """What all workers did in the whole span."""
    room: float

    @property
    def length_s(self) -> float:
        """How long it lasted."""
        return self.until_s - self.from_s


def ends(facts: Facts, crew: Crew) -> Ends | None:
    """The end of a crew's span with work for fewer workers than could run; None where all end together."""
    step_s, bins, room = facts.report.timeline.step_s, span_bins(facts, crew), room_of(facts, crew)
    last = {worker: _last_bin(facts, worker, bins) for worker in crew.workers}
    order = sorted(crew.workers, key=lambda worker: last[worker])
    # The tail begins when fewer workers than cores have work left.
    need = min(int(room), len(order))
    if need < 2:
        return None
    begin = max(last[order[-need]] + 1, bins.start)
    tail = range(begin, bins.stop)
    if not tail:
        return None
    alone = tuple(worker for worker in reversed(order) if last[worker] >= begin)
    finished = tuple(worker for worker in order if last[worker] < begin)
    if not alone or not finished:
        return None
    body = range(bins.start, begin)
    length_s = len(tail) * step_s
    until_s = min(bins.stop * step_s, facts.wall_s)
    return Ends(
        alone=alone,
        finished=finished,
        from_s=begin * step_s,
        until_s=until_s,
        # The bin in which the last one ends is only partly filled.
        alone_share=_busy(facts, alone[:1], range(begin, max(bins.stop - 1, begin + 1))),
        rest_share=_busy(facts, finished, tail),
        boss_cores=wanted_in(crew.bosses, tail) / length_s,
        idle_core_s=idle_core_s(facts, tail),
        body_share=mean(
            min(1.0, sum(share(facts, worker, index) for worker in crew.workers) / room) for index in body
        )
        if len(body) > 1
        else None,
        starved_share=_starved(finished, begin * step_s, until_s),
        work_s=sum(share(facts, worker, index) for worker in crew.workers for index in bins) * step_s,
        room=room,
    )


def _last_bin(facts: Facts, worker: Worker, bins: range) -> int:
    """The last bin in which it did more than tidying up; before the first where there is none."""
    filled = [index for index in bins if share(facts, worker, index) > 2 * IDLE]
    return filled[-1] if filled else bins.start - 1


def _busy(facts: Facts, workers: tuple[Worker, ...], bins: range) -> float:
    return mean(share(facts, worker, index) for worker in workers for index in bins)


def _starved(workers: tuple[Worker, ...], from_s: float, until_s: float) -> float:
    """An estimate from whole lives: what was spent on neither work nor other waits must have been waited for tasks."""
    shares: list[float] = []
    for worker in workers:
        gone_s = max(0.0, until_s - max(worker.died_s or until_s, from_s))
        needed_s = max(until_s - from_s, 1e-9)
        shares.append(min(1.0, (gone_s + worker.starving_s) / needed_s))
    return mean(shares)


def is_clean(ends: Ends) -> bool:
    """Whether one was busy all along and the others idle, as with a straggler, rather than taking turns."""
    return ends.alone_share >= BUSY and ends.rest_share <= IDLE


@dataclass(frozen=True, slots=True, eq=False)
class Waves:
    """Times, again and again, in which one worker went on and the others waited, between times with work for all."""

    count: int
    alone_s: float
    """How long they lasted together."""
    from_s: float
    until_s: float
    """From the first to the last of them."""
    idle_core_s: float
    boss_cores: float
    full_share: float
    """Part of the span in which there was work for all cores."""
    starved_share: float
    """Part of the waiting that was for tasks."""
    work_s: float
    room: float


def waves(facts: Facts, crew: Crew) -> Waves | None:
    """The waves of a crew; None where there are fewer than two, or no core could idle."""
    bins, room = span_bins(facts, crew), room_of(facts, crew)
    spells = _lonely_spells(facts, crew, bins, room)
    if len(spells) < 2:
        return None
    step_s = facts.report.timeline.step_s
    alone_s = sum(len(one) for one in spells) * step_s
    others_s = alone_s * (len(crew.workers) - 1)
    starved_s = sum(worker.starving_s for worker in crew.workers)
    shares = [[share(facts, worker, index) for worker in crew.workers] for index in bins]
    return Waves(
        count=len(spells),
        alone_s=alone_s,
        from_s=spells[0].start * step_s,
        until_s=spells[-1].stop * step_s,
        idle_core_s=sum(idle_core_s(facts, one) for one in spells),
        boss_cores=sum(wanted_in(crew.bosses, one) for one in spells) / alone_s,
        full_share=mean(sum(each) >= BUSY * room for each in shares),
        starved_share=min(1.0, starved_s / others_s),
        work_s=sum(map(sum, shares)) * step_s,
        room=room,
    )


def _lonely_spells(facts: Facts, crew: Crew, bins: range, room: float) -> list[range]:
    """Stretches of two bins or more in which the same worker, and no other, was busy."""
    if room < 2:
        return []
    found: list[range] = []
    begin, who = bins.start, None
    for index in (*bins, bins.stop):
        now = _lonely(facts, crew, index) if index in bins else None
        if now is not who:
            if who is not None and index - begin >= 2:
                found.append(range(begin, index))
            begin, who = index, now
    return found


def _lonely(facts: Facts, crew: Crew, index: int) -> Worker | None:
    shares = [(share(facts, worker, index), worker) for worker in crew.workers]
    busy = [worker for part, worker in shares if part >= BUSY]
    between = any(IDLE < part < BUSY for part, _ in shares)
    return busy[0] if len(busy) == 1 and not between else None
