"""The comparison as values: rows of folded runs, what differs between them, and what they show.

Every figure is a text key of `corelens.reports.comparison_figures.FIGURES`, which holds its unit and meaning.
A figure that is missing is None in `values` and has its reason in `absent`, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from corelens.reports.costs import Cost
from corelens.reports.findings import Diagnosis
from corelens.reports.report import Capacity, Host, Spread, Timeline, TreeNode


@dataclass(frozen=True, slots=True)
class Skipped:
    """A run that was planned and never started, such as a backend whose extra is not installed.

    `labels` are the settings it would have had; they put it into its group.
    """

    backend: str
    reason: str
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """One condition in which runs differ, and which runs have which value."""

    what: str
    values: tuple[tuple[str, tuple[str, ...]], ...]
    refuses: bool
    """True where the runs did different work or had another machine; False where it is worth a warning."""


@dataclass(frozen=True, slots=True)
class Run:
    """One recording of the comparison."""

    name: str
    path: str
    trouble: str | None
    """Why its figures are no result: failed, killed, cut. None for a run that went through."""
    values: dict[str, float | None]
    timeline: Timeline
    capacity_cores: float
    tree: tuple[TreeNode, ...]
    tree_at_s: float
    diagnosis: Diagnosis | None = None
    """Why it does not scale; None where no rules were run."""


@dataclass(frozen=True, slots=True)
class Row:
    """All runs of one configuration; a single one that had trouble; or none where it was skipped."""

    name: str
    """Unique within its group."""
    backend: str
    limit: str | None
    workers: int | None
    runs: tuple[Run, ...]
    values: dict[str, Spread | None]
    absent: dict[str, str]
    """Key of a missing figure to the reason."""
    cost: Cost | None
    """At the median wall time; None without a price or without a run."""
    trouble: str | None


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A trial whose value is not the same in every run."""

    number: int
    values: tuple[tuple[float, tuple[str, ...]], ...]
    """Each value with the runs that found it."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whether runs found the same value for every trial number, bit for bit."""

    runs: int
    trials: int
    identical: bool | None
    """None: there was nothing to compare, and `reason` says why."""
    reason: str | None
    disagreements: tuple[Disagreement, ...]
    missing: tuple[tuple[str, tuple[int, ...]], ...]
    """Runs that went through without some trial, and the numbers."""


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of the same work, compared with each other and with no other group."""

    title: str | None
    """`key value` of the label that groups; None when there is one group."""
    work: dict[str, str]
    """Settings that all its runs share."""
    rows: tuple[Row, ...]
    baseline: str | None
    """Name of the row that speed-ups refer to."""
    baseline_absent: str | None
    """Why there is none."""
    agreement: Agreement
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The whole comparison; a machine and a capacity of several appear under `differences`."""

    host: Host
    capacity: Capacity
    packages: dict[str, str]
    """Versions of the first run; others appear under `differences`."""
    group_by: str | None
    groups: tuple[Group, ...]
    differences: tuple[Difference, ...]
    price_per_hour: float | None
