"""Threads that spend their time in waiting for a device, a remote side or a page of memory."""

from __future__ import annotations

from dataclasses import dataclass

from corelens.reports.facts.blocking import alive_s, blocked_in
from corelens.reports.facts.facts import Facts, ThreadFacts
from corelens.reports.facts.lock_waits import python_threads
from corelens.reports.facts.stretches import Stretch
from corelens.reports.facts.waits import what_of

# Threads that lived shorter than this were looked at too seldom.
LEAST_LIFE_S = 1.0
SYNC_CALLS = frozenset({"fsync", "fdatasync", "sync_file_range", "msync", "sync"})


@dataclass(frozen=True, slots=True)
class DeviceWaits:
    """Threads that wait for one kind of thing, and for how long."""

    what: str
    """A word of `facts.waits`: disk, paging, socket."""
    threads: tuple[ThreadFacts, ...]
    stretch: Stretch
    waited_s: float
    life_s: float
    """Their lives added up."""
    user_s: float
    """Of their processes, in the part that their threads ran; all of it where the kernel's split was not read."""
    system_s: float
    queue_s: float
    calls: dict[str, float]
    """Seconds met in each call of that kind."""

    @property
    def pids(self) -> tuple[int, ...]:
        """Their processes."""
        return tuple(sorted({thread.pid for thread in self.threads}))

    @property
    def share(self) -> float:
        """Part of their lives that they waited."""
        return self.waited_s / self.life_s if self.life_s else 0.0

    @property
    def blocks_per_s(self) -> float | None:
        """How often they blocked; None where switches were not read."""
        counts = [thread.voluntary for thread in self.threads if thread.voluntary is not None]
        return sum(counts) / self.stretch.length_s if counts else None


def device_waits(facts: Facts, what: str, least_share: float) -> DeviceWaits | None:
    """Threads that waited so for at least that part of their lives; None where there is none."""
    waiting = {
        thread: spent
        for thread in python_threads(facts)
        if alive_s(thread, facts.wall_s) >= LEAST_LIFE_S
        and (spent := blocked_in(thread, facts.wall_s).get(what, 0.0))
        >= least_share * alive_s(thread, facts.wall_s)
    }
    return _put_together(facts, what, waiting) if waiting else None


def _put_together(facts: Facts, what: str, waiting: dict[ThreadFacts, float]) -> DeviceWaits:
    processes = ((thread, facts.process(thread.pid)) for thread in waiting)
    users = [(thread, process.user_share if process is not None else 1.0) for thread, process in processes]
    ends = [facts.wall_s if thread.died_s is None else thread.died_s for thread in waiting]
    calls: dict[str, float] = {}
    for thread in waiting:
        for (call, file), spent in thread.calls.items():
            if what_of(call, file) == what:
                calls[call] = calls.get(call, 0.0) + spent
    return DeviceWaits(
        what=what,
        threads=tuple(waiting),
        stretch=Stretch(min(thread.born_s for thread in waiting), max(ends)),
        waited_s=sum(waiting.values()),
        life_s=sum(alive_s(thread, facts.wall_s) for thread in waiting),
        user_s=sum(thread.run_s * share for thread, share in users),
        system_s=sum(thread.run_s * (1 - share) for thread, share in users),
        queue_s=sum(thread.queue_s for thread in waiting),
        calls=calls,
    )


def major_faults(facts: Facts, waits: DeviceWaits) -> int | None:
    """Page faults with disk of their processes; None where they were not read."""
    counts = [process.major_faults for process in facts.processes if process.pid in waits.pids]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def read_bytes(facts: Facts, waits: DeviceWaits) -> int:
    """Bytes that their processes read from storage."""
    return sum(process.read_bytes or 0 for process in facts.processes if process.pid in waits.pids)


def write_bytes(facts: Facts, waits: DeviceWaits) -> int:
    """Bytes that their processes wrote to storage."""
    return sum(process.write_bytes or 0 for process in facts.processes if process.pid in waits.pids)
