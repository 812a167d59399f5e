"""Locks: threads that wait on the same futex, within a process or, in shared memory, across processes.

A futex tells that threads wait at one place, not what for: a mutex, a condition and a semaphore look alike. What
tells a lock that is fought over from a pool that lies idle is how often its waiters wake up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from corelens.recording import Recording
from corelens.reports.facts.processes import NS_PER_S, Life, Lives
from corelens.reports.facts.waits import LOCK, POOL, RUNNING, Spell
from corelens.reports.report import Lock

CONVOY = "convoy"
TEAM = "team"
PARKED = "parked"

# Measured with 4 threads on a threading.Lock held for 2 ms at a time: each waiter wakes up more than 100 times a
# second, 10 times on a machine with ten programs for each core. Idle workers of native pools do not wake at all.
# Workers that are handed work as often as this look the same: what the threads hold is told by their stacks.
CONVOY_WAKEUPS_PER_S = 5.0
MOST_LOCKS = 100
_ORDER = (CONVOY, TEAM, PARKED)

_Place = tuple[Life, int] | tuple[str, int]
"""A process and an address, or an object in shared memory and an offset."""
_Interval = tuple[int, int, Life, int]
"""From when to when, and the thread."""


@dataclass(slots=True)
class _Group:
    """Everything that waited in one place."""

    waits: list[_Interval] = field(default_factory=list[_Interval])
    address: int = 0
    path: str | None = None
    shared: bool = False
    pool_ns: int = 0
    """Part of the waiting that threads of native pools did."""
    wakeups: int = 0


class Groups:
    """Gathers waits by place; a sink of spells."""

    def __init__(self, recording: Recording, lives: Lives) -> None:
        self._shared: dict[tuple[Life, int], tuple[str, int, str | None]] = {}
        names = ("pid", "address", "object", "offset", "path")
        for line in recording.lines("locks.shared"):
            for pid, address, thing, offset, path in zip(*(line[name] for name in names), strict=False):
                life = lives.at(pid, line["t_ns"])
                if life is not None:
                    self._shared[life, address] = (thing, offset, path)
        self.by_place: dict[_Place, _Group] = {}
        self.blocked_ns = 0

    def add(self, spell: Spell) -> None:
        """Take one spell."""
        lasted_ns = spell.end_ns - spell.start_ns
        if spell.what != RUNNING:
            self.blocked_ns += lasted_ns
        if spell.what not in (LOCK, POOL) or spell.address is None or lasted_ns <= 0:
            return
        shared = self._shared.get((spell.life, spell.address))
        place: _Place = (spell.life, spell.address) if shared is None else shared[:2]
        group = self.by_place.get(place)
        if group is None:
            path = None if shared is None else shared[2]
            group = self.by_place[place] = _Group(address=spell.address, path=path, shared=shared is not None)
        group.waits.append((spell.start_ns, spell.end_ns, spell.life, spell.tid))
        group.pool_ns += lasted_ns if spell.what == POOL else 0


def locks(recording: Recording, groups: Groups) -> tuple[Lock, ...]:
    """Places where two threads or more waited at once, those that were fought over first.

    Where a native pool lies idle is none of them.
    """
    together = [
        (group, peak, busy_ns)
        for group in groups.by_place.values()
        for peak, busy_ns in [_crowd(group.waits)]
        if peak >= 2
    ]
    _count_wakeups(recording, [group for group, _, _ in together])
    found = [_lock(group, peak, busy_ns, groups.blocked_ns) for group, peak, busy_ns in together]
    kept = [lock for lock in found if lock is not None]
    return tuple(sorted(kept, key=lambda lock: (_ORDER.index(lock.pattern), -lock.blocked_s))[:MOST_LOCKS])


def _crowd(waits: Iterable[_Interval]) -> tuple[int, int]:
    """Most that waited at once, and for how long anybody did."""
    # An end at the moment of a beginning comes first: one thread's rows follow on each other.
    events = sorted(event for start, end, _, _ in waits for event in ((start, 1), (end, -1)))
    now = peak = busy_ns = since_ns = 0
    for t_ns, change in events:
        if now:
            busy_ns += t_ns - since_ns
        now, since_ns = now + change, t_ns
        peak = max(peak, now)
    return peak, busy_ns


def _lock(group: _Group, peak: int, busy_ns: int, blocked_ns: int) -> Lock | None:
    """What is to be said of a place; None where a native pool lies idle."""
    waited_ns = sum(end - start for start, end, _, _ in group.waits)
    wakeups_per_s = group.wakeups * NS_PER_S / waited_ns if waited_ns else 0.0
    is_pool = group.pool_ns > waited_ns / 2
    pattern = PARKED if wakeups_per_s < CONVOY_WAKEUPS_PER_S else TEAM if is_pool else CONVOY
    if is_pool and pattern == PARKED:
        return None
    lives = {life for _, _, life, _ in group.waits}
    return Lock(
        pids=tuple(sorted(life.pid for life in lives)),
        address=group.address,
        shared=group.shared,
        path=group.path,
        pattern=pattern,
        threads=len({(life, tid) for _, _, life, tid in group.waits}),
        waiters_mean=waited_ns / busy_ns if busy_ns else 0.0,
        waiters_peak=peak,
        blocked_s=waited_ns / NS_PER_S,
        blocked_share=waited_ns / blocked_ns if blocked_ns else 0.0,
        wakeups_per_s=wakeups_per_s,
    )


def _count_wakeups(recording: Recording, groups: list[_Group]) -> None:
    """Count how often waiters got a core while they were said to wait: each time they had been woken."""
    waits: dict[int, list[tuple[int, int, _Group]]] = {}
    for group in groups:
        for start, end, _, tid in group.waits:
            waits.setdefault(tid, []).append((start, end, group))
    followed = {tid: _Following(sorted(of, key=lambda one: one[0])) for tid, of in waits.items()}
    for line in recording.lines("threads"):
        t_ns = line["t_ns"]
        for tid, slices in zip(line["tid"], line["slices"], strict=False):
            if tid in followed:
                followed[tid].read(t_ns, slices)


class _Following:
    """One thread's waits in the order of time, and its count of slices."""

    def __init__(self, waits: list[tuple[int, int, _Group]]) -> None:
        self._waits: Iterator[tuple[int, int, _Group]] = iter(waits)
        self._now = next(self._waits, None)
        self._slices: int | None = None

    def read(self, t_ns: int, slices: int) -> None:
        """Take one reading; what was counted since the one before belongs to the wait that it ended in."""
        while self._now is not None and self._now[1] < t_ns:
            self._now = next(self._waits, None)
        before, self._slices = self._slices, slices
        if self._now is not None and before is not None and slices > before and self._now[0] < t_ns:
            self._now[2].wakeups += slices - before
