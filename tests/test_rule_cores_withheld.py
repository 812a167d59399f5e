"""Cores that a program may not or does not use: masks, quotas, nested levels, capped native code."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.facts.facts import Facts
from corelens.reports.rules import capped_native_threads, cpu_affinity, cpu_quota, nested_sequential
from tests.rule_recordings import fires, nearly


def test_a_mask_that_was_narrowed_is_found() -> None:
    (finding,) = cpu_affinity.check(fires(cpu_affinity.SLUG))
    assert finding.variant == "mask-changed-by-import"
    assert finding.cause.startswith(
        "2 threads that compute, in 2 process(es) (pool-worker-fork), may only run on core 0"
    )
    assert finding.confidence == pytest.approx(0.95)
    assert finding.gain.factor == pytest.approx(2.0, abs=0.05)


def test_masks_that_do_not_overlap_are_meant() -> None:
    assert not list(cpu_affinity.check(nearly(cpu_affinity.SLUG)))


def test_a_mask_from_the_start_may_be_meant() -> None:
    known = fires(cpu_affinity.SLUG)
    timeline = known.report.timeline
    small = replace(timeline, capacity_cores=tuple(1.0 for _ in timeline.capacity_cores))
    (finding,) = cpu_affinity.check(replace(known, report=replace(known.report, timeline=small)))
    assert finding.variant == "pinned-to-fewer"
    assert finding.confidence == pytest.approx(0.7)
    assert finding.against


def test_workers_that_narrow_their_own_masks_are_another_form() -> None:
    known = fires(cpu_affinity.SLUG)
    root = replace(known.root, affinity=frozenset({0, 1}))
    processes = tuple(root if process is known.root else process for process in known.processes)
    (finding,) = cpu_affinity.check(replace(known, root=root, processes=processes))
    assert finding.variant == "workers-on-same-cores"


def test_other_cores_that_others_use_lower_the_confidence() -> None:
    known = fires(cpu_affinity.SLUG)
    timeline = known.report.timeline
    full = replace(timeline, core_busy=tuple(tuple(1.0 for _ in row) for row in timeline.core_busy))
    (finding,) = cpu_affinity.check(replace(known, report=replace(known.report, timeline=full)))
    assert finding.confidence == pytest.approx(0.65)


def test_a_quota_below_the_workers_is_found() -> None:
    (finding,) = cpu_quota.check(fires(cpu_quota.SLUG))
    assert finding.variant == "pool-exceeds-quota"
    assert "pays for 0.6 cores" in finding.cause
    assert finding.gain.factor == pytest.approx(3.4, abs=0.3)


def test_a_quota_that_covers_the_workers_is_left_alone() -> None:
    known = nearly(cpu_quota.SLUG)
    assert known.quotas
    assert not list(cpu_quota.check(known))


def test_a_quota_above_the_own_group_is_another_form() -> None:
    known = fires(cpu_quota.SLUG)
    above = tuple(replace(quota, nested=True) for quota in known.quotas)
    (finding,) = cpu_quota.check(replace(known, quotas=above))
    assert finding.variant == "nested-quota"


def test_few_stopped_periods_are_no_matter() -> None:
    known = fires(cpu_quota.SLUG)
    seldom = tuple(replace(quota, throttled_periods=quota.periods // 4) for quota in known.quotas)
    assert not list(cpu_quota.check(replace(known, quotas=seldom)))


def test_an_inner_level_in_a_daemonic_worker_is_found() -> None:
    (finding,) = nested_sequential.check(fires(nested_sequential.SLUG))
    assert finding.variant == "daemonic-pool-worker"
    assert "called in experiment" in finding.cause
    assert finding.gain.factor == pytest.approx(2.0, abs=0.1)


def test_an_inner_level_with_workers_is_left_alone() -> None:
    assert not list(nested_sequential.check(nearly(nested_sequential.SLUG)))


def test_stacks_without_joblib_prove_nothing() -> None:
    assert not list(nested_sequential.check(replace(fires(nested_sequential.SLUG), samples=())))


def test_native_code_that_ray_limits_is_found() -> None:
    (finding,) = capped_native_threads.check(fires(capped_native_threads.SLUG))
    assert finding.variant == "ray-default-omp-1"
    assert "@ray.remote(num_cpus=2)" in finding.remedy.paste
    assert finding.gain.factor == pytest.approx(1.85, abs=0.1)


def test_a_variable_that_was_read_proves_it_better() -> None:
    known = fires(capped_native_threads.SLUG)
    told = {process.life: {"OMP_NUM_THREADS": "1"} for process in known.processes}
    (finding,) = capped_native_threads.check(replace(known, variables_now=told))
    assert finding.confidence == pytest.approx(0.85)
    assert "OMP_NUM_THREADS=1 is set" in finding.evidence[1].statement


def with_gil_held(known: Facts) -> Facts:
    """Python code computes, not native code."""
    held = tuple(replace(gil, held_share=0.9) for gil in known.report.gil)
    return replace(known, report=replace(known.report, gil=held))


def test_code_that_holds_the_gil_is_not_capped() -> None:
    assert not list(capped_native_threads.check(with_gil_held(fires(capped_native_threads.SLUG))))
    assert not list(capped_native_threads.check(nearly(capped_native_threads.SLUG)))
