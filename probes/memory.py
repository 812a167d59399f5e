"""Memory of each process with shared pages split among their users (PSS), and what is its alone (USS).

The kernel walks every page table to answer, holding a lock that the process needs to map memory. So a process
is asked only when its resident set has changed, at distances that grow with the time it has been watched, and
all together no more often than takes a small share of one core.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corelens.probes import procfs
from corelens.probes.gaps import Gaps
from corelens.probes.host import memory_sizes
from corelens.probes.probe import Moment, Process
from corelens.vocabulary import Line, columnar_line

DEFAULT_PERIOD_NS = 1_000_000_000
_LONGEST_DISTANCE_NS = 5_000_000_000
_DISTANCE_PER_AGE = 0.3
# Half a percent of a core, for all processes together; a second's worth may be spent at once.
_REST_PER_COST = 200
_BURST_NS = 1_000_000_000

Row = tuple[int, int | None, int | None, int | None]


@dataclass(frozen=True, slots=True)
class _Asked:
    """When a process was first and last asked, and what its resident set was then."""

    start_ticks: int
    first_ns: int
    last_ns: int
    rss_pages: int

    @property
    def again_ns(self) -> int:
        age_ns = self.last_ns - self.first_ns
        return self.last_ns + min(int(_DISTANCE_PER_AGE * age_ns), _LONGEST_DISTANCE_NS)


class MemoryProbe:
    """Writes one `memory` line per look, of the processes whose turn it is; none when there is none.

    `period_ns` is how often it looks for a turn. A process that keeps changing is asked at every look at
    first, and every 5 s once it has been watched for a quarter of a minute.
    """

    name = "memory"

    def __init__(self, proc: Path = procfs.PROC, period_ns: int = DEFAULT_PERIOD_NS) -> None:
        self.period_ns = period_ns
        self._proc = proc
        self._asked: dict[int, _Asked] = {}
        self._rest_until_ns = 0
        self._gaps = Gaps(self.name)

    def look(self, moment: Moment) -> Iterator[Line]:
        """Ask the processes whose resident set changed since they were asked last, the longest unasked first."""
        self._forget(moment)
        rows: list[Row] = []
        for process in sorted(moment.processes.values(), key=self._last_ns):
            if self._rest_until_ns > moment.t_ns + _BURST_NS:
                break
            try:
                row = self._row(process, moment.t_ns)
                if row is not None:
                    rows.append(row)
            except procfs.Unreadable as error:
                if error.reason != "gone":
                    yield from self._gaps.once(moment.t_ns, process.pid, error)
        if rows:
            yield columnar_line("memory", moment.t_ns, rows)

    def close(self) -> None:
        """Nothing is kept open."""

    def _forget(self, moment: Moment) -> None:
        for pid, asked in list(self._asked.items()):
            process = moment.processes.get(pid)
            if process is None or process.start_ticks != asked.start_ticks:
                del self._asked[pid]

    def _last_ns(self, process: Process) -> int:
        asked = self._asked.get(process.pid)
        return asked.last_ns if asked is not None else -1

    def _row(self, process: Process, t_ns: int) -> Row | None:
        asked = self._asked.get(process.pid)
        if asked is not None and t_ns < asked.again_ns:
            return None
        pages = resident_pages(self._proc, process.pid)
        if asked is not None and pages == asked.rss_pages:
            return None
        first_ns = asked.first_ns if asked is not None else t_ns
        self._asked[process.pid] = _Asked(process.start_ticks, first_ns, t_ns, pages)
        began_ns = time.thread_time_ns()
        try:
            return (process.pid, *shared_out(procfs.read_bytes(f"{self._proc}/{process.pid}/smaps_rollup")))
        finally:
            cost_ns = time.thread_time_ns() - began_ns
            self._rest_until_ns = max(self._rest_until_ns, t_ns) + _REST_PER_COST * cost_ns


def resident_pages(proc: Path, pid: int) -> int:
    """Resident set in pages, from statm: cheap, and readable for any process; raises Unreadable."""
    path = f"{proc}/{pid}/statm"
    try:
        return int(procfs.read_bytes(path).split()[1])
    except (IndexError, ValueError) as error:
        raise procfs.Unreadable(path, "broken", "not a statm line") from error


def shared_out(smaps_rollup: bytes) -> tuple[int | None, int | None, int | None]:
    """(PSS, USS, swap) in bytes; None for what the text does not hold, as that of a kernel thread."""
    sizes = memory_sizes(smaps_rollup)
    alone = [sizes[name] for name in ("Private_Clean", "Private_Dirty") if name in sizes]
    return sizes.get("Pss"), sum(alone) if alone else None, sizes.get("Swap")
