"""The comparison as values: rows, speed-ups, differences, agreement."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from corelens.errors import NotComparable, UsageError
from corelens.reports.compared import Comparison, Row, Skipped
from corelens.reports.comparison import check_comparable, compare, differences
from corelens.reports.conditions import describe
from corelens.reports.report import Report, Spread
from tests.made_reports import report, spread_out, threaded, trials, unlabelled


def rows(comparison: Comparison, group: int = 0) -> dict[str, Row]:
    return {row.name: row for row in comparison.groups[group].rows}


def value(row: Row, key: str) -> Spread:
    found = row.values[key]
    assert found is not None, f"{row.name} has no {key}: {row.absent[key]}"
    return found


def with_path(made: Report, path: str) -> Report:
    return replace(made, source=replace(made.source, path=path))


def labelled(made: Report, **labels: str) -> Report:
    return replace(made, source=replace(made.source, labels={**made.source.labels, **labels}))


def ended(made: Report, exit_code: int | None = 0, signal: int | None = None) -> Report:
    return replace(made, source=replace(made.source, exit_code=exit_code, signal=signal))


def test_speed_up_is_throughput_over_the_sequential_run_start_up_included() -> None:
    found = rows(compare([report(wall_s=41.0), spread_out(wall_s=20.5)]))
    assert value(found["sequential"], "speed_up").median == 1.0
    assert value(found["process-pool"], "speed_up").median == pytest.approx(2.0)
    assert value(found["process-pool"], "parallel_efficiency").median == pytest.approx(1.0)


def test_the_speed_up_in_the_trials_leaves_start_up_out() -> None:
    found = rows(compare([report(wall_s=41.0, startup_s=1.0), report("b", 30.0, workers=2, startup_s=10.0)]))
    assert value(found["b"], "speed_up").median == pytest.approx(41 / 30)
    assert value(found["b"], "speed_up_in_trials").median == pytest.approx(2.0)


def test_throughput_counts_trials_so_that_a_shorter_search_is_not_a_faster_one() -> None:
    half = replace(report("b", 20.5), trials=trials(20.5, [(1, 1)], values=(0.25, 0.5)))
    assert value(rows(compare([report(), half]))["b"], "speed_up").median == pytest.approx(1.0)


def test_repeats_fold_into_one_row_with_median_and_range() -> None:
    repeats = [with_path(spread_out(wall_s=wall), f"pool-{wall}.corelens") for wall in (20.5, 41.0, 82.0)]
    row = rows(compare([report(wall_s=41.0), *repeats]))["process-pool"]
    assert len(row.runs) == 3
    speed_up = value(row, "speed_up")
    assert (speed_up.count, speed_up.minimum, speed_up.median, speed_up.maximum) == pytest.approx(
        (3, 0.5, 1, 2)
    )


def test_recordings_of_one_configuration_alone_are_compared_with_each_other() -> None:
    comparison = compare([with_path(report(), "before.corelens"), with_path(report(), "after.corelens")])
    assert list(rows(comparison)) == ["before", "after"]


def test_rows_of_one_backend_are_named_by_what_differs() -> None:
    wide = labelled(with_path(threaded(), "wide"), workers="4")
    limited = labelled(with_path(threaded(), "limited"), limit_threads="env")
    names = list(rows(compare([report(), threaded(), wide, limited])))
    assert names == [
        "sequential",
        "optuna-threads (limit none, 2 workers)",
        "optuna-threads (limit none, 4 workers)",
        "optuna-threads (limit env, 2 workers)",
    ]


def test_a_versions_change_is_not_folded_away() -> None:
    newer = replace(with_path(threaded(), "newer.corelens"), packages={"torch": "2.14.0"})
    assert len(rows(compare([report(), threaded(), newer]))) == 3


def test_rows_stand_baseline_first_then_one_process_then_several() -> None:
    assert list(rows(compare([spread_out(), threaded(), report()]))) == [
        "sequential",
        "optuna-threads",
        "process-pool",
    ]


def test_without_a_sequential_run_there_is_no_speed_up_and_the_reason_is_said() -> None:
    row = rows(compare([threaded(), spread_out()]))["process-pool"]
    assert row.values["speed_up"] is None
    assert row.absent["speed_up"] == row.absent["parallel_efficiency"] == "there is no sequential run here"


@pytest.mark.parametrize("wanted", ["optuna-threads", "study/optuna-threads.corelens"])
def test_a_baseline_can_be_named_by_row_or_file(wanted: str) -> None:
    comparison = compare([report(), threaded(), spread_out()], baseline=wanted)
    assert comparison.groups[0].baseline == "optuna-threads"
    assert value(rows(comparison)["sequential"], "speed_up").median == pytest.approx(61 / 41)


def test_a_baseline_that_nothing_is_called_is_refused_with_the_choices() -> None:
    with pytest.raises(UsageError, match=r"dask.*choose one of: sequential, optuna-threads"):
        compare([report(), threaded()], baseline="dask")


def test_of_several_sequential_rows_the_fastest_is_the_baseline() -> None:
    fast = labelled(with_path(report(wall_s=20.0), "fast"), limit_threads="env")
    assert compare([report(), fast, threaded()]).groups[0].baseline == "sequential (limit env)"


def test_a_failed_run_is_a_row_of_its_own_with_its_reason_and_no_speed_up() -> None:
    failed = with_path(ended(spread_out(), exit_code=1), "broken.corelens")
    found = compare([report(), spread_out(), failed]).groups[0].rows
    assert [row.trouble for row in found] == [None, None, "failed with exit code 1"]
    assert value(found[1], "speed_up").count == 1
    assert found[2].values["speed_up"] is None
    assert found[2].absent["speed_up"] == "failed with exit code 1"


def test_a_killed_and_a_cut_run_say_so() -> None:
    cut = replace(spread_out("ray"), source=replace(spread_out("ray").source, complete=False, exit_code=None))
    found = rows(compare([report(), ended(threaded(), None, signal=9), cut]))
    assert found["optuna-threads"].trouble == "killed by signal 9"
    assert found["ray"].trouble == "the recording was cut"


def test_a_failed_sequential_run_is_no_baseline() -> None:
    group = compare([ended(report(), 1), threaded()]).groups[0]
    assert group.baseline is None
    assert group.baseline_absent == "the sequential run is no result: failed with exit code 1"


def test_a_skipped_backend_is_a_row_with_its_reason() -> None:
    skipped = Skipped("ray", "ray is not installed", {"workers": "2", "limit_threads": "none"})
    row = rows(compare([report(), threaded()], skipped=[skipped]))["ray"]
    assert (row.trouble, row.workers, row.runs) == ("skipped: ray is not installed", 2, ())
    assert row.absent["wall_s"] == "skipped: ray is not installed"


def test_figures_that_were_not_measured_are_none_with_a_reason() -> None:
    bare = replace(
        threaded(), trials=None, cpu=replace(threaded().cpu, run_queue_wait_share=None),
        memory=replace(threaded().memory, rss_bytes=None),
    )  # fmt: skip
    row = rows(compare([report(), bare]))["optuna-threads"]
    assert row.values["trials_per_hour"] is None
    assert row.absent["trials_per_hour"] == "the program marked no trials"
    assert row.absent["speed_up"] == "the program marked no trials"
    assert row.absent["worker_rss_bytes"] == "the memory was not seen"
    assert set(row.absent) == {key for key, figure in row.values.items() if figure is None}


def test_programs_that_mark_nothing_are_compared_by_wall_time_with_a_named_baseline() -> None:
    runs = [unlabelled("before.corelens", ["python", "x.py"], 10), unlabelled("after", ["python", "x.py"], 5)]
    found = rows(compare(runs, baseline="before"))
    assert value(found["after"], "speed_up").median == pytest.approx(2.0)
    assert found["after"].absent["parallel_efficiency"] == "the number of workers is not known"
    assert found["after"].backend == "x.py"


def test_groups_are_compared_within_themselves() -> None:
    other = [
        labelled(with_path(made, f"other/{i}"), evaluation="per-genome")
        for i, made in enumerate((report(wall_s=82.0), spread_out(wall_s=41.0)))
    ]
    comparison = compare([report(), spread_out(wall_s=41.0), *other], group_by="evaluation")
    assert [group.title for group in comparison.groups] == ["evaluation batched", "evaluation per-genome"]
    assert value(rows(comparison, 0)["process-pool"], "speed_up").median == pytest.approx(1.0)
    assert value(rows(comparison, 1)["process-pool"], "speed_up").median == pytest.approx(2.0)
    assert comparison.differences == ()


def test_a_group_that_a_run_does_not_know_is_refused_with_its_labels() -> None:
    with pytest.raises(UsageError, match="--group-by colour: sequential has no such label; its labels are"):
        compare([report(), threaded()], group_by="colour")


def test_the_price_gives_the_cost_at_the_median_wall_time() -> None:
    cost = rows(compare([report(wall_s=36.0)], price=100.0))["sequential"].cost
    assert cost is not None
    assert (cost.dollars, cost.dollars_per_trial) == pytest.approx((1.0, 0.25))


def test_the_same_file_twice_is_refused() -> None:
    with pytest.raises(UsageError, match=r"sequential\.corelens is given twice"):
        compare([report(), report()])


# Differences


def test_what_a_comparison_is_about_is_no_difference() -> None:
    other = labelled(threaded(), limit_threads="env", workers="7", start_method="fork")
    assert differences([report(), other]) == ()


@pytest.mark.parametrize(
    "key", ["scale", "method", "evaluation", "trials", "generations", "seeds", "population", "seed"]
)
def test_other_work_refuses(key: str) -> None:
    found = differences([report(), labelled(threaded(), **{key: "other"})])
    assert [(one.what, one.refuses) for one in found] == [(key, True)]
    with pytest.raises(NotComparable, match=rf"^the runs differ in {key}: .*other.*--anyway"):
        check_comparable(found)


def test_a_label_that_is_null_equals_one_that_is_missing() -> None:
    labels = {key: text for key, text in threaded().source.labels.items() if key != "stagnation_limit"}
    assert (
        differences([report(), replace(threaded(), source=replace(threaded().source, labels=labels))]) == ()
    )


def test_another_machine_refuses() -> None:
    host = replace(threaded().host, hostname="other", cpu_model="Xeon", logical_cores=128)
    found = differences([report(), replace(threaded(), host=host)])
    assert {one.what for one in found if one.refuses} == {"hostname", "CPU model", "logical cores"}


def test_another_capacity_refuses() -> None:
    found = differences([report(), replace(threaded(), capacity=replace(threaded().capacity, cores=1.0))])
    assert [describe(one) for one in found] == [
        "cores the program may use: 2 (study/sequential.corelens) or 1 (study/optuna-threads.corelens)"
    ]


def test_other_versions_warn_and_do_not_refuse() -> None:
    other = replace(threaded(), packages={"torch": "2.14.0", "optuna": "5.0.0"})
    found = differences([report(), other], ["a", "b"])
    assert [describe(one) for one in found] == ["version of torch: 2.13.0 (a) or 2.14.0 (b)"]
    check_comparable(found)


def test_packages_that_could_not_be_read_are_no_difference() -> None:
    assert differences([report(), replace(threaded(), packages={})]) == ()


def test_a_failed_run_that_had_not_said_its_work_is_no_difference() -> None:
    silent = ended(unlabelled("x", ["python", "-m", "corelens.scenarios.search"]), 3)
    assert differences([report(), silent]) == ()


def test_programs_without_labels_are_told_apart_by_their_command_line() -> None:
    one, other = unlabelled("a", ["/usr/bin/python", "x.py"]), unlabelled("b", ["python", "y.py"])
    assert [describe(found) for found in differences([one, other], ["a", "b"])] == [
        "program: python x.py (a) or python y.py (b)"
    ]
    assert differences([one, unlabelled("c", ["python", "x.py"])]) == ()


def test_many_runs_are_counted_instead_of_named() -> None:
    many = [with_path(report(), f"{i}") for i in range(4)]
    found = differences([*many, labelled(threaded(), seed="1")], list("abcde"))
    assert describe(found[0]) == "seed: 0 (4 runs) or 1 (e)"


def test_one_difference_in_the_work_suggests_grouping() -> None:
    with pytest.raises(NotComparable, match="--group-by evaluation, or add --anyway"):
        check_comparable(differences([report(), labelled(threaded(), evaluation="per-genome")]))


# Agreement of the trials' values


def test_identical_values_are_counted() -> None:
    found = compare([report(), threaded(), spread_out()]).groups[0].agreement
    assert (found.identical, found.trials, found.runs, found.missing) == (True, 4, 3, ())


def test_a_value_that_differs_in_its_last_bit_is_named() -> None:
    nearly = math.nextafter(0.5, 1)
    other = replace(threaded(), trials=trials(61.0, [(1, 1)], values=(0.25, nearly, 0.75, 1.0)))
    found = compare([report(), other]).groups[0].agreement
    assert found.identical is False
    assert [(one.number, one.values) for one in found.disagreements] == [
        (1, ((0.5, ("sequential",)), (nearly, ("optuna-threads",))))
    ]


def test_a_run_that_lacks_trials_is_named() -> None:
    short = replace(threaded(), trials=trials(61.0, [(1, 1)], values=(0.25, 0.5)))
    found = compare([report(), short]).groups[0].agreement
    assert (found.identical, found.missing) == (True, (("optuna-threads", (2, 3)),))


def test_not_a_number_agrees_with_itself() -> None:
    both = [
        replace(made, trials=trials(9.0, [(1, 1)], values=(math.nan,))) for made in (report(), threaded())
    ]
    assert compare(both).groups[0].agreement.identical is True


def test_one_run_agrees_with_nobody() -> None:
    found = compare([report()]).groups[0].agreement
    assert (found.identical, found.reason) == (None, "there is one run only")


def test_runs_without_trials_have_nothing_to_agree_on() -> None:
    found = compare([report(), replace(threaded(), trials=None)]).groups[0].agreement
    assert found.identical is None
    assert found.reason == "fewer than two runs marked trials with a number and a value"
