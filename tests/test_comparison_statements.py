"""Sentences of the comparison: said where the figures show it, silent where they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.compared import Skipped
from corelens.reports.comparison import compare
from corelens.reports.report import Report
from tests.made_reports import report, spread_out, threaded


def said(*reports: Report, skipped: tuple[Skipped, ...] = ()) -> str:
    return "\n".join(compare(reports, skipped=skipped).groups[0].statements)


def named(made: Report, path: str) -> Report:
    return replace(made, source=replace(made.source, path=path))


def test_it_is_said_where_trials_ran() -> None:
    assert (
        "Trials ran in one process on one thread: sequential; in one process on 2 threads: optuna-threads;"
        " in 2 processes: process-pool." in said(report(), threaded(), spread_out())
    )


def test_programs_without_trials_are_not_placed() -> None:
    assert "Trials ran" not in said(replace(report(), trials=None), replace(threaded(), trials=None))


def test_processes_over_threads_with_both_ranges() -> None:
    text = said(report(), threaded(wall_s=60.0), threaded("joblib-threads", 60.0), spread_out(wall_s=24.0))
    assert (
        "Processes over threads: 2.5× the trials per hour over the whole program (processes 600, threads 240"
        " trials/h)." in text
    )


def test_threads_over_processes_where_it_is_so() -> None:
    assert "Threads over processes: 2× the trials per hour over the whole program" in said(
        report(), threaded(wall_s=20.0), spread_out(wall_s=40.0)
    )


def test_overlapping_ranges_show_nobody_faster() -> None:
    text = said(report(), threaded(wall_s=30.0), named(threaded(wall_s=50.0), "b"), spread_out(wall_s=40.0))
    assert "the ranges overlap (360 and 288–480 trials/h), so neither is shown to be faster" in text


def test_processes_and_threads_of_other_numbers_of_workers_are_not_set_against_each_other() -> None:
    wide = replace(
        spread_out(),
        source=replace(spread_out().source, labels={**spread_out().source.labels, "workers": "4"}),
    )
    assert "over threads" not in said(report(), threaded(), wide)


def test_each_number_of_workers_has_its_own_sentence() -> None:
    def wide(made: Report) -> Report:
        labels = {**made.source.labels, "workers": "4"}
        return replace(made, source=replace(made.source, labels=labels, path=f"wide-{made.source.path}"))

    text = said(
        report(), threaded(wall_s=60.0), spread_out(), wide(threaded(wall_s=80.0)), wide(spread_out())
    )
    assert (
        "Processes over threads: 2.6× the trials per hour over the whole program, with 2 workers and limit"
        in text
    )
    assert (
        "Processes over threads: 3.5× the trials per hour over the whole program, with 4 workers and limit"
        in text
    )


def test_the_fastest_is_named_with_its_efficiency() -> None:
    assert "Fastest: process-pool, 2.00× sequential, 1.00 per worker." in said(
        report(), threaded(), spread_out(wall_s=20.5)
    )


def test_an_efficiency_above_one_points_at_the_baseline() -> None:
    text = said(report(wall_s=82.0), threaded(), spread_out(wall_s=20.5))
    assert (
        "Efficiency above 1: process-pool 2.00; sequential may have been slowed, so measure it again." in text
    )
    assert "Efficiency above 1" not in said(report(), threaded(), spread_out(wall_s=20.5))


def test_rows_within_the_range_of_the_fastest_are_named_beside_it() -> None:
    pool = [named(spread_out(wall_s=wall), f"p{wall}") for wall in (20.0, 21.0, 22.0)]
    loky = [named(spread_out("joblib-loky", wall), f"l{wall}") for wall in (21.5, 22.5, 23.5)]
    assert "Fastest: process-pool, 1.95× sequential, 0.98 per worker; within its range: joblib-loky." in said(
        report(), *pool, *loky
    )


def test_nobody_is_fastest_where_nobody_is_faster() -> None:
    assert "Fastest" not in said(report(), threaded(wall_s=41.0))


def test_rows_slower_than_sequential_in_every_repeat_are_named() -> None:
    assert "Slower than sequential: optuna-threads 0.67×." in said(report(), threaded(wall_s=61.0))
    once_faster = named(threaded(wall_s=30.0), "faster")
    assert "Slower than" not in said(report(), threaded(wall_s=61.0), once_faster)


def test_more_cpu_for_the_same_work_is_named() -> None:
    assert "More CPU per trial than sequential: optuna-threads 2.1×." in said(report(), threaded(wall_s=61.0))
    assert "More CPU" not in said(report(), spread_out(wall_s=23.0))


def test_run_queue_wait_is_named_from_a_fifth_on() -> None:
    crowded = replace(threaded(), cpu=replace(threaded().cpu, run_queue_wait_share=0.47))
    assert "Runnable threads waited for a core: optuna-threads 47% of their time." in said(report(), crowded)
    assert "waited for a core" not in said(report(), threaded())


def test_a_start_up_that_is_a_large_part_is_named() -> None:
    slow = report("ray", 20.0, workers=2, startup_s=8.0)
    assert "a large part of these short runs: ray 8.0 of 20.0 s." in said(report(), slow)
    assert "Start-up before" not in said(report(), threaded())


def test_neighbours_are_named() -> None:
    shared = replace(threaded(), cpu=replace(threaded().cpu, others_cores_mean=0.7))
    assert (
        "Other programs used cores meanwhile, so these rows may be too slow: optuna-threads 0.7 cores."
        in said(report(), shared)
    )
    assert "Other programs" not in said(report(), threaded())


def test_single_runs_leave_the_spread_unknown() -> None:
    assert "Each configuration ran once" in said(report(), threaded())
    assert "ran once" not in said(report(), threaded(), named(threaded(), "again"))


@pytest.mark.parametrize("exit_code", [1, 3])
def test_rows_without_a_result_are_named_and_not_counted(exit_code: int) -> None:
    failed = replace(spread_out(), source=replace(spread_out().source, exit_code=exit_code))
    text = said(report(), threaded(), failed, skipped=(Skipped("ray", "ray is not installed", {}),))
    assert (
        f"Without a result: process-pool (failed with exit code {exit_code}),"
        " ray (skipped: ray is not installed)." in text
    )
    assert "over threads" not in text
