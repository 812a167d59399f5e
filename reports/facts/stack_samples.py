"""Samples of Python stacks read back from a recording, found by thread and time; and the names of threads."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from corelens.recording import Recording
from corelens.reports.facts.processes import Life, Lives
from corelens.vocabulary import Line

ACTIVE, GIL, IDLE, UNKNOWN = "active", "gil", "idle", "unknown"
DUMP = "dump"


@dataclass(frozen=True, slots=True)
class Frame:
    """A place in Python code."""

    function: str
    file: str
    line: int | None


@dataclass(frozen=True, slots=True)
class StackSample:
    """What one thread was doing; `samples` is how often that was seen from `from_ns` to `until_ns`.

    A dump shows one moment, soon after `from_ns`.
    """

    from_ns: int
    until_ns: int
    life: Life | None
    tid: int
    frames: tuple[Frame, ...]
    """Outermost first."""
    samples: int
    active: bool | None
    gil: bool | None
    how: str | None
    """Kind of look, as its line tells; None where that was lost."""

    @property
    def state(self) -> str:
        """Active, holding the GIL (where only that was looked for), idle, or unknown."""
        if self.how == GIL:
            return GIL
        return UNKNOWN if self.active is None else ACTIVE if self.active else IDLE


def stack_samples(recording: Recording, lives: Lives) -> list[StackSample]:
    """All samples whose stack is known; of a damaged recording some may have lost theirs."""
    places = dict(_numbered(recording, "stacks.frames", "frame", _frames))
    chains = dict(_numbered(recording, "stacks.chains", "stack", _chains))
    known = {
        stack: tuple(places[frame] for frame in chain)
        for stack, chain in chains.items()
        if all(frame in places for frame in chain)
    }
    hows = {(line["pid"], line["from_ns"]): line["how"] for line in recording.lines("stacks.looks")}
    return [sample for line in recording.lines("stacks") for sample in _samples(line, known, lives, hows)]


def _numbered(
    recording: Recording, kind: str, number: str, values: Callable[[Line], list[Any]]
) -> Iterator[tuple[int, Any]]:
    for line in recording.lines(kind):
        yield from zip(line[number], values(line), strict=False)


def _chains(line: Line) -> list[list[int]]:
    chains: list[list[int]] = line["frames"]
    return chains


def _frames(line: Line) -> list[Frame]:
    return [Frame(*row) for row in zip(line["function"], line["file"], line["line"], strict=False)]


def _samples(
    line: Line, known: dict[int, tuple[Frame, ...]], lives: Lives, hows: dict[tuple[int, int], str]
) -> Iterator[StackSample]:
    columns = ("from_ns", "pid", "tid", "stack", "samples", "active", "gil")
    for from_ns, pid, tid, stack, samples, active, gil in zip(
        *(line[name] for name in columns), strict=False
    ):
        if stack in known:
            life, how = lives.at(pid, from_ns), hows.get((pid, from_ns))
            yield StackSample(from_ns, line["t_ns"], life, tid, known[stack], samples, active, gil, how)


class StacksByThread:
    """Finds what a thread was doing at a moment: what a waiting thread wanted to run, or a holder ran.

    Only dumps answer: they show idle threads too, and at a known moment.
    """

    def __init__(self, samples: Iterable[StackSample]) -> None:
        self._by_tid: dict[int, list[StackSample]] = {}
        for sample in sorted(samples, key=lambda each: each.from_ns):
            if sample.how == DUMP:
                self._by_tid.setdefault(sample.tid, []).append(sample)

    def stack_of(self, tid: int, t_ns: int, within_ns: int) -> StackSample | None:
        """The sample of a thread nearest in time, None where none is so near."""
        known = self._by_tid.get(tid, [])
        place = bisect_left(known, t_ns, key=lambda sample: sample.from_ns)
        near = known[max(0, place - 1) : place + 1]
        best = min(near, key=lambda sample: abs(sample.from_ns - t_ns), default=None)
        return best if best is not None and abs(best.from_ns - t_ns) <= within_ns else None


class PythonNames:
    """Names of threads in the `threading` module, by process, thread id and time."""

    def __init__(self, said: Iterable[tuple[int, Life | None, int, str]]) -> None:
        self._by_thread: dict[tuple[Life | None, int], list[tuple[int, str]]] = {}
        for t_ns, life, tid, name in said:
            self._by_thread.setdefault((life, tid), []).append((t_ns, name))

    def at(self, life: Life | None, tid: int, t_ns: int) -> str | None:
        """The name it had then. A thread is named when it is first looked at, so before that its first name counts."""
        known = self._by_thread.get((life, tid))
        if known is None:
            return None
        before = [name for said_ns, name in known if said_ns <= t_ns]
        return before[-1] if before else known[0][1]

    def all(self) -> dict[tuple[Life | None, int], tuple[tuple[int, str], ...]]:
        """Every name with the time at which it was first read, by process and thread id."""
        return {
            thread: tuple((t_ns, name) for place, (t_ns, name) in enumerate(known) if _is_new(known, place))
            for thread, known in self._by_thread.items()
        }


def python_names(recording: Recording, lives: Lives) -> PythonNames:
    """Read the names of Python threads."""
    return PythonNames(
        (line["t_ns"], lives.at(pid, line["t_ns"]), tid, name)
        for line in recording.lines("threads.python")
        for pid, tid, name in zip(line["pid"], line["tid"], line["name"], strict=False)
    )


def _is_new(known: list[tuple[int, str]], place: int) -> bool:
    return place == 0 or known[place - 1][1] != known[place][1]
