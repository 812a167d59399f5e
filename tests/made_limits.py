"""Recordings made of plain values, as far as thread limits are read from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corelens.recording import Recording
from corelens.reports.facts import processes, thread_limits, threads
from corelens.reports.facts.bins import grid_for
from corelens.reports.facts.owned import Owned, Owner
from corelens.reports.facts.processes import Lives
from corelens.reports.facts.threads import Thread
from corelens.reports.report import Limit
from corelens.vocabulary import Line

SECOND = 1_000_000_000
NUMPY = "/v/numpy.libs/libscipy_openblas64_-32.so"
GOMP = "/v/torch/lib/libgomp.so.1"
HOST = {"clock_ticks_per_s": 100, "physical_cores": 64}


def born(pid: int = 10, variables: Mapping[str, str] | None = None, **fields: Any) -> Line:
    """A process that joined at the start; its variables are those at exec."""
    line: Line = {
        "kind": "process.born", "t_ns": 0, "pid": pid, "ppid": 1, "start_ticks": pid, "comm": "python",
        "argv": ["python"], "exe": None, "role": "main", "joined_by": "root", "uid": 0,
        "affinity": list(range(128)), "variables": None if variables is None else dict(variables),
        "cpu_ns": 0, "again": False,
    }  # fmt: skip
    return {**line, **fields}


def load(module: str, t_s: float, variables: Mapping[str, str], *, inherited: bool = False) -> Line:
    """A module that was about to load its libraries."""
    t_ns = int(t_s * SECOND)
    return {"module": module, "t_ns": t_ns, "inherited": inherited, "variables": dict(variables)}


def told(t_s: float, moment: str, variables: Mapping[str, str], **fields: Any) -> Line:
    """A report of the agent."""
    line: Line = {
        "kind": "pools", "t_ns": int(t_s * SECOND), "pid": 10, "moment": moment, "libraries": None,
        "torch_threads": None, "torch_interop_threads": None, "cpu_count": 128,
        "variables": dict(variables), "loads": [], "module_threads": {}, "versions": {}, "python": "3.11.7",
        "python_threads": {}, "agent_tid": None,
    }  # fmt: skip
    return {**line, **fields}


def openblas(size: int, path: str = NUMPY, layer: str = "pthreads") -> Line:
    """An OpenBLAS as threadpoolctl describes it."""
    return {
        "user_api": "blas", "internal_api": "openblas", "prefix": "libscipy_openblas", "filepath": path,
        "version": "0.3.31", "num_threads": size, "threading_layer": layer,
    }  # fmt: skip


def threads_born(*tids: int, pid: int = 10, t_s: float = 0) -> Line:
    """Threads of one process."""
    return {
        "kind": "threads.born", "t_ns": int(t_s * SECOND), "pid": [pid] * len(tids), "tid": list(tids),
        "start_ticks": [pid] * len(tids), "comm": ["python"] * len(tids),
    }  # fmt: skip


def threads_died(*tids: int, t_s: float) -> Line:
    """Threads that ended."""
    return {"kind": "threads.died", "t_ns": int(t_s * SECOND), "tid": list(tids)}


def threads_ran(t_s: float, run_ns: Mapping[int, int]) -> Line:
    """Counters of threads that moved."""
    count = len(run_ns)
    return {
        "kind": "threads", "t_ns": int(t_s * SECOND), "tid": list(run_ns), "run_ns": list(run_ns.values()),
        "wait_ns": [0] * count, "slices": [1] * count,
    }  # fmt: skip


def recording(*lines: Line) -> Recording:
    """A recording of these lines on a machine of 128 hardware threads and 64 cores."""
    header: Line = {
        "kind": "header", "t0_boottime_ns": 0, "host": HOST, "target": {"how": "started", "pid": 10},
        "periods_ns": {"threads": SECOND, "tree": SECOND},
    }  # fmt: skip
    by_kind: dict[str, list[Line]] = {"limits": [{"kind": "limits", "online_cores": list(range(128))}]}
    by_kind["limits"][0].update(t_ns=0, quota_cores=None)
    for line in lines:
        by_kind.setdefault(line["kind"], []).append(line)
    return Recording(Path("made"), header, by_kind, None)


def all_threads(made: Recording) -> tuple[Lives, tuple[Thread, ...]]:
    """The processes and threads of a recording."""
    lives = processes.lives(made)
    return lives, threads.threads(made, lives, grid_for(SECOND, SECOND)).all


def owners(
    everyone: Sequence[Thread], kinds: Mapping[int, tuple[str, str | None, int | None]]
) -> dict[Thread, Owned]:
    """Owners by tid: kind, library, tid of the master; other threads belong to nobody known."""
    by_tid = {thread.tid: thread for thread in everyone}
    found: dict[Thread, Owned] = {}
    for thread in everyone:
        kind, path, master = kinds.get(thread.tid, ("unknown", None, None))
        owner = Owner(kind, {"openblas": "OpenBLAS (numpy)"}.get(kind, kind), path, None)
        found[thread] = Owned(thread, owner, by_tid[master] if master is not None else None)
    return found


def limits(
    made: Recording, kinds: Mapping[int, tuple[str, str | None, int | None]] | None = None
) -> tuple[Limit, ...]:
    """The verdicts of a recording, with owners by tid where some are given."""
    lives, everyone = all_threads(made)
    owned = owners(everyone, kinds) if kinds is not None else {}
    return thread_limits.limits(made, lives, owned)
