"""The part of the report that says which native code the cores ran, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PerfPlace:
    """A function, or what has no name of a file; `function` and `library` are None where nothing is known."""

    library: str | None
    function: str | None
    waiting: bool
    """Active waiting, or the runtime of parallel regions: no work of the program."""


@dataclass(frozen=True, slots=True)
class PerfShare:
    """One place in one process."""

    pid: int
    place: PerfPlace
    samples: int
    process_share: float
    """Of the samples of its process."""
    threads: int


@dataclass(frozen=True, slots=True)
class Perf:
    """All samples of a recording; `waiting_share` is that of places that are known to do no work, a lower bound."""

    samples: int
    waiting_share: float
    unknown_share: float
    """Samples in no file, or of processes that had ended."""
    places: tuple[PerfShare, ...]
    """Most samples first."""

    def waiting_share_of(self, pid: int) -> float | None:
        """The same of one process; None where it was never sampled."""
        of_process = [one for one in self.places if one.pid == pid]
        total = sum(one.samples for one in of_process)
        return sum(one.samples for one in of_process if one.place.waiting) / total if total else None
