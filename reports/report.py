"""The report as values: everything a writer may show, nothing that it has to compute.

Units stand in the names. A value that was not measured is None, and `unseen` says why. Writers lay out; only
`corelens.reports.facts` calculates.
"""

from __future__ import annotations

from dataclasses import dataclass

from corelens.reports.core_time import CoreTimeLedger, Efficiency, Phases, Workforce
from corelens.reports.findings import Diagnosis
from corelens.reports.native_code import Perf
from corelens.reports.python_stacks import PythonStacks
from corelens.reports.spreads import Spread as Spread


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
    affinity_cores: int | None = None
    quota_cores: float | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """One thread limit, one library of one process, and what became of it."""

    pid: int
    role: str
    library: str | None
    """None: no library of the process reads this variable."""
    version: str | None
    limit: str | None
    """A variable, or what code called (torch.set_num_threads, threadpoolctl); None: nothing limits it."""
    asked: str | None
    """The value as it was given."""
    configured_threads: int | None
    """What the library said last; None where it could not be asked."""
    observed_threads: int | None
    """Largest pool or team that existed, the thread that opened it included; None where none was seen."""
    verdict: str | None
    """took-effect, set-too-late, overridden, not-inherited, ignored, unknown; None where nothing limits it."""
    why: str
    fix: str | None
    loaded_at_s: float | None = None
    """When the library was about to be loaded; None where nobody saw that."""
    seen_at_s: float | None = None
    """When the process was first seen with this value, or the library with this size."""


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
class LedgerTeams:
    """Alike OpenMP teams. The thread that opened one works in it and is counted with its own owner."""

    teams: int | None
    """None: the threads that opened them were not found, so `threads_each` are in an unknown number of teams."""
    threads_each: int
    opened_by: str | None
    """Owner of the threads that opened them."""


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """The threads of one owner in one process at one moment, beside what the model predicts."""

    owner: str
    """Kind of owner: main, python, openmp-gnu, openblas, …"""
    label: str
    threads: int
    """Negative on the line that takes back threads which were listed beyond the kernel's count."""
    teams: tuple[LedgerTeams, ...]
    busy: int | None
    """Wanted a core, on one or waiting, for at least 5 % of the second before and the second after."""
    idle: int | None
    """Wanted it less; a thread whose readings are missing is neither."""
    predicted: int | None
    difference: int | None
    """threads - predicted."""
    reason: str | None
    """Why the owner is unknown, or why nothing is predicted; else the model's own reason for its number."""


@dataclass(frozen=True, slots=True)
class LedgerInput:
    """One input of the model, with where it comes from or why it is unknown."""

    name: str
    value: int | None
    source: str


@dataclass(frozen=True, slots=True)
class ProcessLedger:
    """All threads of one process at one moment: the lines add up to the kernel's count."""

    pid: int
    role: str
    name: str
    at_s: float
    threads: int
    equation: str
    """The sum in words."""
    lines: tuple[LedgerLine, ...]
    predicted: int | None
    difference: int | None
    predicted_equation: str | None
    inputs: tuple[LedgerInput, ...]
    differences: tuple[str, ...]
    """One sentence per line where observation and prediction differ, with the input that would explain it."""
    reason: str | None
    """Why there is no prediction."""


@dataclass(frozen=True, slots=True)
class OwnerSeries:
    """Threads of one kind of owner over time, one value per bin; None: nothing was read there."""

    owner: str
    threads: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class ProcessSeries:
    """The threads of one process by owner over time."""

    pid: int
    role: str
    over_time: tuple[OwnerSeries, ...]


@dataclass(frozen=True, slots=True)
class ThreadLedger:
    """Every thread with its owner: at the tree's peak, at each process's own, and over time.

    The thread of the corelens agent is left out everywhere, as in every count of this report.
    """

    at_s: float
    threads: int
    equation: str
    processes: tuple[ProcessLedger, ...]
    """Those that were there at the peak of the tree."""
    own_peaks: tuple[ProcessLedger, ...]
    """Each process that had more threads at another moment, at that moment."""
    over_time: tuple[OwnerSeries, ...]
    """In each bin at its moment of most threads; together they are `timeline.threads`."""
    by_process: tuple[ProcessSeries, ...]
    """The same for the 16 processes that had most threads, the largest first."""


@dataclass(frozen=True, slots=True)
class ShortLivedThreads:
    """Threads and processes that began and ended between two looks. The kernel counts births per machine only."""

    made_on_machine: int | None
    """Everything that the kernel made while it was recorded, for anybody; None where its counter was not read."""
    seen_in_tree: int
    """What of it was seen in the recorded tree."""
    unseen_at_most: int | None
    """The rest: an upper bound, because other programs make threads too."""
    per_process: int | None
    """0 where the bound is 0; otherwise unknown."""
    reason: str | None
    """Why the number per process is unknown."""
    used_at_most_core_s: float
    """What the clocks of the processes show beyond the threads that were seen: an upper bound as well."""


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
    """`convoy` (its waiters keep waking up), `team` (they do, and most are threads of native pools: where a pool
    waits for work and for its slowest thread) or `parked` (they lie idle)."""
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
class Waiter:
    """A thread during a standstill."""

    pid: int
    tid: int
    role: str
    """Of its process."""
    name: str | None
    what: str
    """What it waited for, in the words of `waits`."""
    sentence: str
    """Who waits for whom, in words."""
    pids: tuple[int, ...]
    """Processes that could end its wait, its own left out; empty: nobody else, or it ends by itself."""
    function: str | None
    """Python function in which it waits, of the program's own code where there is any; None: no stack."""
    endless: bool
    """Whether nobody in the tree, and nothing outside, could end its wait."""


@dataclass(frozen=True, slots=True)
class Standstill:
    """The longest stretch in which no process of the tree did more than poll, began or ended."""

    since_s: float
    until_s: float
    to_the_end: bool
    """Whether nothing came after it but the end of the program."""
    deadlock: bool
    """Whether nothing in the tree could ever have moved again."""
    looked: bool
    """Whether everybody was looked at for this; false: pieced together from what was last seen of each thread."""
    killed: bool
    """Whether the recorder ended the program for it."""
    waiters: tuple[Waiter, ...]
    """Threads that tell the chain of waits, those of native pools left out."""


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
    ledger: ThreadLedger | None = None
    short_lived: ShortLivedThreads | None = None
    limits: tuple[Limit, ...] = ()
    stacks: PythonStacks | None = None
    """None: nobody looked at Python stacks."""
    gil: tuple[Gil, ...] = ()
    """Every process that runs Python."""
    waits: tuple[Wait, ...] = ()
    process_waits: tuple[ProcessWait, ...] = ()
    locks: tuple[Lock, ...] = ()
    standstill: Standstill | None = None
    """None: it moved all the time, or nobody looked what threads do."""
    perf: Perf | None = None
    """None: the kernel was not asked to sample native code."""
    diagnosis: Diagnosis | None = None
    """None: no rules were run over it."""
    workforce: Workforce | None = None
    phases: Phases | None = None
    core_time_ledger: CoreTimeLedger | None = None
    efficiency: Efficiency | None = None
