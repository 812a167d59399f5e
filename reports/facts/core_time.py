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

from collections.abc import Sequence
from dataclasses import dataclass

from corelens.reports.core_time import CoreTimeLedger, Idle
from corelens.reports.facts import idle_threads, owned
from corelens.reports.facts.blocked import Blocked
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.on_core import on_core
from corelens.reports.facts.taken import Taken
from corelens.reports.facts.workforce import Hands, main_thread

_NS_PER_S = 1_000_000_000
THROTTLED, OTHERS, DELAYED, AFFINITY, TEARDOWN, NO_WORKER, UNEXPLAINED = (
    "throttled", "others", "scheduling", "affinity", "teardown", "no-worker", "unexplained",
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
# /proc/stat counts in steps of 10 ms twice a second, so other programs are smoothed over so long.
_SMOOTH_S = 1.0


@dataclass(frozen=True, slots=True)
class _Bins:
    """Core-seconds per bin."""

    capacity: list[float]
    used: list[float]
    beyond: float


def core_time(facts: Facts, hands: Hands, blocked: Blocked, taken: Taken) -> CoreTimeLedger:
    """Divide capacity x wall; the parts add up to it whatever the recording lacks."""
    threads = [thread for process in facts.processes for thread in process.threads]
    ran = _by_bin(facts, [thread.run_s_by_bin for thread in threads])
    queued = _by_bin(facts, [thread.queue_s_by_bin for thread in threads])
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
        unexplained_share=idle[-1].share,
        run_queue_wait_thread_s=sum(queued),
    )


def _widths(facts: Facts) -> list[float]:
    timeline = facts.report.timeline
    count, step_s = len(timeline.capacity_cores), timeline.step_s
    return [min(step_s, max(facts.wall_s - place * step_s, 0.0)) for place in range(count)]


def _by_bin(facts: Facts, of_threads: Sequence[object]) -> list[float]:
    bins = [0.0] * len(facts.report.timeline.capacity_cores)
    for amounts in of_threads:
        for place, time_s in amounts.items():  # type: ignore[attr-defined]
            bins[place] += time_s
    return bins


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
    widths = _widths(facts)
    busy = [(cores or 0.0) * width for cores, width in zip(facts.report.timeline.busy_cores, widths, strict=True)]
    ahead = [max(0.0, clock - seen) for clock, seen in zip(busy, scaled, strict=True)]
    weights = ahead if sum(ahead) > 0 else widths
    whole = sum(weights)
    return [seen + unseen * weight / whole for seen, weight in zip(scaled, weights, strict=True)], unseen


def _levelled(facts: Facts, ran: list[float]) -> _Bins:
    """Move what a bin shows beyond its capacity to the nearest bins with room."""
    cores, step_s = facts.report.timeline.capacity_cores, facts.report.timeline.step_s
    capacity = [allowed * width for allowed, width in zip(cores, _widths(facts), strict=True)]
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
    whole, widths = sum(bins.capacity), _widths(facts)
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
            series = tuple(part / width if width > 0 else 0.0 for part, width in zip(given, widths, strict=True))
            lines.append(Idle(cause, label, core_s, core_s / whole if whole else 0.0, series))
    return tuple(lines)


def _causes(
    facts: Facts, hands: Hands, blocked: Blocked, taken: Taken, spent: tuple[list[float], list[float]]
) -> dict[str, list[float]]:
    ran, queued = spent
    causes = dict(idle_threads.idle_threads(facts, hands, blocked))
    causes.pop(idle_threads.UNKNOWN, None)
    causes[THROTTLED] = [time_ns / _NS_PER_S for time_ns in taken.throttled]
    causes[OTHERS] = _others(facts, taken, ran)
    causes[AFFINITY] = _kept_off(facts)
    causes[DELAYED] = queued
    causes[idle_threads.TEAM] = _sum(
        causes.get(idle_threads.TEAM), idle_threads.team_waits(facts, blocked, hands.helpers)
    )
    _seams(facts, hands, causes)
    return causes


def _sum(one: list[float] | None, other: list[float]) -> list[float]:
    return other if one is None else [first + second for first, second in zip(one, other, strict=True)]


def _others(facts: Facts, taken: Taken, ran: list[float]) -> list[float]:
    """What other programs and the hypervisor left less than the capacity."""
    if not taken.read:
        return [0.0] * len(ran)
    widths = _widths(facts)
    busy = [time_ns / _NS_PER_S for time_ns in taken.busy]
    theirs = _smooth(facts, [max(0.0, value) for value in _minus(_smooth(facts, busy), _smooth(facts, ran))])
    stolen = [time_ns / _NS_PER_S for time_ns in taken.stolen]
    online = facts.report.capacity.online_cores
    allowed = facts.report.timeline.capacity_cores
    return [
        max(0.0, other + steal - (online - cores) * width)
        for other, steal, cores, width in zip(theirs, stolen, allowed, widths, strict=True)
    ]


def _minus(one: list[float], other: list[float]) -> list[float]:
    return [first - second for first, second in zip(one, other, strict=True)]


def _smooth(facts: Facts, values: list[float]) -> list[float]:
    reach = round(_SMOOTH_S / facts.report.timeline.step_s / 2)
    if reach < 1:
        return values
    total = [0.0]
    for value in values:
        total.append(total[-1] + value)
    smoothed: list[float] = []
    for place in range(len(values)):
        low, high = max(0, place - reach), min(len(values), place + reach + 1)
        smoothed.append((total[high] - total[low]) / (high - low))
    return smoothed


def _kept_off(facts: Facts) -> list[float]:
    """Run-queue wait of processes that may run on fewer cores than the program."""
    allowed = facts.report.capacity.cores
    bins = [0.0] * len(facts.report.timeline.capacity_cores)
    for process in facts.processes:
        if process.affinity is not None and len(process.affinity) < allowed:
            for thread in process.threads:
                for place, time_s in thread.queue_s_by_bin.items():
                    bins[place] += time_s
    return bins


def _seams(facts: Facts, hands: Hands, causes: dict[str, list[float]]) -> None:
    """Start-up and teardown, where no worker is there to be blocked; and cores that no worker exists for."""
    phases, widths, cores = facts.report.phases, _widths(facts), facts.report.timeline.capacity_cores
    if phases is None:
        return
    home = main_thread(hands.home)
    runs = {} if home is None else home.run_s_by_bin
    present = _present(facts, hands)
    gone_s = 0.0
    startup, teardown = [0.0] * len(widths), [0.0] * len(widths)
    for wave in phases.waves:
        _fill(facts, startup, (gone_s, wave.ready_s), {} if not gone_s else runs)
        gone_s = max(gone_s, wave.end_s)
    if not phases.waves:
        _fill(facts, startup, (0.0, phases.startup_until_s), {})
    else:
        _fill(facts, teardown, (phases.tail_until_s, phases.end_s), runs)
    causes[idle_threads.STARTUP] = _sum(causes.get(idle_threads.STARTUP), startup)
    causes[TEARDOWN] = teardown
    causes[NO_WORKER] = [
        max(0.0, allowed * width - there)
        for allowed, width, there in zip(cores, widths, present, strict=True)
    ]


def _fill(facts: Facts, bins: list[float], span: tuple[float, float], runs: object) -> None:
    """All cores of a span, less the part in which the main thread works on alone: that is a serial part."""
    step_s, cores = facts.report.timeline.step_s, facts.report.timeline.capacity_cores
    for place in range(max(0, int(span[0] / step_s)), min(len(bins), int(span[1] / step_s) + 1)):
        time_s = max(0.0, min(span[1], (place + 1) * step_s) - max(span[0], place * step_s))
        serial = min(1.0, runs.get(place, 0.0) / step_s)  # type: ignore[attr-defined]
        bins[place] += time_s * cores[place] * (1.0 - serial)


def _present(facts: Facts, hands: Hands) -> list[float]:
    """Worker-seconds per bin for which a worker was there; without workers, of the main thread."""
    step_s, count = facts.report.timeline.step_s, len(facts.report.timeline.capacity_cores)
    bins = [0.0] * count
    home = main_thread(hands.home)
    threads = hands.threads or (() if home is None else (home,))
    for thread in threads:
        end_s = facts.wall_s if thread.died_s is None else thread.died_s
        for place in range(int(thread.born_s / step_s), min(count, int(end_s / step_s) + 1)):
            lived_s = min(end_s, (place + 1) * step_s) - max(thread.born_s, place * step_s)
            bins[place] += max(0.0, lived_s)
    return bins


__all__ = ["LABELS", "core_time", "owned"]
