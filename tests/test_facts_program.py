"""Trials, pools, memory and workers; where the recording comes from and what it does not show."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelens.recording import Damage
from corelens.reports.agreement import agreement
from corelens.reports.facts import processes, summarise
from corelens.reports.facts.workers import workers
from corelens.reports.report import Pool, Report, Spread, Trials
from corelens.vocabulary import Line
from tests.made_recordings import (
    ALWAYS_THE_SAME,
    HOST,
    MIB,
    ROOT,
    SEARCH,
    S,
    born,
    changed,
    detail,
    died,
    footer,
    gap,
    header,
    library,
    limits,
    mark,
    memory,
    ns,
    own,
    pools,
    rate,
    recording,
    search,
    trial,
)


def summed(*lines: Line, head: Line | None = None) -> Report:
    return summarise(recording(*lines, head=head))


def trials(*lines: Line, end_s: float = 10) -> Trials:
    found = summed(born(0), *lines, died(end_s), footer(end_s)).trials
    assert found is not None
    return found


def why(report: Report) -> dict[str, tuple[str, int]]:
    return {one.what: (one.reason, one.times) for one in report.unseen}


def repr_start(value: object) -> str:
    """Name a case by the beginning of its value."""
    return repr(value)[:12]


# Trials


def test_begins_and_ends_make_trials() -> None:
    made = trials(*trial(1, 3, 1, value=0.5), *trial(0.5, 4.5, 0, value=1, state="COMPLETE"))
    first, second = made.trials
    assert (first.number, first.begin_s, first.end_s, first.value, first.state) == (
        0,
        0.5,
        4.5,
        1.0,
        "complete",
    )
    assert (second.number, second.parameters) == (1, {"x": 1})
    assert (made.complete, made.unfinished, made.failed) == (2, 0, 0)
    assert (made.span_s, made.per_hour) == (4.0, 1800.0)
    assert made.duration_s == Spread(2, 2.0, 3.0, 4.0, 3.0)
    assert made.overlap_mean == pytest.approx(6 / 4)


def test_a_trial_without_its_end_is_unfinished_and_in_flight() -> None:
    made = trials(*trial(0, 4, 0), *trial(1, None, 1))
    assert (made.complete, made.unfinished) == (1, 1)
    assert (made.trials[1].state, made.trials[1].end_s) == ("unfinished", None)
    assert made.overlap_mean == pytest.approx((4 + 3) / 4)


def test_trials_none_of_which_ended_have_no_rate() -> None:
    made = trials(*trial(0, None, 0), *trial(1, None, 1))
    assert (made.span_s, made.per_hour, made.duration_s, made.overlap_mean) == (None, None, None, None)
    assert made.unfinished == 2


def test_trials_that_failed_count_for_no_rate_and_no_duration() -> None:
    made = trials(*trial(0, 4, 0), *trial(4, 5, 1, state="FAIL"), *trial(5, 6, 2, state="pruned"))
    assert (made.complete, made.failed, made.unfinished) == (1, 1, 0)
    assert made.per_hour == pytest.approx(3600 / 6)
    assert made.duration_s == Spread(2, 1.0, 2.5, 4.0, 2.5)


def test_an_end_without_its_begin_is_lost_and_told() -> None:
    only_end = trial(0, 4, 0)[1]
    made = summed(born(0), only_end, *trial(1, 2, 1), footer(5))
    assert made.trials is not None
    assert len(made.trials.trials) == 1
    assert why(made)["whole trials"] == ("their begin was not recorded", 1)


def test_marks_of_forked_workers_are_told_apart_by_their_pid() -> None:
    # Both inherited the same counter, so both call their first span by the same number.
    lines = [
        mark(begin_s, "trial", phase, "1", pid, number=pid)
        for pid, begin_s, end_s in ((201, 0, 2), (202, 1, 5))
        for phase, begin_s in (("begin", begin_s), ("end", end_s))
    ]
    made = trials(*sorted(lines, key=lambda line: line["t_ns"]))
    assert [(one.pid, one.begin_s, one.end_s) for one in made.trials] == [(201, 0.0, 2.0), (202, 1.0, 5.0)]


def test_a_span_begun_before_a_fork_does_not_end_in_the_child() -> None:
    begun, ended = trial(0, 2, 0)
    made = summed(born(0), begun, {**ended, "pid": 201}, footer(5))
    assert made.trials is not None
    assert (made.trials.unfinished, why(made)["whole trials"][1]) == (1, 1)


def test_a_repeated_mark_counts_once() -> None:
    assert len(trials(*trial(0, 1, 0), *trial(0, 1, 0)).trials) == 1


def test_marks_of_another_name_or_phase_are_no_trials() -> None:
    other = [
        mark(1, "import", "begin", "1"),
        mark(1, "trial", "point", None),
        mark(1, "trial", "begin", None),
    ]
    assert summed(born(0), *other, footer(2)).trials is None


def test_an_end_before_its_begin_takes_no_time() -> None:
    assert trials(*trial(2, 1, 0)).trials[0].end_s == 2.0


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.5", None, True, [1], 10**400], ids=repr_start)
def test_a_value_that_is_no_finite_number_is_absent(value: object) -> None:
    assert trials(*trial(0, 1, 0, value=value)).trials[0].value is None


@pytest.mark.parametrize("number", ["3", None, 2.0, True])
def test_a_number_that_is_no_whole_number_is_absent(number: object) -> None:
    assert trials(mark(0, "trial", "begin", "1", number=number)).trials[0].number is None


def test_parameters_that_are_no_object_are_none() -> None:
    assert trials(mark(0, "trial", "begin", "1", params=[1, 2])).trials[0].parameters == {}


@ALWAYS_THE_SAME
@given(st.lists(st.tuples(st.integers(0, 90), st.integers(1, 9), st.booleans()), min_size=1, max_size=9))
def test_trials_add_up(drawn: list[tuple[int, int, bool]]) -> None:
    lines = [
        line
        for number, (begin_s, lasted_s, ends) in enumerate(drawn)
        for line in trial(begin_s, begin_s + lasted_s if ends else None, number)
    ]
    made = trials(*lines, end_s=100)
    assert made.complete + made.unfinished + made.failed == len(made.trials) == len(drawn)
    assert [one.begin_s for one in made.trials] == sorted(one.begin_s for one in made.trials)
    if made.overlap_mean is not None and made.span_s is not None and made.unfinished == 0:
        assert made.overlap_mean * made.span_s == pytest.approx(sum(lasted for _, lasted, _ in drawn))
        assert 0 < made.overlap_mean <= len(drawn)


def test_what_the_user_says_of_a_run_is_the_last_word() -> None:
    head = header(labels={"scale": "mine"})
    said = mark(0, "search", "point", None, scale="small", workers=2)
    assert summed(born(0), said, footer(1), head=head).source.labels == {"scale": "mine", "workers": "2"}


# Workers and memory


def test_workers_are_told_by_their_role() -> None:
    roles = ["pool-worker-fork", "loky-worker", "dataloader-worker", "resource-tracker", "child"]
    lives = processes.lives(
        recording(born(0), *(born(1, 200 + place, ROOT, role=role) for place, role in enumerate(roles)))
    )
    assert [life.pid for life in workers(lives, ())] == [200, 201, 202]


def test_ray_workers_that_did_nothing_are_no_workers() -> None:
    idle = {"role": "ray-worker", "argv": ["ray::IDLE"]}
    lives = processes.lives(
        recording(
            born(0),
            *(born(1, pid, ROOT, **idle) for pid in (7, 8, 9)),
            changed(2, 7, argv=["ray::work"]),
            changed(3, 7, argv=["ray::IDLE"]),
        )
    )
    (marked,) = trials(*trial(1, 2, 0, pid=8)).trials
    assert [life.pid for life in workers(lives, [marked])] == [7, 8]


def test_memory_is_that_of_the_workers_at_their_largest() -> None:
    made = summed(*search(), head=SEARCH)
    assert (made.memory.workers, made.memory.of) == (2, "workers")
    assert made.memory.rss_bytes == Spread(2, 100 * MIB, 110 * MIB, 120 * MIB, 110 * MIB)
    assert made.memory.pss_bytes == Spread(2, 60 * MIB, 70 * MIB, 80 * MIB, 70 * MIB)
    assert made.memory.tree_peak_rss_bytes == 230 * MIB


def test_without_workers_it_is_that_of_the_main_process() -> None:
    made = summed(born(0), detail(1, ROOT, rss=MIB), born(1, 7, ROOT), detail(1, 7, rss=5 * MIB), footer(2))
    assert (made.memory.of, made.memory.workers, made.memory.pss_bytes) == ("main process", 0, None)
    assert made.memory.rss_bytes == Spread(1, MIB, MIB, MIB, MIB)


def test_the_tree_holds_the_memory_of_those_who_live() -> None:
    made = summed(
        born(0), detail(1, ROOT, rss=MIB), born(1, 7, ROOT), detail(2, 7, rss=4 * MIB), died(3, 7),
        detail(5, ROOT, rss=2 * MIB), died(6), footer(6), head=header(periods_ns={"tree": S}),
    )  # fmt: skip
    assert made.memory.tree_peak_rss_bytes == 5 * MIB
    assert made.timeline.rss_bytes == (MIB, 5 * MIB, 2 * MIB)


def test_what_moves_from_one_process_to_another_in_one_look_counts_once() -> None:
    made = summed(
        born(0), born(0, 7, ROOT), detail(1, ROOT, rss=MIB), detail(1, 7, rss=8 * MIB),
        detail(2, ROOT, rss=8 * MIB), detail(2, 7, rss=MIB), footer(3),
    )  # fmt: skip
    assert made.memory.tree_peak_rss_bytes == 9 * MIB


def test_a_dead_process_holds_no_memory() -> None:
    made = summed(born(0), detail(1, ROOT, rss=None), footer(2))
    assert (made.memory.rss_bytes, made.memory.tree_peak_rss_bytes) == (None, None)
    assert made.timeline.rss_bytes == (None,) * len(made.timeline.threads)


def test_faults_count_while_recording() -> None:
    old = born(0, start_ticks=50_000)
    attached = summed(old, detail(1, ROOT, faults=70), detail(2, ROOT, faults=75), head=header("attached"))
    assert attached.processes[0].major_faults == 5
    assert summed(born(0), detail(1, ROOT, faults=70)).processes[0].major_faults == 70
    assert summed(born(0), detail(1, ROOT, faults=0)).processes[0].major_faults == 0
    assert summed(born(0)).processes[0].major_faults is None


def test_a_pss_that_could_not_be_read_is_absent() -> None:
    made = summed(born(0), memory(1, (ROOT, None), (9, 5)), footer(2))
    assert made.processes[0].pss_peak_bytes is None
    assert why(made)["PSS"][1] == 1


# Pools


def test_pools_are_as_the_agent_saw_them_last() -> None:
    made = summed(
        born(0),
        pools(1, libraries=[library(4)]),
        pools(2, libraries=[library(2), library(3, internal_api="openmp", prefix="libgomp")], torch_threads=2,
              torch_interop_threads=1, versions={"torch": "2.13.0"}),
        footer(3),
    )  # fmt: skip
    assert made.pools == (
        Pool(ROOT, "main", "openblas", "0.3.30", "/lib/libopenblas.so", 2),
        Pool(ROOT, "main", "openmp (libgomp)", "0.3.30", "/lib/libopenblas.so", 3),
        Pool(ROOT, "main", "torch intra-op", "2.13.0", None, 2),
        Pool(ROOT, "main", "torch inter-op", "2.13.0", None, 1),
    )
    assert made.packages == {"torch": "2.13.0"}


def test_what_was_loaded_is_kept_when_the_process_tears_down() -> None:
    made = summed(
        born(0), pools(1, libraries=[library(4)], torch_threads=2), pools(2, moment="exit"), footer(3)
    )
    assert [pool.size for pool in made.pools] == [4, 2]


def test_a_library_that_says_little_is_shown_with_what_it_says() -> None:
    odd = [
        library(1, internal_api=None, prefix="libx", version=7, filepath=None),
        library(2, num_threads=None),
    ]
    odd += [{"num_threads": 3}]
    made = summed(born(0), pools(1, libraries=odd), footer(3))
    assert [(pool.library, pool.version, pool.path, pool.size) for pool in made.pools] == [
        ("libx", None, None, 1), ("unknown", None, None, 3),
    ]  # fmt: skip


def test_variables_that_changed_after_exec_are_named() -> None:
    made = summed(
        born(0, variables={"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "2"}),
        pools(
            1, variables={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "KMP_DUPLICATE_LIB_OK": "True"}
        ),
        footer(2),
    )
    (view,) = made.views
    assert view.changed_late == ("MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    assert view.cpu_count == 4


def test_unknown_variables_at_exec_have_not_changed() -> None:
    (view,) = summed(born(0, variables=None), pools(1, variables={"A": "1"}), footer(2)).views
    assert (view.variables_at_exec, view.changed_late) == (None, ())


def test_reports_of_agents_are_told_apart_where_a_pid_is_used_again() -> None:
    made = summed(
        born(0), born(1, 7, ROOT), pools(2, 7, libraries=[library(2)]), died(3, 7),
        born(4, 7, ROOT), pools(5, 7, libraries=[library(8)]), pools(5, 9, libraries=[library(9)]), footer(6),
    )  # fmt: skip
    assert [pool.size for pool in made.pools] == [2, 8]


def test_versions_that_were_loaded_win_over_those_that_are_installed() -> None:
    installed: Line = {
        "kind": "packages",
        "t_ns": 0,
        "exe": "/usr/bin/python",
        "versions": {"torch": "1", "ray": "2"},
    }
    made = summed(born(0), installed, pools(1, versions={"torch": "3"}), footer(2))
    assert made.packages == {"ray": "2", "torch": "3"}


# The recording itself


def test_a_whole_recording_says_how_it_ended() -> None:
    source = summed(born(0), died(1), footer(1, exit_code=None, signal=9, reason="target-ended")).source
    assert (source.complete, source.end_reason, source.exit_code, source.signal) == (
        True, "target-ended", None, 9,
    )  # fmt: skip
    assert source.argv == ("python", "search.py")


def test_a_cut_recording_says_so_and_ends_with_its_last_line() -> None:
    made = summed(born(0), own(7))
    assert (made.source.complete, made.source.end_reason, made.wall_s) == (False, "cut", 7.0)
    assert why(made)["the end of the recording"] == (
        "the recording was cut after 7.0 s: it has no last line", 1,
    )  # fmt: skip


def test_a_cut_recording_knows_the_end_of_its_program_where_it_saw_it() -> None:
    made = summed(born(0), died(5, exit_code=3), own(7))
    assert (made.wall_s, made.source.exit_code) == (5.0, 3)


def test_damage_is_told_with_its_place() -> None:
    made = summarise(recording(born(0), footer(1), damage=[Damage(1000, 2000, "invalid block type")]))
    assert not made.source.complete
    assert made.source.damage == ("2,000 bytes from byte 1,000 on are unreadable: invalid block type",)
    assert why(made)["part of the file"][0] == made.source.damage[0]


def test_members_that_are_missing_without_a_trace_are_told() -> None:
    made = summarise(recording(born(0), footer(1), missing_chunks=3))
    assert made.source.damage == ("3 members are missing, by their numbers",)
    assert not made.source.complete


def test_without_a_command_line_the_first_process_names_the_run() -> None:
    head = header("attached", target={"how": "attached", "pid": ROOT, "argv": []})
    assert summed(born(0, argv=["a", "b"]), head=head).source.argv == ("a", "b")


def test_the_host_is_as_the_header_says() -> None:
    made = summed(born(0)).host
    assert (made.hostname, made.kernel, made.cpu_model, made.python) == ("lab", "6.18", "EPYC", "3.11.7")
    assert (made.logical_cores, made.physical_cores, made.memory_bytes) == (4, 2, 8_000_000_000)


def test_a_host_that_says_nothing_is_unknown() -> None:
    made = summed(born(0), head=header(host=dict.fromkeys(HOST))).host
    assert (made.hostname, made.logical_cores, made.physical_cores, made.memory_bytes) == (
        "unknown",
        1,
        None,
        0,
    )


def test_what_cannot_be_seen_from_here_is_told() -> None:
    sees = [
        {"name": "PSS of others", "ok": False, "reason": "needs root"},
        {"name": "schedstat", "ok": True, "reason": ""},
        {"name": "agent", "ok": False, "reason": "not started by us"},
    ]
    told = why(summed(born(0), footer(1), head=header(sees=sees)))
    assert told["PSS of others"] == ("needs root", 1)
    assert not {"schedstat", "agent"} & told.keys()


def test_gaps_with_one_cause_are_one() -> None:
    made = summed(
        born(0),
        *(gap(1, f"/proc/{pid}/io", pid=pid, said="permission denied") for pid in (7, 8, 9)),
        gap(2, "/proc/7/io", reason="gone", pid=7),
        gap(3, "/proc/pressure", reason="unsupported", said="no such file"),
        footer(4),
    )
    found = [(one.what, one.reason, one.times) for one in made.unseen]
    assert ("/proc/PID/io", "forbidden: permission denied", 3) in found
    assert ("/proc/PID/io", "gone", 1) in found
    assert ("/proc/pressure", "unsupported: no such file", 1) in found
    assert len(found) == len(set(found))


def test_each_change_of_the_rate_is_told() -> None:
    made = summed(born(0), rate(2, "threads", 0.5), footer(3))
    reason = "at 2.0 s the threads probe went to 0.5 s (over-budget: the recorder used 0.020 cores)"
    assert why(made)["an even sampling rate"] == (reason, 1)


@pytest.mark.parametrize(
    ("how", "agent", "expected"),
    [
        ("started", False, "the in-process agent was not asked for; record with --agent"),
        ("started", True, "no agent reported"),
        ("attached", False, "the program was running already, so that no agent could be handed to it"),
    ],
)
def test_without_pools_the_reason_fits_the_recording(how: str, agent: bool, expected: str) -> None:
    told = why(summed(born(0), footer(1), head=header(how, agent=agent)))
    assert told["pools, and limit variables as they are now"] == (expected, 1)


def test_nothing_is_unseen_where_everything_was_seen() -> None:
    told = why(summed(*search(), head=SEARCH))
    assert "/proc/PID/io" in told
    assert not told.keys() & {
        "the end of the recording", "part of the file", "who used part of the CPU", "a second count of all CPU",
        "exact CPU of some processes", "use of the cores by others, steal", "limits", "trials", "whole trials",
        "pools, and limit variables as they are now", "PSS", "an even sampling rate",
    }  # fmt: skip


def test_why_there_are_no_trials() -> None:
    assert why(summed(born(0), limits(0, 1), footer(1)))["trials"][0].endswith("see corelens.mark")
    attached = summed(born(0), footer(1), head=header("attached"))
    assert why(attached)["trials"][0] == "marks reach only a recorder that started the program"


# Agreement of the values that runs found


def found_values(*values: float | None) -> Report:
    lines = [line for number, value in enumerate(values) for line in trial(0, 1, number, value=value)]
    return summed(born(0), *lines, footer(ns(2) / S))


def test_values_agree_bit_for_bit() -> None:
    same, other = found_values(0.1, 0.0), found_values(0.1, -0.0)
    assert agreement([("a", same), ("b", same)], frozenset("ab")).identical is True
    differing = agreement([("a", same), ("b", other)], frozenset("ab"))
    assert differing.identical is False
    assert [(one.number, [names for _, names in one.values]) for one in differing.disagreements] == [
        (1, [("a",), ("b",)])
    ]


def test_a_trial_that_one_run_lacks_is_told_where_the_run_went_through() -> None:
    whole, part = found_values(0.1, 0.2), found_values(0.1, None)
    assert agreement([("a", whole), ("b", part)], frozenset("ab")).missing == (("b", (1,)),)
    assert agreement([("a", whole), ("b", part)], frozenset("a")).missing == ()


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([(0.1,)], "there is one run only"),
        ([(0.1,), (None,)], "fewer than two runs"),
        ([(0.1, None), (None, 0.2)], "no trial number occurs in two runs"),
    ],
)
def test_runs_that_have_nothing_in_common_are_not_judged(
    runs: list[tuple[float | None, ...]], expected: str
) -> None:
    named = [(str(place), found_values(*values)) for place, values in enumerate(runs)]
    judged = agreement(named, frozenset())
    assert judged.identical is None
    assert judged.reason is not None
    assert expected in judged.reason
