"""Everything that a rule may look at: the report, and each thread and process with what it did and when.

Units stand in the names; times count from the beginning of the recording. Per-bin values lie in the bins of
`report.timeline` (`step_s` wide) and are sparse: a bin that is missing is one in which nothing of it happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from corelens.reports.facts.file_locks import FileLock
from corelens.reports.facts.memory_strain import MemoryStrain
from corelens.reports.facts.owned import Owner
from corelens.reports.facts.processes import Life
from corelens.reports.facts.quotas import Quota
from corelens.reports.facts.stack_samples import StackSample
from corelens.reports.facts.standstill import Still
from corelens.reports.report import Report


@dataclass(frozen=True, slots=True, eq=False)
class ThreadFacts:
    """One thread: who made it, what it used, and what it waited for."""

    pid: int
    tid: int
    role: str
    """Of its process."""
    name: str | None
    """As Python knows it, else the kernel's name."""
    owner: Owner
    master_tid: int | None
    """Thread that opened the OpenMP team it works in."""
    born_s: float
    died_s: float | None
    """None: it was there at the end."""
    run_s: float
    """On a core while recorded."""
    queue_s: float
    """Run-queue wait: runnable without a core."""
    voluntary: int | None
    """Context switches because it blocked; None when they were never read."""
    involuntary: int | None
    doing: Mapping[str, float]
    """Seconds by what it did, in the words of `facts.waits` (`running`, `gil`, `lock`, `pool`, `pipe`, …); from
    samples. Empty when nobody looked."""
    calls: Mapping[tuple[str, str | None], float]
    """Seconds blocked by system call and kind of file: `('read', 'pipe')`."""
    run_s_by_bin: Mapping[int, float]
    queue_s_by_bin: Mapping[int, float]

    @property
    def wanted_s(self) -> float:
        """Time for which it wanted a core: on one, or waiting for one."""
        return self.run_s + self.queue_s


@dataclass(frozen=True, slots=True, eq=False)
class ProcessFacts:
    """One process with its threads."""

    life: Life
    pid: int
    role: str
    parent_pid: int | None
    """Parent within the recorded tree."""
    born_s: float
    died_s: float | None
    exit_code: int | None
    signal: int | None
    threads: tuple[ThreadFacts, ...]
    run_s: float
    """CPU by its own clock, threads that nobody saw included."""
    user_s: float | None
    system_s: float | None
    """In steps of 10 ms; None when it was not read twice."""
    major_faults: int | None
    minor_faults: int | None
    read_bytes: int | None
    """From storage, while recorded."""
    write_bytes: int | None
    affinity: frozenset[int] | None
    """Cores that its main thread may run on, as last read."""
    variables: Mapping[str, str]
    """Thread-limit variables at exec; empty when none is set or they could not be read."""
    read_chars: int | None = None
    """By read calls, through pipes, sockets and cached files too; None in recordings that do not tell."""
    write_chars: int | None = None
    read_calls: int | None = None
    write_calls: int | None = None

    @property
    def user_share(self) -> float:
        """User part of its user plus system time; all of it where that was not read."""
        total_s = (self.user_s or 0.0) + (self.system_s or 0.0)
        return (self.user_s or 0.0) / total_s if total_s else 1.0

    @property
    def queue_s(self) -> float:
        """Run-queue wait of its threads."""
        return sum(thread.queue_s for thread in self.threads)


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """One recording, ready for the rules."""

    report: Report
    processes: tuple[ProcessFacts, ...]
    """In the order of birth; the recorded program is `root`."""
    root: ProcessFacts
    samples: tuple[StackSample, ...]
    """Python stacks, in the order in which they were taken."""
    strain: MemoryStrain = field(default_factory=MemoryStrain)
    """How near the program came to its memory limit."""
    file_locks: tuple[FileLock, ...] = ()
    """Files that were locked, those that were held longest first; none in recordings that did not look."""
    quotas: tuple[Quota, ...] = ()
    """CPU quotas that were in force, the inner one first."""
    variables_now: Mapping[Life, Mapping[str, str]] = field(default_factory=dict[Life, Mapping[str, str]])
    """Thread-limit variables as each process had them last; those at exec where that is all that was read."""
    standstill: Still | None = None
    """The longest stretch in which nothing moved; None where it moved all the time."""

    @property
    def wall_s(self) -> float:
        """Length of the recording."""
        return self.report.wall_s

    @property
    def capacity_core_s(self) -> float:
        """What the program could have used: capacity over time, added up."""
        timeline = self.report.timeline
        whole, last = timeline.capacity_cores[:-1], timeline.capacity_cores[-1:]
        rest_s = self.wall_s - len(whole) * timeline.step_s
        return sum(whole) * timeline.step_s + sum(last) * max(rest_s, 0.0)

    @property
    def threads(self) -> tuple[ThreadFacts, ...]:
        """Threads of all processes."""
        return tuple(thread for process in self.processes for thread in process.threads)

    def process(self, pid: int) -> ProcessFacts | None:
        """The last process with this pid."""
        return next((process for process in reversed(self.processes) if process.pid == pid), None)

    def children(self, process: ProcessFacts) -> tuple[ProcessFacts, ...]:
        """Its children within the tree."""
        return tuple(
            other for other in self.processes if other.parent_pid == process.pid and other is not process
        )

    def samples_of(self, process: ProcessFacts) -> Iterable[StackSample]:
        """Python stacks of one process."""
        return (sample for sample in self.samples if sample.life is process.life)
