"""What the GIL, waits and locks add up to, over recordings made of plain lines."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from corelens.recording import Recording
from corelens.reports.facts import locks, waits
from corelens.reports.facts.bins import Grid
from corelens.reports.facts.interlock import Interlock, interlock
from corelens.reports.facts.owned import OPENBLAS, Owned, Owner
from corelens.reports.facts.processes import lives
from corelens.reports.facts.stack_samples import stack_samples
from corelens.reports.facts.threads import threads
from corelens.reports.facts.waits import what_of
from corelens.reports.report import Gil
from corelens.vocabulary import Line, columnar_line, columns
from tests.test_vocabulary import complaints

MS = 1_000_000
S = 1000 * MS
ROUND = 100 * MS
PID = 100
GIL_AT = 0x5000
Row = tuple[Any, ...]


class Made:
    """A recording in the making: one line per call, each held against the vocabulary at the end."""

    def __init__(self, end_ns: int = 10 * S) -> None:
        self.end_ns = end_ns
        self.lines: list[Line] = []
        self.header: Line = {
            "kind": "header",
            "host": {"clock_ticks_per_s": 100},
            "target": {"how": "started", "pid": PID, "argv": ["p"]},
            "periods_ns": {"threads": ROUND, "gil": ROUND, "waits": ROUND, "tree": ROUND},
            "t0_boottime_ns": 0,
        }

    def process(self, pid: int = PID, t_ns: int = 0, start_ticks: int = 1) -> Made:
        self.lines.append(
            {
                "kind": "process.born", "t_ns": t_ns, "pid": pid, "ppid": None, "start_ticks": start_ticks,
                "comm": "python", "argv": ["python"], "exe": None, "role": "main", "joined_by": "root",
                "uid": 0, "affinity": None, "variables": None, "cpu_ns": 0, "again": False,
            }
        )  # fmt: skip
        return self

    def died(self, t_ns: int, pid: int = PID) -> Made:
        line = {"exit_code": 0, "signal": None, "cpu_ns": None, "how": "pidfd"}
        self.lines.append({"kind": "process.died", "t_ns": t_ns, "pid": pid, **line})
        return self

    def add(self, kind: str, t_ns: int, *rows: Row) -> Made:
        width = len(columns(kind))
        self.lines.append(columnar_line(kind, t_ns, [row + (None,) * (width - len(row)) for row in rows]))
        return self

    def python(self, pid: int = PID, has: str = "yes", reason: str | None = None) -> Made:
        where = (GIL_AT, GIL_AT + 176) if has == "yes" else (None, None)
        return self.add("gil.found", 0, (pid, "3.11", has, "offsets", *where, 5000, reason))

    @property
    def recording(self) -> Recording:
        by_kind: dict[str, list[Line]] = {}
        for line in self.lines:
            assert list(complaints(line)) == []
            by_kind.setdefault(line["kind"], []).append(line)
        return Recording(Path("made"), self.header, by_kind, None)

    def facts(self, step_ns: int = S, pool: Collection[int] = ()) -> Interlock:
        """Sum up; `pool` names the threads that OpenBLAS made."""
        recording, grid = self.recording, Grid(step_ns, self.end_ns)
        found = lives(recording)
        everyone = threads(recording, found, grid).all
        owner = Owner(OPENBLAS, "OpenBLAS", None, None)
        owned = {one: Owned(one, owner, None) for one in everyone if one.tid in pool}
        return interlock(recording, found, grid, everyone, owned, stack_samples(recording, found))

    def gil(self) -> Gil:
        (one,) = self.facts().gil
        return one


def made(end_ns: int = 10 * S) -> Made:
    return Made(end_ns).process()


# the GIL


def counted(to: Made, seconds: int, looks: int, held: int, switches: int, *, start: int = 0) -> Made:
    """Rows of every round, with so many looks, held ones and hand-offs in each."""
    for turn in range(start, start + seconds * 10 + 1):
        done = turn - start
        to.add("gil", turn * ROUND, (PID, looks * done + 1, held * done, switches * done, held > 0, PID))
    return to


def test_held_share_and_handoffs() -> None:
    one = counted(made().python(), 10, looks=20, held=5, switches=30).gil()
    assert one.held_share == pytest.approx(0.25)
    assert (one.looks, one.handoffs) == (2000, 3000)
    assert one.handoffs_per_s == pytest.approx(300)
    assert one.handoffs_per_s_peak == pytest.approx(300)
    assert one.held_share_by_bin == pytest.approx([0.25] * 10)
    assert one.pattern == "none"


def test_a_process_that_stood_still_kept_its_lock_as_it_was() -> None:
    """Held at the end of a burst of one second, then no row for eight, then one round of nothing held."""
    burst = counted(made().python(), 1, looks=20, held=10, switches=0)
    burst.add("gil", 9 * S, (PID, 221, 100, 0, False, PID))
    one = burst.gil()
    # 1 s at 0.5; from 1 to 8.9 s held throughout; the last round and what follows it free.
    assert one.held_share == pytest.approx((0.5 + 7.9) / 10)
    free = made().python()
    counted(free, 1, looks=20, held=0, switches=0)
    assert free.gil().held_share == pytest.approx(0.0)


def test_the_end_of_a_process_ends_its_time() -> None:
    one = counted(made().python(), 2, looks=20, held=20, switches=0).died(2 * S).gil()
    assert one.held_share == pytest.approx(1.0)
    assert one.held_share_by_bin == pytest.approx([1.0, 1.0, *[None] * 8])


def test_a_counter_that_goes_backwards_gives_no_rate() -> None:
    one = made().python()
    for t_ns, looks, switches in ((0, 1, 900), (ROUND, 21, 1000), (2 * ROUND, 41, 5), (3 * ROUND, 61, 15)):
        one.add("gil", t_ns, (PID, looks, 0, switches, False, None))
    assert one.gil().handoffs == 110


def test_one_row_is_no_rate() -> None:
    one = made(ROUND).python().add("gil", ROUND, (PID, 1, 1, 7, True, PID)).gil()
    assert (one.held_share, one.handoffs, one.pattern) == (None, None, None)


def test_the_busiest_thread() -> None:
    one = counted(made().python(), 1, looks=20, held=10, switches=0)
    one.add("threads.born", 0, (PID, 101, 1, "worker"), (PID, 102, 1, "other"))
    one.add("gil.held", S, (PID, 101, 75), (PID, 102, 25))
    found = one.gil()
    assert (found.busiest_tid, found.busiest_share) == (101, 0.75)
    assert [(thread.tid, thread.comm, thread.held_share) for thread in found.threads] == [
        (101, "worker", 0.75),
        (102, "other", 0.25),
    ]


@pytest.mark.parametrize("has", ["no", "unknown"])
def test_a_process_without_a_readable_lock_has_a_reason_and_no_numbers(has: str) -> None:
    one = made().python(has=has, reason="because").gil()
    assert (one.gil, one.reason) == (has, "because")
    assert (one.held_share, one.handoffs_per_s, one.pattern, one.busiest_tid) == (None, None, None, None)


def test_recordings_without_these_lines_say_nothing() -> None:
    found = made().facts()
    assert found == Interlock((), (), (), (), (), (), found.doings)


# patterns


def contended(handoffs: int, held: int, waiting_ms: int, *, waiters: int = 4, seconds: int = 10) -> Gil:
    """Each round: so many hand-offs and held looks of 20; each thread waits for so long of it, else it runs."""
    to = counted(made(seconds * S).python(), seconds, looks=20, held=held, switches=handoffs)
    for turn in range(seconds * 10):
        rows = [(PID, 101 + one, "futex", GIL_AT + 8, None) for one in range(waiters)]
        if waiting_ms:
            to.add("waits", turn * ROUND, *rows)
        if waiting_ms < 100:
            back = [(PID, 101 + one, "running", None, None) for one in range(waiters)]
            to.add("waits", turn * ROUND + waiting_ms * MS, *back)
    return to.gil()


@pytest.mark.parametrize(
    ("handoffs", "held", "waiting_ms", "pattern"),
    [
        (4000, 6, 40, "convoy"),
        (500, 6, 3, "convoy"),
        (490, 6, 40, "none"),
        # They let go often, and nobody is kept waiting.
        (4000, 6, 1, "none"),
        (17, 20, 75, "saturation"),
        (17, 18, 20, "saturation"),
        (17, 17, 75, "none"),
        # A single thread holds it all the time.
        (0, 20, 0, "none"),
        (17, 20, 10, "none"),
    ],
)
def test_patterns(handoffs: int, held: int, waiting_ms: int, pattern: str) -> None:
    assert contended(handoffs, held, waiting_ms).pattern == pattern


@pytest.mark.parametrize(("second", "pattern"), [(9, "none"), (10, "saturation")])
def test_threads_that_share_the_lock_without_a_core_to_wait_on(second: int, pattern: str) -> None:
    to = counted(made().python(), 10, looks=20, held=20, switches=5)
    to.add("gil.held", 10 * S, (PID, 101, 100 - second), (PID, 102, second))
    assert to.gil().pattern == pattern


@pytest.mark.parametrize(("convoy_s", "pattern"), [(1, "saturation"), (2, "convoy")])
def test_a_convoy_now_and_then_counts_before_saturation(convoy_s: int, pattern: str) -> None:
    to = made().python()
    for turn in range(101):
        convoy = min(turn, convoy_s * 10)
        held = 20 * turn - 15 * convoy
        to.add("gil", turn * ROUND, (PID, 20 * turn + 1, held, 17 * turn + 4000 * convoy, True, PID))
    for one in range(4):
        to.add("waits", 0, (PID, 101 + one, "futex", GIL_AT + 8, None))
    assert to.gil().pattern == pattern


def test_an_episode_is_no_pattern() -> None:
    to = counted(made().python(), 1, looks=20, held=20, switches=17)
    for one in range(4):
        to.add("waits", 0, (PID, 101 + one, "futex", GIL_AT + 8, None))
        to.add("waits", S, (PID, 101 + one, "clock_nanosleep", None, None))
    to.add("gil", 1_100 * MS, (PID, 221, 200, 170, False, PID))
    assert to.gil().pattern == "none"


def test_wait_share_counts_the_threads_that_use_the_lock() -> None:
    to = counted(made().python(), 10, looks=20, held=5, switches=1)
    to.add("gil.held", 10 * S, (PID, 101, 50))
    to.add(
        "waits",
        0,
        (PID, 101, "running", None, None),
        (PID, 102, "futex", GIL_AT + 8, None),
        (PID, 103, "futex", 0x9000, None),
    )
    to.add("waits", 5 * S, (PID, 102, "running", None, None))
    one = to.gil()
    # Of 101 and 102, not of the pool thread 103.
    assert one.wait_share == pytest.approx(0.25)
    assert one.waited_thread_s == pytest.approx(5.0)
    assert one.waiting_threads_mean == pytest.approx(0.5)
    assert {thread.tid: thread.wait_share for thread in one.threads} == {101: 0.0, 102: 0.5}


def test_nobody_met_with_the_lock_is_nobody_waiting() -> None:
    to = counted(made().python(), 10, looks=20, held=0, switches=1)
    assert to.gil().wait_share is None
    assert to.add("waits", 0, (PID, 101, "running", None, None)).gil().wait_share == 0.0


# waits


@pytest.mark.parametrize(
    ("call", "file", "what"),
    [
        ("running", None, "running"),
        ("futex", None, "lock"),
        ("read", "pipe", "pipe"),
        ("read", "eventfd", "pipe"),
        ("read", "socket", "socket"),
        ("recvfrom", None, "socket"),
        ("write", "file", "disk"),
        ("fsync", "file", "disk"),
        ("epoll_wait", None, "poll"),
        ("clock_nanosleep", None, "sleep"),
        ("wait4", None, "child"),
        ("fault", None, "paging"),
        ("read", "terminal", "terminal"),
        ("read", None, "other"),
        ("321", None, "other"),
    ],
)
def test_what_calls_wait_for(call: str, file: str | None, what: str) -> None:
    assert what_of(call, file) == what
    assert what in waits.LABELS


def test_time_is_counted_from_row_to_row() -> None:
    to = made().add("waits", S, (PID, 101, "clock_nanosleep", None, None), (PID, 102, "read", None, "pipe"))
    to.add("waits", 4 * S, (PID, 101, "running", None, None))
    to.add("threads.died", 6 * S, (102,))
    found = {one.what: one for one in to.facts().waits}
    assert {what: one.thread_s for what, one in found.items()} == {"running": 6.0, "pipe": 5.0, "sleep": 3.0}
    assert found["running"].time_share == pytest.approx(6 / 14)
    assert [one.what for one in to.facts().waits] == ["running", "pipe", "sleep"]
    assert found["pipe"].label == "a pipe or event"


def test_a_repeated_row_changes_nothing() -> None:
    once = made().add("waits", 0, (PID, 101, "wait4", None, None))
    twice = made().add("waits", 0, (PID, 101, "wait4", None, None))
    twice.add("waits", 3 * S, (PID, 101, "wait4", None, None))
    assert once.facts().waits == twice.facts().waits


def test_the_same_thread_id_in_a_later_process_is_another_thread() -> None:
    to = made().add("waits", 0, (PID, PID, "pause", None, None)).died(2 * S)
    to.process(t_ns=5 * S, start_ticks=500).add("waits", 5 * S, (PID, PID, "pause", None, None))
    (one,) = to.facts().waits
    assert (one.thread_s, one.threads, one.processes) == (7.0, 2, 2)


def test_each_process_adds_up_to_its_own_time() -> None:
    to = made().process(200).add("waits", 0, (PID, 101, "pause", None, None), (200, 201, "wait4", None, None))
    to.add("waits", 5 * S, (200, 201, "running", None, None))
    found = {(one.pid, one.what): one for one in to.facts().process_waits}
    assert found[PID, "signal"].time_share == 1.0
    assert found[200, "child"].time_share == found[200, "running"].time_share == 0.5


# locks


def test_threads_that_wait_in_one_place_are_a_lock() -> None:
    to = made().add("waits", 0, *((PID, tid, "futex", 0x9000, None) for tid in (101, 102, 103)))
    to.add("waits", 0, (PID, 104, "futex", 0x9100, None))
    to.add("waits", 5 * S, (PID, 101, "running", None, None))
    (lock,) = to.facts().locks
    assert (lock.pids, lock.address, lock.shared) == ((PID,), 0x9000, False)
    assert (lock.threads, lock.waiters_peak) == (3, 3)
    assert lock.waiters_mean == pytest.approx(2.5)
    assert lock.blocked_s == pytest.approx(25.0)
    assert lock.blocked_share == pytest.approx(25 / 35)
    assert (lock.pattern, lock.wakeups_per_s) == ("parked", 0.0)


def test_waiters_that_wake_up_are_a_convoy() -> None:
    to = made().add("waits", 0, *((PID, tid, "futex", 0x9000, None) for tid in (101, 102)))
    for turn in range(1, 101):
        to.add("threads", turn * ROUND, (101, 0, 0, 10 * turn), (102, 0, 0, 5 * turn), (900, 0, 0, turn))
    (lock,) = to.facts().locks
    assert lock.wakeups_per_s == pytest.approx((990 + 495) / 20)
    assert lock.pattern == "convoy"


def test_wakeups_count_where_the_thread_waited() -> None:
    to = made().add("waits", 0, *((PID, tid, "futex", 0x9000, None) for tid in (101, 102)))
    to.add("threads", ROUND, (101, 0, 0, 100))
    to.add("waits", S, (PID, 101, "clock_nanosleep", None, None))
    for turn in range(11, 50):
        to.add("threads", turn * ROUND, (101, 0, 0, 1000 * turn))
    (lock,) = to.facts().locks
    assert lock.wakeups_per_s == 0.0


def test_following_each_other_is_not_waiting_together() -> None:
    to = made().add("waits", 0, (PID, 101, "futex", 0x9000, None))
    to.add("waits", S, (PID, 101, "running", None, None), (PID, 102, "futex", 0x9000, None))
    assert to.facts().locks == ()


def test_shared_memory_joins_processes() -> None:
    to = made().process(200).process(300)
    to.add("waits", 0, (PID, 101, "futex", 0x9010, None), (200, 201, "futex", 0x7010, None))
    to.add("waits", 0, (300, 301, "futex", 0x9010, None))
    to.add("locks.shared", 0, (PID, 0x9010, "0:1a:41", 16, "/dev/shm/q"), (200, 0x7010, "0:1a:41", 16, None))
    (lock,) = to.facts().locks
    assert (lock.pids, lock.shared, lock.path, lock.threads) == ((PID, 200), True, "/dev/shm/q", 2)


def test_the_gil_is_no_lock() -> None:
    to = made().python().add("waits", 0, *((PID, tid, "futex", GIL_AT, None) for tid in (101, 102)))
    assert to.facts().locks == ()


def test_locks_that_are_fought_over_come_first() -> None:
    to = made().add("waits", 0, *((PID, tid, "futex", 0x9000, None) for tid in range(101, 105)))
    to.add("waits", 0, *((PID, tid, "futex", 0x9100, None) for tid in (105, 106)))
    for turn in range(1, 101):
        to.add("threads", turn * ROUND, (105, 0, 0, 50 * turn))
    assert [lock.address for lock in to.facts().locks] == [0x9100, 0x9000]
    assert locks.MOST_LOCKS >= 2


# native pools


def pooled(slices_per_round: int) -> Made:
    """Two threads of a pool and one of the program, at one place; the pool's are woken so often."""
    to = made().add("threads.born", 0, *((PID, tid, 1, "p") for tid in (101, 102, 103)))
    to.add("waits", 0, *((PID, tid, "futex", 0x9000, None) for tid in (101, 102, 103)))
    for turn in range(1, 101):
        to.add("threads", turn * ROUND, *((tid, 0, 0, slices_per_round * turn) for tid in (101, 102)))
    return to


def test_a_pool_that_lies_idle_is_no_lock_and_waits_for_work() -> None:
    found = pooled(0).facts(pool=(101, 102))
    assert found.locks == ()
    assert {one.what: one.thread_s for one in found.waits} == {"pool": 20.0, "lock": 10.0}


def test_a_pool_that_is_woken_often_is_a_team_and_no_convoy() -> None:
    (lock,) = pooled(10).facts(pool=(101, 102)).locks
    assert (lock.pattern, lock.threads) == ("team", 3)


def test_few_threads_of_a_pool_among_others_make_no_team() -> None:
    (lock,) = pooled(10).facts(pool=(101,)).locks
    assert lock.pattern == "convoy"
