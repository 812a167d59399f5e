"""What can be seen from here: each source tried, with the reason when it is closed and the way to open it.

Trying is the only honest answer: containers, seccomp filters, Yama and mount options each close some of them
without saying so anywhere.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from corelens.probes import cgroups, perf_events, pidfd, procfs, pyspy
from corelens.probes.robust_list import Refused, RobustList
from corelens.probes.spool import AGENT_FOLDER
from corelens.vocabulary import Line

_CAP_SYS_PTRACE = 19
_FIRST_PID_NAMESPACE = "pid:[4026531836]"
_COMFORTABLE_OPEN_FILES = 4096
_SYS_PTRACE = "docker run --cap-add SYS_PTRACE where it is a container"


@dataclass(frozen=True, slots=True)
class Capability:
    """One source. `reason` is one sentence; `remedy` says how to get it and is empty where it is there."""

    name: str
    ok: bool
    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where to look: a process, or ourselves when none is given."""

    proc: Path
    pid: int | None

    @property
    def process(self) -> int:
        return self.pid if self.pid is not None else os.getpid()

    @property
    def folder(self) -> str:
        return f"{self.proc}/{self.process}"

    def trouble(self, name: str) -> procfs.Unreadable | None:
        """What happens on reading a file of the process; None when it can be read."""
        try:
            procfs.read_bytes(f"{self.folder}/{name}")
        except procfs.Unreadable as error:
            return error
        return None


def capabilities(pid: int | None = None, proc: Path = procfs.PROC) -> list[Line]:
    """What the header's `sees` holds: {name, ok, reason} for each source, for one process or in general."""
    return [{"name": each.name, "ok": each.ok, "reason": each.reason} for each in examine(pid, proc)]


def examine(pid: int | None = None, proc: Path = procfs.PROC) -> list[Capability]:
    """Try every source on a process, or on ourselves and by the machine's settings when none is given."""
    place = _Place(proc, pid)
    return [attempt(place) for attempt in _ATTEMPTS]


def _schedstat(place: _Place) -> Capability:
    trouble = place.trouble("schedstat")
    if trouble is None:
        return Capability("schedstat", True, "time on a core and run-queue wait of every thread can be read")
    return Capability(
        "schedstat",
        False,
        f"time on a core and run-queue wait per thread cannot be read: {trouble.detail}",
        "needs a kernel with CONFIG_SCHED_INFO, which sandboxes such as gVisor do not offer",
    )


def _cpu_clock(place: _Place) -> Capability:
    try:
        time.clock_gettime_ns(pidfd.cpu_clock(place.process))
    except OSError as error:
        reason = f"the CPU clock of a process cannot be read: {error.strerror}"
        remedy = "leave the sandbox that refuses it; until then steps of a clock tick are counted"
        return Capability("cpu-clock", False, reason, remedy)
    return Capability("cpu-clock", True, "the CPU clock of each process can be read in nanoseconds")


def _memory_access(place: _Place) -> Capability:
    if place.pid is None:
        return _memory_access_in_general(place.proc)
    try:
        os.close(os.open(f"{place.folder}/mem", os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        reason = f"the process does not let us read its memory: {error.strerror}"
        return Capability("memory-access", False, reason, _access_remedy(place.proc))
    return Capability("memory-access", True, "the memory, environment and open files can be read")


def _memory_access_in_general(proc: Path) -> Capability:
    scope = _yama_scope(proc)
    if _effective(proc, _CAP_SYS_PTRACE):
        return Capability("memory-access", True, "any process can be read (CAP_SYS_PTRACE)")
    if scope == 0:
        return Capability("memory-access", True, "processes of this user can be read")
    if scope == 1:
        reason = "only programs that corelens starts can be read into (kernel.yama.ptrace_scope = 1)"
    else:
        reason = f"no program can be read into (kernel.yama.ptrace_scope = {scope})"
    return Capability("memory-access", False, reason, _access_remedy(proc))


def _thread_owners(place: _Place) -> Capability:
    access = _memory_access(place)
    if not access.ok:
        reason = f"what made each thread stays unknown: {access.reason}"
        return Capability("thread-owners", False, reason, access.remedy)
    try:
        RobustList().head(place.process)
    except Refused as refused:
        reason = f"what made each thread can be told only while it sleeps: {refused}"
        return Capability("thread-owners", False, reason, "leave the sandbox that refuses it")
    return Capability("thread-owners", True, "which library made each thread can be read")


def _access_remedy(proc: Path) -> str:
    ways = ["run as the user of the process, or as root"]
    if _yama_scope(proc):
        ways.append("sysctl kernel.yama.ptrace_scope=0, or start the program with: corelens record -- CMD")
    return "; ".join((*ways, _SYS_PTRACE))


def _yama_scope(proc: Path) -> int:
    try:
        return int(procfs.read_bytes(f"{proc}/sys/kernel/yama/ptrace_scope"))
    except (procfs.Unreadable, ValueError):
        return 0


def _effective(proc: Path, capability: int) -> bool:
    try:
        status = procfs.read_bytes(f"{proc}/self/status").decode(errors="replace")
        mask = next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1]
        return bool(int(mask, 16) >> capability & 1)
    except (procfs.Unreadable, StopIteration, IndexError, ValueError):
        return False


def _cgroup(place: _Place) -> Capability:
    try:
        kind = cgroups.version(place.proc)
    except procfs.Unreadable as error:
        return Capability("cgroup", False, f"control groups cannot be told: {error.detail}", "mount /proc")
    if kind == "none":
        reason = "no control group file system is mounted, so quotas and throttling stay unknown"
        return Capability("cgroup", False, reason, "mount it, as systemd and container runtimes do")
    words = {"1": "version 1", "2": "version 2", "hybrid": "versions 1 and 2 side by side"}
    return Capability("cgroup", True, f"control groups {words[kind]}")


def _quota(place: _Place) -> Capability:
    try:
        way = cgroups.levels(place.process, place.proc)
    except procfs.Unreadable as error:
        reason = f"the control group of the process cannot be read: {error.detail}"
        return Capability("quota", False, reason, "run as the user of the process, or as root")
    if not way:
        reason = "no mount shows the control group of the process, so its CPU quota is unknown"
        return Capability("quota", False, reason, "run corelens in the same container as the program")
    quotas = [(sets.quota_cores, level.path) for level in way if (sets := cgroups.read_limits(level))]
    smallest = min(((cores, path) for cores, path in quotas if cores is not None), default=None)
    if smallest is None:
        return Capability("quota", True, f"none of the {len(way)} visible levels sets a CPU quota")
    return Capability("quota", True, f"{smallest[0]:g} cores, set at {smallest[1]}")


def _pressure(place: _Place) -> Capability:
    try:
        procfs.read_bytes(f"{place.proc}/pressure/cpu")
    except procfs.Unreadable as error:
        reason = f"the kernel does not measure pressure stalls: {error.detail}"
        return Capability("pressure", False, reason, "boot with psi=1 on a kernel with CONFIG_PSI")
    return Capability("pressure", True, "pressure stall totals (PSI) can be read")


def _process_descriptors(_: _Place) -> Capability:
    descriptor = pidfd.open_pidfd(os.getpid())
    if descriptor is None:
        reason = "ends of processes are found by polling, up to one round late"
        return Capability("pidfd", False, reason, "needs Linux 5.3, and a sandbox that allows pidfd_open")
    os.close(descriptor)
    return Capability("pidfd", True, "the kernel tells when a process ends")


def _exit_status(_: _Place) -> Capability:
    release = os.uname().release
    numbers = [int(part) for part in release.replace("-", ".").split(".")[:2] if part.isdigit()]
    if numbers >= [6, 15]:
        return Capability("exit-status", True, "exit codes of all processes can be read, reaped ones too")
    reason = f"Linux {release} forgets the exit code of a process once its parent has reaped it"
    return Capability("exit-status", False, reason, "needs Linux 6.15; the started program's own is known")


def _proportional_memory(place: _Place) -> Capability:
    trouble = place.trouble("smaps_rollup")
    if trouble is None:
        return Capability("smaps", True, "memory can be split among the processes that share it (PSS)")
    reason = f"shared memory cannot be split among processes: {trouble.detail}"
    missing = trouble.reason == "gone"
    return Capability("smaps", False, reason, "needs Linux 4.14" if missing else _access_remedy(place.proc))


def _perf(place: _Place) -> Capability:
    error = perf_events.trouble()
    if error is None:
        return Capability("perf-events", True, "event counters can be opened (record --perf)")
    level = _number(f"{place.proc}/sys/kernel/perf_event_paranoid")
    reason = f"event counters cannot be opened: {error} (kernel.perf_event_paranoid = {level})"
    remedy = "sysctl kernel.perf_event_paranoid=2; docker run --cap-add PERFMON where it is a container"
    return Capability("perf-events", False, reason, remedy)


def _number(path: str) -> str:
    try:
        return procfs.read_bytes(path).decode(errors="replace").strip()
    except procfs.Unreadable:
        return "absent"


def _open_files(_: _Place) -> Capability:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reason = f"{_count(hard)} files may be open (soft limit {_count(soft)}); each watched thread takes one"
    enough = hard == resource.RLIM_INFINITY or hard >= _COMFORTABLE_OPEN_FILES
    remedy = "" if enough else "raise it with: ulimit -Hn 65536"
    return Capability("open-files", enough, reason, remedy)


def _count(limit: int) -> str:
    return "any number of" if limit == resource.RLIM_INFINITY else str(limit)


def _py_spy(_: _Place) -> Capability:
    found = pyspy.find()
    if found is None:
        return Capability("py-spy", False, "py-spy is not installed", "pip install py-spy")
    return Capability("py-spy", True, f"py-spy is installed at {found}")


def _agent(_: _Place) -> Capability:
    if not (AGENT_FOLDER / "sitecustomize.py").is_file():
        reason = "the in-process agent is not where it was installed"
        return Capability("agent", False, reason, "reinstall with: pip install --force-reinstall corelens")
    if importlib.util.find_spec("threadpoolctl") is None:
        reason = "the in-process agent cannot ask BLAS and OpenMP pools: threadpoolctl is not installed"
        return Capability("agent", False, reason, "pip install threadpoolctl")
    return Capability("agent", True, "programs started with --agent report their BLAS and OpenMP pools")


def _namespace(place: _Place) -> Capability:
    try:
        name = procfs.read_link(f"{place.proc}/self/ns/pid")
        hidden = "hidepid=" in _proc_mount(place.proc)
    except procfs.Unreadable as error:
        return Capability("other-processes", False, f"cannot tell: {error.detail}", "mount /proc")
    if hidden:
        reason = "/proc hides processes of other users (hidepid)"
        return Capability("other-processes", False, reason, "run as root, or remount /proc with hidepid=0")
    if name != _FIRST_PID_NAMESPACE:
        reason = "this is a container: processes outside its pid namespace cannot be seen"
        return Capability("other-processes", False, reason, "run on the host, or docker run --pid=host")
    return Capability("other-processes", True, "processes of the whole machine can be seen")


def _proc_mount(proc: Path) -> str:
    mounts = procfs.read_bytes(f"{proc}/self/mounts").decode(errors="replace").splitlines()
    options = [fields[3] for line in mounts if len(fields := line.split()) > 3 and fields[1] == str(proc)]
    hidden = [option for option in options if "hidepid=0" not in option and "hidepid=off" not in option]
    return ",".join(hidden)


_ATTEMPTS: tuple[Callable[[_Place], Capability], ...] = (
    _schedstat, _cpu_clock, _memory_access, _thread_owners, _cgroup, _quota, _pressure, _process_descriptors,
    _exit_status, _proportional_memory, _perf, _open_files, _py_spy, _agent, _namespace,
)  # fmt: skip
