"""The waits probe: what blocked threads wait for, by the system call that they are in.

A thread that did not get a core since it was last looked at is still where it was, so only those that the thread
probe saw moving are read, and a pool of idle threads costs nothing. What is written is what changed.

Limits: a thread that was woken and still waits for a core shows where it was blocked; a wait that begins and ends
between two rounds is not seen.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from corelens.probes import procfs
from corelens.probes.descriptors import CLOSED, Descriptors
from corelens.probes.gaps import Gaps
from corelens.probes.probe import Moment
from corelens.probes.syscalls import FAULT, FUTEX, POLLING, RUNNING, WITH_FILE, names_by_number
from corelens.probes.waits_files import file_of, first_polled
from corelens.probes.waits_shared import SharedMemory
from corelens.vocabulary import Line, columnar_line

KEYFRAME_PERIOD_NS = 30_000_000_000
# Number, six arguments, stack and program counter, all in hexadecimal.
SYSCALL_BYTES = 192
# Whoever did not run for so long gives its descriptor back.
_IDLE_NS = 5_000_000_000

Ran = Callable[[], Mapping[int, set[int]]]
State = tuple[str, int | None, str | None, str | None]
"""Call, address, file and object of a `waits` row."""
_RUNNING: State = (RUNNING, None, None, None)
_FAULT: State = (FAULT, None, None, None)


class Waiter:
    """One thread as last looked at; `descriptor` may be CLOSED."""

    __slots__ = ("descriptor", "raw", "read_ns", "state", "tid")

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self.descriptor = CLOSED
        self.raw: bytes | None = None
        self.state: State | None = None
        self.read_ns = 0


class WaitsProbe:
    """Looks at the threads that `ran` names: by process, those that had a core since it was last called."""

    name = "waits"

    def __init__(
        self,
        ran: Ran,
        proc: Path = procfs.PROC,
        period_ns: int = 100_000_000,
        *,
        descriptors: Descriptors | None = None,
        machine: str | None = None,
    ) -> None:
        self.period_ns = period_ns
        self.readings = 0
        self._ran = ran
        self._proc = proc
        # The thread probe keeps most descriptors; ours are for threads that run often.
        self._descriptors = descriptors or Descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 16)
        self._names = names_by_number(machine)
        self._shared = SharedMemory(proc)
        self._processes: dict[int, dict[int, Waiter]] = {}
        self._refused: dict[int, procfs.Reason] = {}
        self._gaps = Gaps(self.name)
        self._next_tidy_ns = _IDLE_NS
        self._next_keyframe_ns = KEYFRAME_PERIOD_NS

    def look(self, moment: Moment) -> Iterator[Line]:
        """Read where the threads are that ran."""
        t_ns = moment.t_ns
        for pid in self._processes.keys() - moment.processes.keys():
            self._bury(pid)
        ran = self._ran()
        if not self._names:
            machine = "the numbers of its system calls are not known for this kind of machine"
            yield from self._gaps.say(t_ns, None, "what threads wait for", "unsupported", machine)
            return
        rows: list[tuple[int, int, str, int | None, str | None, str | None]] = []
        for pid in (ran.keys() & moment.processes.keys()) - self._refused.keys():
            waiters = self._processes.setdefault(pid, {})
            for waiter in self._read(pid, waiters, ran[pid], t_ns):
                assert waiter.state is not None
                rows.append((pid, waiter.tid, *waiter.state))
            if pid in self._refused:
                yield from self._tell_refused(pid, t_ns)
            self._shared.notice(pid, self._addresses(waiters, ran[pid]))
        if rows:
            yield columnar_line("waits", t_ns, rows)
        yield from self._shared.look(t_ns)
        yield from self._seldom(t_ns)

    def close(self) -> None:
        """Give the descriptors back."""
        for pid in list(self._processes):
            self._bury(pid)

    def _read(self, pid: int, waiters: dict[int, Waiter], tids: set[int], t_ns: int) -> Iterator[Waiter]:
        """Read some threads of one process; yields those that are elsewhere than said last."""
        self.readings += len(tids)
        for tid in tids:
            waiter = waiters.get(tid)
            if waiter is None:
                waiter = waiters[tid] = Waiter(tid)
            try:
                raw = self._raw(pid, waiter)
            except OSError as error:
                if not self._lose(pid, waiters, waiter, error):
                    return
                continue
            waiter.read_ns = t_ns
            if raw == waiter.raw:
                continue
            waiter.raw = raw
            state = self._state(pid, raw)
            if state != waiter.state:
                waiter.state = state
                yield waiter

    def _raw(self, pid: int, waiter: Waiter) -> bytes:
        """What the kernel says of a thread; keeps the file open from the second time on. Raises OSError."""
        if waiter.descriptor != CLOSED:
            return os.pread(waiter.descriptor, SYSCALL_BYTES, 0)
        path = f"{self._proc}/{pid}/task/{waiter.tid}/syscall"
        if waiter.raw is not None:
            return self._descriptors.open_and_read(waiter, path, SYSCALL_BYTES)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, SYSCALL_BYTES)
        finally:
            os.close(descriptor)

    def _lose(self, pid: int, waiters: dict[int, Waiter], waiter: Waiter, error: OSError) -> bool:
        """Forget a thread; False when the whole process may not be read."""
        self._descriptors.give_back(waiter)
        waiters.pop(waiter.tid, None)
        reason = procfs.reason_of(error)
        if reason in ("gone", "descriptors"):
            return True
        self._refused[pid] = reason
        return False

    def _state(self, pid: int, raw: bytes) -> State:
        """Take a line apart: `running`, or number, arguments, stack pointer and program counter."""
        fields = raw.split(None, 3)
        if not fields or fields[0] == b"running":
            return _RUNNING
        number = fields[0]
        if number == b"-1" or len(fields) < 2:
            return _FAULT
        name = self._names.get(number)
        if name == FUTEX:
            return FUTEX, int(fields[1], 16), None, None
        if name in WITH_FILE:
            return name, None, *file_of(self._proc, pid, int(fields[1], 16))
        if name in POLLING and len(fields) > 2:
            return name, None, *first_polled(self._proc, pid, int(fields[1], 16), int(fields[2], 16))
        return name or number.decode(errors="replace"), None, None, None

    def _addresses(self, waiters: dict[int, Waiter], tids: set[int]) -> set[int]:
        """Futexes that threads which ran now wait on."""
        found: set[int] = set()
        for tid in tids:
            waiter = waiters.get(tid)
            if waiter is not None and waiter.state is not None and waiter.state[1] is not None:
                found.add(waiter.state[1])
        return found

    def _tell_refused(self, pid: int, t_ns: int) -> Iterator[Line]:
        detail = "the system calls of a thread are shown to those who may trace its process"
        yield from self._gaps.say(t_ns, pid, "what threads wait for", self._refused[pid], detail)

    def _bury(self, pid: int) -> None:
        for waiter in self._processes.pop(pid, {}).values():
            self._descriptors.give_back(waiter)
        self._refused.pop(pid, None)
        self._shared.forget(pid)

    # now and then

    def _seldom(self, t_ns: int) -> Iterator[Line]:
        if t_ns >= self._next_tidy_ns:
            self._next_tidy_ns = t_ns + _IDLE_NS
            self._tidy(t_ns - _IDLE_NS)
        if t_ns >= self._next_keyframe_ns:
            self._next_keyframe_ns = t_ns + KEYFRAME_PERIOD_NS
            rows = [
                (pid, waiter.tid, *waiter.state)
                for pid, waiters in self._processes.items()
                for waiter in waiters.values()
                if waiter.state is not None
            ]
            if rows:
                yield columnar_line("waits", t_ns, rows)

    def _tidy(self, horizon_ns: int) -> None:
        """Close what idle threads keep open, and forget threads that have ended."""
        for pid, waiters in self._processes.items():
            try:
                there = {int(name) for name in os.listdir(f"{self._proc}/{pid}/task")}  # noqa: PTH208
            except OSError:
                continue
            for waiter in list(waiters.values()):
                if waiter.tid not in there:
                    del waiters[waiter.tid]
                if waiter.tid not in there or waiter.read_ns < horizon_ns:
                    self._descriptors.give_back(waiter)
