"""Workers that are born again and again, and pools that stay."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.facts.facts import Facts
from corelens.reports.facts.respawning import respawning
from corelens.reports.rules.worker_churn import SLUG, check
from tests.made_crews import facts, process, thread, worker
from tests.rule_recordings import fires, nearly


def test_a_pool_for_every_iteration_is_found() -> None:
    (finding,) = check(fires(SLUG))
    assert finding.variant == "pool-per-iteration"
    assert finding.cause.endswith("tears down a pool 10 times, and each worker imports everything again.")
    assert finding.confidence >= 0.85
    assert finding.lost_share > 0.5
    assert finding.gain.factor == pytest.approx(5.0, abs=0.7)
    assert "max_workers=2" in finding.remedy.paste[0]


def test_a_pool_that_stays_is_left_alone() -> None:
    assert not list(check(nearly(SLUG)))


def spawned(count: int, used_s: float, parent_start_s: float) -> Facts:
    """Workers that live for half a second, one after the other."""
    boss = process(thread(busy={0: parent_start_s / 0.5}))
    workers = [
        worker(n, {n: used_s / 0.5}, role="pool-worker-spawn", life_s=(n * 0.5, n * 0.5 + 0.4))
        for n in range(1, count + 1)
    ]
    return facts(boss, *workers)


def test_the_parents_own_start_bounds_what_a_start_costs() -> None:
    (found,) = respawning(spawned(10, used_s=0.4, parent_start_s=0.15))
    assert (found.at_once, found.waves, found.executed) == (1, 10, True)
    assert found.start_s == pytest.approx(0.2)
    assert found.useful_s == pytest.approx(2.0)
    assert found.kept_s == pytest.approx(2.2)


def test_one_process_for_every_task_is_named() -> None:
    (finding,) = check(spawned(10, used_s=0.3, parent_start_s=0.4))
    assert finding.variant == "process-per-task"


def test_starts_that_cost_little_beside_the_work_are_left_alone() -> None:
    assert not list(check(spawned(10, used_s=0.4, parent_start_s=0.01)))


def test_workers_that_were_replaced_once_are_no_churn() -> None:
    assert not respawning(spawned(2, used_s=0.4, parent_start_s=0.3))


def test_programs_that_run_no_python_are_no_workers() -> None:
    known = spawned(10, used_s=0.3, parent_start_s=0.4)
    others = tuple(each if each is known.root else replace(each, role="child") for each in known.processes)
    assert not respawning(replace(known, processes=others))
