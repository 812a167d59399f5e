"""The core-time ledger adds up to the whole whatever the recording holds, and gives idle time to its true cause."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelens.recording import Recording, read
from corelens.reports.core_time import CoreTimeLedger
from corelens.reports.facts.core_time import LABELS
from corelens.reports.facts.summary import facts
from corelens.vocabulary import Line, columnar_line
from tests.made_recordings import (
    ALWAYS_THE_SAME,
    ROOT,
    born,
    cgroup,
    clocks,
    cores,
    died,
    footer,
    header,
    limits,
    ns,
    recording,
    threads,
    threads_born,
)

TESTS = Path(__file__).parent
RECORDINGS = sorted([*TESTS.glob("fixtures/*.corelens"), *TESTS.glob("rules/*.corelens")])
LENGTH_S = 10
GIL_AT = 0x5000
LOCK_AT = 0x9000
TENTHS = [tenth / 10 for tenth in range(1, LENGTH_S * 10 + 1)]
Call = tuple[str, int | None, str | None]
Spent = dict[int, float]
"""tid to seconds on a core per second."""


def called(pid: int, tid: int, call: Call) -> tuple[int, int, str, int | None, str | None]:
    return pid, tid, call[0], call[1], call[2]


def waits(t_s: float, *rows: tuple[int, int, str, int | None, str | None]) -> Line:
    """Rows of (pid, tid, call, futex, kind of file)."""
    return columnar_line("waits", ns(t_s), [(*row, None) for row in rows])


def running(spent: Spent, from_s: float = 0.0, until_s: float = LENGTH_S) -> list[Line]:
    """Readings of threads that run evenly."""
    return [
        threads(at_s, *((tid, rate * min(at_s, until_s), 0.0) for tid, rate in spent.items()))
        for at_s in TENTHS
        if at_s >= from_s
    ]


def program(*lines: Line, capacity: float = 2.0) -> Recording:
    """A program of ten seconds on two cores; it began with the recording."""
    return recording(
        limits(0, capacity, "online"), born(0), threads_born(0, (ROOT, ROOT)), *lines,
        died(LENGTH_S, ROOT), footer(LENGTH_S), head=header(),
    )  # fmt: skip


def pool(*pids: int) -> list[Line]:
    """Forked workers of a pool, there from the first second on."""
    return [
        line
        for pid in pids
        for line in (
            born(0, pid, ROOT, role="pool-worker-fork"),
            threads_born(0, (pid, pid)),
            died(LENGTH_S, pid),
        )
    ]


def ledger(made: Recording) -> CoreTimeLedger:
    found = facts(made).report.core_time_ledger
    assert found is not None
    return found


def idle(found: CoreTimeLedger) -> dict[str, float]:
    return {line.cause: line.core_s for line in found.idle}


def used(found: CoreTimeLedger) -> dict[str, float]:
    kinds: dict[str, float] = {}
    for line in found.on_core:
        kinds[line.kind] = kinds.get(line.kind, 0.0) + line.core_s
    return kinds


def adds_up(found: CoreTimeLedger) -> None:
    """The parts are the whole, and no part is less than nothing."""
    on_core = sum(line.core_s for line in found.on_core)
    lay_idle = sum(line.core_s for line in found.idle)
    assert on_core + lay_idle - found.beyond_capacity_core_s == pytest.approx(found.capacity_core_s, abs=1e-6)
    assert on_core == pytest.approx(found.on_core_core_s, abs=1e-6)
    assert lay_idle == pytest.approx(found.idle_core_s, abs=1e-6)
    assert all(line.core_s >= 0 for line in (*found.on_core, *found.idle))
    assert found.beyond_capacity_core_s >= 0
    assert [line.cause for line in found.idle] == [
        cause for cause in LABELS if cause in {line.cause for line in found.idle}
    ]


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_the_parts_add_up_to_the_whole_of_every_recording_here(path: Path) -> None:
    known = facts(read(path))
    found = known.report.core_time_ledger
    assert found is not None
    adds_up(found)
    assert found.capacity_core_s == pytest.approx(known.capacity_core_s)
    assert found.unexplained_share <= 0.05


@st.composite
def histories(draw: st.DrawFn) -> Recording:
    """Any program: workers that come and go, run more than they could, wait for anything; limits that change."""
    lines: list[Line] = [limits(0, draw(st.sampled_from([0.5, 1.0, 2.0, 4.0])), "quota")]
    lines += [born(0), threads_born(0, (ROOT, ROOT))]
    if draw(st.booleans()):
        lines.append(limits(draw(st.floats(1, 9)), draw(st.sampled_from([0.3, 1.0, 3.0])), "quota"))
    roles = st.sampled_from(
        ["pool-worker-fork", "pool-worker-spawn", "loky-worker", "child", "resource-tracker"]
    )
    tids = [(ROOT, ROOT)]
    for number in range(draw(st.integers(0, 4))):
        pid, begin_s = 200 + number, draw(st.floats(0, 6))
        lines += [
            born(begin_s, pid, ROOT, role=draw(roles)),
            threads_born(begin_s, (pid, pid), (pid, pid + 500)),
        ]
        tids += [(pid, pid), (pid, pid + 500)]
        if draw(st.booleans()):
            lines.append(died(draw(st.floats(6, 10)), pid))
    spent = {tid: [0.0, 0.0] for _, tid in tids}
    calls: st.SearchStrategy[Call] = st.sampled_from(
        [("running", None, None), ("futex", GIL_AT, None), ("futex", LOCK_AT, None), ("read", None, "pipe"),
         ("poll", None, "socket"), ("fsync", None, "file"), ("clock_nanosleep", None, None), ("wait4", None, None)]
    )  # fmt: skip
    for at_s in draw(st.lists(st.floats(0.1, 10), min_size=1, max_size=12, unique=True).map(sorted)):
        for counters in spent.values():
            counters[0] += draw(st.floats(0, 3))
            counters[1] += draw(st.floats(0, 3))
        lines.append(threads(at_s, *((tid, run, wait) for tid, (run, wait) in spent.items())))
        lines.append(waits(at_s, *(called(pid, tid, draw(calls)) for pid, tid in tids)))
        if draw(st.booleans()):
            lines.append(clocks(at_s, (ROOT, draw(st.floats(0, 20)), 1)))
        lines.append(cores(at_s, (0, int(draw(st.floats(0, 100)) * at_s), 0, 0)))
    return recording(*lines, died(10, ROOT), footer(10), head=header())


@given(histories())
@ALWAYS_THE_SAME
def test_the_parts_add_up_to_the_whole_of_any_recording(made: Recording) -> None:
    known = facts(made)
    found = known.report.core_time_ledger
    assert found is not None
    adds_up(found)
    assert found.capacity_core_s == pytest.approx(known.capacity_core_s)
    widths = [line.cores_by_bin for line in found.idle]
    assert all(len(cores) == len(known.report.timeline.capacity_cores) for cores in widths)


def test_a_core_that_no_worker_exists_for_is_told_from_the_main_threads_own_sleep() -> None:
    """One thread that sleeps explains one core and not two."""
    found = ledger(program(*running({ROOT: 0.0}), waits(0.1, (ROOT, ROOT, "clock_nanosleep", None, None))))
    adds_up(found)
    assert idle(found)["sleep"] == pytest.approx(10, abs=0.3)
    assert idle(found)["no-worker"] == pytest.approx(10, abs=0.3)


def test_threads_that_wait_for_the_gil_explain_at_most_as_many_cores_as_they_are() -> None:
    """Of four cores one runs, two threads wait for the GIL, and for the fourth there is no thread."""
    tids = (301, 302, 303)
    lines = [
        columnar_line("gil.found", 0, [(ROOT, "3.11", "yes", "offsets", GIL_AT, GIL_AT + 64, 5000, None)]),
        columnar_line(
            "modules", 0, [(1, "/usr/lib/libpython3.11.so.1.0", None, False)]
        ),
        threads_born(0, *((ROOT, tid) for tid in tids)),
        columnar_line(
            "threads.owned",
            0,
            [(ROOT, ROOT, "main", None, None, None, None, None)]
            + [(ROOT, tid, "start-routine", 1, 16, None, None, None) for tid in tids],
        ),
        *running(dict.fromkeys(tids, 1 / 3)),
        waits(0.05, (ROOT, ROOT, "futex", LOCK_AT, None)),
    ]  # fmt: skip
    for at_s in TENTHS:
        turn = tids[round(at_s * 10) % 3]
        lines.append(
            waits(at_s, *((ROOT, tid, "running", None, None) if tid == turn else (ROOT, tid, "futex", GIL_AT, None)
                          for tid in tids))
        )  # fmt: skip
    found = ledger(program(*lines, capacity=4.0))
    adds_up(found)
    assert idle(found)["gil"] == pytest.approx(20, abs=1)
    assert idle(found)["no-worker"] == pytest.approx(10, abs=1)
    assert found.unexplained_share < 0.05


def test_what_is_left_when_the_other_workers_are_done_is_the_tail() -> None:
    """One of two workers ends its last task after four seconds and waits at the pipe from then on."""
    lines = [
        *pool(201, 202),
        waits(0.1, (201, 201, "running", None, None), (202, 202, "running", None, None)),
    ]
    lines += [threads(at_s, (201, min(at_s, 4.0), 0.0), (202, at_s, 0.0)) for at_s in TENTHS]
    lines += [waits(4.0, (201, 201, "read", None, "pipe"))]
    found = ledger(program(*lines))
    adds_up(found)
    assert idle(found)["tail"] == pytest.approx(6, abs=0.3)
    assert used(found) == {"python": pytest.approx(14, abs=0.1)}


def test_workers_that_wait_at_the_lock_of_their_queue_wait_for_tasks() -> None:
    """One reads the pipe of the queue and the other waits at its lock: neither is a lock of the program."""
    shared = columnar_line("locks.shared", 0, [(202, LOCK_AT, "1:2", 0, None)])
    lines = [*pool(201, 202), shared, *running({201: 0.25, 202: 0.25})]
    lines += [waits(0.2, (201, 201, "read", None, "pipe"), (202, 202, "futex", LOCK_AT, None))]
    found = ledger(program(*lines))
    adds_up(found)
    assert idle(found)["tasks"] == pytest.approx(15, abs=0.5)
    assert "lock" not in idle(found)


def test_workers_that_wait_at_a_shared_lock_while_nobody_reads_a_queue_wait_for_that_lock() -> None:
    shared = columnar_line("locks.shared", 0, [(pid, LOCK_AT, "1:2", 0, None) for pid in (201, 202)])
    lines = [*pool(201, 202), shared, *running({201: 0.5, 202: 0.5})]
    for tenth, at_s in enumerate(TENTHS):
        pid, other = (201, 202) if tenth % 2 else (202, 201)
        lines.append(waits(at_s, (pid, pid, "running", None, None), (other, other, "futex", LOCK_AT, None)))
    found = ledger(program(*lines))
    adds_up(found)
    assert idle(found)["lock"] == pytest.approx(10, abs=0.5)
    assert "tasks" not in idle(found)


def test_throttling_and_other_programs_come_before_what_threads_wait_for() -> None:
    """Half a core throttled and half a core used by others are not the workers' waiting."""
    lines = [*pool(201, 202), *running({201: 0.5, 202: 0.5}), waits(0.2, (201, 201, "read", None, "pipe"))]
    lines += [cgroup(at_s, "/lab", at_s * 0.5) for at_s in (0, *TENTHS)]
    lines += [cores(at_s, (0, round(100 * at_s), 0, 0), (1, round(50 * at_s), round(50 * at_s), 0))
              for at_s in (0, *TENTHS)]  # fmt: skip
    found = ledger(program(*lines, limits(0.01, 2.0, "online", online_cores=[0, 1])))
    adds_up(found)
    assert idle(found)["throttled"] == pytest.approx(5, abs=0.2)
    assert idle(found)["others"] == pytest.approx(5, abs=0.5)


def test_what_a_bin_shows_beyond_capacity_is_moved_to_its_neighbours() -> None:
    """A look that came late counts the CPU of one bin to the next: nothing is lost and nothing was too much."""
    ran = [at_s if round(at_s * 10) % 4 else min(at_s + 0.1, LENGTH_S) for at_s in TENTHS]
    lines = [
        *pool(201, 202),
        *(
            threads(at_s, (201, run_s, 0.0), (202, run_s, 0.0))
            for at_s, run_s in zip(TENTHS, ran, strict=True)
        ),
    ]
    found = ledger(program(*lines))
    adds_up(found)
    assert found.beyond_capacity_core_s == pytest.approx(0, abs=0.1)


def test_what_was_used_beyond_capacity_all_the_time_is_shown_and_not_hidden() -> None:
    found = ledger(program(*pool(201, 202), *running({201: 1.0, 202: 1.0}), capacity=1.0))
    adds_up(found)
    assert found.beyond_capacity_core_s == pytest.approx(10, abs=0.2)
    assert found.idle_core_s == pytest.approx(0, abs=0.2)


def test_run_queue_wait_stands_beside_the_ledger_and_is_no_part_of_it() -> None:
    lines = [threads(at_s, (201, at_s, at_s), (202, at_s, 0.0)) for at_s in TENTHS]
    found = ledger(program(*pool(201, 202), *lines))
    adds_up(found)
    assert found.run_queue_wait_thread_s == pytest.approx(10, abs=0.2)
    assert found.idle_core_s == pytest.approx(0, abs=0.1)
