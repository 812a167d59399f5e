"""The report as values: everything a writer may show, nothing that it has to compute.

Units stand in the names. A value that was not measured is None, and `unseen` says why. Writers lay out; only
`corelens.reports.facts` calculates.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Minimum, median, maximum and mean of one quantity over `count` things."""

    count: int
    minimum: float
    median: float
    maximum: float
    mean: float


@dataclass(frozen=True, slots=True)
class Source:
    """Which recording this is, how it was made, and whether it is whole."""

    path: str
    corelens: str
    format: int
    started_unix_ns: int
    how: str
    """`started` or `attached`."""
    argv: tuple[str, ...]
    labels: dict[str, str]
    agent: bool
    complete: bool
    """False when the recording was cut: the recorder was killed, or the file was damaged."""
    end_reason: str
    """Why recording ended; `cut` without a footer."""
    exit_code: int | None
    signal: int | None
    damage: tuple[str, ...]
    """One sentence per stretch that could not be read."""


@dataclass(frozen=True, slots=True)
class Host:
    """The machine, as far as comparisons need it."""

    hostname: str
    kernel: str
    cpu_model: str
    logical_cores: int
    physical_cores: int | None
    memory_bytes: int
    python: str


@dataclass(frozen=True, slots=True)
class Capacity:
    """Cores that the program was allowed to use, and what decided it."""

    cores: float
    because: str
    online_cores: int
    affinity_cores: int | None
    quota_cores: float | None
    throttled_s: float | None
    """Time for which a cgroup quota stopped the program; None without a quota."""
    memory_limit_bytes: int | None


@dataclass(frozen=True, slots=True)
class Cpu:
    """Core-seconds of the whole tree.

    `used_core_s` counts every process, also those that lived between two looks, from the counters that their
    parents keep. `by_process_clock_core_s` is the part read from living processes.
    """

    used_core_s: float
    by_process_clock_core_s: float
    user_share: float | None
    """User part of user plus system time."""
    busy_cores_mean: float
    busy_cores_peak: float
    utilisation: float
    """busy_cores_mean / capacity."""
    run_queue_wait_s: float
    """Sum over threads of the time they were runnable without a core."""
    run_queue_wait_share: float | None
    """wait / (run + wait) over all threads; None when nothing ran."""
    others_cores_mean: float | None
    """Cores that other people's programs used at the same time."""
    steal_cores_mean: float | None
    """Cores that the hypervisor took away."""


@dataclass(frozen=True, slots=True)
class ThreadCount:
    """How many threads the tree had."""

    peak: int
    peak_s: float
    mean: float
    born: int
    """Threads seen for the first time while recording, the initial ones included."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the tree. Times count from the beginning of the recording."""

    pid: int
    ppid: int | None
    role: str
    comm: str
    argv: tuple[str, ...] | None
    born_s: float
    died_s: float | None
    """None: it was alive when recording ended."""
    exit_code: int | None
    signal: int | None
    used_core_s: float
    run_queue_wait_s: float
    threads_peak: int
    rss_peak_bytes: int | None
    pss_peak_bytes: int | None
    affinity_cores: int | None
    variables: dict[str, str] | None
    """Thread-limit variables at exec."""
    major_faults: int | None


@dataclass(frozen=True, slots=True)
class Role:
    """All processes of one role."""

    role: str
    processes: int
    used_core_s: float
    used_core_s_spread: Spread
    threads_peak: int
    """Largest number of threads that the processes of this role had together."""


@dataclass(frozen=True, slots=True)
class TreeNode:
    """The process tree at the moment of most threads."""

    pid: int
    label: str
    role: str
    threads: int
    children: tuple[TreeNode, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Equal bins of `step_s` seconds from the beginning; every series has one value per bin.

    None in a bin: nothing was read there. `core_busy` has one row per core.
    """

    step_s: float
    busy_cores: tuple[float | None, ...]
    capacity_cores: tuple[float, ...]
    waiting_threads: tuple[float | None, ...]
    """Mean number of threads that were runnable without a core."""
    threads: tuple[int | None, ...]
    processes: tuple[int | None, ...]
    rss_bytes: tuple[int | None, ...]
    cores: tuple[int, ...]
    """Core numbers of the rows of `core_busy`."""
    core_busy: tuple[tuple[float | None, ...], ...]
    """Busy share of each core, everybody's programs included."""


@dataclass(frozen=True, slots=True)
class Pool:
    """One native thread pool of one process, as the agent saw it last."""

    pid: int
    role: str
    library: str
    """openblas, openmp, mkl, torch intra-op, torch inter-op, …"""
    version: str | None
    path: str | None
    size: int


@dataclass(frozen=True, slots=True)
class PoolView:
    """What one process believes about cores and limits."""

    pid: int
    role: str
    cpu_count: int | None
    variables_at_exec: dict[str, str] | None
    variables_now: dict[str, str] | None
    changed_late: tuple[str, ...]
    """Variables whose value at the last look differs from the one at exec."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of the workers, or of the main process where there are none."""

    workers: int
    of: str
    """`workers` or `main process`."""
    rss_bytes: Spread | None
    pss_bytes: Spread | None
    tree_peak_rss_bytes: int | None
    """Sum over processes; shared pages count once per process."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One marked piece of work."""

    number: int | None
    pid: int
    tid: int
    begin_s: float
    end_s: float | None
    """None: it had not ended when recording did."""
    value: float | None
    state: str
    parameters: dict[str, object]


@dataclass(frozen=True, slots=True)
class Trials:
    """The marked trials and their rate."""

    trials: tuple[Trial, ...]
    complete: int
    unfinished: int
    failed: int
    span_s: float | None
    """From the first begin to the last end."""
    per_hour: float | None
    """Complete trials per hour of `span_s`."""
    duration_s: Spread | None
    overlap_mean: float | None
    """Mean number of trials in flight over `span_s`."""


@dataclass(frozen=True, slots=True)
class Recorder:
    """What recording cost, and how well it kept time."""

    own_core_s: float
    own_cores: float
    budget_cores: float | None
    rate_hz: float
    ticks: int
    ticks_missed: int
    rate_changes: tuple[str, ...]
    """One sentence per change that the governor made."""
    rss_bytes: int | None


@dataclass(frozen=True, slots=True)
class Unseen:
    """Something this report does not know, and why."""

    what: str
    reason: str
    times: int


@dataclass(frozen=True, slots=True)
class GilThread:
    """A thread that was seen holding the interpreter lock, or waiting for it."""

    tid: int
    comm: str | None
    held_looks: int
    """Looks that found it holding the lock."""
    held_share: float | None
    """Its part of all looks that found the lock held; None when none did."""
    wait_share: float | None
    """Part of its time that it waited for the lock; None when nobody looked what it does."""


@dataclass(frozen=True, slots=True)
class Gil:
    """The interpreter lock of one Python process. What could not be read is None, and `reason` says why."""

    pid: int
    role: str
    version: str | None
    gil: str
    """`yes`, `no` (free-threaded, and off) or `unknown`."""
    how: str
    """What tells of it: `offsets`, `published`, `waiters` or `nothing`."""
    reason: str | None
    interval_us: int | None
    """Switch interval: how long a thread may keep the lock while another waits."""
    looks: int
    """Random moments at which it was looked at."""
    held_share: float | None
    """Part of the time that it was held."""
    handoffs: int | None
    """Times it went from one thread to another, by the interpreter's own count."""
    handoffs_per_s: float | None
    handoffs_per_s_peak: float | None
    """In the busiest bin of the timeline."""
    waited_thread_s: float
    """Time that threads waited for it, added up; from samples."""
    waiting_threads_mean: float | None
    """Mean number of threads that waited for it."""
    wait_share: float | None
    """Part of the time of the threads that use it which they spent waiting; None when nobody looked."""
    busiest_tid: int | None
    busiest_share: float | None
    """What the busiest thread had of the time that it was held."""
    pattern: str | None
    """`convoy` (tiny native calls let go of it and take it back), `saturation` (Python code keeps it), `none`."""
    threads: tuple[GilThread, ...]
    held_share_by_bin: tuple[float | None, ...]
    """Over time, in the bins of `timeline`."""
    handoffs_per_s_by_bin: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """One kind of thing that threads of the tree waited for; `running` is that they did not."""

    what: str
    label: str
    thread_s: float
    """Time added up over threads."""
    time_share: float
    """Part of the time of all threads that were looked at."""
    threads: int
    """Threads that ever waited so."""
    processes: int


@dataclass(frozen=True, slots=True)
class ProcessWait:
    """The same within one process."""

    pid: int
    role: str
    what: str
    thread_s: float
    time_share: float
    threads: int


@dataclass(frozen=True, slots=True)
class Lock:
    """A place in memory where two threads or more waited at once: a mutex, a condition or a semaphore."""

    pids: tuple[int, ...]
    address: int
    """Where the first of them sees it."""
    shared: bool
    """Whether it lies in memory that processes share."""
    path: str | None
    """Of that memory, where it has one."""
    pattern: str
    """`convoy` (its waiters keep waking up) or `parked` (they lie idle)."""
    threads: int
    waiters_mean: float
    """While anybody waited there."""
    waiters_peak: int
    blocked_s: float
    """Time that threads waited there, added up."""
    blocked_share: float
    """Part of the time that threads of the tree were blocked."""
    wakeups_per_s: float
    """How often each waiter woke up in a second of waiting."""


@dataclass(frozen=True, slots=True)
class Report:
    """One recording, summed up."""

    source: Source
    host: Host
    wall_s: float
    capacity: Capacity
    cpu: Cpu
    threads: ThreadCount
    processes_peak: int
    processes_total: int
    roles: tuple[Role, ...]
    processes: tuple[Process, ...]
    tree: tuple[TreeNode, ...]
    tree_at_s: float
    timeline: Timeline
    pools: tuple[Pool, ...]
    views: tuple[PoolView, ...]
    memory: Memory
    trials: Trials | None
    """None: the program marked no trials."""
    packages: dict[str, str]
    recorder: Recorder
    unseen: tuple[Unseen, ...]
    gil: tuple[Gil, ...] = ()
    """Every process that runs Python."""
    waits: tuple[Wait, ...] = ()
    process_waits: tuple[ProcessWait, ...] = ()
    locks: tuple[Lock, ...] = ()
