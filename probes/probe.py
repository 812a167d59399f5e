"""What every probe is, and what it is handed each time it looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from corelens.vocabulary import Line


@dataclass(frozen=True, slots=True)
class Process:
    """One living process of the recorded tree; `start_ticks` guards against a reused pid."""

    pid: int
    ppid: int | None
    start_ticks: int
    role: str


@dataclass(frozen=True, slots=True)
class Moment:
    """One round of the recorder.

    `t_ns` counts from the beginning of the recording. `processes` holds the living tree by pid, as the tree
    probe left it this round. `moved` names the processes whose CPU clock or thread count moved since the last
    round; a probe may skip the others.
    """

    t_ns: int
    processes: Mapping[int, Process]
    moved: frozenset[int]


class Probe(Protocol):
    """One source of truth.

    `name` and `period_ns` go into the header. The governor may lengthen `period_ns` while recording.
    `look` returns lines of the kinds that `corelens.vocabulary` lists for this probe. It never raises for
    what cannot be read: that becomes a `gap` line with its reason.
    """

    name: str
    period_ns: int

    def look(self, moment: Moment) -> Iterable[Line]:
        """Read what is there now."""
        ...

    def close(self) -> None:
        """Give descriptors back."""
        ...


@runtime_checkable
class Concluding(Protocol):
    """A probe that has something under way when the last round is over."""

    def conclude(self, t_ns: int) -> Iterable[Line]:
        """Take what there is, waiting a moment at most."""
        ...
