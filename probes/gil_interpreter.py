"""One Python process: finding its interpreter, and believing it only when the live memory bears it out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corelens.probes import gil_image, gil_layout, procfs
from corelens.probes.gaps import Gaps
from corelens.probes.gil_layout import Gil, Unverified
from corelens.probes.interpreters import is_named_python
from corelens.probes.namespaces import outer_tids
from corelens.probes.process_memory import Memory
from corelens.vocabulary import Line

CONTENDED_NS = 1_000_000_000
"""A lock that changed hands within so long is contended."""

# Verification may meet a thread that is being born or ends; what fails for so many rounds is another layout.
_TRIES = 20
_FIRST_RETRY_NS = 100_000_000
_LONGEST_RETRY_NS = 30_000_000_000
_ONCE_A_SECOND_NS = 1_000_000_000


class Interpreter:
    """One process, and what is known of its interpreter; `gil` is None where the lock cannot be read."""

    __slots__ = (
        "address", "changed_ns", "contended_ns", "exe", "exe_read_ns", "gil", "held", "held_by", "holder",
        "interval_us", "locked", "looks", "memory", "musl", "next_try_ns", "pid", "reason", "retry_ns",
        "said_held", "start_ticks", "status", "switches", "translated", "tries", "version", "waited_on",
    )  # fmt: skip

    def __init__(self, pid: int, start_ticks: int) -> None:
        self.pid = pid
        self.start_ticks = start_ticks
        self.memory: Memory | None = None
        self.exe: str | None = None
        self.exe_read_ns = 0
        self.version: tuple[int, int] | None = None
        self.gil: Gil | None = None
        self.address = 0
        self.musl = False
        self.status: tuple[str, str] | None = None
        """What `gil.found` says: gil and how; None before anything is known."""
        self.waited_on: tuple[int, int] | None = None
        self.interval_us: int | None = None
        self.reason: str | None = None
        self.tries = 0
        self.next_try_ns = 0
        self.retry_ns = _FIRST_RETRY_NS
        self.looks = self.held = self.switches = self.holder = 0
        self.locked = False
        self.held_by: dict[int, int] = {}
        self.said_held: dict[int, int] = {}
        self.translated: dict[int, int] = {}
        self.changed_ns = self.contended_ns = -CONTENDED_NS

    def read(self, address: int, size: int) -> bytes:
        """Bytes of its memory; none where they cannot be read."""
        return self.memory.read(address, size) if self.memory is not None else b""

    def close(self) -> None:
        """Give the descriptor of its memory back."""
        if self.memory is not None:
            self.memory.close()
            self.memory = None

    @property
    def found(self) -> tuple[Any, ...]:
        """One row of a `gil.found` line."""
        version = None if self.version is None else ".".join(map(str, self.version))
        start, end = self.waited_on or (None, None)
        gil, how = self.status or ("unknown", "nothing")
        return (self.pid, version, gil, how, start, end, self.interval_us, self.reason)


class Finder:
    """Finds the interpreters of processes, tries again where it is too early, and says what it cannot see."""

    def __init__(self, proc: Path, gaps: Gaps) -> None:
        self._proc = proc
        self._gaps = gaps

    def examine_if_due(self, one: Interpreter, t_ns: int, fresh: list[Interpreter]) -> Iterator[Line]:
        """Examine a process whose time has come, and add it to `fresh` where there is something to tell."""
        if t_ns < one.next_try_ns and not self._runs_another_program(one, t_ns):
            return
        before = one.found
        yield from self._examine(one, t_ns)
        if one.status is not None and (one.found != before or one.changed_ns < 0):
            one.changed_ns = t_ns
            fresh.append(one)

    def _runs_another_program(self, one: Interpreter, t_ns: int) -> bool:
        """Whether a process that ran no Python executed another program since; asked once a second."""
        if one.status is not None or t_ns < one.exe_read_ns + _ONCE_A_SECOND_NS:
            return False
        one.exe_read_ns = t_ns
        try:
            return procfs.read_executable(self._proc, one.pid) != one.exe
        except procfs.Unreadable:
            return False

    def _examine(self, one: Interpreter, t_ns: int) -> Iterator[Line]:
        """Find out what can be found out; sets when to try again."""
        if one.gil is not None and one.status is not None and one.status[1] != "waiters":
            self._examine_again(one, t_ns)
            return
        try:
            exe = procfs.read_executable(self._proc, one.pid)
            if exe != one.exe:
                one.exe, one.retry_ns, one.tries = exe, _FIRST_RETRY_NS, 0
            if one.memory is None:
                one.memory = Memory(f"{self._proc}/{one.pid}")
            runtime = gil_image.find_runtime(self._proc, one.pid, one.read)
        except procfs.Unreadable as error:
            self._try_later(one, t_ns)
            if error.reason != "gone":
                yield from self._refused(one, error, t_ns)
            return
        if runtime is None:
            one.close()
            self._try_later(one, t_ns)
            return
        yield from self._believe(one, runtime, t_ns)

    def _believe(self, one: Interpreter, runtime: gil_image.Runtime, t_ns: int) -> Iterator[Line]:
        """Verify an interpreter that was found."""
        one.version, one.musl = runtime.version, runtime.musl
        one.tries += 1
        try:
            gil = gil_layout.locate(one.read, runtime)
            if gil is None:
                raise Unverified("the layout of this version is not known")
            self._verify(one, gil, t_ns)
        except Unverified as error:
            # Opened between a vfork and its exec, this is the parent's memory and stays it: open it anew.
            one.close()
            one.next_try_ns = t_ns + _FIRST_RETRY_NS
            if one.tries >= _TRIES or "not known" in str(error):
                one.next_try_ns = t_ns + _LONGEST_RETRY_NS
                yield from self._fall_back(one, runtime, str(error), t_ns)
            return
        if gil.others:
            detail = (
                f"{gil.others} more interpreters in the process have a lock of their own, which is not read"
            )
            yield from self._gaps.say(t_ns, one.pid, "locks of subinterpreters", "unsupported", detail)

    def _verify(self, one: Interpreter, gil: Gil, t_ns: int) -> None:
        enabled = gil_layout.is_enabled(one.read, gil)
        one.version = gil.version
        if not enabled:
            one.gil, one.status = gil, ("no", how(gil))
            one.waited_on, one.interval_us = None, None
            one.reason = "a free-threaded interpreter with the lock off"
            one.next_try_ns = t_ns + _ONCE_A_SECOND_NS
            return
        one.translated = self._translated(one.pid)
        gil_layout.verify(one.read, gil, one.translated)
        one.gil, one.address = gil, gil.address + gil.holder
        one.status, one.waited_on, one.reason = ("yes", how(gil)), gil.waited_on, None
        if one.musl:
            one.waited_on, one.reason = None, "on musl, who waits for the lock looks like any other waiter"
        one.interval_us = int.from_bytes(one.read(gil.address + gil.interval, 8), "little")
        # Only a free-threaded interpreter can turn its lock on and off.
        one.next_try_ns = t_ns + (_ONCE_A_SECOND_NS if gil.enabled is not None else _LONGEST_RETRY_NS)

    def _examine_again(self, one: Interpreter, t_ns: int) -> None:
        """Look whether a free-threaded interpreter turned its lock on or off, and at the switch interval."""
        assert one.gil is not None
        try:
            self._verify(one, one.gil, t_ns)
        except Unverified:
            one.next_try_ns = t_ns + _ONCE_A_SECOND_NS

    def _fall_back(self, one: Interpreter, runtime: gil_image.Runtime, why: str, t_ns: int) -> Iterator[Line]:
        """Settle for telling who waits: the lock is a part of `_PyRuntime` in every version with a lock."""
        one.gil = None
        one.status = ("unknown", "waiters")
        one.waited_on = None if runtime.musl else (runtime.address, runtime.address + runtime.size)
        one.reason = f"{why}; only who waits for the lock is told"
        yield from self._gaps.say(t_ns, one.pid, "the GIL's state", "unsupported", one.reason)

    def _refused(self, one: Interpreter, error: procfs.Unreadable, t_ns: int) -> Iterator[Line]:
        detail = f"{error.detail}: the memory of a process is shown to those who may trace it"
        if one.status is None and is_named_python(one.exe or ""):
            one.status, one.reason = ("unknown", "nothing"), detail
        yield from self._gaps.say(t_ns, one.pid, "the GIL's state", error.reason, detail)

    def _try_later(self, one: Interpreter, t_ns: int) -> None:
        one.next_try_ns = t_ns + one.retry_ns
        one.retry_ns = min(2 * one.retry_ns, _LONGEST_RETRY_NS)

    def _translated(self, pid: int) -> dict[int, int]:
        """Thread ids of a process by what they are in its own PID namespace."""
        try:
            tids = [int(name) for name in os.listdir(f"{self._proc}/{pid}/task")]  # noqa: PTH208
        except OSError as error:
            raise Unverified("the threads of the process cannot be listed") from error
        outer = outer_tids(self._proc, pid, tids)
        return {tid: tid for tid in tids} if outer is None else outer

    def tid_of(self, one: Interpreter, state: int) -> int | None:
        """Kernel id of a thread by its state, read each time: the memory of an ended one is used again."""
        if one.gil is None or not state:
            return None
        tid = gil_layout.native_id(one.read, one.gil, state)
        if tid is None:
            return None
        if tid not in one.translated:
            try:
                one.translated = self._translated(one.pid)
            except Unverified:
                return None
        return one.translated.get(tid)


def how(gil: Gil) -> str:
    """Where the offsets come from, in the words of `gil.found`."""
    return "published" if gil.published else "offsets"
