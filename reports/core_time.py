"""Where the core time went, as values: who worked, in which phases, the core-time ledger, and the efficiencies."""

from __future__ import annotations

from dataclasses import dataclass

from corelens.reports.spreads import Spread

PROCESSES, THREADS, NOBODY = "processes", "threads", "nobody"
"""What the workers are; `nobody`: one thread does the work, alone or with a native pool."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker: a process, or a Python thread of one. Times count from the beginning of the recording."""

    pid: int
    tid: int
    """The thread that takes the tasks: the main thread of a process."""
    role: str
    name: str | None
    born_s: float
    died_s: float | None
    ready_s: float
    """When it could take its first task: after its start-up and imports, as far as they can be told."""
    last_work_s: float
    """End of its last work; `ready_s` where it did none."""
    run_s: float
    """On a core: of a process, all its threads."""
    queue_s: float
    """Run-queue wait, likewise."""
    startup_run_s: float
    """Part of `run_s` before it was ready."""


@dataclass(frozen=True, slots=True)
class Coordinator:
    """What hands out the tasks: the process, and its main thread."""

    pid: int
    tid: int
    role: str
    run_s: float
    """Of the whole process where workers are processes, else of the thread."""


@dataclass(frozen=True, slots=True)
class IdlePool:
    """Threads of a native pool, or processes of a warm pool, that were there and had nothing to do."""

    pid: int
    label: str
    members: int
    run_s: float


@dataclass(frozen=True, slots=True)
class Workforce:
    """Who did the work, who handed it out, who only helped."""

    form: str
    """`processes`, `threads` or `nobody`: no workers, the main thread works."""
    workers: tuple[Worker, ...]
    at_once: int
    """Most workers that were there at the same time."""
    coordinator: Coordinator
    helpers: tuple[int, ...]
    """Processes that serve the others: resource trackers, managers, servers, services of Ray."""
    idle_pools: tuple[IdlePool, ...]
    run_s: Spread | None
    """Over workers, start-up included; None without workers."""
    why: str
    """How they were recognised."""


@dataclass(frozen=True, slots=True)
class Wave:
    """Workers that were there together; a pool that is made again begins another wave."""

    begin_s: float
    """First of them born."""
    last_born_s: float
    ready_s: float
    """First of them ready to work."""
    tail_s: float
    """From here on fewer of them had work than there were cores to work on."""
    end_s: float
    """End of the last work."""
    workers: int


@dataclass(frozen=True, slots=True)
class Phases:
    """The recording cut at its seams: start-up, parallel part, tail, teardown follow one another."""

    startup_until_s: float
    """The first worker could take a task; without workers, the program left its imports as far as that was seen."""
    parallel_until_s: float
    tail_until_s: float
    """The last worker ended its work."""
    end_s: float
    waves: tuple[Wave, ...]
    wave_period_s: float | None
    """Median time from one wave to the next; None with fewer than two."""
    startup_core_s: float
    """Used in start-up and imports, by the program and by its workers."""

    @property
    def parallel_s(self) -> float:
        """Length of the parallel part."""
        return self.parallel_until_s - self.startup_until_s

    @property
    def tail_s(self) -> float:
        """Length of the tail; of several waves, of the last one."""
        return self.tail_until_s - self.parallel_until_s


@dataclass(frozen=True, slots=True)
class OnCore:
    """Core time that was used, by what used it."""

    kind: str
    """`start-up`, `python`, `native`, `active-wait`, `coordination`, `coordinator`, `unseen`."""
    label: str
    core_s: float
    capacity_share: float
    """Part of capacity x wall."""
    system_core_s: float | None
    """Part spent in the kernel, by the shares of the processes; None where they were not read."""
    threads: int


@dataclass(frozen=True, slots=True)
class Idle:
    """Core time that was not used, by the one cause that it is given to."""

    cause: str
    label: str
    core_s: float
    capacity_share: float
    """Part of capacity x wall."""
    cores_by_bin: tuple[float, ...]
    """Over time, in the bins of `timeline`."""


@dataclass(frozen=True, slots=True)
class CoreTimeLedger:
    """`capacity_core_s` without remainder: the sum of `on_core` and `idle`, less `beyond_capacity_core_s`."""

    capacity_core_s: float
    on_core: tuple[OnCore, ...]
    """The dearest first."""
    idle: tuple[Idle, ...]
    """In the order in which idle core time is given to its causes."""
    beyond_capacity_core_s: float
    """Used beyond what was allowed over the whole time: a quota that was raised or noticed late, or jitter."""
    on_core_core_s: float
    idle_core_s: float
    unexplained_share: float
    """Of capacity x wall."""
    run_queue_wait_thread_s: float
    """The other side: time that threads were runnable without a core, beyond what the cores could do."""


@dataclass(frozen=True, slots=True)
class Concurrency:
    """Time by how many threads were runnable, on a core or waiting for one, against the capacity."""

    idle_s: float
    """None at all, or nearly."""
    poor_s: float
    """At most half of the cores."""
    ok_s: float
    """Up to 85 %."""
    ideal_s: float
    """Up to 115 %."""
    over_s: float
    """More: oversubscribed."""


@dataclass(frozen=True, slots=True)
class Efficiency:
    """How well the workers were used in the parallel part; None where there are no workers, or no such part."""

    parallel_efficiency: float | None
    """Useful time of all workers over workers x time: load balance x serialisation and transfer."""
    load_balance: float | None
    """Mean over maximum of the workers' useful time."""
    serialisation_transfer: float | None
    """The largest useful time over the time that the parallel part took."""
    core_efficiency: float | None
    """Useful time of all workers over capacity x time of the parallel part."""
    note: str | None
    """How the definition differs from that of POP here; None where it is the same."""
    useful_share: Spread | None
    """Over workers: useful time over the time of the parallel part."""
    run_queue_wait_share: Spread | None
    """Over workers: run-queue wait over wait and run."""
    concurrency: Concurrency
