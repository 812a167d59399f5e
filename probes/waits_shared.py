"""Which futexes lie in memory that processes share: the same lock then has another address in each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from corelens.probes import procfs
from corelens.vocabulary import Line, columnar_line

# A thread that waits for shared memory ran after it was mapped; new mappings are looked for this seldom, because
# a large program has thousands of mappings and reading them costs milliseconds.
_FIRST_WAIT_NS = 1_000_000_000
_LONGEST_WAIT_NS = 30_000_000_000
# Start, end, permissions, offset, device, inode and path of a shared mapping that can be written.
_SHARED = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) rw.s ([0-9a-f]+) ([0-9a-f:]+) (\d+)[ \t]*(.*)$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Mapping:
    """Memory that other processes may have mapped too."""

    start: int
    end: int
    offset: int
    object: str
    path: str | None


@dataclass(slots=True)
class _Process:
    """Futexes of one process that were asked about or are to be, and when its mappings may be read again."""

    asked: set[int] = field(default_factory=set[int])
    pending: set[int] = field(default_factory=set[int])
    next_ns: int = 0
    wait_ns: int = _FIRST_WAIT_NS


def shared_mappings(maps: bytes) -> list[Mapping]:
    """Shared and writable mappings in the text of a maps file."""
    return [
        Mapping(
            start=int(found[1], 16),
            end=int(found[2], 16),
            offset=int(found[3], 16),
            object=f"{found[4].decode()}:{int(found[5])}",
            path=found[6].decode(errors="replace") or None,
        )
        for found in _SHARED.finditer(maps)
    ]


_Row = tuple[int, int, str, int, str | None]


class SharedMemory:
    """Tells of each futex once where in shared memory it lies, if it does."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._processes: dict[int, _Process] = {}

    def notice(self, pid: int, addresses: set[int]) -> None:
        """Take note of futexes that threads of a process wait on."""
        if addresses:
            one = self._processes.setdefault(pid, _Process())
            one.pending |= addresses - one.asked

    def look(self, t_ns: int) -> Iterator[Line]:
        """Look up those that were noticed since, process by process, as seldom as reading mappings allows."""
        rows: list[_Row] = []
        for pid, one in self._processes.items():
            if one.pending and t_ns >= one.next_ns:
                rows += self._looked_up(pid, one, t_ns)
        if rows:
            yield columnar_line("locks.shared", t_ns, rows)

    def _looked_up(self, pid: int, one: _Process, t_ns: int) -> list[_Row]:
        one.next_ns, one.wait_ns = t_ns + one.wait_ns, min(2 * one.wait_ns, _LONGEST_WAIT_NS)
        fresh, one.pending = one.pending, set()
        one.asked |= fresh
        try:
            mappings = shared_mappings(procfs.read_mappings(f"{self._proc}/{pid}"))
        except procfs.Unreadable:
            return []
        found = (_row(pid, address, mappings) for address in sorted(fresh))
        return [row for row in found if row is not None]

    def forget(self, pid: int) -> None:
        """Drop what is known of a process."""
        self._processes.pop(pid, None)


def _row(pid: int, address: int, mappings: list[Mapping]) -> _Row | None:
    for one in mappings:
        if one.start <= address < one.end:
            return pid, address, one.object, address - one.start + one.offset, one.path
    return None
