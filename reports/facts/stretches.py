"""Busy and idle cores, and what threads used, within a stretch of the recording."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypedDict

from corelens.reports.facts.facts import Facts, ThreadFacts


class When(TypedDict):
    """The same two times as the fields of evidence."""

    from_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """From when to when, in seconds of the recording."""

    from_s: float
    until_s: float

    @property
    def length_s(self) -> float:
        """How long it is."""
        return max(0.0, self.until_s - self.from_s)

    @property
    def when(self) -> When:
        """The time that evidence shows."""
        return {"from_s": self.from_s, "until_s": self.until_s}


def whole(facts: Facts) -> Stretch:
    """All of the recording."""
    return Stretch(0.0, facts.wall_s)


def shared(lives: Iterable[tuple[float, float]], at_least: int = 2) -> Stretch | None:
    """From when that many were there to when so many were left; None where they never met."""
    spans = list(lives)
    if len(spans) < at_least:
        return None
    from_s = sorted(begin for begin, _ in spans)[at_least - 1]
    until_s = sorted(end for _, end in spans)[-at_least]
    return Stretch(from_s, until_s) if until_s > from_s else None


def bins(facts: Facts, stretch: Stretch) -> Iterator[tuple[int, float]]:
    """Bins of the timeline that it touches, each with the seconds of it that lie within."""
    step_s = facts.report.timeline.step_s
    for index in range(len(facts.report.timeline.capacity_cores)):
        inside = min(stretch.until_s, (index + 1) * step_s) - max(stretch.from_s, index * step_s)
        if inside > 1e-9:
            yield index, inside


def capacity_core_s(facts: Facts, stretch: Stretch) -> float:
    """What the program could have used then."""
    cores = facts.report.timeline.capacity_cores
    return sum(cores[index] * inside for index, inside in bins(facts, stretch))


def busy_core_s(facts: Facts, stretch: Stretch) -> float:
    """What it used; a bin that was not read counts as busy, so that nothing is called idle that nobody saw."""
    timeline = facts.report.timeline
    total = 0.0
    for index, inside in bins(facts, stretch):
        busy = timeline.busy_cores[index]
        total += (timeline.capacity_cores[index] if busy is None else busy) * inside
    return total


def idle_core_s(facts: Facts, stretch: Stretch) -> float:
    """What it left unused and nobody else took."""
    others = facts.report.cpu.others_cores_mean or 0.0
    left = capacity_core_s(facts, stretch) - busy_core_s(facts, stretch) - others * stretch.length_s
    return max(0.0, left)


def run_s(facts: Facts, threads: Iterable[ThreadFacts], stretch: Stretch) -> float:
    """Core time of some threads within it."""
    step_s = facts.report.timeline.step_s
    inside = {index: part / step_s for index, part in bins(facts, stretch)}
    return sum(
        spent * inside.get(index, 0.0) for thread in threads for index, spent in thread.run_s_by_bin.items()
    )


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of what was measured; None where nothing was."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
