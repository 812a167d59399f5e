"""The file-locks probe: which processes hold locks on files, and which wait for one, from /proc/locks.

Databases in files lock parts of them (POSIX locks), job queues and caches lock whole ones (flock). Who waits in the
kernel for a lock shows as waiting; who tries and sleeps in turns, as SQLite does, shows by who holds what it needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from corelens.probes import procfs
from corelens.probes.gaps import Gaps
from corelens.probes.keptfile import KeptFile
from corelens.probes.probe import Moment
from corelens.vocabulary import Line, columnar_line

DEFAULT_PERIOD_NS = 100_000_000
# Reading the list makes the kernel wait until no core changes a lock, 7 ms of waiting on a machine at rest (25 us of
# CPU), so a program that locks nothing is looked at this seldom.
_NO_LOCKS_NS = 1_000_000_000
# `2: -> POSIX  ADVISORY  WRITE 4961 fe:00:2156045 0 EOF`; open file descriptions have no process (-1).
_LOCK = re.compile(
    rb"^\d+: *(-> *)*(POSIX|FLOCK|OFDLCK) +\S+ +(READ|WRITE) +(-?\d+) +([0-9a-f]+:[0-9a-f]+):(\d+) +(\d+) +(\d+|EOF)",
    re.MULTILINE,
)
_HOW = {b"POSIX": "posix", b"FLOCK": "flock", b"OFDLCK": "ofd"}
# A file that nobody could be found to have open is looked for again this seldom: a look costs 5 us for each file open.
_LOOK_AGAIN_NS = 1_000_000_000


class FileLock(NamedTuple):
    """One row of /proc/locks."""

    pid: int
    blocked: bool
    how: str
    mode: str
    object: str
    """Device and inode, as in a maps file."""
    start: int
    end: int | None


def parse_locks(text: bytes) -> list[FileLock]:
    """Locks and those who wait for them; leases and delegations are left out."""
    return [
        FileLock(
            pid=int(found[4]),
            blocked=found[1] is not None,
            how=_HOW[found[2]],
            mode=found[3].decode().lower(),
            object=f"{found[5].decode()}:{int(found[6])}",
            start=int(found[7]),
            end=None if found[8] == b"EOF" else int(found[8]),
        )
        for found in _LOCK.finditer(text)
    ]


class FileLocksProbe:
    """Writes all locks of the files that recorded processes have locked or wait for, whenever these change."""

    name = "file-locks"

    def __init__(self, proc: Path = procfs.PROC, period_ns: int = DEFAULT_PERIOD_NS) -> None:
        self.period_ns = period_ns
        self._proc = proc
        self._file = KeptFile(f"{proc}/locks")
        self._text: bytes | None = None
        self._next_ns = 0
        self._locks: list[FileLock] = []
        self._written: list[FileLock] = []
        self._paths = _Paths(proc)
        self._gaps = Gaps(self.name)

    def look(self, moment: Moment) -> Iterator[Line]:
        """Read the whole list; what is neither ours nor in our way is not written."""
        if moment.t_ns < self._next_ns:
            return
        try:
            text = self._file.read()
        except procfs.Unreadable as error:
            yield from self._gaps.once(moment.t_ns, None, error)
            return
        if text != self._text:
            self._text, self._locks = text, parse_locks(text)
        ours = {lock.object for lock in self._locks if lock.pid in moment.processes}
        # Periods are multiples of the tick, and a tick may come a little late.
        self._next_ns = moment.t_ns + (0 if ours else _NO_LOCKS_NS - self.period_ns // 2)
        locks = sorted((lock for lock in self._locks if lock.object in ours), key=_order)
        if locks != self._written:
            self._written = locks
            named = [(*lock, self._paths.path(lock, moment.t_ns)) for lock in locks]
            yield columnar_line("locks.files", moment.t_ns, named)

    def close(self) -> None:
        """Give the descriptor back."""
        self._file.close()


class _Paths:
    """Paths of locked files, found among what those who locked them have open."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._known: dict[str, str] = {}
        self._asked_ns: dict[str, int] = {}

    def path(self, lock: FileLock, t_ns: int) -> str | None:
        """Path of the file; None while it was not found."""
        known = self._known.get(lock.object)
        if known is None and t_ns >= self._asked_ns.get(lock.object, 0):
            self._asked_ns[lock.object] = t_ns + _LOOK_AGAIN_NS
            known = self._found(lock)
            if known is not None:
                self._known[lock.object] = known
        return known

    def _found(self, lock: FileLock) -> str | None:
        folder = self._proc / str(lock.pid) / "fd"
        inode = int(lock.object.rpartition(":")[2])
        return next((path for path, number in _open_files(folder) if number == inode), None)


def _open_files(folder: Path) -> Iterable[tuple[str, int]]:
    """(path, inode) of what a process has open; nothing where it may not be asked."""
    try:
        for entry in folder.iterdir():
            yield procfs.read_link(str(entry)), entry.stat().st_ino
    except (OSError, procfs.Unreadable):
        return


def _order(lock: FileLock) -> tuple[object, ...]:
    return (
        lock.object,
        lock.blocked,
        lock.pid,
        lock.how,
        lock.mode,
        lock.start,
        -1 if lock.end is None else lock.end,
    )
