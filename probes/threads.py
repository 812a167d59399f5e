"""The thread probe: time on a core, run-queue wait and slices of every thread, read from schedstat.

Three things keep it cheap. Processes whose CPU clock stands still are skipped. Descriptors stay open and the
bytes read are compared before they are parsed. And of a process that moved only the threads that moved lately
are read: the CPU clock of the process less the time on a core of its threads stays constant unless another
thread ran, and then all are read. A thread's wait counter changes only when it gets a core, so it cannot move
unnoticed either. All threads are read once a second regardless.

Measured by `python benchmarks/sampling.py`; the figures are in README.md.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from corelens.probes import pidfd, procfs
from corelens.probes.descriptors import CLOSED, SCHEDSTAT_BYTES, Descriptors
from corelens.probes.gaps import Gaps
from corelens.probes.probe import Moment, Process
from corelens.vocabulary import Line, columnar_line

# One tick of the slowest common kernel (HZ=250): by so much the counter of a running thread lags.
SCHEDULER_TICK_NS = 4_000_000
FULL_PERIOD_NS = 1_000_000_000
DETAIL_PERIOD_NS = 1_000_000_000
KEYFRAME_PERIOD_NS = 30_000_000_000
# A status and a stat file cost 40 us a thread: so many per second stay near 0.1 % of a core.
DETAILS_PER_LOOK = 25
# Reading the CPU clock of a process costs as much as reading four threads.
FEW_THREADS = 8


class Thread:
    """One followed thread with its counters as last read; `descriptor` may be CLOSED.

    `lost` says that its open file knows of no thread any more, whoever has its id now.
    """

    __slots__ = (
        "comm",
        "descriptor",
        "lost",
        "moved_ns",
        "raw",
        "run_ns",
        "slices",
        "start_ticks",
        "tid",
        "wait_ns",
    )

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self.descriptor = CLOSED
        self.raw = b""
        self.run_ns = 0
        self.wait_ns = 0
        self.slices = 0
        self.moved_ns = 0
        self.lost = False
        self.comm: str | None = None
        self.start_ticks: int | None = None

    def update(self, raw: bytes) -> int:
        """Take a new reading; returns how much longer the thread was on a core. Raises ValueError."""
        run_ns, wait_ns, slices = map(int, raw.split())
        gained_ns = run_ns - self.run_ns
        self.raw, self.run_ns, self.wait_ns, self.slices = raw, run_ns, wait_ns, slices
        return gained_ns

    @property
    def row(self) -> tuple[int, int, int, int]:
        """One row of a `threads` line."""
        return (self.tid, self.run_ns, self.wait_ns, self.slices)


class Threads:
    """The threads of one process; `known_ns` is the sum of their time on a core as last read."""

    __slots__ = (
        "active",
        "balance_ns",
        "by_tid",
        "changes",
        "clock",
        "folder",
        "known_ns",
        "links",
        "next_full_ns",
        "pid",
        "start_ticks",
    )

    def __init__(self, process: Process, proc: Path) -> None:
        self.pid = process.pid
        self.start_ticks = process.start_ticks
        self.folder = f"{proc}/{process.pid}/task"
        self.links: int | None = None
        self.clock = pidfd.cpu_clock(process.pid)
        self.by_tid: dict[int, Thread] = {}
        self.changes = 0
        self.active: list[Thread] = []
        self.known_ns = 0
        self.balance_ns: int | None = None
        self.next_full_ns = 0

    def excess_ns(self) -> int | None:
        """CPU used since all threads were read that the known ones do not show; None if unknown."""
        balance_ns = self.present_balance_ns()
        return None if balance_ns is None or self.balance_ns is None else balance_ns - self.balance_ns

    def present_balance_ns(self) -> int | None:
        """CPU clock less the known time of the living threads: what dead threads used, and what is unseen."""
        try:
            return time.clock_gettime_ns(self.clock) - self.known_ns
        except OSError:
            return None

    def count_moved(self) -> bool:
        """Whether the number of threads changed since all were read; also when the process is gone.

        A folder's links are its subfolders and two more.
        """
        try:
            if self.links is None:
                self.links = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            return os.fstat(self.links).st_nlink - 2 != len(self.by_tid)
        except OSError:
            return True

    def close(self) -> None:
        """Give the descriptor of the folder back."""
        if self.links is not None:
            os.close(self.links)
            self.links = None


class ThreadsProbe:
    """Follows every thread of the processes in the tree.

    `check_sums=False` reads every thread of a moved process in each round: dearer, and the yardstick for the
    shortcut. `readings` counts what was read.
    """

    name = "threads"

    def __init__(
        self,
        proc: Path = procfs.PROC,
        period_ns: int = 100_000_000,
        *,
        descriptors: Descriptors | None = None,
        check_sums: bool = True,
        cores: int | None = None,
        detail_period_ns: int = DETAIL_PERIOD_NS,
    ) -> None:
        self.period_ns = period_ns
        self.readings = 0
        self._ran: dict[int, set[int]] | None = None
        self._proc = proc
        self._check_sums = check_sums
        self._cores = cores or os.cpu_count() or 1
        self._descriptors = descriptors or Descriptors()
        self._processes: dict[int, Threads] = {}
        self._pending: dict[int, int] = {}
        self._broken: dict[int, bytes] = {}
        self._gaps = Gaps(self.name)
        self._detail_period_ns = detail_period_ns
        self._next_detail_ns = detail_period_ns // 2
        self._next_keyframe_ns = KEYFRAME_PERIOD_NS

    def look(self, moment: Moment) -> Iterator[Line]:
        """Read the threads of the processes that moved."""
        t_ns = moment.t_ns
        moved: dict[int, Thread] = {}
        died: list[Line] = []
        for pid in self._processes.keys() - moment.processes.keys():
            yield from self.bury(pid, t_ns)
        for pid in moment.moved & moment.processes.keys():
            before = len(moved)
            for line in self._look_at(moment.processes[pid], t_ns, moved):
                if line["kind"] == "threads.died" and not moved.keys().isdisjoint(line["tid"]):
                    died.append(line)
                else:
                    yield line
            if self._ran is not None and len(moved) > before:
                self._ran.setdefault(pid, set()).update(itertools.islice(moved, before, None))
        if moved:
            yield columnar_line("threads", t_ns, [thread.row for thread in moved.values()])
        # A thread may have moved and ended within one look: its end comes last.
        yield from died
        yield from self._seldom(t_ns)

    def follow_runs(self) -> Callable[[], dict[int, set[int]]]:
        """Keep from now on which threads ran, by process; what is returned gives those since it was last called."""
        self._ran = {}

        def take() -> dict[int, set[int]]:
            ran, self._ran = self._ran or {}, {}
            return ran

        return take

    def bury(self, pid: int, t_ns: int) -> Iterator[Line]:
        """Read what an ended process still shows of its threads, and write them down as ended."""
        threads = self._processes.pop(pid, None)
        if threads is None:
            return
        # Only the first thread of a process lives on in its zombie.
        last: dict[int, Thread] = {}
        if (first := threads.by_tid.get(pid)) is not None:
            self._read(threads, [first], t_ns, last)
        if last:
            yield columnar_line("threads", t_ns, [thread.row for thread in last.values()])
        yield self._forget(threads, list(threads.by_tid.values()), t_ns)
        threads.close()

    def living(self, pid: int) -> tuple[int, Mapping[int, Thread]]:
        """How often the threads of a process have changed so far, and those that live now by id."""
        threads = self._processes.get(pid)
        return (0, {}) if threads is None else (threads.changes, threads.by_tid)

    def close(self) -> None:
        """Give the descriptors back."""
        for threads in self._processes.values():
            threads.close()
            for thread in threads.by_tid.values():
                self._descriptors.give_back(thread)
        self._processes.clear()

    # one process

    def _look_at(self, process: Process, t_ns: int, moved: dict[int, Thread]) -> Iterator[Line]:
        pid = process.pid
        threads = self._processes.get(pid)
        if threads is not None and threads.start_ticks != process.start_ticks:
            yield from self.bury(pid, t_ns)
            threads = None
        if threads is None:
            threads = self._processes[pid] = Threads(process, self._proc)
        if t_ns >= threads.next_full_ns or threads.count_moved():
            threads.next_full_ns = t_ns + FULL_PERIOD_NS
            yield from self._renew(threads, t_ns)
        elif self._shortcut(threads) and self._read_active(threads, t_ns, moved):
            return
        yield from self._read_all(threads, t_ns, moved)

    def _shortcut(self, threads: Threads) -> bool:
        return self._check_sums and len(threads.by_tid) > FEW_THREADS

    def _read_active(self, threads: Threads, t_ns: int, moved: dict[int, Thread]) -> bool:
        """Read the threads that moved lately; False when others must have run, or one is gone."""
        before = len(moved)
        if not self._read(threads, threads.active, t_ns, moved):
            return False
        excess_ns = threads.excess_ns()
        running = min(len(moved) - before, self._cores)
        return excess_ns is not None and excess_ns <= SCHEDULER_TICK_NS * (1 + running)

    def _read_all(self, threads: Threads, t_ns: int, moved: dict[int, Thread]) -> Iterator[Line]:
        if not self._read(threads, threads.by_tid.values(), t_ns, moved):
            yield from self._renew(threads, t_ns)
            # Whoever is found only now may have run already, and the process may rest from here on.
            self._read(threads, [thread for thread in threads.by_tid.values() if not thread.raw], t_ns, moved)
        if not self._shortcut(threads) and not self._descriptors.short:
            return
        horizon_ns = t_ns - FULL_PERIOD_NS
        threads.active = [thread for thread in threads.by_tid.values() if thread.moved_ns >= horizon_ns]
        threads.balance_ns = threads.present_balance_ns()
        if self._descriptors.short:
            for thread in threads.by_tid.values():
                if thread.moved_ns < horizon_ns:
                    self._descriptors.give_back(thread)

    def _renew(self, threads: Threads, t_ns: int) -> Iterator[Line]:
        """Bring the list of threads up to date."""
        try:
            there = {int(name) for name in os.listdir(threads.folder)}  # noqa: PTH208
        except OSError as error:
            reason = procfs.reason_of(error)
            if reason != "gone":
                yield from self._gaps.say(t_ns, threads.pid, "threads", reason, error.strerror or "")
            return
        gone = [thread for tid, thread in threads.by_tid.items() if tid not in there]
        replaced = [thread for tid, thread in threads.by_tid.items() if thread.lost and tid in there]
        for ended in filter(None, (gone, replaced)):
            yield self._forget(threads, ended, t_ns)
        born = [self._first_sight(threads.pid, tid) for tid in sorted(there - threads.by_tid.keys())]
        if born:
            threads.changes += 1
            threads.by_tid.update((thread.tid, thread) for thread in born)
            yield _born_line(threads.pid, born, t_ns)

    def _read(self, threads: Threads, some: Collection[Thread], t_ns: int, moved: dict[int, Thread]) -> bool:
        """Read some threads and add those that moved; False when one of them is gone.

        This is the innermost loop: what it does not call costs nothing.
        """
        all_there = True
        pread, pending, pid = os.pread, self._pending, threads.pid
        self.readings += len(some)
        for thread in some:
            try:
                raw = pread(thread.descriptor, SCHEDSTAT_BYTES, 0)
            except OSError:
                raw = self._read_through_path(threads, thread)
            if raw == thread.raw:
                continue
            if not raw:
                all_there = False
                continue
            try:
                threads.known_ns += thread.update(raw)
            except ValueError:
                self._broken[pid] = raw
                continue
            thread.moved_ns = t_ns
            moved[thread.tid] = thread
            pending[thread.tid] = pid
        return all_there

    def _read_through_path(self, threads: Threads, thread: Thread) -> bytes:
        """Read a thread that has no descriptor; empty when it is gone, as last read when there is none left."""
        if thread.descriptor != CLOSED:
            thread.lost = True
            return b""
        try:
            return self._descriptors.open_and_read(thread, f"{threads.folder}/{thread.tid}/schedstat")
        except OSError as error:
            if procfs.reason_of(error) != "descriptors":
                return b""
            self._descriptors.short = True
            return thread.raw

    def _first_sight(self, pid: int, tid: int) -> Thread:
        thread = Thread(tid)
        try:
            stat = procfs.read_thread_stat(self._proc, pid, tid)
        except procfs.Unreadable:
            return thread
        thread.comm, thread.start_ticks = stat.comm, stat.start_ticks
        return thread

    def _forget(self, threads: Threads, gone: list[Thread], t_ns: int) -> Line:
        threads.changes += 1
        for thread in gone:
            del threads.by_tid[thread.tid]
            threads.known_ns -= thread.run_ns
            self._descriptors.give_back(thread)
            self._pending.pop(thread.tid, None)
        return columnar_line("threads.died", t_ns, [(thread.tid,) for thread in gone])

    # now and then

    def _seldom(self, t_ns: int) -> Iterator[Line]:
        if t_ns >= self._next_detail_ns:
            self._next_detail_ns = t_ns + self._detail_period_ns
            yield from self._look_closer(t_ns)
            yield from self._tell_trouble(t_ns)
        if t_ns >= self._next_keyframe_ns:
            self._next_keyframe_ns = t_ns + KEYFRAME_PERIOD_NS
            for threads in self._processes.values():
                yield _born_line(threads.pid, threads.by_tid.values(), t_ns)

    def _look_closer(self, t_ns: int) -> Iterator[Line]:
        """Read switches, state and cores of the threads that have waited longest for it."""
        rows: list[tuple[Any, ...]] = []
        renamed: list[tuple[int, str]] = []
        for tid in list(self._pending)[:DETAILS_PER_LOOK]:
            pid = self._pending.pop(tid)
            try:
                switches = procfs.read_switches(self._proc, pid, tid)
                core = procfs.read_core(self._proc, pid, tid)
            except procfs.Unreadable:
                continue
            counted = (switches.voluntary, switches.involuntary, switches.state)
            rows.append((tid, *counted, core, switches.allowed_cores))
            if self._rename(pid, tid, switches.comm):
                renamed.append((tid, switches.comm))
        if rows:
            yield columnar_line("threads.detail", t_ns, rows)
        if renamed:
            yield columnar_line("threads.named", t_ns, renamed)

    def _rename(self, pid: int, tid: int, comm: str) -> bool:
        threads = self._processes.get(pid)
        thread = threads.by_tid.get(tid) if threads else None
        if thread is None or thread.comm == comm:
            return False
        thread.comm = comm
        return True

    def _tell_trouble(self, t_ns: int) -> Iterator[Line]:
        for pid, raw in self._broken.items():
            yield from self._gaps.say(t_ns, pid, "schedstat", "broken", f"not three numbers: {raw[:40]!r}")
        self._broken.clear()
        if self._descriptors.short:
            detail = (
                f"{self._descriptors.limit} descriptors serve all threads; the others are opened at each"
                " reading, which costs more CPU (raise it with: ulimit -n)"
            )
            yield from self._gaps.say(t_ns, None, "descriptors for every thread", "descriptors", detail)


def _born_line(pid: int, threads: Iterable[Thread], t_ns: int) -> Line:
    rows = [(pid, thread.tid, thread.start_ticks, thread.comm) for thread in threads]
    return columnar_line("threads.born", t_ns, rows)
