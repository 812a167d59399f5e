"""The parts of one report that say what keeps threads from running: the GIL, waits, locks."""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.report import Gil, Lock, Report, Wait
from corelens.reports.sections import ABSENT, Section, percent

MOST_PROCESSES = 20
MOST_LOCKS = 15
_SAID = {"convoy": "convoy", "saturation": "saturated", "none": "—"}


def interlock_sections(report: Report) -> tuple[Section, ...]:
    """The three parts, in reading order; a part that has nothing to say is empty."""
    return _gil(report), _waits(report), _locks(report)


def _gil(report: Report) -> Section:
    ordered = sorted(report.gil, key=lambda one: (-one.waited_thread_s, -(one.handoffs_per_s or 0.0)))
    return Section(
        "The GIL",
        (
            "process", "role", "Python", "GIL", "held", "hand-offs/s", "threads waiting", "of their time",
            "busiest thread", "pattern",
        ),
        (True, False, False, False, True, True, True, True, False, False),
        tuple(_gil_row(one) for one in ordered[:MOST_PROCESSES]),
        tuple(_gil_notes(ordered)),
    )  # fmt: skip


def _gil_row(one: Gil) -> tuple[str, ...]:
    waiting = ABSENT if one.waiting_threads_mean is None else f"{one.waiting_threads_mean:.2f}"
    return (
        str(one.pid),
        one.role,
        one.version or ABSENT,
        one.gil,
        percent(one.held_share),
        ABSENT if one.handoffs_per_s is None else f"{one.handoffs_per_s:,.0f}",
        waiting,
        percent(one.wait_share),
        _busiest(one),
        ABSENT if one.pattern is None else _SAID.get(one.pattern, one.pattern),
    )


def _busiest(one: Gil) -> str:
    if one.busiest_tid is None:
        return ABSENT
    name = next((thread.comm for thread in one.threads if thread.tid == one.busiest_tid), None)
    said = f"{one.busiest_tid} {name}" if name else str(one.busiest_tid)
    return f"{said}, {percent(one.busiest_share)} of it"


def _gil_notes(ordered: list[Gil]) -> Iterator[str]:
    if any(one.pattern == "convoy" for one in ordered):
        yield (
            "convoy: calls so short that the lock goes from thread to thread thousands of times a second; the"
            " threads spend their time handing it over, and it is held for less of the time, not more"
        )
    if any(one.pattern == "saturation" for one in ordered):
        yield "saturated: Python code holds the lock nearly all the time; the threads take turns on one core"
    yield from dict.fromkeys(one.reason for one in ordered if one.reason is not None)
    if len(ordered) > MOST_PROCESSES:
        yield f"{len(ordered) - MOST_PROCESSES} more processes are in the JSON report"


def _waits(report: Report) -> Section:
    return Section(
        "What blocked threads wait for",
        ("what", "thread-s", "of all thread time", "threads", "processes"),
        (False, True, True, True, True),
        tuple(_wait_row(one) for one in report.waits),
    )


def _wait_row(one: Wait) -> tuple[str, ...]:
    return (
        one.label,
        f"{one.thread_s:.1f}",
        percent(one.time_share),
        str(one.threads),
        str(one.processes),
    )


def _locks(report: Report) -> Section:
    left_out = len(report.locks) - MOST_LOCKS
    more = (f"{left_out} more are in the JSON report",) if left_out > 0 else ()
    parked = any(one.pattern == "parked" for one in report.locks)
    idle = ("parked: threads that lie idle, as those of a pool without work do",) if parked else ()
    return Section(
        "Locks",
        (
            "where", "processes", "threads", "waiting (mean / peak)", "thread-s", "of blocked time",
            "wake-ups/s of each", "pattern",
        ),
        (False, True, True, True, True, True, True, False),
        tuple(_lock_row(one) for one in report.locks[:MOST_LOCKS]),
        (*idle, *more),
    )  # fmt: skip


def _lock_row(one: Lock) -> tuple[str, ...]:
    shared = f" in {one.path or 'memory'} (shared)" if one.shared else ""
    of = f"process {one.pids[0]}" if len(one.pids) == 1 else f"{len(one.pids)} processes"
    return (
        f"{one.address:#x}{shared} of {of}",
        str(len(one.pids)),
        str(one.threads),
        f"{one.waiters_mean:.1f} / {one.waiters_peak}",
        f"{one.blocked_s:.1f}",
        percent(one.blocked_share),
        f"{one.wakeups_per_s:.0f}",
        one.pattern,
    )
