"""Core-seconds: clocks, counters that go backwards, processes reaped between looks, capacity, neighbours."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelens.recording import Recording
from corelens.reports.facts import summarise
from corelens.reports.report import Report
from corelens.vocabulary import Line
from tests.made_recordings import (
    ALWAYS_THE_SAME,
    HOST,
    MS,
    ROOT,
    SEARCH,
    S,
    born,
    cgroup,
    clocks,
    cores,
    detail,
    died,
    footer,
    header,
    limits,
    ns,
    own,
    rate,
    recording,
    search,
)

SLOW = header(periods_ns={"tree": S, "threads": S})
"""Of recordings whose readings are a second apart, so that each covers its whole second."""


def summed(*lines: Line, head: Line | None = None) -> Report:
    return summarise(recording(*lines, head=head or SLOW))


def why(report: Report) -> dict[str, str]:
    return {one.what: one.reason for one in report.unseen}


def test_a_started_program_counts_from_its_beginning() -> None:
    made = summed(born(0, cpu_ns=20 * MS), clocks(1, (ROOT, 0.5, 1)), died(2, ROOT, 1.5), footer(2))
    assert made.cpu.used_core_s == pytest.approx(1.5)
    assert made.cpu.busy_cores_mean == pytest.approx(0.75)
    assert made.wall_s == 2.0
    assert made.timeline.busy_cores == pytest.approx((1.5 / 2,))


def test_an_attached_program_counts_from_its_first_reading() -> None:
    before = born(0, start_ticks=50_000, cpu_ns=100 * S)
    made = summed(before, clocks(1, (ROOT, 100.5, 1)), clocks(3, (ROOT, 102.0, 1)), footer(4),
                  head=header("attached"))  # fmt: skip
    assert made.cpu.used_core_s == pytest.approx(2.0)
    assert made.processes[0].used_core_s == pytest.approx(2.0)


def test_without_a_first_clock_the_first_reading_is_the_baseline() -> None:
    before = born(0, start_ticks=50_000, cpu_ns=None)
    made = summed(before, clocks(1, (ROOT, 100.5, 1)), clocks(3, (ROOT, 102.0, 1)), footer(4),
                  head=header("attached"))  # fmt: skip
    assert made.cpu.used_core_s == pytest.approx(1.5)


def test_a_child_of_an_attached_program_counts_whole() -> None:
    before = born(0, start_ticks=50_000, cpu_ns=100 * S)
    child = born(2, 7, ROOT, start_ticks=100_150, cpu_ns=ns(0.25))
    made = summed(before, child, died(3, 7, 0.75), footer(4), head=header("attached"))
    assert made.cpu.used_core_s == pytest.approx(0.75)


def test_what_a_process_used_before_its_first_look_lies_after_its_start() -> None:
    child = born(5, 7, ROOT, start_ticks=100, cpu_ns=4 * S)
    looks = [own(t_s) for t_s in range(10)]
    made = summed(born(0), child, *looks, died(10), footer(10))
    assert made.timeline.step_s == 2
    assert made.timeline.busy_cores == pytest.approx((0.5, 1.0, 0.5, 0.0, 0.0))


def test_a_counter_that_goes_backwards_gives_no_rate_and_counts_on() -> None:
    read = [clocks(t_s, (ROOT, cpu_s, 1)) for t_s, cpu_s in ((1, 0.9), (2, 0.1), (3, 0.6))]
    made = summed(born(0), *read, footer(3))
    assert made.cpu.used_core_s == pytest.approx(0.9 + 0.5)
    assert all(value is not None and value >= 0 for value in made.timeline.busy_cores)


def test_a_pid_used_again_counts_both_processes() -> None:
    made = summed(
        born(0),
        born(1, 7, ROOT), clocks(2, (7, 1.0, 1)), died(3, 7, 1.75),
        born(4, 7, ROOT), clocks(5, (7, 0.5, 1)), died(6, 7, 1.25),
        footer(6),
    )  # fmt: skip
    assert [process.used_core_s for process in made.processes] == pytest.approx([0.0, 1.75, 1.25])
    assert made.cpu.by_process_clock_core_s == pytest.approx(3.0)


def test_slow_counters_stand_in_for_a_clock_that_cannot_be_read() -> None:
    made = summed(
        born(0, cpu_ns=None),
        detail(1, ROOT, user_s=0.5, system_s=0.25),
        detail(2, ROOT, user_s=1.0, system_s=0.5),
        footer(2),
    )
    assert made.cpu.used_core_s == pytest.approx(1.5)
    assert "10 ms" in why(made)["exact CPU of some processes"]


def test_slow_counters_are_left_alone_where_the_clock_can_be_read() -> None:
    made = summed(born(0), clocks(1, (ROOT, 0.5, 1)), detail(1, ROOT, user_s=0.9), footer(1))
    assert made.cpu.used_core_s == pytest.approx(0.5)
    assert "exact CPU of some processes" not in why(made)


def test_processes_reaped_between_looks_lose_no_cpu() -> None:
    made = summed(
        born(0),
        *(detail(t_s, ROOT, reaped_s=0.8 * t_s) for t_s in range(1, 11)),
        died(10, ROOT, 0.5),
        footer(10, user_s=8.0, system_s=0.5),
    )
    assert made.cpu.used_core_s == pytest.approx(8.5)
    assert made.cpu.by_process_clock_core_s == pytest.approx(0.5)
    assert made.cpu.user_share == pytest.approx(8.0 / 8.5)
    assert made.timeline.busy_cores == pytest.approx((0.8, 0.8, 0.8, 0.8, 0.8 + 0.5 / 2))
    assert why(made)["who used part of the CPU"].startswith("8.00 core-s were used by processes that ended")


def test_what_was_reaped_and_known_counts_once() -> None:
    made = summed(
        born(0), born(1, 7, ROOT), clocks(2, (7, 1.0, 1)), died(3, 7, 2.0),
        detail(4, ROOT, reaped_s=2.0), died(5, ROOT, 0.0), footer(5, user_s=2.0),
    )  # fmt: skip
    assert made.cpu.used_core_s == pytest.approx(2.0)
    assert "who used part of the CPU" not in why(made)


def test_a_grandchild_that_its_parent_reaped_counts_once() -> None:
    # The grandchild (8) is known; its CPU comes up to the root through its parent (7).
    made = summed(
        born(0), born(1, 7, ROOT), born(1, 8, 7), died(2, 8, 1.0), detail(3, 7, reaped_s=1.0),
        died(4, 7, 0.5), detail(5, ROOT, reaped_s=1.5), died(6, ROOT, 0.0), footer(6, user_s=1.5),
    )  # fmt: skip
    assert made.cpu.used_core_s == pytest.approx(1.5)


def test_a_parent_that_was_reaped_before_its_counters_were_read_again_counts_once() -> None:
    # A shell (7) whose command (8) is known: the shell is gone before anybody reads that it reaped it.
    made = summed(
        born(0), born(1, 7, ROOT), detail(1, 7), born(1, 8, 7), died(2, 8, 1.0), died(2.001, 7, 0.25),
        detail(3, ROOT, reaped_s=1.25), died(4, ROOT, 0.0), footer(4, user_s=1.25),
    )  # fmt: skip
    assert made.cpu.used_core_s == pytest.approx(1.25)
    assert not {"who used part of the CPU", "a second count of all CPU"} & why(made).keys()


def test_a_root_whose_last_counters_were_lost_counts_its_children_once() -> None:
    made = summed(born(0), born(1, 7, ROOT), died(3, 7, 2.0), died(4, ROOT, 0.5), footer(4, user_s=2.5))
    assert made.cpu.used_core_s == pytest.approx(2.5)


def test_a_lost_death_in_a_damaged_recording_counts_no_cpu_twice() -> None:
    lines = [born(0), born(1, 7, ROOT), clocks(3, (7, 2.0, 1)), detail(4, ROOT, reaped_s=2.0)]
    lines += [died(4, ROOT, 0.5), footer(4, user_s=2.5)]
    damaged = summarise(recording(*lines, head=SLOW, missing_chunks=1))
    assert damaged.cpu.used_core_s == pytest.approx(2.5)
    # Without damage it is a daemon that still runs, and somebody else was reaped.
    assert summed(*lines).cpu.used_core_s == pytest.approx(4.5)


def test_a_stand_in_for_a_lost_root_reaped_nothing() -> None:
    lines = [born(0, 7, ROOT), clocks(3, (7, 2.0, 1)), born(0, 8, ROOT), clocks(3, (8, 3.0, 1))]
    made = summarise(recording(*lines, footer(4, user_s=5.5), head=SLOW, missing_chunks=1))
    assert made.cpu.used_core_s == pytest.approx(5.5)


def test_hidden_cpu_lies_where_the_counters_outran_the_known_children() -> None:
    # The known child dies in the very look that counts it, and two core-seconds of others come after it.
    made = summed(
        born(0), born(0, 7, ROOT), clocks(2, (7, 2.0, 1)), died(2, 7, 2.0),
        detail(2, ROOT, reaped_s=2.0), detail(4, ROOT, reaped_s=4.0), died(4, ROOT, 0.0), footer(4, user_s=4.0),
    )  # fmt: skip
    assert made.timeline.step_s == 2
    assert made.timeline.busy_cores == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize(("hidden_s", "told"), [(0.202, False), (0.206, True)])
def test_two_per_cent_of_everything_are_worth_telling(hidden_s: float, told: bool) -> None:
    lines = [born(0), clocks(10, (ROOT, 10.0, 1)), died(10, ROOT, 10.0), footer(10, user_s=10.0 + hidden_s)]
    assert ("who used part of the CPU" in why(summed(*lines))) is told


@pytest.mark.parametrize(("hidden_s", "told"), [(0.02, False), (0.021, True)])
def test_two_ticks_are_rounding(hidden_s: float, told: bool) -> None:
    lines = [born(0), died(1, ROOT, 0.1), footer(1, user_s=0.1 + hidden_s)]
    assert ("who used part of the CPU" in why(summed(*lines))) is told


def test_a_child_that_outlived_its_parent_was_not_reaped_by_it() -> None:
    # The daemon (8) is no part of what the root reaped, so the 2 core-s there are another child's.
    made = summed(
        born(0), born(1, 7, ROOT), born(1, 8, 7), died(2, 7, 0.0), clocks(3, (8, 1.0, 1)), died(3, 8, 1.0),
        detail(4, ROOT, reaped_s=2.0), died(4, ROOT, 0.0), footer(4, user_s=2.0),
    )  # fmt: skip
    assert made.cpu.used_core_s == pytest.approx(3.0)


def test_what_was_used_after_the_last_look_is_in_wait4() -> None:
    made = summed(born(0), clocks(1, (ROOT, 0.5, 1)), died(2), footer(2, user_s=1.0, system_s=0.25))
    assert made.cpu.used_core_s == pytest.approx(1.25)
    assert made.cpu.by_process_clock_core_s == pytest.approx(0.5)


def test_daemons_that_nobody_waited_for_are_told() -> None:
    made = summed(
        born(0), born(1, 7, ROOT), clocks(4, (7, 3.0, 1)), died(4, ROOT, 0.5), footer(4, user_s=0.5)
    )
    assert made.cpu.used_core_s == pytest.approx(3.5)
    assert why(made)["a second count of all CPU"].startswith("3.00 core-s more were seen than wait4 told")


def test_an_attached_parent_has_reaped_children_before() -> None:
    before = born(0, start_ticks=50_000, cpu_ns=0)
    read = [detail(1, ROOT, reaped_s=70), detail(3, ROOT, reaped_s=71)]
    made = summed(before, *read, footer(4), head=header("attached"))
    assert made.cpu.used_core_s == pytest.approx(1.0)


def test_the_user_share_of_an_attached_program_is_of_what_was_recorded() -> None:
    before = born(0, start_ticks=50_000, cpu_ns=0)
    read = [detail(1, ROOT, user_s=100, system_s=50), detail(3, ROOT, user_s=103, system_s=51)]
    assert summed(before, *read, footer(4), head=header("attached")).cpu.user_share == pytest.approx(0.75)
    assert summed(before, footer(4), head=header("attached")).cpu.user_share is None


def test_the_user_share_keeps_apart_the_processes_that_shared_a_pid() -> None:
    before = born(0, start_ticks=50_000, cpu_ns=0)
    made = summed(
        before,
        born(1, 7, ROOT, start_ticks=100_100), detail(1, 7, user_s=0), detail(2, 7, user_s=3), died(3, 7),
        born(4, 7, ROOT, start_ticks=100_400), detail(4, 7), detail(5, 7, system_s=1), died(6, 7),
        footer(6), head=header("attached"),
    )  # fmt: skip
    assert made.cpu.user_share == pytest.approx(0.75)


def test_the_rate_after_a_change_of_the_governor_is_spread_over_the_new_period() -> None:
    # Busy throughout, read every 0.1 s until the governor slows the probe to 2 s.
    often = [clocks(0.1 * step, (ROOT, 0.1 * step, 1)) for step in range(1, 41)]
    seldom = [clocks(t_s, (ROOT, t_s, 1)) for t_s in (6, 8)]
    made = summed(born(0), *often, rate(4, "tree", 2.0), *seldom, footer(8), head=header())
    assert made.cpu.busy_cores_peak == pytest.approx(1.0)
    assert made.timeline.busy_cores == pytest.approx((1.0,) * 40)
    assert made.recorder.rate_changes == (
        "at 4.0 s the tree probe went to 2 s (over-budget: the recorder used 0.020 cores)",
    )


def test_where_nobody_looked_nothing_is_claimed() -> None:
    made = summed(born(0), clocks(1, (ROOT, 1.0, 1)), clocks(9, (ROOT, 9.0, 1)), footer(10))
    assert made.timeline.step_s == 2
    assert [value is None for value in made.timeline.busy_cores] == [False, True, True, True, False]
    assert made.timeline.threads == (1, None, None, None, 1)
    assert made.cpu.used_core_s == pytest.approx(9.0)


# Capacity


def test_a_quota_that_changes_is_averaged_over_time() -> None:
    made = summed(
        limits(0, 4.0, "affinity"), limits(3, 1.0, "quota", quota_cores=1.0), born(0),
        clocks(4, (ROOT, 4.0, 1)), footer(4),
    )  # fmt: skip
    assert made.capacity.cores == pytest.approx(3.25)
    assert (made.capacity.because, made.capacity.quota_cores) == ("affinity, then quota", 1.0)
    assert made.cpu.utilisation == pytest.approx(1.0 / 3.25)
    assert made.timeline.capacity_cores == (4.0, 1.0)


def test_offline_cores_are_not_counted() -> None:
    made = summed(
        limits(0, 2.0, "online", online_cores=[0, 2], affinity_cores=[0, 2]),
        born(0), cores(0, (0, 0, 0, 0), (2, 0, 0, 0)), cores(2, (0, 100, 100, 0), (2, 0, 200, 0)), footer(2),
    )  # fmt: skip
    assert (made.capacity.online_cores, made.capacity.affinity_cores, made.capacity.cores) == (2, 2, 2.0)
    assert made.timeline.cores == (0, 2)
    assert made.timeline.core_busy == ((0.5,), (0.0,))


def test_a_core_that_goes_offline_has_no_share_from_then_on() -> None:
    made = summed(
        born(0),
        cores(0, (0, 0, 0, 0), (1, 0, 0, 0)),
        cores(2, (0, 200, 0, 0), (1, 50, 150, 0)),
        cores(4, (0, 200, 200, 0)),
        footer(4),
    )
    assert made.timeline.core_busy == ((1.0, 0.0), (0.25, None))


def test_without_limits_all_logical_cores_count() -> None:
    made = summed(born(0), footer(1))
    assert (made.capacity.cores, made.capacity.online_cores) == (4.0, 4)
    assert made.capacity.because == "logical cores; the limits were not read"
    assert why(made)["limits"].startswith("they were not read")
    unknown = summed(born(0), footer(1), head={**SLOW, "host": {**HOST, "logical_cores": None}})
    assert unknown.capacity.cores == 1.0


def test_throttling_counts_since_the_beginning_on_the_worst_level() -> None:
    made = summed(
        born(0), cgroup(0, "/a", 7.0), cgroup(0, "/a/b", 2.0), cgroup(1, "/a", 7.25), cgroup(1, "/a/b", 3.0),
        cgroup(1, "/memory-only", None), footer(1),
    )  # fmt: skip
    assert made.capacity.throttled_s == pytest.approx(1.0)
    assert summed(born(0), cgroup(0, "/a", 7.0), cgroup(1, "/a", 7.0), footer(1)).capacity.throttled_s == 0.0
    assert summed(born(0), footer(1)).capacity.throttled_s is None


# Everybody's cores


def test_others_are_what_the_cores_did_beyond_the_program_and_the_recorder() -> None:
    made = summed(
        born(0), cores(0, (0, 0, 0, 0), (1, 0, 0, 0)), clocks(10, (ROOT, 8.0, 1)),
        cores(10, (0, 900, 50, 50), (1, 500, 500, 0)), own(10, 1.0), footer(10, own_cpu_ns=S),
    )  # fmt: skip
    assert made.cpu.others_cores_mean == pytest.approx((14.0 - 8.0 - 1.0) / 10)
    assert made.cpu.steal_cores_mean == pytest.approx(0.05)


def test_idle_ticks_that_go_backwards_are_no_rate() -> None:
    made = summed(born(0), cores(0, (0, 0, 9, 0)), cores(1, (0, 100, 8, 0)), footer(1))
    assert made.timeline.core_busy == ((1.0,),)


def test_one_reading_of_the_cores_is_none() -> None:
    made = summed(born(0), cores(0, (0, 0, 0, 0)), footer(1))
    assert (made.cpu.others_cores_mean, made.cpu.steal_cores_mean) == (None, None)
    assert (made.timeline.cores, made.timeline.core_busy) == ((), ())
    assert why(made)["use of the cores by others, steal"].startswith("the counters of the cores were read")


def test_others_are_never_less_than_none() -> None:
    made = summed(
        born(0), cores(0, (0, 0, 0, 0)), clocks(1, (ROOT, 0.9, 1)), cores(1, (0, 85, 15, 0)), footer(1)
    )
    assert made.cpu.others_cores_mean == 0.0


# The recorder


def test_a_cut_recording_tells_the_cost_it_last_wrote() -> None:
    made = summed(born(0), own(2, 0.5, missed=3), own(4, 1.0, missed=5))
    cost = made.recorder
    assert (cost.own_core_s, cost.own_cores, cost.ticks, cost.ticks_missed) == (1.0, 0.25, 10, 5)
    assert ("an even sampling rate", "5 of 15 rounds were skipped, late", 5) in [
        (one.what, one.reason, one.times) for one in made.unseen
    ]


def test_a_recording_cut_at_once_tells_no_cost() -> None:
    cost = summed(born(0)).recorder
    assert (cost.own_core_s, cost.own_cores, cost.rss_bytes) == (0.0, 0.0, None)


def test_the_footer_tells_the_cost_of_a_whole_recording() -> None:
    cost = summed(born(0), footer(10, own_cpu_ns=S, own_max_rss_bytes=5), head=header()).recorder
    assert (cost.own_core_s, cost.own_cores, cost.rss_bytes, cost.rate_hz) == (1.0, 0.1, 5, 10.0)


# Sums


@st.composite
def programs(draw: st.DrawFn) -> Recording:
    """A program of busy processes on a machine of four cores, each read as often as it pleases.

    No more processes than cores run, none faster than time, and the footer knows the whole truth.
    """
    lines: list[Line] = [limits(0, 4.0), born(0)]
    total_s = 0.0
    for pid in range(201, 201 + draw(st.integers(1, 4))):
        begin_s, busy = draw(st.integers(0, 40)) / 10, draw(st.integers(0, 10)) / 10
        end_s = begin_s + draw(st.integers(1, 50)) / 10
        lines.append(born(begin_s, pid, ROOT, role=draw(st.sampled_from(["child", "loky-worker", "shell"]))))
        for t_s in sorted(draw(st.sets(st.floats(begin_s, end_s), max_size=5))):
            lines.append(clocks(t_s, (pid, busy * (t_s - begin_s), 1)))
        used_s = busy * (end_s - begin_s)
        lines.append(died(end_s, pid, draw(st.sampled_from([None, used_s]))))
        total_s += used_s
    lines += [detail(9.5, ROOT, reaped_s=math.floor(total_s * 100) / 100)] * draw(st.integers(0, 1))
    in_order = sorted(lines, key=lambda line: line["t_ns"])
    return recording(*in_order, died(10, ROOT, 0.0), footer(10, user_s=total_s))


@ALWAYS_THE_SAME
@given(programs())
def test_no_core_second_is_lost_or_counted_twice(made: Recording) -> None:
    found = summarise(made)
    assert made.footer is not None
    # Two counters of 10 ms may be rounded.
    assert found.cpu.used_core_s == pytest.approx(made.footer["user_ns"] / S, abs=0.021)


@ALWAYS_THE_SAME
@given(programs())
def test_roles_processes_and_bins_add_up(made: Recording) -> None:
    found = summarise(made)
    by_clock = found.cpu.by_process_clock_core_s
    assert sum(role.used_core_s for role in found.roles) == pytest.approx(by_clock)
    assert sum(process.used_core_s for process in found.processes) == pytest.approx(by_clock)
    assert sum(role.processes for role in found.roles) == found.processes_total == len(found.processes)
    for role in found.roles:
        assert role.used_core_s == pytest.approx(role.used_core_s_spread.mean * role.processes)
    bins = found.timeline.busy_cores
    # Grids divide ten seconds evenly, so every bin is as wide as the first.
    used = sum(value or 0.0 for value in bins) * found.timeline.step_s
    if None not in bins:
        assert used == pytest.approx(found.cpu.used_core_s, abs=1e-6)
    assert max(value or 0.0 for value in bins) <= found.cpu.busy_cores_peak + 1e-9


@ALWAYS_THE_SAME
@given(st.integers(1, 4), st.integers(1, 99), st.integers(3, 60))
def test_busy_cores_stay_within_the_capacity(processes: int, period_ms: int, rounds: int) -> None:
    """All processes run all the time and are read in every round, the last one a moment after the end."""
    pids = range(201, 201 + processes)
    end_s = period_ms * rounds / 1000
    lines = [limits(0, float(processes)), born(0, cpu_ns=0), *(born(0, pid, ROOT) for pid in pids)]
    for step in range(1, rounds + 1):
        t_s = period_ms * step / 1000
        lines.append(clocks(t_s, *((pid, t_s, 1) for pid in pids)))
    lines += [died(end_s - 0.0004, ROOT), footer(end_s)]
    found = summarise(recording(*lines, head=header(periods_ns={"tree": period_ms * MS})))
    assert found.cpu.busy_cores_peak == pytest.approx(processes, rel=1e-3)


def test_the_small_search_adds_up() -> None:
    made = summed(*search(), head=SEARCH)
    assert made.cpu.used_core_s == pytest.approx(7.2)
    assert made.cpu.run_queue_wait_share == pytest.approx(0.25 * 7 / (7.2 + 0.25 * 7))
    assert [(role.role, role.processes, role.used_core_s) for role in made.roles] == [
        ("loky-worker", 2, pytest.approx(7.0)),
        ("main", 1, pytest.approx(0.2)),
    ]
