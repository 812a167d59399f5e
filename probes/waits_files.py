"""What a descriptor of another process stands for: which kind of file, and which one."""

from __future__ import annotations

import struct
from pathlib import Path

from corelens.probes import procfs
from corelens.probes.process_memory import Memory

_PREFIXES = (
    ("pipe:", "pipe"),
    ("socket:", "socket"),
    ("anon_inode:[eventfd", "eventfd"),
    ("anon_inode:[eventpoll", "epoll"),
    ("anon_inode:[timerfd", "timerfd"),
    ("/dev/pts/", "terminal"),
    ("/dev/tty", "terminal"),
    ("/dev/", "device"),
    ("/", "file"),
)
_NAMELESS = frozenset({"eventfd", "epoll", "timerfd", "terminal", "other"})


def kind_of(target: str) -> str:
    """Kind of a file by what the link to it says."""
    return next((kind for prefix, kind in _PREFIXES if target.startswith(prefix)), "other")


# struct pollfd begins with the descriptor.
_POLLED = struct.Struct("<ihh")
Named = tuple[str | None, str | None]
"""Kind and name of a file."""
_NONE: Named = (None, None)


def first_polled(proc: Path, pid: int, address: int, count: int) -> Named:
    """(kind, name) of the first file in the list that a thread polls, read from its memory; None for both if not.

    Whoever waits for one pipe with a bound, as process pools do, polls a list of one; their managers put the pipe of
    results first.
    """
    if count < 1:
        return _NONE
    try:
        memory = Memory(f"{proc}/{pid}")
    except procfs.Unreadable:
        return _NONE
    try:
        data = memory.read(address, _POLLED.size)
    finally:
        memory.close()
    return file_of(proc, pid, _POLLED.unpack(data)[0]) if len(data) == _POLLED.size else _NONE


def file_of(proc: Path, pid: int, descriptor: int) -> Named:
    """(kind, name) of an open file; None for both when it is closed or may not be asked.

    The name tells it from others of its kind: `pipe:[INODE]`, `socket:[INODE]` or a path. It is asked each time, for
    3.5 us: a number means another file as soon as the first was closed, and pools open and close pipes all the time.
    """
    try:
        target = procfs.read_link(f"{proc}/{pid}/fd/{descriptor}")
    except procfs.Unreadable:
        return _NONE
    kind = kind_of(target)
    return kind, None if kind in _NAMELESS else target
