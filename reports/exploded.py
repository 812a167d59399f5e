"""The explosion as values: what was predicted of each run, and what was counted."""

from __future__ import annotations

from dataclasses import dataclass

from corelens.reports.report import Host


@dataclass(frozen=True, slots=True)
class TermCount:
    """Threads of one owner in all processes of one role."""

    role: str
    name: str
    owner: str
    predicted: int
    observed: int
    agrees: bool
    """False too where the sums are equal and single processes differ."""
    why: str
    """The model's reason for its number, or why there is none."""


@dataclass(frozen=True, slots=True)
class RoleCount:
    """Processes of one role: how many, and the sums of their threads in words."""

    role: str
    predicted_processes: int
    observed_processes: int
    predicted_equation: str | None
    """None: no such process was predicted."""
    observed_equations: tuple[str, ...]
    """Each sum that occurs, once."""

    @property
    def agrees(self) -> bool:
        """Whether there were as many processes as predicted."""
        return self.predicted_processes == self.observed_processes


@dataclass(frozen=True, slots=True)
class ExplosionRun:
    """One run. Every process counts at its own moment of most threads."""

    name: str
    what: str
    workers: int
    limit: str
    cores: int
    emulated: bool
    """Counts are real, and times are not."""
    recording: str
    roles: tuple[RoleCount, ...]
    terms: tuple[TermCount, ...]
    predicted: int
    observed: int | None
    """None: the recording holds no ledger."""
    trouble: str | None
    """Why the run is no result; None for one that went through."""
    values: tuple[tuple[int, float], ...]
    """Trial numbers with what they found."""
    trials_at_once: float | None
    tree: tuple[str, ...]
    wall_s: float
    busy_cores_mean: float
    run_queue_wait_share: float | None

    @property
    def agrees(self) -> bool:
        """Whether prediction and observation are equal to the thread."""
        counts = [*(role.agrees for role in self.roles), *(term.agrees for term in self.terms)]
        return self.trouble is None and all(counts)

    def observed_of(self, owner: str) -> int:
        """Threads of one kind of owner in all processes."""
        return sum(term.observed for term in self.terms if term.owner == owner)


@dataclass(frozen=True, slots=True)
class Explosion:
    """All runs: those on the largest machine, and the shape without a limit on every machine."""

    host: Host
    packages: dict[str, str]
    corelens: str
    runs: tuple[ExplosionRun, ...]
    sweep: tuple[ExplosionRun, ...]
    """By the number of cores; empty where there is one machine alone."""
    differences: tuple[str, ...]
    """One sentence per count that is not the predicted one, with the run, the process and the owner."""
    identical_values: bool | None
    """Whether equal trials found equal values in every run; None where no two runs share a trial."""

    @property
    def everything(self) -> tuple[ExplosionRun, ...]:
        """Each run once."""
        return (*self.runs, *(run for run in self.sweep if run not in self.runs))
