"""What a descriptor of another process stands for: which kind of file, and which one."""

from __future__ import annotations

from pathlib import Path

from corelens.probes import procfs

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


def file_of(proc: Path, pid: int, descriptor: int) -> tuple[str | None, str | None]:
    """(kind, name) of an open file; None for both when it is closed or may not be asked.

    The name tells it from others of its kind: `pipe:[INODE]`, `socket:[INODE]` or a path. It is asked each time, for
    3.5 us: a number means another file as soon as the first was closed, and pools open and close pipes all the time.
    """
    try:
        target = procfs.read_link(f"{proc}/{pid}/fd/{descriptor}")
    except procfs.Unreadable:
        return None, None
    kind = kind_of(target)
    return kind, None if kind in _NAMELESS else target
