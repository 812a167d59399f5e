"""Why each thread that could have used a core did not: its blocked time per bin, divided by what blocked it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from corelens.reports.facts import owned, waits
from corelens.reports.facts.blocked import Blocked, Place, Wait
from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts
from corelens.reports.facts.locks import CONVOY
from corelens.reports.facts.processes import NS_PER_S
from corelens.reports.facts.workforce import Hands, main_thread, only_started

GIL, LOCK, IO, SLEEP, RESULTS, TEAM, TASKS, TAIL, STARTUP, UNKNOWN = (
    "gil", "lock", "io", "sleep", "results", "native-team", "tasks", "tail", "start-up", "unknown",
)  # fmt: skip
_IO = frozenset(
    (waits.DISK, waits.PAGING, waits.SOCKET, waits.TERMINAL, waits.CHILD, waits.SIGNAL, waits.OTHER)
)
_WRITES = frozenset(("write", "writev", "sendto", "sendmsg"))
# What a thread waits for is sampled ten times a second: the looks of so many seconds around a bin tell its mix.
_WINDOW_S = 0.5
# Waiting at a lock of a queue while a sibling reads the queue: in so much of the time, and it is the queue's own.
_QUEUE_SHARE = 0.5

Causes = dict[str, list[float]]
"""Thread-seconds per bin by cause."""


@dataclass(frozen=True, slots=True)
class _Span:
    """When a worker could take tasks, ended its last one, and when the others had ended theirs."""

    ready_s: float
    last_work_s: float
    wave_end_s: float


def idle_threads(facts: Facts, hands: Hands, blocked: Blocked) -> Causes:
    """Thread-seconds per bin that threads which could have used a core were blocked, by cause.

    The time is what the scheduler did not count as run or as run-queue wait; samples only divide it. Threads that
    coordinate are looked at for the GIL, locks and I/O: that they wait for their workers costs nothing.
    """
    return _Causes(facts, hands, blocked).found


class _Causes:
    def __init__(self, facts: Facts, hands: Hands, blocked: Blocked) -> None:
        self._facts, self._hands, self._blocked = facts, hands, blocked
        self._step_s = facts.report.timeline.step_s
        self._count = len(facts.report.timeline.capacity_cores)
        self.found: Causes = {}
        self._convoys = {
            (pid, lock.address) for lock in facts.report.locks if lock.pattern == CONVOY for pid in lock.pids
        }
        self._together = {(pid, lock.address) for lock in facts.report.locks for pid in lock.pids}
        self._workers = frozenset(hands.threads)
        self._queues = self._queue_places()
        self._visitors = self._count_visitors()
        spans = self._spans()
        for process in facts.processes:
            if process not in hands.helpers:
                self._process(process, spans)

    def _process(self, process: ProcessFacts, spans: Mapping[ThreadFacts, _Span]) -> None:
        teams = self._team(process)
        for thread in process.threads:
            if thread.owner.kind not in (owned.MAIN, owned.PYTHON, owned.UNKNOWN):
                continue
            span = spans.get(thread)
            works = span is not None or (not spans and thread is main_thread(process))
            self._thread(process, thread, span, works=works, team=teams)

    def _spans(self) -> dict[ThreadFacts, _Span]:
        phases = self._facts.report.phases
        ends = [] if phases is None else [(wave.begin_s, wave.end_s) for wave in phases.waves]
        spans: dict[ThreadFacts, _Span] = {}
        for thread, worker in zip(self._hands.threads, self._hands.said.workers, strict=True):
            until = [end for begin, end in ends if begin <= worker.born_s]
            spans[thread] = _Span(worker.ready_s, worker.last_work_s, until[-1] if until else 0.0)
        return spans

    def _thread(
        self, process: ProcessFacts, thread: ThreadFacts, span: _Span | None, *, works: bool, team: bool
    ) -> None:
        mixes = self._mixes(process, thread, works=works, team=team)
        if not mixes and not works:
            return
        for place, time_s in self._blocked_time(thread):
            mix = _mix_at(mixes, place, max(1, round(_WINDOW_S / self._step_s)))
            for cause, share in mix.items():
                self._give(cause, place, time_s * share, span)

    def _give(self, cause: str, place: int, time_s: float, span: _Span | None) -> None:
        if span is None:
            self._add(cause, place, time_s)
            return
        start_s, end_s = place * self._step_s, (place + 1) * self._step_s
        before = _overlap(start_s, end_s, 0.0, span.ready_s)
        self._add(STARTUP, place, time_s * before)
        if cause in (TASKS, UNKNOWN):
            late = _overlap(start_s, end_s, span.last_work_s, span.wave_end_s)
            late = min(late, 1.0 - before)
            self._add(TAIL, place, time_s * late)
            before += late
        self._add(cause, place, time_s * max(0.0, 1.0 - before))

    def _add(self, cause: str, place: int, time_s: float) -> None:
        if time_s > 0:
            bins = self.found.get(cause)
            if bins is None:
                bins = self.found[cause] = [0.0] * self._count
            bins[place] += time_s

    def _blocked_time(self, thread: ThreadFacts) -> Iterator[tuple[int, float]]:
        """Seconds per bin in which it lived and neither ran nor waited for a core."""
        end_s = self._facts.wall_s if thread.died_s is None else min(thread.died_s, self._facts.wall_s)
        first = min(int(thread.born_s / self._step_s), self._count - 1)
        for place in range(first, min(int(end_s / self._step_s), self._count - 1) + 1):
            lived_s = min(end_s, (place + 1) * self._step_s) - max(thread.born_s, place * self._step_s)
            used_s = thread.run_s_by_bin.get(place, 0.0) + thread.queue_s_by_bin.get(place, 0.0)
            if lived_s > used_s:
                yield place, lived_s - used_s

    def _mixes(
        self, process: ProcessFacts, thread: ThreadFacts, *, works: bool, team: bool
    ) -> dict[str, dict[int, float]]:
        """Sampled time per bin by cause; time that is nobody's loss keeps its part under an empty name."""
        mixes: dict[str, dict[int, float]] = {}
        for wait, bins in self._blocked.of(process.life, thread.tid).items():
            cause = self._cause(process, thread, wait, works=works, team=team)
            into = mixes.setdefault(cause, {})
            for place, time_ns in bins.items():
                into[place] = into.get(place, 0.0) + time_ns
        return {} if set(mixes) == {""} else mixes

    def _cause(
        self, process: ProcessFacts, thread: ThreadFacts, wait: Wait, *, works: bool, team: bool
    ) -> str:
        if wait.what == waits.GIL:
            return GIL
        if wait.what == waits.LOCK:
            return self._lock(process, wait, works=works, team=team)
        if not works:
            return IO if wait.what in (waits.DISK, waits.PAGING) else ""
        if wait.what == waits.SLEEP:
            return SLEEP
        if wait.what in (waits.PIPE, waits.POLL, waits.SOCKET):
            return self._message(thread, wait)
        return IO if wait.what in _IO else UNKNOWN

    def _message(self, thread: ThreadFacts, wait: Wait) -> str:
        """A worker process takes tasks from a pipe, other threads talk to other programs; stacks know better."""
        if not self._hands.processes or thread not in self._workers:
            return IO
        on_pipe = wait.what == waits.PIPE or (wait.what == waits.POLL and wait.file != "socket")
        if on_pipe and wait.call in _WRITES:
            return RESULTS
        seen = self._blocked.takes_tasks(thread.role, wait)
        return TASKS if (on_pipe if seen is None else seen) else IO

    def _lock(self, process: ProcessFacts, wait: Wait, *, works: bool, team: bool) -> str:
        if self._is_contended(process, wait):
            return LOCK
        if not works:
            return ""
        if team:
            return TEAM
        if not self._hands.threads:
            return LOCK
        alone = wait.place is not None and wait.place[0].startswith("process ") and len(process.threads) == 1
        return LOCK if alone else TASKS

    def _is_contended(self, process: ProcessFacts, wait: Wait) -> bool:
        """Whether a lock guards something: its waiters keep waking, or they are two that never wait at once.

        A queue's own lock is not meant: who waits at it waits for a task.
        """
        place = wait.place
        if place is None or place in self._queues or self._blocked.takes_tasks(process.role, wait):
            return False
        if (process.pid, place[1]) in self._convoys:
            return True
        visitors = self._visitors.get(place, 0)
        if place[0].startswith("process "):
            return visitors > 1 and (process.pid, place[1]) not in self._together
        return visitors > 0

    def _count_visitors(self) -> dict[Place, int]:
        """How many of the workers ever waited at each place."""
        visitors: dict[Place, int] = {}
        homes = self._hands.processes or itertools.repeat(self._hands.home)
        for process, thread in zip(homes, self._hands.threads, strict=False):
            for wait in self._blocked.of(process.life, thread.tid):
                if wait.place is not None:
                    visitors[wait.place] = visitors.get(wait.place, 0) + 1
        return visitors

    def _queue_places(self) -> frozenset[Place]:
        """Locks in shared memory at which workers wait while another of them reads a pipe: those of task queues."""
        reading: dict[int, float] = {}
        waiting: dict[Place, dict[int, float]] = {}
        for process in self._hands.processes:
            for wait, bins in self._blocked.of(process.life, process.pid).items():
                if wait.what in (waits.PIPE, waits.POLL) and wait.call not in _WRITES:
                    for place, time_ns in bins.items():
                        reading[place] = reading.get(place, 0.0) + time_ns
                elif wait.place is not None and not wait.place[0].startswith("process "):
                    of_lock = waiting.setdefault(wait.place, {})
                    for place, time_ns in bins.items():
                        of_lock[place] = of_lock.get(place, 0.0) + time_ns
        return frozenset(
            lock
            for lock, bins in waiting.items()
            if sum(time for place, time in bins.items() if reading.get(place))
            > _QUEUE_SHARE * sum(bins.values())
        )

    def _team(self, process: ProcessFacts) -> bool:
        """Whether a native pool of the process is at work, so that its Python thread waits for that."""
        return any(
            thread.owner.kind in owned.NATIVE_POOLS and not only_started(self._facts, thread)
            for thread in process.threads
        )


def _mix_at(mixes: Mapping[str, Mapping[int, float]], place: int, reach: int) -> dict[str, float]:
    """Shares of the causes around a bin; of the thread's whole life where nothing was seen around it."""
    if len(mixes) == 1:
        return {next(iter(mixes)): 1.0}
    near = {
        cause: sum(bins.get(other, 0.0) for other in range(place - reach, place + reach + 1))
        for cause, bins in mixes.items()
    }
    whole = sum(near.values())
    if not whole:
        near = {cause: sum(bins.values()) for cause, bins in mixes.items()}
        whole = sum(near.values())
    if not whole:
        return {UNKNOWN: 1.0}
    return {cause: time / whole for cause, time in near.items() if time}


def _overlap(start_s: float, end_s: float, from_s: float, until_s: float) -> float:
    """Part of a bin that lies in a span."""
    return max(0.0, min(end_s, until_s) - max(start_s, from_s)) / (end_s - start_s)


def team_waits(facts: Facts, blocked: Blocked, helpers: Iterable[ProcessFacts]) -> list[float]:
    """Thread-seconds per bin that threads of working native pools waited between two parallel regions."""
    bins = [0.0] * len(facts.report.timeline.capacity_cores)
    left_out = set(helpers)
    for process in facts.processes:
        for thread in process.threads if process not in left_out else ():
            if thread.owner.kind in owned.NATIVE_POOLS and not only_started(facts, thread):
                for place, time_ns in blocked.in_pool(process.life, thread.tid).items():
                    bins[place] += time_ns / NS_PER_S
    return bins
