"""One blocked system call taken apart: whether it returns by itself, and which files or children would end it."""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from corelens.probes import procfs
from corelens.probes.process_memory import Memory
from corelens.probes.syscalls import FAULT, FUTEX, RUNNING

Target = tuple[str, str]
"""As in a `standstill.waits` row: (`in`, FILE), (`out`, FILE), (`child`, PID)."""

# Where in the arguments a time stands after which the call returns: a pointer (null: never) or milliseconds.
_POINTED = {
    FUTEX: 3, "ppoll": 2, "select": 4, "pselect6": 4, "epoll_pwait2": 3, "rt_sigtimedwait": 2, "semtimedop": 3,
    "mq_timedreceive": 4, "futex_waitv": 3, "recvmmsg": 4,
}  # fmt: skip
_MILLISECONDS = {"poll": 2, "epoll_wait": 3, "epoll_pwait": 3}
_SLEEPS = frozenset({"nanosleep", "clock_nanosleep"})
# A socket can carry a timeout of its own, which does not show.
_ENDLESS = frozenset(
    {"read", "write", "readv", "writev", "wait4", "waitid", "pause", "flock", "fcntl", "semop", "msgrcv",
     "rt_sigsuspend"}
)  # fmt: skip
_READS = frozenset(
    {"read", "readv", "pread64", "preadv", "recvfrom", "recvmsg", "recvmmsg", "accept", "accept4", "fcntl", "flock"}
)  # fmt: skip
_WRITES = frozenset({"write", "writev", "pwrite64", "pwritev", "sendto", "sendmsg", "sendmmsg", "connect"})
_EPOLLS = frozenset({"epoll_wait", "epoll_pwait", "epoll_pwait2"})
_SELECTS = frozenset({"select", "pselect6"})
_POLL_FD = struct.Struct("<ihh")
_POLL_IN, _POLL_OUT = 0x1 | 0x2, 0x4
# More files than this are waited for by servers, never by a pool.
_MOST_FILES = 256
_P_PID, _P_PIDFD = 1, 3
_WATCHED = re.compile(rb"^tfd:\s+(\d+)\s+events:\s+([0-9a-f]+)", re.MULTILINE)
_PIDFD_OF = re.compile(rb"^Pid:\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class BlockedCall:
    """A call with its arguments; `counter` is where in the program it was made, 0 where that is not known."""

    name: str
    arguments: tuple[int, ...] = ()
    counter: int = 0

    @property
    def timed(self) -> bool | None:
        """Whether it returns by itself after a time; None where that is not known."""
        if self.name in _SLEEPS:
            return True
        place = _POINTED.get(self.name)
        if place is not None and len(self.arguments) > place:
            return self.arguments[place] != 0
        place = _MILLISECONDS.get(self.name)
        if place is not None and len(self.arguments) > place:
            return _signed(self.arguments[place]) >= 0
        return False if self.name in _ENDLESS else None


def parse(raw: bytes, names: Mapping[bytes, str]) -> BlockedCall:
    """Take a line of /proc/PID/task/TID/syscall apart."""
    fields = raw.split()
    if not fields or fields[0] == b"running":
        return BlockedCall(RUNNING)
    if fields[0] == b"-1" or len(fields) < 3:
        return BlockedCall(FAULT)
    name = names.get(fields[0]) or fields[0].decode(errors="replace")
    values = [int(field, 16) for field in fields[1:]]
    return BlockedCall(name, tuple(values[:-2]), values[-1])


def targets(folder: str, call: BlockedCall) -> tuple[Target, ...] | None:
    """What would end the call; None where it cannot be told. `folder` is that of the process in /proc."""
    if not call.arguments:
        return None
    if call.name in ("wait4", "waitid"):
        return _children(folder, call)
    wanted = _descriptors(folder, call)
    if wanted is None or len(wanted) > _MOST_FILES:
        return None
    try:
        return tuple(_target(folder, direction, descriptor) for direction, descriptor in wanted)
    except procfs.Unreadable:
        return None


def _children(folder: str, call: BlockedCall) -> tuple[Target, ...] | None:
    first = _signed(call.arguments[0])
    if call.name == "wait4":
        return (("child", str(max(first, 0))),)
    if first == _P_PIDFD:
        pid = _pid_of(folder, call.arguments[1])
        return None if pid is None else (("child", pid),)
    return (("child", str(call.arguments[1] if first == _P_PID else 0)),)


def _descriptors(folder: str, call: BlockedCall) -> list[tuple[str, int]] | None:
    """(direction, descriptor) of every file that the call waits for."""
    first = call.arguments[0]
    if call.name in _READS:
        return [("in", first)]
    if call.name in _WRITES:
        return [("out", first)]
    if call.name in _EPOLLS:
        return _watched(folder, first)
    if call.name in ("poll", "ppoll") or call.name in _SELECTS:
        with contextlib.suppress(procfs.Unreadable), contextlib.closing(Memory(folder)) as memory:
            return list(_polled(memory, call) if call.name not in _SELECTS else _selected(memory, call))
    return None


def _watched(folder: str, descriptor: int) -> list[tuple[str, int]] | None:
    try:
        said = procfs.read_bytes(f"{folder}/fdinfo/{descriptor}")
    except procfs.Unreadable:
        return None
    found = [(int(number), int(events, 16)) for number, events in _WATCHED.findall(said)]
    return [pair for number, events in found for pair in _directions(number, events)]


def _polled(memory: Memory, call: BlockedCall) -> Iterator[tuple[str, int]]:
    count = min(call.arguments[1], _MOST_FILES + 1)
    data = memory.read(call.arguments[0], count * _POLL_FD.size)
    for number, events, _ in _POLL_FD.iter_unpack(data[: len(data) - len(data) % _POLL_FD.size]):
        if number >= 0:
            yield from _directions(number, events)


def _selected(memory: Memory, call: BlockedCall) -> Iterator[tuple[str, int]]:
    count = min(call.arguments[0], 1024)
    for direction, address in (("in", call.arguments[1]), ("out", call.arguments[2])):
        bits = int.from_bytes(memory.read(address, (count + 7) // 8), "little") if address else 0
        yield from ((direction, number) for number in range(count) if bits >> number & 1)


def _directions(number: int, events: int) -> Iterator[tuple[str, int]]:
    if events & _POLL_OUT:
        yield "out", number
    # The end of the other side is told of even where nothing was asked for.
    if events & _POLL_IN or not events & _POLL_OUT:
        yield "in", number


def _target(folder: str, direction: str, descriptor: int) -> Target:
    """The file of a descriptor, or the child that it stands for."""
    name = procfs.read_link(f"{folder}/fd/{descriptor}")
    if name == "anon_inode:[pidfd]" and (pid := _pid_of(folder, descriptor)) is not None:
        return "child", pid
    return direction, name


def _pid_of(folder: str, descriptor: int) -> str | None:
    try:
        found = _PIDFD_OF.search(procfs.read_bytes(f"{folder}/fdinfo/{descriptor}"))
    except procfs.Unreadable:
        return None
    return None if found is None else found[1].decode()


def _signed(value: int) -> int:
    """An argument that is an int: the upper half of its register says nothing."""
    low = value & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low


def read_call(folder: str, tid: int, names: Mapping[bytes, str]) -> BlockedCall:
    """What a thread is blocked in; raises procfs.Unreadable."""
    path = f"{folder}/task/{tid}/syscall"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise procfs.Unreadable(path, procfs.reason_of(error), error.strerror or "") from error
    try:
        return parse(os.read(descriptor, 256), names)
    except OSError as error:
        raise procfs.Unreadable(path, procfs.reason_of(error), error.strerror or "") from error
    finally:
        os.close(descriptor)
