"""Threads: run and wait, lost introductions, ids used again, the agent's own; and how many there were when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelens.recording import Recording
from corelens.reports.facts import processes, summarise, threads
from corelens.reports.facts.bins import Grid
from corelens.reports.facts.population import population
from corelens.reports.facts.threads import Threads
from corelens.reports.report import Report
from corelens.vocabulary import Line
from tests.made_recordings import (
    ALWAYS_THE_SAME,
    ROOT,
    SEARCH,
    S,
    born,
    clocks,
    died,
    footer,
    header,
    ns,
    pools,
    recording,
    search,
    threads_born,
    threads_died,
)
from tests.made_recordings import threads as read

SLOW = header(periods_ns={"tree": S, "threads": S})
ATTACHED = header("attached", periods_ns={"tree": S, "threads": S})
OLD = born(0, start_ticks=50_000, cpu_ns=0)


def found(*lines: Line, head: Line | None = None) -> Threads:
    made = recording(*lines, head=head or SLOW)
    return threads.threads(made, processes.lives(made), Grid(S, 10 * S))


def summed(*lines: Line, head: Line | None = None) -> Report:
    return summarise(recording(*lines, head=head or SLOW))


def test_a_thread_of_a_started_program_counts_from_zero() -> None:
    made = found(born(0), threads_born(1, (ROOT, 5)), read(2, (5, 0.5, 0.25)), read(3, (5, 1.0, 0.75)))
    (thread,) = made.all
    assert (thread.ran_ns, thread.waited_ns) == (S, ns(0.75))
    assert made.waiting.bins[:4] == pytest.approx([0, 0.25 * S, 0.5 * S, 0])
    assert made.waited_by_life == {thread.life: ns(0.75)}


def test_a_thread_that_was_there_before_counts_from_its_first_reading() -> None:
    lines = [OLD, threads_born(0, (ROOT, 5), start_s=500), read(1, (5, 70.0, 7.0)), read(2, (5, 70.5, 7.25))]
    made = found(*lines, head=ATTACHED)
    assert (made.ran_ns, made.waited_ns) == (ns(0.5), ns(0.25))


def test_a_new_thread_of_an_old_process_counts_from_zero() -> None:
    lines = [OLD, threads_born(2, (ROOT, 5), start_s=1001.5), read(3, (5, 0.5, 0.25))]
    assert found(*lines, head=ATTACHED).ran_ns == ns(0.5)


def test_a_thread_of_unknown_age_is_a_baseline_where_the_process_is_old() -> None:
    line = {**threads_born(2, (ROOT, 5)), "start_ticks": [None], "comm": [None]}
    assert found(OLD, line, read(3, (5, 0.5, 0.25)), head=ATTACHED).ran_ns == 0
    assert found(born(0), line, read(3, (5, 0.5, 0.25))).ran_ns == ns(0.5)


def test_a_thread_whose_introduction_was_lost_counts_from_its_first_reading() -> None:
    made = found(born(0), read(1, (5, 3.0, 1.0)), read(2, (5, 3.5, 1.125)))
    (stranger,) = made.all
    assert (stranger.life, stranger.ran_ns, stranger.waited_ns) == (None, ns(0.5), ns(0.125))
    assert made.waited_by_life == {}


def test_a_lost_introduction_is_made_good_by_its_repetition() -> None:
    again = threads_born(30, (ROOT, 5), start_s=1)
    made = found(born(0), read(1, (5, 3.0, 1.0)), again, read(31, (5, 3.5, 1.125)))
    (thread,) = made.all
    assert thread.life is not None
    assert (thread.life.pid, thread.comm, thread.ran_ns) == (ROOT, "python", ns(0.5))


def test_a_repeated_introduction_is_no_new_thread() -> None:
    lines = [threads_born(1, (ROOT, 5)), read(2, (5, 1.0, 0.0)), threads_born(30, (ROOT, 5), start_s=1)]
    made = found(born(0), *lines, read(31, (5, 2.0, 0.0)))
    assert [thread.ran_ns for thread in made.all] == [2 * S]


def test_an_id_used_again_is_another_thread() -> None:
    lines = [threads_born(1, (ROOT, 5)), read(2, (5, 1.0, 0.0)), threads_died(3, 5)]
    made = found(born(0), *lines, threads_born(3, (ROOT, 5)), read(3, (5, 0.25, 0.0)))
    assert [thread.ran_ns for thread in made.all] == [S, ns(0.25)]


def test_an_id_used_again_is_told_by_its_start_where_the_death_was_lost() -> None:
    lines = [threads_born(1, (ROOT, 5)), read(2, (5, 1.0, 0.0)), threads_born(3, (ROOT, 5))]
    assert [thread.ran_ns for thread in found(born(0), *lines, read(4, (5, 0.5, 0.0))).all] == [S, ns(0.5)]


def test_the_last_reading_of_a_zombie_counts() -> None:
    lines = [threads_born(1, (ROOT, 5)), read(2, (5, 1.0, 0.0)), threads_died(3, 5), read(3, (5, 1.5, 0.0))]
    assert found(born(0), *lines).ran_ns == ns(1.5)


@pytest.mark.parametrize("backwards", [(0.5, 1.0), (1.5, 0.5), (0.5, 0.5)])
def test_counters_that_go_backwards_give_no_rate_and_count_on(backwards: tuple[float, float]) -> None:
    run, wait = backwards
    after = read(4, (5, run + 0.25, wait + 0.125))
    made = found(born(0), threads_born(1, (ROOT, 5)), read(2, (5, 1.0, 1.0)), read(3, (5, run, wait)), after)
    assert (made.ran_ns, made.waited_ns) == (ns(1.25), ns(1.125))
    assert sum(made.waiting.bins) == pytest.approx(made.waited_ns)


def test_a_long_wait_ends_with_one_step_and_lies_before_it() -> None:
    made = found(born(0), threads_born(0, (ROOT, 5)), read(1, (5, 0.5, 0.0)), read(6, (5, 0.5, 4.0)))
    assert made.waiting.bins[:7] == pytest.approx([0, 0, S, S, S, S, 0])


def test_nothing_ran_is_no_share() -> None:
    assert summed(born(0), footer(1)).cpu.run_queue_wait_share is None


def test_half_of_the_runnable_time_was_waited() -> None:
    made = summed(born(0), threads_born(1, (ROOT, 5)), read(2, (5, 0.5, 0.5)), footer(3))
    assert (made.cpu.run_queue_wait_s, made.cpu.run_queue_wait_share) == (0.5, 0.5)


# How many


def counts(*lines: Line) -> list[tuple[int, int]]:
    made = recording(*lines)
    lives = processes.lives(made)
    return list(population(made, lives, ()).threads)


def test_threads_are_counted_from_birth_to_death() -> None:
    lines = [
        born(0),
        clocks(1, (ROOT, 0.0, 4)),
        born(2, 7, ROOT),
        clocks(3, (7, 0.0, 9)),
        died(4, 7),
        died(5),
    ]
    assert counts(*lines) == [(0, 1), (S, 4), (2 * S, 5), (3 * S, 13), (4 * S, 4), (5 * S, 0)]


def test_what_is_born_counted_and_gone_in_one_round_was_never_there() -> None:
    lines = [born(0), born(1, 7, ROOT), clocks(1, (7, 0.0, 5)), died(1, 7)]
    assert counts(*lines) == [(0, 1), (S, 1)]


def test_a_count_after_the_end_is_none() -> None:
    assert counts(born(0), born(1, 7, ROOT), died(2, 7), clocks(2, (7, 0.0, 5)), clocks(3, (7, 0.0, 5))) == [
        (0, 1), (S, 2), (2 * S, 1),
    ]  # fmt: skip


def test_a_peak_is_of_one_moment_and_not_of_each_process() -> None:
    made = summed(
        born(0), born(0, 7, ROOT), clocks(1, (ROOT, 0.0, 8), (7, 0.0, 1)),
        clocks(2, (ROOT, 0.0, 1), (7, 0.0, 7)), footer(3),
    )  # fmt: skip
    assert (made.threads.peak, made.threads.peak_s) == (9, 1.0)
    assert [process.threads_peak for process in made.processes] == [8, 7]
    assert {role.role: role.threads_peak for role in made.roles} == {"main": 8, "child": 7}


def test_the_mean_counts_threads_for_as_long_as_they_lived() -> None:
    made = summed(born(0), clocks(1, (ROOT, 0.0, 5)), clocks(3, (ROOT, 0.0, 1)), died(4), footer(4))
    assert made.threads.mean == pytest.approx((1 + 5 + 5 + 1) / 4)


def test_processes_that_follow_one_another_are_one_at_a_time() -> None:
    made = summed(
        born(0), *(line for t_s in (1, 2, 3) for line in (born(t_s, 7, ROOT), died(t_s + 0.5, 7))), footer(4)
    )
    assert (made.processes_peak, made.processes_total) == (2, 4)


# The agent's own thread


def with_agent(*more: Line) -> Report:
    lines = [
        born(0), threads_born(0, (ROOT, ROOT)), clocks(1, (ROOT, 0.0, 1)),
        threads_born(2, (ROOT, 55)), clocks(2, (ROOT, 0.0, 2)), clocks(3, (ROOT, 0.0, 3)),
    ]  # fmt: skip
    return summed(*lines, *more, footer(5))


def test_the_thread_of_the_agent_is_left_out_from_when_it_was_born() -> None:
    made = with_agent(pools(4, agent_tid=55))
    assert (made.threads.peak, made.threads.peak_s, made.threads.born) == (2, 3.0, 1)
    assert made.timeline.threads == (1, 2, 2)
    assert made.roles[0].threads_peak == made.processes[0].threads_peak == made.tree[0].threads == 2


def test_without_an_agent_every_thread_counts() -> None:
    made = with_agent(pools(4, agent_tid=None))
    assert (made.threads.peak, made.threads.born) == (3, 2)


def test_an_agent_whose_thread_nobody_listed_counts_from_its_report() -> None:
    made = recording(
        born(0), clocks(1, (ROOT, 0.0, 2)), pools(2, agent_tid=99), clocks(3, (ROOT, 0.1, 2)), footer(4)
    )
    assert population(made, processes.lives(made), ()).threads == ((0, 1), (1 * S, 2), (3 * S, 1))


def test_an_agent_whose_thread_nobody_listed_takes_no_other_off_the_count() -> None:
    # Workers so short that no round listed their threads, each with a report of its agent.
    workers = [
        line for pid in range(7, 12) for line in (born(1, pid, ROOT), pools(1, pid, agent_tid=pid + 50))
    ]
    made = summed(born(0), threads_born(0, (ROOT, ROOT), (ROOT, 55)), *workers, footer(3))
    assert made.threads.born == 2


@st.composite
def crowds(draw: st.DrawFn) -> Recording:
    lines = [born(0), threads_born(0, (ROOT, ROOT))]
    for pid in range(7, 7 + draw(st.integers(0, 4))):
        begin_s = draw(st.integers(0, 5))
        lines.append(born(begin_s, pid, draw(st.sampled_from([ROOT, 7])), role=draw(st.sampled_from("ab"))))
        lines += [
            clocks(t_s, (pid, 0.0, draw(st.integers(1, 9)))) for t_s in draw(st.sets(st.integers(0, 9)))
        ]
        if draw(st.booleans()):
            lines.append(died(draw(st.integers(begin_s, 9)), pid))
    return recording(*sorted(lines, key=lambda line: line["t_ns"]), footer(9), head=SLOW)


@ALWAYS_THE_SAME
@given(crowds())
def test_the_tree_at_the_peak_holds_all_its_threads(made: Recording) -> None:
    report = summarise(made)
    nodes = list(report.tree)
    for node in nodes:
        nodes += node.children
    assert sum(node.threads for node in nodes) == report.threads.peak
    assert len({node.pid for node in nodes}) == len(nodes) <= report.processes_peak <= report.processes_total
    assert sum(role.threads_peak for role in report.roles) >= report.threads.peak
    assert report.threads.mean <= report.threads.peak
    seen = [count for count in report.timeline.threads if count is not None]
    assert max(seen, default=0) <= report.threads.peak


def test_the_small_search_counts_its_threads() -> None:
    made = summed(*search(), head=SEARCH)
    # Three in each worker, one of them the agent's.
    assert (made.threads.peak, made.threads.born, made.processes_peak) == (5, 3, 3)
