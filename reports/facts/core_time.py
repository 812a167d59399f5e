"""The core-time ledger: capacity over time without remainder, each idle core-second given to one cause.

Bin by bin, what the threads used is taken from what the program was allowed, and what is left is given to causes in a
fixed order: first what nobody could have used (throttled, taken by others), then what blocked threads that were
there (the GIL, locks, I/O, sleep, handing on results, a native team, no task, the others being done), then what was
not there yet or no more (start-up, teardown), then cores that no worker exists for. A cause takes at most as many
cores as there were threads that waited so at that time. What is left is unexplained, and shown.

Counters are read a tenth of a second apart and not all at one moment, so a bin can show more use than capacity. Such
an excess belongs to a neighbour: it is moved to the nearest bins that have room. What finds none within a second was
used beyond what was allowed, and stands in the ledger as such.
"""

from __future__ import annotations

from dataclasses import dataclass

from corelens.reports.core_time import CoreTimeLedger, Idle
from corelens.reports.facts import binned, idle_threads, out_of_reach, seams
from corelens.reports.facts.blocked import Blocked
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.on_core import on_core
from corelens.reports.facts.seams import NO_WORKER, TEARDOWN
from corelens.reports.facts.taken import Taken
from corelens.reports.facts.workforce import Hands

_NS_PER_S = 1_000_000_000
THROTTLED, OTHERS, DELAYED, AFFINITY, UNEXPLAINED = (
    "throttled", "others", "scheduling", "affinity", "unexplained",
)  # fmt: skip
LABELS = {
    THROTTLED: "throttled by a CPU quota",
    OTHERS: "taken by other programs, or by the hypervisor",
    AFFINITY: "runnable threads that may not run on the idle cores (affinity)",
    idle_threads.GIL: "waiting for the GIL",
    idle_threads.LOCK: "waiting for a lock",
    idle_threads.IO: "waiting for I/O (disk, page, socket, another program)",
    idle_threads.SLEEP: "asleep (a timer; also loops that try again)",
    idle_threads.RESULTS: "workers blocked in handing on results",
    idle_threads.TEAM: "native teams between two parallel regions",
    idle_threads.TASKS: "workers waiting for tasks",
    idle_threads.TAIL: "tail: the other workers were done",
    idle_threads.STARTUP: "start-up: workers not there, or not ready",
    TEARDOWN: "teardown: the workers were done",
    NO_WORKER: "no worker for this core",
    DELAYED: "runnable threads on their way to a core",
    UNEXPLAINED: "unexplained",
}
"""Causes in the order in which they are given idle time."""
# How far an excess may move: readings are at most this late.
_JITTER_S = 1.0


@dataclass(frozen=True, slots=True)
class _Bins:
    """Core-seconds per bin."""

    capacity: list[float]
    used: list[float]
    beyond: float


def core_time(facts: Facts, hands: Hands, blocked: Blocked, taken: Taken) -> CoreTimeLedger:
    """Divide capacity x wall; the parts add up to it whatever the recording lacks."""
    threads = [thread for process in facts.processes for thread in process.threads]
    ran = binned.gathered(facts, (thread.run_s_by_bin for thread in threads))
    queued = binned.gathered(facts, (thread.queue_s_by_bin for thread in threads))
    ran, unseen_core_s = _with_unseen(facts, ran)
    bins = _levelled(facts, ran)
    idle = _idle(facts, bins, _causes(facts, hands, blocked, taken, (ran, queued)))
    used = sum(bins.used) + bins.beyond
    capacity = sum(bins.capacity)
    return CoreTimeLedger(
        capacity_core_s=capacity,
        on_core=on_core(facts, hands, unseen_core_s),
        idle=idle,
        beyond_capacity_core_s=bins.beyond,
        on_core_core_s=used,
        idle_core_s=sum(line.core_s for line in idle),
        unexplained_share=idle[-1].capacity_share,
        run_queue_wait_thread_s=sum(queued),
    )


def _with_unseen(facts: Facts, ran: list[float]) -> tuple[list[float], float]:
    """Add what clocks and parents' counters show beyond the threads that were seen.

    It falls to the bins in which the clocks ran ahead of the threads, else evenly to all.
    """
    exact = sum(thread.run_s for process in facts.processes for thread in process.threads)
    unseen = max(0.0, facts.report.cpu.used_core_s - exact)
    spread = sum(ran)
    scaled = [time_s * exact / spread for time_s in ran] if spread else list(ran)
    if not unseen:
        return scaled, 0.0
    widths = binned.widths(facts)
    busy = [
        (cores or 0.0) * width for cores, width in zip(facts.report.timeline.busy_cores, widths, strict=True)
    ]
    ahead = [max(0.0, clock - seen) for clock, seen in zip(busy, scaled, strict=True)]
    weights = ahead if sum(ahead) > 0 else widths
    whole = sum(weights)
    return [seen + unseen * weight / whole for seen, weight in zip(scaled, weights, strict=True)], unseen


def _levelled(facts: Facts, ran: list[float]) -> _Bins:
    """Move what a bin shows beyond its capacity to the nearest bins with room."""
    cores, step_s = facts.report.timeline.capacity_cores, facts.report.timeline.step_s
    capacity = [allowed * width for allowed, width in zip(cores, binned.widths(facts), strict=True)]
    used, beyond = list(ran), 0.0
    reach = max(1, round(_JITTER_S / step_s))
    for place in range(len(used)):
        excess = used[place] - capacity[place]
        if excess <= 0:
            continue
        used[place] = capacity[place]
        for distance in range(1, reach + 1):
            for other in (place - distance, place + distance):
                if excess > 0 and 0 <= other < len(used) and used[other] < capacity[other]:
                    moved = min(excess, capacity[other] - used[other])
                    used[other] += moved
                    excess -= moved
        beyond += max(0.0, excess)
    return _Bins(capacity, used, beyond)


def _idle(facts: Facts, bins: _Bins, causes: dict[str, list[float]]) -> tuple[Idle, ...]:
    left = [max(0.0, allowed - used) for allowed, used in zip(bins.capacity, bins.used, strict=True)]
    whole, widths = sum(bins.capacity), binned.widths(facts)
    lines: list[Idle] = []
    for cause, label in LABELS.items():
        available = causes.get(cause)
        if cause == UNEXPLAINED:
            given = left
        elif available is None:
            continue
        else:
            given = [min(rest, max(0.0, most)) for rest, most in zip(left, available, strict=True)]
            left = [rest - part for rest, part in zip(left, given, strict=True)]
        core_s = sum(given)
        if core_s > 0 or cause == UNEXPLAINED:
            series = tuple(
                part / width if width > 0 else 0.0 for part, width in zip(given, widths, strict=True)
            )
            lines.append(Idle(cause, label, core_s, core_s / whole if whole else 0.0, series))
    return tuple(lines)


def _causes(
    facts: Facts, hands: Hands, blocked: Blocked, taken: Taken, spent: tuple[list[float], list[float]]
) -> dict[str, list[float]]:
    ran, queued = spent
    causes = dict(idle_threads.idle_threads(facts, hands, blocked))
    causes.pop(idle_threads.UNKNOWN, None)
    causes[THROTTLED] = [time_ns / _NS_PER_S for time_ns in taken.throttled]
    causes[OTHERS] = out_of_reach.others(facts, taken, ran)
    causes[AFFINITY] = out_of_reach.kept_off(facts)
    causes[DELAYED] = queued
    causes[idle_threads.TEAM] = binned.added(
        causes.get(idle_threads.TEAM), idle_threads.team_waits(facts, blocked, hands.helpers)
    )
    seams.add_seams(facts, hands, causes)
    return causes
