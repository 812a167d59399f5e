"""Rows and notes of the parts that say what keeps threads from running: the GIL, waits, locks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from corelens.reports.report import Gil, Lock, Wait

MOST_PROCESSES = 20
MOST_LOCKS = 15

GIL_COLUMNS = (
    "process", "role", "Python", "GIL", "held", "hand-offs/s", "threads waiting", "of their time",
    "busiest thread (of held)", "pattern",
)  # fmt: skip
GIL_NUMERIC = (True, False, False, False, True, True, True, True, False, False)
WAIT_COLUMNS = ("what", "thread-s", "of all thread time", "threads", "processes")
WAIT_NUMERIC = (False, True, True, True, True)
LOCK_COLUMNS = (
    "where", "processes", "threads", "waiting (mean / peak)", "thread-s", "of blocked time",
    "wake-ups/s of each", "pattern",
)  # fmt: skip
LOCK_NUMERIC = (False, True, True, True, True, True, True, False)

_ABSENT = "—"
_PATTERNS = {"convoy": "convoy", "saturation": "saturated", "none": _ABSENT}


def gil_rows(gils: Sequence[Gil]) -> Iterator[tuple[str, ...]]:
    """One row a process, those that lose most first."""
    for one in _worst_first(gils)[:MOST_PROCESSES]:
        yield (
            str(one.pid),
            one.role,
            one.version or _ABSENT,
            one.gil,
            _percent(one.held_share),
            _ABSENT if one.handoffs_per_s is None else f"{one.handoffs_per_s:,.0f}",
            _ABSENT if one.waiting_threads_mean is None else f"{one.waiting_threads_mean:.2f}",
            _percent(one.wait_share),
            _busiest(one),
            _ABSENT if one.pattern is None else _PATTERNS.get(one.pattern, one.pattern),
        )


def gil_notes(gils: Sequence[Gil]) -> Iterator[str]:
    """What the patterns mean, and why something is not known."""
    if any(one.pattern == "convoy" for one in gils):
        yield (
            "convoy: calls so short that the lock goes from thread to thread thousands of times a second; the"
            " threads spend their time handing it over, and it is held for less of the time, not more"
        )
    if any(one.pattern == "saturation" for one in gils):
        yield "saturated: Python code holds the lock nearly all the time; the threads take turns on one core"
    yield from dict.fromkeys(one.reason for one in gils if one.reason is not None)
    if len(gils) > MOST_PROCESSES:
        yield f"{len(gils) - MOST_PROCESSES} more processes are in the JSON report"


def wait_rows(waits: Sequence[Wait]) -> Iterator[tuple[str, ...]]:
    """One row for each kind of thing that was waited for."""
    for one in waits:
        share = _percent(one.time_share)
        yield one.label, f"{one.thread_s:.1f}", share, str(one.threads), str(one.processes)


def lock_rows(locks: Sequence[Lock]) -> Iterator[tuple[str, ...]]:
    """One row a lock, in the order of the report."""
    for one in locks[:MOST_LOCKS]:
        shared = f" in {one.path or 'memory'} (shared)" if one.shared else ""
        of = f"process {one.pids[0]}" if len(one.pids) == 1 else f"{len(one.pids)} processes"
        yield (
            f"{one.address:#x}{shared} of {of}",
            str(len(one.pids)),
            str(one.threads),
            f"{one.waiters_mean:.1f} / {one.waiters_peak}",
            f"{one.blocked_s:.1f}",
            _percent(one.blocked_share),
            f"{one.wakeups_per_s:.0f}",
            one.pattern,
        )


def lock_notes(locks: Sequence[Lock]) -> Iterator[str]:
    """What the patterns mean, and what was left out."""
    if any(one.pattern == "convoy" for one in locks):
        yield (
            "convoy: its waiters keep being woken; a pool that is handed work as often looks the same, and the"
            " stacks of its threads tell"
        )
    if any(one.pattern == "team" for one in locks):
        yield (
            "team: a native pool waits here for work, or for its slowest thread, and is woken as often as it gets"
            " some; no lock of the program"
        )
    if any(one.pattern == "parked" for one in locks):
        yield "parked: threads that lie idle, as those of a pool without work do"
    if len(locks) > MOST_LOCKS:
        yield f"{len(locks) - MOST_LOCKS} more are in the JSON report"


def _worst_first(gils: Sequence[Gil]) -> list[Gil]:
    return sorted(gils, key=lambda one: (-one.waited_thread_s, -(one.handoffs_per_s or 0.0)))


def _busiest(one: Gil) -> str:
    if one.busiest_tid is None:
        return _ABSENT
    share = _ABSENT if one.busiest_share is None else f"{100 * one.busiest_share:.0f} %"
    return f"{one.busiest_tid} ({share})"


def _percent(share: float | None) -> str:
    return _ABSENT if share is None else f"{100 * share:.1f} %"
