"""Which threads of a process were there at a moment, reconciled with the kernel's count of that moment.

The count and the list of threads are two readings, one shortly after the other. A thread that was born or ended
in between is in one of them alone. What can be dated is put right; the rest stays a number, so that listed and
unlisted threads always add up to the count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from corelens.recording import Recording
from corelens.reports.facts.bins import Levels
from corelens.reports.facts.pace import Pace
from corelens.reports.facts.processes import start_ns
from corelens.reports.facts.threads import Thread

# The look before or after may have come late by a whole period.
_PERIODS_OF_DOUBT = 2


@dataclass(frozen=True, slots=True)
class Present:
    """The threads of one process at one moment."""

    t_ns: int
    count: int
    """The kernel's, less the agent's thread."""
    threads: tuple[Thread, ...]

    @property
    def unlisted(self) -> int:
        """Threads in the count and not in the list; negative where more are listed than were counted."""
        return self.count - len(self.threads)


def present(recording: Recording, threads: Iterable[Thread], counts: Levels) -> list[Present]:
    """Call the roll of one process at each of the moments of `counts`, which are in order.

    `threads` are those of the process, the agent's left out. A thread that was listed late although the kernel
    dates it earlier fills a gap; one that was listed in the look of the count, or found ended in the next, gives
    way where more are listed than were counted.
    """
    pace = Pace(recording, "threads")
    roll = _Roll(recording, threads)
    found: list[Present] = []
    for t_ns, count in counts:
        moved = roll.advance(t_ns)
        last = found[-1] if found else None
        if last is not None and not moved and last.count == count == len(last.threads):
            found.append(Present(t_ns, count, last.threads))
        else:
            doubt_ns = _PERIODS_OF_DOUBT * pace.at(t_ns)
            found.append(Present(t_ns, count, tuple(roll.reconciled(t_ns, count, doubt_ns))))
    return found


class _Roll:
    """Threads in the order of time: not yet listed, listed, gone."""

    def __init__(self, recording: Recording, threads: Iterable[Thread]) -> None:
        everyone = list(threads)
        begun = {thread: _began_ns(recording, thread) for thread in everyone}
        self._begun = begun
        self._coming = sorted(everyone, key=lambda thread: (begun[thread], thread.tid), reverse=True)
        self._late: dict[Thread, None] = {}
        self._listed: dict[Thread, None] = {}

    def advance(self, t_ns: int) -> bool:
        """Go to a later moment; whether anybody came, was listed or went."""
        before = len(self._coming), len(self._late), len(self._listed)
        while self._coming and self._begun[self._coming[-1]] <= t_ns:
            self._late[self._coming.pop()] = None
        for thread in [thread for thread in self._late if thread.born_ns <= t_ns]:
            del self._late[thread]
            self._listed[thread] = None
        gone = [thread for thread in self._listed if thread.died_ns is not None and thread.died_ns <= t_ns]
        for thread in gone:
            del self._listed[thread]
        return bool(gone) or before != (len(self._coming), len(self._late), len(self._listed))

    def reconciled(self, t_ns: int, count: int, doubt_ns: int) -> list[Thread]:
        """The listed threads, with those added or left out that the count asks for."""
        missing = count - len(self._listed)
        if missing >= 0:
            earliest = sorted(self._late, key=lambda thread: self._begun[thread])
            return [*self._listed, *earliest[:missing]]
        doubtful = [*self._just_born(t_ns - doubt_ns), *self._soon_gone(t_ns + doubt_ns)]
        left_out = set(list(dict.fromkeys(doubtful))[:-missing])
        return [thread for thread in self._listed if thread not in left_out]

    def _just_born(self, since_ns: int) -> Iterator[Thread]:
        young = [thread for thread in self._listed if thread.born_ns > since_ns]
        yield from sorted(young, key=lambda thread: (self._begun[thread], thread.tid), reverse=True)

    def _soon_gone(self, until_ns: int) -> Iterator[Thread]:
        ends: Sequence[tuple[int, Thread]] = [
            (thread.died_ns, thread)
            for thread in self._listed
            if thread.died_ns is not None and thread.died_ns <= until_ns
        ]
        yield from (thread for _, thread in sorted(ends, key=lambda end: end[0]))


def _began_ns(recording: Recording, thread: Thread) -> int:
    """When it began by the kernel's own date, which may be a tick early, and never later than it was listed."""
    if thread.start_ticks is None:
        return thread.born_ns
    return min(thread.born_ns, start_ns(recording, thread.start_ticks))
