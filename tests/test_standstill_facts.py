"""Stretches in which nothing moved, over recordings made of lines."""

from __future__ import annotations

from typing import Any

from corelens.recording import Recording
from corelens.reports.facts.standstill import Still, stretches
from corelens.reports.facts.summary import facts
from corelens.vocabulary import Line, columnar_line
from tests.made_recordings import ROOT, born, died, footer, ns, recording, threads, threads_born

CHILD = 200


def standstill(t_s: float, since_s: float, chain: str | None = None, killed: bool = False) -> Line:
    return {
        "kind": "standstill", "t_ns": ns(t_s), "since_ns": ns(since_s), "why": "still", "deadlock": chain,
        "killed": killed,
    }  # fmt: skip


def waiting(t_s: float, *rows: tuple[Any, ...]) -> Line:
    """Rows of (pid, call, timed, address, waits_for), each of a main thread without a stack."""
    return columnar_line(
        "standstill.waits",
        ns(t_s),
        [(row[0], row[0], row[1], row[2], row[3], row[4], None, None) for row in rows],
    )


JOINS = (ROOT, "wait4", False, None, [["child", str(CHILD)]])
LOCKED = (CHILD, "futex", False, 0x5000, None)


def family(*more: Line, end_s: float = 10, code: int = 3) -> Recording:
    """A parent and a child that work for a second and then do nothing until the parent ends."""
    return recording(
        born(0), threads_born(0, (ROOT, ROOT)), born(0.2, CHILD, ROOT), threads_born(0.2, (CHILD, CHILD)),
        *(threads(0.2 * step, (ROOT, 0.1 * step, 0.0), (CHILD, 0.1 * step, 0.0)) for step in range(2, 6)),
        *more,
        died(end_s, CHILD, signal=9, exit_code=None), died(end_s, ROOT, exit_code=code), footer(end_s),
    )  # fmt: skip


def still_of(made: Recording) -> Still | None:
    return facts(made).standstill


def test_a_stretch_ends_when_somebody_works_begins_or_ends() -> None:
    made = family(threads(6.0, (ROOT, 0.9, 0.0)))
    long = [each for each in stretches(made, ns(10)) if each.length_ns > ns(1)]
    assert [(each.start_ns, each.end_ns) for each in long] == [(ns(1.0), ns(6.0)), (ns(6.0), ns(10.0))]


def test_a_thread_that_polls_does_not_end_it() -> None:
    polls = [threads(second, (ROOT, 0.5 + 0.001 * second, 0.0)) for second in range(2, 10)]
    found = max(stretches(family(*polls), ns(10)), key=lambda each: each.length_ns)
    assert found.length_ns == ns(9.0)
    assert 0 < found.used_ns < ns(0.01)


def test_a_short_pause_is_none() -> None:
    assert still_of(family(standstill(3, 1), waiting(3, JOINS, LOCKED), end_s=3.5)) is None


def test_a_deadlock_that_the_recorder_told_counts_however_short_it_was() -> None:
    still = still_of(
        family(standstill(2, 1, "somebody waits", killed=True), waiting(2, JOINS, LOCKED), end_s=2.5)
    )
    assert still is not None
    assert still.killed


def test_everybody_who_waits_without_end_is_stuck() -> None:
    still = still_of(family(standstill(4, 1), waiting(4, JOINS, LOCKED)))
    assert still is not None
    assert (still.start_s, still.end_s, still.to_the_end) == (1.0, 10.0, True)
    assert still.nobody_can_move
    assert [place.pid for place in still.stuck] == [ROOT, CHILD]


def test_a_wait_with_a_timeout_keeps_all_of_its_chain_awake() -> None:
    sleeping = (CHILD, "futex", True, 0x5000, None)
    still = still_of(family(standstill(4, 1), waiting(4, JOINS, sleeping)))
    assert still is not None
    assert still.stuck == ()


def test_the_last_look_within_it_counts() -> None:
    sleeping = (CHILD, "clock_nanosleep", True, None, None)
    still = still_of(
        family(standstill(4, 1), waiting(4, JOINS, sleeping), standstill(7, 1), waiting(7, JOINS, LOCKED))
    )
    assert still is not None
    assert still.nobody_can_move


def test_what_was_last_said_of_each_thread_stands_in_where_nobody_looked() -> None:
    rows = [(ROOT, ROOT, "wait4", None, None, None), (CHILD, CHILD, "futex", 0x5000, None, None)]
    still = still_of(family(columnar_line("waits", ns(1), rows)))
    assert still is not None
    assert not still.scene.looked
    assert still.nobody_can_move


def test_work_after_it_says_that_it_did_end() -> None:
    work = [threads(6 + 0.2 * step, (ROOT, 0.5 + 0.1 * step, 0.0)) for step in range(1, 20)]
    still = still_of(family(standstill(4, 1), waiting(4, JOINS, LOCKED), *work))
    assert still is not None
    assert not still.to_the_end


def test_the_report_tells_who_waits_for_whom() -> None:
    told = facts(family(standstill(4, 1), waiting(4, JOINS, LOCKED))).report.standstill
    assert told is not None
    assert told.deadlock
    assert [(one.pid, one.pids, one.endless) for one in told.waiters] == [
        (ROOT, (CHILD,), True),
        (CHILD, (), True),
    ]
