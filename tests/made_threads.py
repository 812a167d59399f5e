"""Recordings made of plain lines, for tests of facts: one program whose threads are told by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from corelens.recording import Recording
from corelens.vocabulary import Line, columnar_line

MS = 1_000_000
SECOND = 1_000 * MS
TICK_NS = 10 * MS
"""One clock tick of the made machine; it booted when the recording began."""


def header(pid: int = 100, labels: Mapping[str, str] | None = None, **host: Any) -> Line:
    """Make the header of a recording of one started program."""
    said = {"logical_cores": 128, "physical_cores": 64, "clock_ticks_per_s": 100, "machine": "x86_64", **host}
    return {
        "kind": "header",
        "format": 1,
        "corelens": "0.1.0",
        "started_unix_ns": 0,
        "t0_monotonic_ns": 0,
        "t0_boottime_ns": 0,
        "host": said,
        "target": {"how": "started", "pid": pid, "argv": ["python", "search.py"]},
        "periods_ns": {"tree": 100 * MS, "threads": 100 * MS},
        "budget_cores": None,
        "agent": False,
        "labels": dict(labels or {}),
        "sees": [],
    }


def born(
    t_ns: int = 0,
    pid: int = 100,
    ppid: int = 1,
    role: str = "main",
    *,
    affinity: int = 128,
    variables: dict[str, str] | None = None,
    argv: Sequence[str] = ("python", "search.py"),
) -> Line:
    """Make the birth of a process."""
    return {
        "kind": "process.born",
        "t_ns": t_ns,
        "pid": pid,
        "ppid": ppid,
        "start_ticks": t_ns // TICK_NS,
        "comm": "python",
        "argv": list(argv),
        "exe": "/usr/bin/python",
        "role": role,
        "joined_by": "root",
        "uid": 0,
        "affinity": list(range(affinity)),
        "variables": variables or {},
        "cpu_ns": 0,
        "again": False,
    }


def died(t_ns: int, pid: int = 100) -> Line:
    """Make the end of a process."""
    return {
        "kind": "process.died", "t_ns": t_ns, "pid": pid, "exit_code": 0, "signal": None, "cpu_ns": 0,
        "how": "pidfd",
    }  # fmt: skip


def counted(t_ns: int, *counts: tuple[int, int]) -> Line:
    """Make the kernel's counts of threads: (pid, threads)."""
    return columnar_line("processes", t_ns, [(pid, 0, threads) for pid, threads in counts])


def listed(t_ns: int, tids: Iterable[int], pid: int = 100, begun_ns: int | None = None) -> Line:
    """Make threads seen for the first time; they began when they were listed unless told."""
    ticks = (t_ns if begun_ns is None else begun_ns) // TICK_NS
    return columnar_line("threads.born", t_ns, [(pid, tid, ticks, "python") for tid in tids])


def ended(t_ns: int, tids: Iterable[int]) -> Line:
    """Make threads found ended."""
    return columnar_line("threads.died", t_ns, [(tid,) for tid in tids])


def ran(t_ns: int, rows: Iterable[tuple[int, int, int]]) -> Line:
    """Make readings of threads: (tid, ns on a core, ns waiting for one)."""
    return columnar_line("threads", t_ns, [(*row, 1) for row in rows])


def agent(t_ns: int, pid: int = 100, **said: Any) -> Line:
    """Make what an agent found."""
    found: Line = {
        "moment": "interval", "libraries": None, "torch_threads": None, "torch_interop_threads": None,
        "cpu_count": 128, "variables": {}, "versions": {}, "python": "3.11.7", "python_threads": {},
        "agent_tid": None, "loads": [], "module_threads": {},
    }  # fmt: skip
    return {"kind": "pools", "t_ns": t_ns, "pid": pid, **found, **said}


def recording(lines: Iterable[Line], head: Line | None = None, end_ns: int = 10 * SECOND) -> Recording:
    """Put lines together as if they had been read from a file."""
    by_kind: dict[str, list[Line]] = {"header": [head or header()]}
    for line in lines:
        by_kind.setdefault(line["kind"], []).append(line)
    footer = {
        "kind": "footer", "t_ns": end_ns, "reason": "target-ended", "exit_code": 0, "signal": None,
        "user_ns": 0, "system_ns": 0, "max_rss_bytes": 0, "ticks": 100, "ticks_missed": 0, "own_cpu_ns": 0,
        "own_max_rss_bytes": 0,
    }  # fmt: skip
    by_kind["footer"] = [footer]
    return Recording(Path("made.corelens"), by_kind["header"][0], by_kind, footer)
