"""Recordings made of lines, for tests of the facts: every line is held against the vocabulary as it is made.

Each function makes one line, ordinary unless told otherwise; `recording` puts lines together as the reader
would, and `written` writes them to a file. Times are given in seconds, because the tests think in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings

from corelens.recording import Damage, Recording, RecordingWriter
from corelens.vocabulary import FORMAT_VERSION, KINDS, Line, columnar_line
from tests.test_vocabulary import complaints

ALWAYS_THE_SAME = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
"""For tests of properties: the same examples in every run, and a busy machine may take its time."""

S = 1_000_000_000
MS = 1_000_000
MIB = 1 << 20
ROOT = 100
"""Pid of the recorded program; it was started at boot, which is when the recording began."""

HOST: dict[str, Any] = {
    "hostname": "lab", "kernel": "6.18", "machine": "x86_64", "cpu_model": "EPYC", "logical_cores": 4,
    "physical_cores": 2, "numa_nodes": 1, "memory_bytes": 8_000_000_000, "clock_ticks_per_s": 100,
    "page_bytes": 4096, "python": "3.11.7",
}  # fmt: skip
Cell = int | str | float | None
Row = tuple[Cell, ...]


def ns(t_s: float) -> int:
    """Seconds as the nanoseconds of a line."""
    return round(t_s * S)


def header(how: str = "started", **changed: Any) -> Line:
    """First line; an attached recording begins 1000 s after boot, so that earlier starts can be told."""
    boot_s = 1000 if how == "attached" else 0
    line: Line = {
        "kind": "header", "format": FORMAT_VERSION, "corelens": "0.1.0", "started_unix_ns": 1_700_000_000 * S,
        "t0_monotonic_ns": boot_s * S, "t0_boottime_ns": boot_s * S, "host": HOST,
        "target": {"how": how, "pid": ROOT, "argv": ["python", "search.py"]},
        "periods_ns": {"threads": 100 * MS, "tree": 100 * MS}, "budget_cores": 0.01, "agent": False,
        "labels": {}, "sees": [],
    }  # fmt: skip
    return line | changed


def born(t_s: float, pid: int = ROOT, ppid: int | None = 1, **changed: Any) -> Line:
    """A process joined; it started at that moment after boot unless `start_ticks` says otherwise."""
    line: Line = {
        "kind": "process.born", "t_ns": ns(t_s), "pid": pid, "ppid": ppid, "start_ticks": round(t_s * 100),
        "comm": "python", "argv": ["python", "search.py"], "exe": "/usr/bin/python",
        "role": "main" if pid == ROOT else "child", "joined_by": "root" if pid == ROOT else "child",
        "uid": 1000, "affinity": [0, 1, 2, 3], "variables": {}, "cpu_ns": 0, "again": False,
    }  # fmt: skip
    return line | changed


def changed(t_s: float, pid: int, **said: Any) -> Line:
    """A process executed another program, or its role became known."""
    line: Line = {
        "kind": "process.changed", "t_ns": ns(t_s), "pid": pid, "comm": "python", "argv": ["python"],
        "exe": "/usr/bin/python", "role": "unknown", "variables": None, "affinity": None,
    }  # fmt: skip
    return line | said


def died(t_s: float, pid: int = ROOT, cpu_s: float | None = None, **said: Any) -> Line:
    """A process ended with code 0."""
    line: Line = {
        "kind": "process.died", "t_ns": ns(t_s), "pid": pid, "exit_code": 0, "signal": None,
        "cpu_ns": None if cpu_s is None else ns(cpu_s), "how": "pidfd",
    }  # fmt: skip
    return line | said


def clocks(t_s: float, *rows: tuple[int, float | None, int]) -> Line:
    """Rows of (pid, CPU in seconds, threads)."""
    read = [(pid, None if cpu_s is None else ns(cpu_s), threads) for pid, cpu_s, threads in rows]
    return columnar_line("processes", ns(t_s), read)


def detail(
    t_s: float,
    pid: int,
    *,
    user_s: float = 0,
    system_s: float = 0,
    reaped_s: float = 0,
    faults: int = 0,
    rss: int | None = 10 * MIB,
) -> Line:
    """The slow counters of one process."""
    row = (pid, ns(user_s), ns(system_s), ns(reaped_s), 0, 0, faults, rss, "R", *(None,) * 6)
    return columnar_line("process.detail", ns(t_s), [row])


def threads_born(t_s: float, *rows: tuple[int, int], start_s: float | None = None) -> Line:
    """Rows of (pid, tid), all started at one moment after boot."""
    ticks = round((t_s if start_s is None else start_s) * 100)
    return columnar_line("threads.born", ns(t_s), [(pid, tid, ticks, "python") for pid, tid in rows])


def threads_died(t_s: float, *tids: int) -> Line:
    """Threads ended."""
    return columnar_line("threads.died", ns(t_s), [(tid,) for tid in tids])


def threads(t_s: float, *rows: tuple[int, float, float]) -> Line:
    """Rows of (tid, seconds on a core, seconds of waiting for one)."""
    return columnar_line("threads", ns(t_s), [(tid, ns(run), ns(wait), 1) for tid, run, wait in rows])


def cores(t_s: float, *rows: tuple[int, int, int, int]) -> Line:
    """Rows of (core, user ticks, idle ticks, stolen ticks)."""
    read = [(core, user, 0, 0, idle, 0, 0, steal) for core, user, idle, steal in rows]
    return columnar_line("cores", ns(t_s), read)


def limits(t_s: float, capacity: float, because: str = "affinity", **said: Any) -> Line:
    """What the program may use."""
    line: Line = {
        "kind": "limits", "t_ns": ns(t_s), "online_cores": [0, 1, 2, 3], "affinity_cores": [0, 1, 2, 3],
        "cgroups": [], "quota_cores": None, "memory_limit_bytes": None, "capacity_cores": capacity,
        "capacity_because": because, "soft_open_files": 1024,
    }  # fmt: skip
    return line | said


def cgroup(t_s: float, path: str, throttled_s: float | None, **said: int | None) -> Line:
    """Counters of one level with a quota."""
    line: Line = {
        "kind": "cgroup", "t_ns": ns(t_s), "path": path, "periods": 10, "throttled_periods": 1,
        "throttled_ns": None if throttled_s is None else ns(throttled_s), "memory_bytes": None,
        "oom_kills": None, "memory_limit_hits": None, "major_faults": None, "file_refaults": None,
        "swap_refaults": None,
    }  # fmt: skip
    return line | said


def memory(t_s: float, *rows: tuple[int, int | None]) -> Line:
    """Rows of (pid, PSS)."""
    return columnar_line("memory", ns(t_s), [(pid, pss, pss, None) for pid, pss in rows])


def pools(t_s: float, pid: int = ROOT, **said: Any) -> Line:
    """What the agent of one process found."""
    line: Line = {
        "kind": "pools", "t_ns": ns(t_s), "pid": pid, "moment": "interval", "libraries": None,
        "torch_threads": None, "torch_interop_threads": None, "cpu_count": 4, "variables": {}, "versions": {},
        "python": "3.11.7", "python_threads": {}, "agent_tid": None, "loads": [], "module_threads": {},
    }  # fmt: skip
    return line | said


def library(size: int, **said: Any) -> dict[str, Any]:
    """One library as threadpoolctl describes it."""
    return {
        "user_api": "blas", "internal_api": "openblas", "prefix": "libopenblas",
        "filepath": "/lib/libopenblas.so", "version": "0.3.30", "num_threads": size,
    } | said  # fmt: skip


def mark(
    t_s: float, name: str, phase: str, span: str | None, pid: int = ROOT, tid: int | None = None, **said: Any
) -> Line:
    """The program says something of itself."""
    return {
        "kind": "mark", "t_ns": ns(t_s), "pid": pid, "tid": pid if tid is None else tid, "name": name,
        "phase": phase, "span": span, "attributes": said,
    }  # fmt: skip


def trial(begin_s: float, end_s: float | None, number: int = 0, pid: int = ROOT, **ended: Any) -> list[Line]:
    """One trial, whole or without its end."""
    span = f"{pid}.{number}"
    begun = mark(begin_s, "trial", "begin", span, pid, number=number, params={"x": number})
    return [begun] if end_s is None else [begun, mark(end_s, "trial", "end", span, pid, **ended)]


def gap(t_s: float, what: str, reason: str = "forbidden", pid: int | None = None, said: str = "") -> Line:
    """Something could not be read."""
    return {
        "kind": "gap", "t_ns": ns(t_s), "probe": "tree", "pid": pid, "what": what, "reason": reason,
        "detail": said,
    }  # fmt: skip


def rate(t_s: float, probe: str, period_s: float, cost: float = 0.02) -> Line:
    """The governor slowed a probe down."""
    return {
        "kind": "rate", "t_ns": ns(t_s), "probe": probe, "period_ns": ns(period_s), "reason": "over-budget",
        "own_cores": cost,
    }  # fmt: skip


def own(t_s: float, cpu_s: float = 0.01, missed: int = 0) -> Line:
    """The recorder's own cost."""
    return {
        "kind": "self", "t_ns": ns(t_s), "cpu_ns": ns(cpu_s), "rss_bytes": 30 * MIB, "ticks": 10,
        "ticks_missed": missed, "longest_gap_ns": 1, "threads_read": 1, "cpu_by_probe_ns": {},
    }  # fmt: skip


def footer(t_s: float, user_s: float | None = None, system_s: float = 0, **said: Any) -> Line:
    """Last line; without `user_s` that of an attached recording."""
    line: Line = {
        "kind": "footer", "t_ns": ns(t_s), "reason": "target-ended", "exit_code": 0, "signal": None,
        "user_ns": None if user_s is None else ns(user_s),
        "system_ns": None if user_s is None else ns(system_s),
        "max_rss_bytes": None if user_s is None else 10 * MIB,
        "ticks": 100, "ticks_missed": 0, "own_cpu_ns": 10 * MS, "own_max_rss_bytes": 30 * MIB,
    }  # fmt: skip
    return line | said


def recording(
    *lines: Line,
    head: Line | None = None,
    damage: Iterable[Damage] = (),
    missing_chunks: int = 0,
    path: str = "run.corelens",
) -> Recording:
    """Put lines together as the reader does; fails for a line that no probe may write."""
    by_kind: dict[str, list[Line]] = {}
    for line in checked([head or header(), *lines]):
        by_kind.setdefault(line["kind"], []).append(line)
    ends = by_kind.get("footer", [])
    return Recording(
        Path(path), by_kind["header"][0], by_kind, ends[-1] if ends else None, tuple(damage), missing_chunks
    )


def written(path: Path, *lines: Line, head: Line | None = None) -> Path:
    """Write lines as the recorder would, two to a member, so that a cut loses some and not all."""
    writer = RecordingWriter(path)
    for place, line in enumerate(checked([head or header(), *lines])):
        writer.add(line)
        if place % 2:
            writer.flush(line.get("t_ns", 0))
    writer.close(0)
    return path


def checked(lines: Sequence[Line]) -> Sequence[Line]:
    """The lines, held against the vocabulary."""
    wrong = [text for line in lines for text in complaints(line)]
    assert wrong == [], wrong
    assert all(KINDS[line["kind"]] for line in lines)
    return lines


SEARCH = header(agent=True, periods_ns={"tree": S, "threads": S})
"""First line of the small search, whose readings are a second apart."""


def search(*more: Line) -> list[Line]:
    """Lines of a small search: a main process, two workers, four trials, an agent; 4 s, 7 core-seconds."""
    lines = [
        limits(0, 2.0, "quota", quota_cores=2.0, memory_limit_bytes=4096 * MIB),
        born(0), threads_born(0, (ROOT, ROOT)), cores(0, (0, 0, 0, 0), (1, 0, 0, 0)), cgroup(0, "/lab", 1.0),
    ]  # fmt: skip
    for pid in (201, 202):
        lines += [
            born(0.5, pid, ROOT, role="loky-worker", argv=["python", "--process-name", f"LokyProcess-{pid}"],
                 variables={"OMP_NUM_THREADS": "2"}),
            threads_born(0.5, (pid, pid), (pid, pid + 1000)),
            pools(1, pid, libraries=[library(2)], variables={"OMP_NUM_THREADS": "1"}, agent_tid=pid + 1000,
                  torch_threads=2, versions={"torch": "2.13.0"}),
        ]  # fmt: skip
    for second in range(1, 5):
        cpu_s = second - 0.5
        lines += [
            clocks(second, (ROOT, 0.05 * second, 1), (201, cpu_s, 3), (202, cpu_s, 3)),
            threads(second, (ROOT, 0.05 * second, 0.0), (201, cpu_s, 0.25 * cpu_s), (202, cpu_s, 0.25 * cpu_s)),
            detail(second, ROOT, user_s=0.05 * second),
            detail(second, 201, user_s=cpu_s, rss=100 * MIB),
            detail(second, 202, user_s=cpu_s, rss=120 * MIB),
            memory(second, (201, 60 * MIB), (202, 80 * MIB)),
            cores(second, (0, 95 * second, 5 * second, 0), (1, 90 * second, 5 * second, 5 * second)),
            cgroup(second, "/lab", 1.0 + 0.1 * second),
            own(second),
        ]  # fmt: skip
    for number in range(4):
        pid = 201 + number % 2
        begin_s = 1 + 1.4 * (number // 2)
        lines += trial(begin_s, begin_s + 1.4, number, pid, value=0.25 * number, state="complete")
    lines += [
        mark(0.2, "search", "point", None, backend="joblib-loky", scale="small"),
        gap(1, "/proc/201/io", pid=201, said="permission denied"),
        gap(1, "/proc/202/io", pid=202, said="permission denied"),
        *more,
        died(4, 201, 3.5), died(4, 202, 3.5), died(4, ROOT, 0.2),
        footer(4, user_s=7.0, system_s=0.2),
    ]  # fmt: skip
    return lines
