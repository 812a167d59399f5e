"""Locks on files: which file, who had it in turn, and for how much of the time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from corelens.recording import Recording
from corelens.vocabulary import Line

# SQLite locks bytes of its database from this one on, of a file of any size (its documentation of the file format).
SQLITE_FIRST_BYTE = 0x4000_0000
SQLITE_BYTES = 512
_OF_NOBODY = -1


@dataclass(frozen=True, slots=True)
class FileLock:
    """What was locked in one file by recorded processes, or those who shared it with them."""

    path: str | None
    """None where it was not found."""
    writers: tuple[int, ...]
    """Processes that had it for themselves at one time or another."""
    held_share: float
    """Part of the recording for which somebody had it for himself."""
    waiting_mean: float
    """Mean number of processes that the kernel made wait for it; those that sleep and try again are none."""
    is_sqlite: bool
    """Whether the bytes are those that SQLite locks."""


@dataclass(slots=True)
class _Sum:
    path: str | None = None
    writers: dict[int, None] = field(default_factory=dict[int, None])
    held_ns: int = 0
    waited_ns: int = 0
    sqlite: bool = False


def file_locks(recording: Recording, wall_ns: int) -> tuple[FileLock, ...]:
    """All files with a lock, those that were held longest first; a row counts until the next line."""
    sums: dict[str, _Sum] = {}
    for line, lasted_ns in _lines(recording, wall_ns):
        held: set[str] = set()
        for row in zip(*(line[name] for name in _COLUMNS), strict=False):
            pid, blocked, mode, thing, start, end, path = row
            of = sums.setdefault(thing, _Sum())
            of.path = of.path or path
            of.sqlite = of.sqlite or _is_sqlite(start, end)
            if blocked:
                of.waited_ns += lasted_ns
            elif mode == "write":
                held.add(thing)
                if pid != _OF_NOBODY:
                    of.writers[pid] = None
        for thing in held:
            sums[thing].held_ns += lasted_ns
    told = [_told(of, max(wall_ns, 1)) for of in sums.values()]
    return tuple(sorted(told, key=lambda lock: -lock.held_share))


_COLUMNS = ("pid", "blocked", "mode", "object", "start", "end", "path")


def _lines(recording: Recording, wall_ns: int) -> Iterator[tuple[Line, int]]:
    lines = list(recording.lines("locks.files"))
    ends = [*(line["t_ns"] for line in lines[1:]), wall_ns]
    for line, end_ns in zip(lines, ends, strict=False):
        yield line, max(0, end_ns - line["t_ns"])


def _is_sqlite(start: int, end: int | None) -> bool:
    last = SQLITE_FIRST_BYTE + SQLITE_BYTES
    return end is not None and SQLITE_FIRST_BYTE <= start <= end < last


def _told(of: _Sum, wall_ns: int) -> FileLock:
    return FileLock(of.path, tuple(of.writers), of.held_ns / wall_ns, of.waited_ns / wall_ns, of.sqlite)
