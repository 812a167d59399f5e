"""What rules reason over: each thread and process with what it used, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelens.reports.facts.facts import Facts, ThreadFacts
from corelens.reports.facts.summary import facts
from corelens.vocabulary import Line, columnar_line
from tests.made_recordings import (
    ALWAYS_THE_SAME,
    MIB,
    ROOT,
    S,
    born,
    changed,
    clocks,
    detail,
    died,
    footer,
    header,
    ns,
    recording,
    threads_born,
    threads_died,
)
from tests.made_recordings import threads as read

FAST = header(periods_ns={"tree": S // 10, "threads": S // 10})
ATTACHED = header("attached", periods_ns={"tree": S // 10, "threads": S // 10})
OLD = born(0, start_ticks=50_000, cpu_ns=0)


def known(*lines: Line, head: Line | None = None) -> Facts:
    return facts(recording(*lines, head=head or FAST))


def switches(t_s: float, *rows: tuple[int, int, int]) -> Line:
    """Rows of (tid, voluntary, involuntary)."""
    return columnar_line("threads.detail", ns(t_s), [(*row, "R", 0, "0-3") for row in rows])


def only(made: Facts) -> ThreadFacts:
    (thread,) = made.threads
    return thread


def test_what_a_thread_used_lies_in_the_bins_of_its_readings() -> None:
    made = known(born(0), threads_born(0, (ROOT, 5)), read(0.1, (5, 0.1, 0)), read(0.2, (5, 0.1, 0.1)),
                 read(0.5, (5, 0.15, 0.15)), footer(1))  # fmt: skip
    thread = only(made)
    assert made.report.timeline.step_s == 0.2
    assert thread.run_s_by_bin == pytest.approx({0: 0.1, 2: 0.05})
    assert thread.queue_s_by_bin == pytest.approx({0: 0.1, 2: 0.05})
    assert (thread.run_s, thread.queue_s, thread.wanted_s) == pytest.approx((0.15, 0.15, 0.3))


def test_a_long_wait_reaches_back_to_the_last_reading_and_no_further() -> None:
    made = known(born(0), threads_born(0, (ROOT, 5)), read(0.2, (5, 0.2, 0)), read(1.0, (5, 0.2, 0.8)),
                 footer(2))  # fmt: skip
    thread = only(made)
    assert thread.run_s_by_bin == pytest.approx({0: 0.2})
    assert thread.queue_s_by_bin == pytest.approx({1: 0.2, 2: 0.2, 3: 0.2, 4: 0.2})


def test_a_thread_that_ran_before_it_was_seen_did_so_before() -> None:
    made = known(born(0), threads_born(0.5, (ROOT, 5)), read(0.5, (5, 0.3, 0)), footer(1))
    assert only(made).run_s_by_bin == pytest.approx({1: 0.2, 2: 0.1})


MOVES = st.lists(st.tuples(st.integers(1, 30), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40)


@ALWAYS_THE_SAME
@given(MOVES, st.booleans())
def test_bins_add_up_to_what_was_used(moves: list[tuple[int, float, float]], attached: bool) -> None:
    lines = [OLD if attached else born(0), threads_born(0, (ROOT, 5), start_s=500 if attached else 0)]
    t_s, run_s, wait_s = 0.0, 3.0 if attached else 0.0, 0.0
    for rounds, run, wait in moves:
        t_s += rounds / 10
        run_s, wait_s = run_s + run * rounds / 10, wait_s + (1 - run) * wait * rounds / 10
        lines.append(read(t_s, (5, run_s, wait_s)))
    made = known(*lines, footer(t_s + 0.05), head=ATTACHED if attached else FAST)
    thread = only(made)
    assert sum(thread.run_s_by_bin.values()) == pytest.approx(thread.run_s)
    assert sum(thread.queue_s_by_bin.values()) == pytest.approx(thread.queue_s)
    timeline = made.report.timeline
    for amounts in (thread.run_s_by_bin, thread.queue_s_by_bin):
        assert amounts.keys() <= set(range(len(timeline.busy_cores)))
        assert max(amounts.values(), default=0) <= timeline.step_s + 0.1


def test_a_thread_id_that_is_used_again_is_another_thread() -> None:
    made = known(born(0), threads_born(0, (ROOT, 5)), read(0.1, (5, 0.1, 0)), switches(0.1, (5, 7, 1)),
                 threads_died(0.3, 5), threads_born(0.4, (ROOT, 5)), read(0.6, (5, 0.15, 0)),
                 switches(0.6, (5, 2, 0)), footer(1))  # fmt: skip
    first, second = made.threads
    assert (first.run_s, second.run_s) == pytest.approx((0.1, 0.15))
    assert (first.died_s, second.died_s) == (pytest.approx(0.3), None)
    assert first.run_s_by_bin == pytest.approx({0: 0.1})
    assert sum(second.run_s_by_bin.values()) == pytest.approx(0.15)
    assert (first.voluntary, second.voluntary) == (7, 2)


def test_what_was_there_before_counts_from_its_first_reading() -> None:
    made = known(OLD, threads_born(0, (ROOT, 5), start_s=500), read(0.1, (5, 70, 9)), switches(0.1, (5, 900, 30)),
                 detail(0.1, ROOT, user_s=60, faults=12), read(0.5, (5, 70.3, 9)), switches(0.5, (5, 905, 31)),
                 detail(0.5, ROOT, user_s=60.25, faults=14), footer(1), head=ATTACHED)  # fmt: skip
    thread, process = only(made), made.root
    assert (thread.run_s, thread.queue_s) == pytest.approx((0.3, 0))
    assert (thread.voluntary, thread.involuntary) == (5, 1)
    assert (process.user_s, process.major_faults) == (pytest.approx(0.25), 2)


def test_a_process_of_an_attached_tree_that_starts_later_counts_from_zero() -> None:
    made = known(OLD, born(0.5, 7, ROOT, start_ticks=100_050), threads_born(0.5, (7, 7), start_s=1000.5),
                 read(0.7, (7, 0.2, 0)), detail(0.7, 7, user_s=0.2, faults=3), switches(0.7, (7, 4, 0)),
                 died(0.9, 7), footer(1), head=ATTACHED)  # fmt: skip
    child = made.process(7)
    assert child is not None
    assert (child.parent_pid, child.user_s, child.major_faults, child.died_s) == (
        ROOT, pytest.approx(0.2), 3, pytest.approx(0.9),
    )  # fmt: skip
    assert (child.threads[0].run_s, child.threads[0].voluntary) == (pytest.approx(0.2), 4)
    assert made.children(made.root) == (child,)


def test_what_was_never_read_is_none() -> None:
    made = known(born(0, affinity=None, variables=None), threads_born(0, (ROOT, 5)), clocks(0.5, (ROOT, 0.1, 1)),
                 footer(1))  # fmt: skip
    thread, process = only(made), made.root
    assert (thread.voluntary, thread.involuntary, dict(thread.doing), dict(thread.calls)) == (
        None,
        None,
        {},
        {},
    )
    assert (process.user_s, process.major_faults, process.read_bytes, process.affinity) == (None,) * 4
    assert dict(process.variables) == {}


def test_capacity_ends_with_the_recording() -> None:
    made = known(born(0), clocks(0.5, (ROOT, 0.1, 1)), detail(0.5, ROOT, rss=MIB), footer(1.1))
    assert made.capacity_core_s == pytest.approx(1.1 * made.report.capacity.cores)


def test_masks_are_those_read_last() -> None:
    again = born(30, start_ticks=0, affinity=[1], again=True)
    assert known(born(0, affinity=[0, 1]), again, footer(31)).root.affinity == {1}
    after = changed(20, ROOT, affinity=[2, 3])
    assert known(born(0, affinity=[0, 1]), after, footer(31)).root.affinity == {2, 3}
    assert known(born(0, affinity=[0, 1]), after, again, footer(31)).root.affinity == {1}
