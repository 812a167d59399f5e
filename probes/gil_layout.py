"""Where in an interpreter its lock lies, by version, and whether the memory of a process bears it out.

From 3.13 on the interpreter publishes the offsets of its own structures at the beginning of `_PyRuntime`. For
3.10 to 3.12 they stand here, taken from the debug information of 3.10.13, 3.11.7 and 3.12.1. Nothing is believed
before it is verified: builds with other settings have other layouts.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Collection
from dataclasses import dataclass

from corelens.probes.gil_image import Runtime
from corelens.probes.process_memory import Read

_COOKIE = b"xdebugpy"
_HEAD_BYTES = 256
_MOST_INTERPRETERS = 64
_MOST_THREADS = 4096
# sys.setswitchinterval takes any positive number of seconds; beyond a day it is no interval.
_LONGEST_INTERVAL_US = 86_400_000_000
# Two condition variables and two mutexes follow the counter; their sizes are those of glibc.
_WAITED_ON_BYTES = {"x86_64": 2 * (48 + 40), "aarch64": 2 * (48 + 48)}.get(platform.machine(), 2 * (48 + 48))
_POINTER = struct.Struct("<Q")

LOCKED_VALUES = (0, 1)


class Unverified(Exception):
    """What lies in memory is not what the layout says: not yet, or never."""


@dataclass(frozen=True, slots=True)
class Published:
    """Offsets, in the table that 3.13 and later publish, of the numbers used here."""

    interpreter_next: int
    threads_head: int
    ceval_gil: int
    gil: int
    locked: int
    holder: int
    thread_next: int
    thread_interpreter: int
    native_id: int


FREE_THREADED_AT = 16
INTERPRETERS_HEAD_AT = 40
PUBLISHED = {
    (3, 13): Published(64, 72, 112, 120, 136, 144, 168, 176, 200),
    (3, 14): Published(64, 72, 120, 128, 144, 152, 192, 200, 224),
    (3, 15): Published(64, 72, 120, 128, 144, 152, 192, 200, 248),
}


@dataclass(frozen=True, slots=True)
class Fixed:
    """Offsets of a version that publishes none. `gil` is in `_PyRuntime`, or `ceval_gil` in the interpreter."""

    interpreters_head: int
    gil: int | None
    ceval_gil: int | None
    interpreter_next: int
    threads_head: int
    native_id: int | None
    """None: the thread's state does not hold the id that the kernel knows it by."""


FIXED = {
    (3, 10): Fixed(32, 352, None, 0, 8, None),
    (3, 11): Fixed(40, 360, None, 0, 16, 160),
    (3, 12): Fixed(40, None, 384, 0, 72, 144),
}
_FIXED_THREAD_NEXT, _FIXED_THREAD_INTERPRETER = 8, 16


@dataclass(frozen=True, slots=True)
class Gil:
    """One interpreter lock in the memory of a process; offsets are within it, within a thread's state."""

    version: tuple[int, int]
    published: bool
    address: int
    interval: int
    holder: int
    locked: int
    switches: int
    enabled: int | None
    """Offset of the flag that free-threaded builds keep; None in the others."""
    interpreter: int
    threads_head: int
    thread_next: int
    thread_interpreter: int
    native_id: int | None
    others: int
    """Interpreters in the process that have a lock of their own."""

    @property
    def waited_on(self) -> tuple[int, int]:
        """Addresses, from and up to, that a thread waiting for the lock waits on."""
        start = self.address + self.switches + 8
        return start, start + _WAITED_ON_BYTES


def locate(read: Read, runtime: Runtime) -> Gil | None:
    """Find the lock of the main interpreter; None for a version that is not known. Raises Unverified."""
    head = read(runtime.address, _HEAD_BYTES)
    if len(head) < _HEAD_BYTES:
        raise Unverified("the memory of the process cannot be read")
    if head.startswith(_COOKIE):
        return _published(read, runtime, head)
    fixed = FIXED.get(runtime.version or (0, 0))
    return None if fixed is None or runtime.version is None else _fixed(read, runtime, runtime.version, fixed)


def published_version(head: bytes) -> tuple[int, int]:
    """Version as the published table gives it."""
    return head[11], head[10]


def _published(read: Read, runtime: Runtime, head: bytes) -> Gil | None:
    version = published_version(head)
    table = PUBLISHED.get(version)
    if table is None:
        return None

    def at(place: int) -> int:
        return int(_POINTER.unpack_from(head, place)[0])

    interpreters = _chain(read, runtime.address + at(INTERPRETERS_HEAD_AT), at(table.interpreter_next))
    gils = [_pointer(read, one + at(table.ceval_gil)) for one in interpreters]
    holder, locked = at(table.holder) - at(table.gil), at(table.locked) - at(table.gil)
    return Gil(
        version=version,
        published=True,
        address=gils[-1],
        interval=holder - 8,
        holder=holder,
        locked=locked,
        switches=locked + 8,
        enabled=0 if at(FREE_THREADED_AT) == 1 else None,
        interpreter=interpreters[-1],
        threads_head=at(table.threads_head),
        thread_next=at(table.thread_next),
        thread_interpreter=at(table.thread_interpreter),
        native_id=at(table.native_id),
        others=len(set(gils)) - 1,
    )


def _fixed(read: Read, runtime: Runtime, version: tuple[int, int], fixed: Fixed) -> Gil:
    interpreters = _chain(read, runtime.address + fixed.interpreters_head, fixed.interpreter_next)
    if fixed.ceval_gil is None:
        gils = [runtime.address + (fixed.gil or 0)]
    else:
        gils = [_pointer(read, one + fixed.ceval_gil) for one in interpreters]
    return Gil(
        version=version,
        published=False,
        address=gils[-1],
        interval=0,
        holder=8,
        locked=16,
        switches=24,
        enabled=None,
        interpreter=interpreters[-1],
        threads_head=fixed.threads_head,
        thread_next=_FIXED_THREAD_NEXT,
        thread_interpreter=_FIXED_THREAD_INTERPRETER,
        native_id=fixed.native_id,
        others=len(set(gils)) - 1,
    )


def _chain(read: Read, head: int, following: int) -> list[int]:
    """Interpreters by the links between them; the main one was made first and stands last."""
    found: list[int] = []
    pointer = _pointer(read, head)
    while pointer and len(found) < _MOST_INTERPRETERS:
        found.append(pointer)
        pointer = _pointer(read, pointer + following)
    if not found:
        raise Unverified("no interpreter has been made")
    return found


def _pointer(read: Read, address: int) -> int:
    raw = read(address, 8)
    if len(raw) != 8:
        raise Unverified(f"no pointer can be read at {address:#x}")
    return int(_POINTER.unpack(raw)[0])


# verification


def is_enabled(read: Read, gil: Gil) -> bool:
    """Whether the lock is in use: a free-threaded build may have it on. Raises Unverified."""
    if gil.enabled is None:
        return True
    raw = read(gil.address + gil.enabled, 4)
    if len(raw) != 4:
        raise Unverified("the memory of the process cannot be read")
    return raw != bytes(4)


def verify(read: Read, gil: Gil, tids: Collection[int]) -> dict[int, int | None]:
    """Hold the layout against the live structure; returns thread states by address, with their kernel ids.

    Threads come and go while they are looked at, so one failure is no verdict. Raises Unverified.
    """
    raw = read(gil.address, gil.switches + 8)
    if len(raw) != gil.switches + 8:
        raise Unverified("the memory of the process cannot be read")
    (interval_us,) = _POINTER.unpack_from(raw, gil.interval)
    (holder,) = _POINTER.unpack_from(raw, gil.holder)
    (locked,) = struct.unpack_from("<i", raw, gil.locked)
    if locked not in LOCKED_VALUES:
        raise Unverified(f"the lock reads {locked}, neither held nor free")
    if not 0 < interval_us <= _LONGEST_INTERVAL_US:
        raise Unverified(f"the switch interval reads {interval_us} us")
    states = _thread_states(read, gil, tids)
    if locked and holder not in states:
        raise Unverified("the lock is held by no thread of the interpreter")
    return states


def _thread_states(read: Read, gil: Gil, tids: Collection[int]) -> dict[int, int | None]:
    states: dict[int, int | None] = {}
    pointer = _pointer(read, gil.interpreter + gil.threads_head)
    while pointer and len(states) < _MOST_THREADS:
        if _pointer(read, pointer + gil.thread_interpreter) != gil.interpreter:
            raise Unverified("a thread belongs to another interpreter")
        tid = native_id(read, gil, pointer)
        # A thread enters the list before it knows its own id.
        if tid and tid not in tids:
            raise Unverified(f"thread {tid} of the interpreter is no thread of the process")
        states[pointer] = tid or None
        pointer = _pointer(read, pointer + gil.thread_next)
    if gil.native_id is not None and not any(states.values()):
        raise Unverified("no thread of the interpreter has an id")
    return states


def native_id(read: Read, gil: Gil, state: int) -> int | None:
    """Kernel id of a thread by the address of its state, as its own PID namespace has it."""
    if gil.native_id is None:
        return None
    raw = read(state + gil.native_id, 8)
    return int(_POINTER.unpack(raw)[0]) if len(raw) == 8 else None
