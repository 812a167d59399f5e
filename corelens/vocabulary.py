"""The words of a recording: every kind of line, its fields, their units, and when a field is null.

This table is the contract between the probes that write and the facts that read. `docs/recording-format.md`
is generated from it and a test holds every recorded line against it. All counters are cumulative and raw; all
times are nanoseconds of CLOCK_MONOTONIC since the recording began (`t_ns`), unless the name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Line = dict[str, Any]
"""One JSON object of a recording; `kind` names its entry in KINDS."""

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a kind of line."""

    name: str
    type: str
    """JSON type: int, float, str, bool, object, list. In a columnar kind, of each element."""
    meaning: str
    absent: str | None = None
    """Why the value may be null; None where it never is."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of line. In a columnar kind each field but `t_ns` is a list, all of one length."""

    name: str
    probe: str
    meaning: str
    fields: tuple[Field, ...]
    columnar: bool = False


_T = Field("t_ns", "int", "when, ns since the recording began")
_PID = Field("pid", "int", "process id as the recorder sees it")
_TID = Field("tid", "int", "kernel thread id")
_FORBIDDEN = "not permitted to read, or gone before it could be read"

_HEADER = Kind(
    "header",
    "recorder",
    "first line: what was recorded, where, how",
    (
        Field("format", "int", "version of this format"),
        Field("corelens", "str", "version of the recorder"),
        Field("started_unix_ns", "int", "wall clock at t_ns = 0"),
        Field("t0_monotonic_ns", "int", "CLOCK_MONOTONIC at t_ns = 0"),
        Field("t0_boottime_ns", "int", "CLOCK_BOOTTIME at t_ns = 0; process start times count from boot"),
        Field(
            "host",
            "object",
            "hostname, kernel, machine, cpu_model, logical_cores, physical_cores, numa_nodes,"
            " memory_bytes, clock_ticks_per_s, page_bytes, python",
        ),
        Field("target", "object", "how (started, attached), pid, argv"),
        Field("periods_ns", "object", "probe name to its sampling period at the start"),
        Field(
            "budget_cores",
            "float",
            "share of one core that the governor keeps the recorder under",
            "the governor is off",
        ),
        Field("agent", "bool", "whether the in-process agent was handed to the target"),
        Field("labels", "object", "name to text: what the user or a replay says of this run"),
        Field("sees", "list", "what can be seen from here: {name, ok, reason}"),
    ),
)

_CHUNK = Kind(
    "chunk",
    "recorder",
    "first line of every member but the first: numbers them, so that a lost one shows",
    (_T, Field("number", "int", "1, 2, … in the order written")),
)

_FOOTER = Kind(
    "footer",
    "recorder",
    "last line; a recording without it was cut",
    (
        _T,
        Field("reason", "str", "target-ended, duration, interrupted, target-gone, output-failed"),
        Field(
            "exit_code", "int", "exit code of the target", "killed by a signal, attached, or still running"
        ),
        Field("signal", "int", "signal that ended the target", "not ended by a signal, or unknown"),
        Field("user_ns", "int", "user CPU of the target and its reaped descendants, by wait4", "attached"),
        Field("system_ns", "int", "system CPU, likewise", "attached"),
        Field("max_rss_bytes", "int", "largest resident set of any one process, by wait4", "attached"),
        Field("ticks", "int", "rounds of the recorder"),
        Field("ticks_missed", "int", "rounds that could not begin on time and were skipped"),
        Field("own_cpu_ns", "int", "CPU that the recorder itself used, with the helpers it started (py-spy)"),
        Field("own_max_rss_bytes", "int", "largest resident set of the recorder"),
    ),
)

_PROCESS_BORN = Kind(
    "process.born",
    "tree",
    "a process joined the recorded tree (or was there when recording began); repeated with again=true every"
    " 30 s so that a damaged file finds its names again",
    (
        _T,
        _PID,
        Field("ppid", "int", "parent", "unknown"),
        Field(
            "start_ticks", "int", "start time since boot in clock ticks; with the pid the process's identity"
        ),
        Field("comm", "str", "command name, at most 15 bytes"),
        Field("argv", "list", "command line, secrets masked", _FORBIDDEN),
        Field("exe", "str", "path of the executable", _FORBIDDEN),
        Field("role", "str", "what the process is for, see probes/roles.py"),
        Field("joined_by", "str", "root, child, ray-session"),
        Field("uid", "int", "owner", _FORBIDDEN),
        Field("affinity", "list", "cores the main thread may run on", _FORBIDDEN),
        Field(
            "variables", "object", "thread-limit variables at exec, name to value, allow-listed", _FORBIDDEN
        ),
        Field("cpu_ns", "int", "CPU used before it was first seen", _FORBIDDEN),
        Field("again", "bool", "true where this repeats what was said before"),
    ),
)

_PROCESS_CHANGED = Kind(
    "process.changed",
    "tree",
    "a process executed another program, renamed itself, or its role became known",
    (
        _T,
        _PID,
        Field("comm", "str", "command name"),
        Field("argv", "list", "command line, secrets masked", _FORBIDDEN),
        Field("exe", "str", "path of the executable", _FORBIDDEN),
        Field("role", "str", "what the process is for"),
        Field("variables", "object", "thread-limit variables at exec", _FORBIDDEN),
        Field("affinity", "list", "cores the main thread may run on", _FORBIDDEN),
    ),
)

_PROCESS_DIED = Kind(
    "process.died",
    "tree",
    "a process ended",
    (
        _T,
        _PID,
        Field("exit_code", "int", "0-255", "ended by a signal, or reaped before the kernel could be asked"),
        Field("signal", "int", "signal that ended it", "not ended by a signal, or unknown"),
        Field("cpu_ns", "int", "final CPU of the process itself", "reaped before it could be read"),
        Field("how", "str", "pidfd (told by the kernel), wait (our own child), polling (found missing)"),
    ),
)

_PROCESSES = Kind(
    "processes",
    "tree",
    "CPU clock and thread count of the processes that moved since the last round",
    (
        _T,
        _PID,
        Field(
            "cpu_ns",
            "int",
            "CPU clock of the process: all its threads, dead ones included",
            "the CPU clock is not readable",
        ),
        Field("threads", "int", "threads alive"),
    ),
    columnar=True,
)

_PROCESS_DETAIL = Kind(
    "process.detail",
    "tree",
    "slower counters per process",
    (
        _T,
        _PID,
        Field("user_ns", "int", "user CPU, in steps of one clock tick"),
        Field("system_ns", "int", "system CPU, likewise"),
        Field("reaped_user_ns", "int", "user CPU of children it has waited for"),
        Field("reaped_system_ns", "int", "system CPU, likewise"),
        Field("minor_faults", "int", "page faults without disk"),
        Field("major_faults", "int", "page faults with disk"),
        Field("rss_bytes", "int", "resident set", "the process has ended and holds no memory any more"),
        Field("state", "str", "R, S, D, Z, T … of the main thread"),
        Field("read_bytes", "int", "bytes read from storage", _FORBIDDEN),
        Field("write_bytes", "int", "bytes written to storage", _FORBIDDEN),
        Field(
            "read_chars",
            "int",
            "bytes that read calls returned, of pipes, sockets and cached files too",
            _FORBIDDEN,
        ),
        Field("write_chars", "int", "bytes that write calls took, likewise", _FORBIDDEN),
        Field(
            "read_calls", "int", "read calls; recv and recvmsg on a socket are none to the kernel", _FORBIDDEN
        ),
        Field("write_calls", "int", "write calls; send and sendmsg likewise", _FORBIDDEN),
    ),
    columnar=True,
)

_THREADS_BORN = Kind(
    "threads.born",
    "threads",
    "threads seen for the first time; repeated with the processes every 30 s",
    (
        _T,
        _PID,
        _TID,
        Field("start_ticks", "int", "start time since boot in clock ticks", "gone before it could be read"),
        Field("comm", "str", "thread name, at most 15 bytes", "gone before it could be read"),
    ),
    columnar=True,
)

_THREADS_NAMED = Kind(
    "threads.named",
    "threads",
    "threads that renamed themselves",
    (_T, _TID, Field("comm", "str", "thread name")),
    columnar=True,
)

_THREADS_DIED = Kind(
    "threads.died",
    "threads",
    "threads that ended while their process lives, and those of a process that ended",
    (_T, _TID),
    columnar=True,
)

_THREADS = Kind(
    "threads",
    "threads",
    "scheduler counters (/proc/PID/task/TID/schedstat) of the threads that moved since they were last read",
    (
        _T,
        _TID,
        Field("run_ns", "int", "time on a core"),
        Field("wait_ns", "int", "run-queue wait: runnable and without a core"),
        Field("slices", "int", "times put on a core"),
    ),
    columnar=True,
)

_THREADS_DETAIL = Kind(
    "threads.detail",
    "threads",
    "slower counters of the threads that moved since the last of these rounds",
    (
        _T,
        _TID,
        Field("voluntary", "int", "context switches because the thread blocked"),
        Field("involuntary", "int", "context switches because its time was up"),
        Field("state", "str", "R, S, D, Z, T …"),
        Field("core", "int", "core it last ran on"),
        Field(
            "allowed_cores",
            "str",
            "cores it may run on, as the kernel writes them: 0-3,8",
            "the kernel does not say",
        ),
    ),
    columnar=True,
)

_MODULES = Kind(
    "modules",
    "owners",
    "files mapped into recorded processes that own threads; each is numbered once in a recording",
    (
        _T,
        Field("module", "int", "its number in this recording"),
        Field("path", "str", "path as the process sees it"),
        Field("build_id", "str", "GNU build id, hexadecimal", "the file carries none, or it was not mapped"),
        Field("deleted", "bool", "the file was deleted or replaced since it was mapped"),
    ),
    columnar=True,
)

_THREADS_OWNED = Kind(
    "threads.owned",
    "owners",
    "what made each thread, read from its own descriptor in the memory of its process; written once, again when"
    " more becomes known, and repeated with the processes every 30 s",
    (
        _T,
        _PID,
        _TID,
        Field(
            "how",
            "str",
            "main, start-routine, rtti (a C++ std::thread, told by its type), stack (start routine in a"
            " descriptor that was found on its stack: musl, or no get_robust_list), unknown",
        ),
        Field("module", "int", "module whose code the thread runs", "unknown"),
        Field(
            "offset",
            "int",
            "of the start routine, or of the virtual table of what it runs, from where the first byte of the module"
            " is mapped",
            "unknown, or the first thread of its process",
        ),
        Field("rtti", "str", "mangled C++ type of the thread's body", "no std::thread, or not readable"),
        Field(
            "master",
            "int",
            "thread that opened the libgomp team it works in",
            "works in no libgomp team, or it was not found",
        ),
        Field("reason", "str", "why it is unknown", "it is known"),
    ),
    columnar=True,
)

_THREADS_PYTHON = Kind(
    "threads.python",
    "stacks",
    "names of Python threads as the interpreter knows them; written when new or changed, and repeated every 30 s",
    (_T, _PID, _TID, Field("name", "str", "name in the threading module")),
    columnar=True,
)

_STACKS_FRAMES = Kind(
    "stacks.frames",
    "stacks",
    "places in Python code, each numbered once in a recording; written before a stack that uses them, and again"
    " after every 30 s",
    (
        _T,
        Field("frame", "int", "its number in this recording"),
        Field("function", "str", "qualified name where the version of Python keeps it"),
        Field("file", "str", "path as the interpreter knows it"),
        Field("line", "int", "line being executed", "py-spy could not tell"),
    ),
    columnar=True,
)

_STACKS_CHAINS = Kind(
    "stacks.chains",
    "stacks",
    "stacks, each numbered once in a recording; written before a sample that shows them, and again after every"
    " 30 s",
    (
        _T,
        Field("stack", "int", "its number in this recording"),
        Field("frames", "list", "numbers of its frames, outermost first; the innermost 256 of deeper ones"),
    ),
    columnar=True,
)

_STACKS = Kind(
    "stacks",
    "stacks",
    "what Python threads were doing, as py-spy saw it; no variables, no values",
    (
        _T,
        Field("from_ns", "int", "when the look began; a dump shows that moment, samples the time until t_ns"),
        _PID,
        _TID,
        Field("stack", "int", "number of the stack"),
        Field("samples", "int", "samples that showed it; 1 in a dump"),
        Field(
            "active",
            "bool",
            "not idle as py-spy sees it",
            "only holders of the GIL were looked at; Python before 3.11, and a process in a PID namespace of its own,"
            " do not show it",
        ),
        Field("gil", "bool", "held the interpreter lock", "these samples were taken of all active threads"),
    ),
    columnar=True,
)

_STACKS_LOOKS = Kind(
    "stacks.looks",
    "stacks",
    "one run of py-spy",
    (
        _T,
        Field("from_ns", "int", "when it was started; t_ns is when its result was taken"),
        _PID,
        Field(
            "how",
            "str",
            "dump (every thread once), active (samples of threads that are not idle), gil (of the one that"
            " holds the interpreter lock)",
        ),
        Field("rate_hz", "int", "samples per second", "a dump"),
        Field("blocking", "bool", "whether the process was stopped for each sample"),
        Field("samples", "int", "samples of threads that were kept"),
        Field("dropped", "int", "samples that were torn, or of threads that nobody knows"),
        Field("cpu_ns", "int", "CPU that py-spy used"),
        Field("failed", "str", "what py-spy said of its failure", "it did not fail"),
    ),
)

_GIL_FOUND = Kind(
    "gil.found",
    "gil",
    "a Python process and how its interpreter lock can be seen; written when found or changed, and repeated"
    " with the processes every 30 s",
    (
        _T,
        _PID,
        Field("version", "str", "version of the interpreter: 3.11", "it does not say"),
        Field("gil", "str", "yes, no (free-threaded, and the lock is off), unknown"),
        Field(
            "how",
            "str",
            "what tells of it: offsets (known for this version), published (by the interpreter itself), both"
            " verified against the live structure; waiters (only who waits for it can be told), nothing",
        ),
        Field("wait_start", "int", "first address that a thread waiting for the lock waits on", "unknown"),
        Field("wait_end", "int", "address after the last of these", "unknown"),
        Field("interval_us", "int", "switch interval of the interpreter", "not readable"),
        Field("reason", "str", "why less is known than could be", "nothing is missing"),
    ),
    columnar=True,
)

_GIL = Kind(
    "gil",
    "gil",
    "the interpreter lock of the processes that were on a core since the last round, looked at in it and at"
    " random moments before it; a process without a row did not run, so that its lock stayed as it was",
    (
        _T,
        _PID,
        Field("looks", "int", "times the lock was looked at"),
        Field("held", "int", "looks that found it held"),
        Field("switches", "int", "hand-offs from one thread to another: the interpreter's own counter"),
        Field("locked", "bool", "whether it was held at the last look"),
        Field("holder", "int", "thread that held it last", "none, ended, or its version does not tell"),
    ),
    columnar=True,
)

_GIL_HELD = Kind(
    "gil.held",
    "gil",
    "who held the lock at those looks: threads whose count grew since the last round",
    (_T, _PID, _TID, Field("held", "int", "looks that found this thread holding the lock")),
    columnar=True,
)

_WAITS = Kind(
    "waits",
    "waits",
    "what threads do (/proc/PID/task/TID/syscall), looked at each round for those that ran since they were last"
    " looked at; written when it differs from what was said of the thread before, and of all threads every 30 s."
    " A thread without a row does what it did: on to its next row, or its end",
    (
        _T,
        _PID,
        _TID,
        Field(
            "call",
            "str",
            "system call that it is blocked in, by name, or by number where it has no name here; running: on a"
            " core or waiting for one; fault: blocked outside of any call, as on a page that is not in memory",
        ),
        Field("address", "int", "what a futex call waits on", "no futex call"),
        Field(
            "file",
            "str",
            "what the call reads or writes: pipe, socket, eventfd, epoll, timerfd, terminal, device, file, other;"
            " of poll the first in its list",
            "the call has no file, or it was closed",
        ),
        Field(
            "object",
            "str",
            "which one: pipe:[INODE] or socket:[INODE], equal in all processes that have this pipe or this end of the"
            " socket open, or a path. A thread in read and one in write with the same pipe are its two ends",
            "the call has no file, or one without a name",
        ),
    ),
    columnar=True,
)

_LOCKS_SHARED = Kind(
    "locks.shared",
    "waits",
    "futexes that lie in memory shared between processes: equal object and offset are the same lock",
    (
        _T,
        _PID,
        Field("address", "int", "where the process sees it"),
        Field("object", "str", "device and inode of what is mapped"),
        Field("offset", "int", "where in that it lies"),
        Field("path", "str", "path of what is mapped", "it has none"),
    ),
    columnar=True,
)

_STANDSTILL = Kind(
    "standstill",
    "standstill",
    "nothing in the tree had moved for a while (or the recording was interrupted), so everybody was looked at; the"
    " two kinds below are what was seen, at the same t_ns",
    (
        _T,
        Field(
            "since_ns", "int", "since when no process had used more CPU than polling takes, begun or ended"
        ),
        Field("why", "str", "still (nothing moved), interrupted (the recording was asked to end)"),
        Field(
            "deadlock", "str", "the chain of waits, as `--watch` told it", "not watched, or it is no deadlock"
        ),
        Field("killed", "bool", "whether `--kill-deadlocked` then ended the program"),
    ),
)

_STANDSTILL_WAITS = Kind(
    "standstill.waits",
    "standstill",
    "each thread at that moment: the call that it is blocked in, and what could end it",
    (
        _T,
        _PID,
        _TID,
        Field("call", "str", "as in `waits`"),
        Field(
            "timed",
            "bool",
            "whether the call returns by itself after a time",
            "not known of this call",
        ),
        Field("address", "int", "what a futex call waits on", "no futex call"),
        Field(
            "waits_for",
            "list",
            "what would end the wait: [`in`, FILE] (something to read), [`out`, FILE] (room to write), [`child`,"
            " PID] (0: any), [`memory`, DEVICE:INODE+OFFSET] (a futex in shared memory); a file by its name in"
            " /proc/PID/fd",
            "a futex in the process's own memory, no call, or it could not be read",
        ),
        Field("module", "str", "file whose code made the call", "not readable, or not in a file"),
        Field("stack", "list", "Python frames, outermost first: [function, file, line]", "no Python stack"),
    ),
    columnar=True,
)

_STANDSTILL_ENDS = Kind(
    "standstill.ends",
    "standstill",
    "who could end a wait for a file of the lines above: every process that has the other end open",
    (
        _T,
        Field("direction", "str", "in, out: of the wait"),
        Field("file", "str", "as in `waits_for`"),
        Field(
            "pid", "int", "who has the other end", "somebody outside the tree, or nobody who could be found"
        ),
    ),
    columnar=True,
)

_LOCKS_FILES = Kind(
    "locks.files",
    "file-locks",
    "locks on files that recorded processes hold or wait for, with those of others on the same files (/proc/locks);"
    " looked at each round while there are any, each second otherwise,"
    " and written whole when anything differs from the line before: no row means no lock",
    (
        _T,
        Field("pid", "int", "who has it; -1: of an open file description, which has no process"),
        Field("blocked", "bool", "waits for it in the kernel and does not have it"),
        Field("how", "str", "posix (fcntl, lockf), flock, ofd"),
        Field("mode", "str", "read (shared), write (exclusive)"),
        Field("object", "str", "device and inode of the file"),
        Field("start", "int", "first byte that is locked"),
        Field("end", "int", "last byte that is locked", "to the end of the file, however long it gets"),
        Field("path", "str", "path of the file as who locked it sees it", "not found"),
    ),
    columnar=True,
)

_PERF_MODULES = Kind(
    "perf.modules",
    "perf",
    "files that sampled code lies in; each is numbered once in a recording, apart from those of `modules`",
    (
        _T,
        Field("module", "int", "its number in this recording"),
        Field("path", "str", "path as the process sees it"),
        Field(
            "build_id", "str", "GNU build id, hexadecimal", "the file carries none, or the process had ended"
        ),
        Field("bytes", "int", "size of the file, which tells builds without an id apart", "the file is gone"),
    ),
    columnar=True,
)

_PERF_SAMPLES = Kind(
    "perf.samples",
    "perf",
    "user code on a core, sampled by the kernel 49 times for each second on a core (--perf): samples since the last"
    " such line; time in the kernel is not sampled",
    (
        _T,
        _PID,
        _TID,
        Field(
            "module",
            "int",
            "file that the code lies in",
            "in no file, or the process ended before it was asked",
        ),
        Field(
            "offset",
            "int",
            "from where the first byte of the file is mapped, in steps of 16 bytes",
            "likewise",
        ),
        Field("samples", "int", "samples there"),
    ),
    columnar=True,
)

_CORES = Kind(
    "cores",
    "host",
    "per-core counters of /proc/stat, in clock ticks",
    (
        _T,
        Field("core", "int", "core number"),
        Field("user_ticks", "int", "user, guest included"),
        Field("nice_ticks", "int", "user at low priority"),
        Field("system_ticks", "int", "kernel"),
        Field("idle_ticks", "int", "idle"),
        Field("iowait_ticks", "int", "idle with I/O outstanding"),
        Field("irq_ticks", "int", "hard and soft interrupts"),
        Field("steal_ticks", "int", "taken by the hypervisor"),
    ),
    columnar=True,
)

_HOST = Kind(
    "host",
    "host",
    "counters of the whole machine",
    (
        _T,
        Field("load1", "float", "load average over one minute"),
        Field("runnable", "int", "tasks that are running or wait for a core"),
        Field("tasks", "int", "threads on the machine"),
        Field("forks", "int", "processes and threads created since boot"),
        Field("switches", "int", "context switches since boot"),
        Field("memory_available_bytes", "int", "memory that can be had without swapping"),
        Field("swap_used_bytes", "int", "swap in use"),
        Field(
            "pressure_us",
            "object",
            "PSI totals since boot: {cpu|io|memory: {some, full}} in microseconds",
            "the kernel has no /proc/pressure",
        ),
    ),
)

_LIMITS = Kind(
    "limits",
    "host",
    "what the program may use; written at the start and when it changes",
    (
        _T,
        Field("online_cores", "list", "cores that are online"),
        Field("affinity_cores", "list", "cores the root process may run on", _FORBIDDEN),
        Field(
            "cgroups",
            "list",
            "from the process's own cgroup to the root: {version, path, quota_cores,"
            " memory_limit_bytes, cpuset}; null where that level sets nothing",
        ),
        Field("quota_cores", "float", "smallest CPU quota on that way", "no level sets a quota"),
        Field("memory_limit_bytes", "int", "smallest memory limit on that way", "no level sets a limit"),
        Field(
            "capacity_cores", "float", "cores the program may use: the smallest of online, affinity, quota"
        ),
        Field("capacity_because", "str", "online, affinity, cpuset, quota"),
        Field("soft_open_files", "int", "the recorder's own descriptor limit"),
    ),
)

_NO_QUOTA = "no CPU quota here, or the group is gone"
_NOT_COUNTED = "the kernel does not count them here, or the group is gone"

_CGROUP = Kind(
    "cgroup",
    "host",
    "counters of each level that sets a quota or a memory limit",
    (
        _T,
        Field("path", "str", "cgroup path"),
        Field("periods", "int", "enforcement periods", _NO_QUOTA),
        Field("throttled_periods", "int", "periods in which the group ran out of quota", _NO_QUOTA),
        Field("throttled_ns", "int", "time for which it was throttled", _NO_QUOTA),
        Field("memory_bytes", "int", "memory charged to the group", "no memory controller here, or gone"),
        Field("oom_kills", "int", "processes killed for memory", _NOT_COUNTED),
        Field(
            "memory_limit_hits",
            "int",
            "times the group was about to exceed its memory limit, so that the kernel reclaimed from it",
            _NOT_COUNTED,
        ),
        Field("major_faults", "int", "page faults with disk of the group and those below it", _NOT_COUNTED),
        Field(
            "file_refaults",
            "int",
            "pages of files that had to be read again soon after they were reclaimed, likewise",
            _NOT_COUNTED,
        ),
        Field(
            "swap_refaults",
            "int",
            "pages of memory that had to be swapped in soon after they were swapped out, likewise",
            _NOT_COUNTED,
        ),
    ),
)

_RAY_NODE = Kind(
    "ray.node",
    "ray",
    "state of a Ray node as its raylet wrote it into its log (debug_state.txt): when it started, and every ten seconds"
    " after that; with the agent every second",
    (
        _T,
        Field("pid", "int", "raylet"),
        Field("node", "str", "id of the node"),
        Field("written_unix_ns", "int", "when it was written, on the wall clock"),
        Field("total", "object", "logical resource (CPU, GPU, memory, ...) to how much of it the node has"),
        Field("available", "object", "the same to how much of it nobody holds"),
        Field(
            "queues",
            "object",
            "requests for workers that wait, as Ray counts them: infeasible_queue, schedule_queue, grant_queue,"
            " waiting_for_resource, waiting_for_remote_node_resources, tasks_waiting_for_workers, ...",
        ),
        Field("held", "list", "who holds what: {pid, task, resources}"),
        Field(
            "backlog", "list", "tasks that their owners have not even asked workers for: {resources, tasks}"
        ),
    ),
)

_MEMORY = Kind(
    "memory",
    "memory",
    "proportional set size per process; dear to read, so seldom",
    (
        _T,
        _PID,
        Field("pss_bytes", "int", "resident set with shared pages split among their users", _FORBIDDEN),
        Field("uss_bytes", "int", "pages of this process alone", _FORBIDDEN),
        Field("swap_bytes", "int", "swapped out", _FORBIDDEN),
    ),
    columnar=True,
)

_POOLS = Kind(
    "pools",
    "pools",
    "what the in-process agent found: native pools and the limit variables as they are now",
    (
        _T,
        _PID,
        Field("moment", "str", "start, libraries (a watched library was loaded), interval, exit, fork"),
        Field(
            "libraries",
            "list",
            "threadpoolctl.threadpool_info(): {user_api, internal_api, prefix, filepath,"
            " version, num_threads, …}",
            "threadpoolctl cannot be loaded in that process, no library is loaded yet, or asking would start"
            " an OpenMP runtime that the program has not used yet",
        ),
        Field(
            "torch_threads",
            "int",
            "torch.get_num_threads() as a new thread of the program gets it",
            "torch is not loaded, or the process was forked just now",
        ),
        Field("torch_interop_threads", "int", "torch.get_num_interop_threads()", "likewise"),
        Field("cpu_count", "int", "os.cpu_count() in that process", "unknown to that process"),
        Field("variables", "object", "thread-limit variables now, name to value"),
        Field(
            "loads",
            "list",
            "watched modules in the order of their import: {module, t_ns, inherited, variables}; the variables"
            " are those of the moment before the module loaded its native libraries; inherited says that a"
            " parent did so before it forked this process",
        ),
        Field("module_threads", "object", "numexpr and numba, where loaded, to their threads"),
        Field("versions", "object", "package to version, of the packages loaded"),
        Field("python", "str", "version of the interpreter"),
        Field(
            "python_threads",
            "object",
            "native thread id to the threading module's name; empty until a watched library is loaded",
        ),
        Field(
            "agent_tid",
            "int",
            "the agent's own thread, to be left out of the counts",
            "the agent runs no thread",
        ),
    ),
)

_VARIABLES = Kind(
    "variables",
    "variables",
    "thread-limit variables in the memory of a process, where code changes them; written when they are not what"
    " was said before, at exec to begin with",
    (_T, _PID, Field("variables", "object", "name to value, allow-listed")),
    columnar=True,
)

_PACKAGES = Kind(
    "packages",
    "tree",
    "versions of the packages beside an interpreter, read from its site-packages",
    (
        _T,
        Field("exe", "str", "the interpreter"),
        Field("versions", "object", "package to version, of those that matter to parallelism"),
    ),
)

_MARK = Kind(
    "mark",
    "marks",
    "what the program says of itself",
    (
        _T,
        _PID,
        _TID,
        Field("name", "str", "what is marked: trial, search, import, …"),
        Field("phase", "str", "begin, end, point"),
        Field("span", "str", "joins a begin with its end", "a point has none"),
        Field("attributes", "object", "what the program added"),
    ),
)

_GAP = Kind(
    "gap",
    "any",
    "something could not be read",
    (
        _T,
        Field("probe", "str", "who could not read"),
        Field("pid", "int", "of which process", "concerns the machine or the recorder"),
        Field("what", "str", "the reading that is missing"),
        Field("reason", "str", "gone, forbidden, zombie, broken, unsupported, late, descriptors"),
        Field("detail", "str", "one sentence"),
    ),
)

_RATE = Kind(
    "rate",
    "recorder",
    "the governor changed a sampling period",
    (
        _T,
        Field("probe", "str", "whose period"),
        Field("period_ns", "int", "from now on"),
        Field("reason", "str", "over-budget, under-budget"),
        Field("own_cores", "float", "cores the recorder used, mean of the last five seconds"),
    ),
)

_SELF = Kind(
    "self",
    "recorder",
    "the recorder's own cost, each second",
    (
        _T,
        Field("cpu_ns", "int", "CPU used so far, with the helpers it started (py-spy)"),
        Field("rss_bytes", "int", "resident set"),
        Field("ticks", "int", "rounds so far"),
        Field("ticks_missed", "int", "rounds skipped so far"),
        Field(
            "longest_gap_ns",
            "int",
            "longest time between two looks for new processes since the last such line; one that lived"
            " shorter may have been missed",
        ),
        Field("threads_read", "int", "thread readings so far"),
        Field("cpu_by_probe_ns", "object", "probe to CPU used so far"),
    ),
)

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _HEADER, _CHUNK, _PROCESS_BORN, _PROCESS_CHANGED, _PROCESS_DIED, _PROCESSES, _PROCESS_DETAIL,
        _THREADS_BORN, _THREADS_NAMED, _THREADS, _THREADS_DETAIL, _THREADS_DIED,
        _MODULES, _THREADS_OWNED, _THREADS_PYTHON, _STACKS_FRAMES, _STACKS_CHAINS, _STACKS, _STACKS_LOOKS,
        _GIL_FOUND, _GIL, _GIL_HELD, _WAITS, _LOCKS_SHARED, _LOCKS_FILES,
        _STANDSTILL, _STANDSTILL_WAITS, _STANDSTILL_ENDS, _PERF_MODULES, _PERF_SAMPLES,
        _CORES, _HOST, _LIMITS, _CGROUP, _RAY_NODE, _MEMORY, _POOLS, _VARIABLES, _PACKAGES, _MARK, _GAP, _RATE,
        _SELF, _FOOTER,
    )
}  # fmt: skip


def columns(kind: str) -> tuple[str, ...]:
    """Names of the list-valued fields of a columnar kind, in their documented order."""
    return tuple(field.name for field in KINDS[kind].fields if field.name != "t_ns")


def columnar_line(kind: str, t_ns: int, rows: list[tuple[Any, ...]]) -> Line:
    """Turn rows, whose values stand in the documented order, into one columnar line."""
    names = columns(kind)
    table = zip(*rows, strict=True) if rows else [()] * len(names)
    return {"kind": kind, "t_ns": t_ns, **dict(zip(names, map(list, table), strict=True))}


LIMIT_VARIABLES = (
    "OMP_NUM_THREADS",
    "OMP_THREAD_LIMIT",
    "OMP_WAIT_POLICY",
    "OMP_PROC_BIND",
    "OMP_PLACES",
    "OMP_DYNAMIC",
    "OMP_MAX_ACTIVE_LEVELS",
    "GOMP_SPINCOUNT",
    "GOMP_CPU_AFFINITY",
    "KMP_BLOCKTIME",
    "KMP_AFFINITY",
    "KMP_DUPLICATE_LIB_OK",
    "OPENBLAS_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "MKL_NUM_THREADS",
    "MKL_DYNAMIC",
    "MKL_DOMAIN_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMBA_THREADING_LAYER",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
    "TBB_NUM_THREADS",
    "ARROW_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
    "JOBLIB_MULTIPROCESSING",
    "PYTHON_CPU_COUNT",
    "PYTHON_GIL",
    "RAY_num_server_call_thread",
    "CUDA_VISIBLE_DEVICES",
)
"""Environment variables that decide how many threads a library starts; the only ones ever recorded."""

PACKAGES = (
    "joblib", "loky", "optuna", "torch", "numpy", "scipy", "scikit-learn", "ray", "dask", "numba", "polars",
    "pyarrow", "pandas", "threadpoolctl", "xgboost", "lightgbm", "tensorflow", "jax", "mkl", "numexpr",
    "duckdb", "opencv-python", "grpcio", "neat-python", "cloudpickle",
)  # fmt: skip
"""Distributions whose version changes how threads behave."""
