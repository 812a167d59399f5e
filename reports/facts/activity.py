"""Which threads had something to do around a moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from corelens.recording import Recording
from corelens.reports.facts.threads import Thread

# A thread is judged by the second before and the second after: the thread probe reads all once a second.
WINDOW_NS = 1_000_000_000
# On a core or waiting for one for so much of that window makes it busy. A thread that wakes to poll, as progress
# bars and queues do, takes well under a hundredth; one of 300 that share two cores waits nearly all the time.
BUSY_SHARE = 0.05

_Reading = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Activity:
    """Threads of one moment by whether they wanted a core; one whose readings are missing is in neither."""

    busy: frozenset[Thread]
    idle: frozenset[Thread]


def activity(recording: Recording, moments: Sequence[tuple[int, Iterable[Thread]]]) -> list[Activity]:
    """Judge the threads of each moment by the window around it, in one pass over the readings."""
    times = [line["t_ns"] for line in recording.lines("threads")]
    first_ns, last_ns = min(times, default=0), max(recording.last_ns, *times, 0)
    windows = [
        _Window(max(t_ns - WINDOW_NS, first_ns), min(t_ns + WINDOW_NS, last_ns), tuple(threads))
        for t_ns, threads in moments
    ]
    before: dict[int, dict[Thread, _Reading]] = {}
    made: dict[int, Activity] = {}
    marks = [(window.start_ns, 0, place) for place, window in enumerate(windows)]
    marks += [(max(window.end_ns, window.start_ns), 1, place) for place, window in enumerate(windows)]
    for (at_ns, closes, place), readings in _read_at(recording, sorted(marks)):
        window = windows[place]
        if not closes:
            before[place] = window.readings(readings, at_ns)
        else:
            made[place] = window.judged(before[place], window.readings(readings, at_ns), first_ns)
    return [made[place] for place in range(len(windows))]


def _read_at(
    recording: Recording, marks: Iterable[tuple[int, int, int]]
) -> Iterator[tuple[tuple[int, int, int], dict[int, _Reading]]]:
    """The last readings by thread id at each mark."""
    lines = sorted(recording.lines("threads"), key=lambda line: line["t_ns"])
    latest: dict[int, _Reading] = {}
    place = 0
    for mark in marks:
        while place < len(lines) and lines[place]["t_ns"] <= mark[0]:
            line = lines[place]
            latest.update(zip(line["tid"], zip(line["run_ns"], line["wait_ns"], strict=False), strict=False))
            place += 1
        yield mark, latest


@dataclass(frozen=True, slots=True)
class _Window:
    start_ns: int
    end_ns: int
    threads: tuple[Thread, ...]

    def readings(self, latest: dict[int, _Reading], at_ns: int) -> dict[Thread, _Reading]:
        """Readings of those that had been listed; a thread id may have meant another thread before."""
        return {
            thread: latest[thread.tid]
            for thread in self.threads
            if thread.tid in latest and thread.born_ns <= at_ns
        }

    def judged(
        self, before: dict[Thread, _Reading], after: dict[Thread, _Reading], first_ns: int
    ) -> Activity:
        """Compare the readings at both ends; one that was born in the window began at zero."""
        busy: set[Thread] = set()
        idle: set[Thread] = set()
        for thread in self.threads if self.end_ns > self.start_ns else ():
            start = before.get(thread, (0, 0) if thread.born_ns > first_ns else None)
            end = after.get(thread)
            if start is None or end is None or sum(end) < sum(start):
                continue
            (busy if self._wanted(thread, sum(end) - sum(start)) else idle).add(thread)
        return Activity(frozenset(busy), frozenset(idle))

    def _wanted(self, thread: Thread, wanted_ns: int) -> bool:
        end_ns = self.end_ns if thread.died_ns is None else min(self.end_ns, thread.died_ns)
        return wanted_ns >= BUSY_SHARE * max(end_ns - max(self.start_ns, thread.born_ns), 1)
