"""Slots: fewer busy workers than cores, and callers that send one task at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.facts.facts import Facts
from corelens.reports.rules.slot_starvation import SLUG, check
from tests.made_crews import BOSS, facts, process, thread, worker
from tests.rule_recordings import fires, nearly

ALL = dict.fromkeys(range(20), 1.0)


def test_tasks_that_reserve_more_than_they_use_are_found() -> None:
    (finding,) = check(fires(SLUG))
    assert finding.variant == "num-cpus-too-large"
    assert finding.confidence >= 0.7
    assert finding.gain.factor == pytest.approx(1.9, abs=0.15)
    assert "@ray.remote(num_cpus=1)" in finding.remedy.paste


def test_a_driver_that_sends_each_task_is_less_certain_than_one_that_waits_for_all() -> None:
    for finding in check(nearly(SLUG)):
        assert finding.confidence < 0.5
        assert "sends the next task" in finding.against[0].statement


def pool(results: int, *busy: dict[int, float], affinity: frozenset[int] | None = None) -> Facts:
    """Workers of a pool whose parent waits, and is woken by each result."""
    reader = thread(tid=BOSS + 50, kind="python-helper", doing={"pipe": 9.9}, voluntary=results)
    boss = process(thread(doing={"lock": 9.8}), reader)
    workers = [replace(worker(n, each), affinity=affinity) for n, each in enumerate(busy, 1)]
    return facts(boss, *workers)


def test_a_pool_smaller_than_the_machine_is_found() -> None:
    (finding,) = check(pool(40, ALL))
    assert finding.variant == "executor-smaller-than-cores"
    assert finding.confidence >= 0.5
    assert finding.lost_core_s == pytest.approx(10.0, abs=0.5)


def test_as_many_tasks_as_workers_need_no_more() -> None:
    (finding,) = check(pool(1, ALL))
    assert finding.confidence < 0.5
    assert "no task waiting" in finding.against[0].statement


def test_workers_that_take_turns_are_not_short_of_slots() -> None:
    odd, even = (dict.fromkeys(range(start, 20, 2), 1.0) for start in (0, 1))
    assert not list(check(pool(40, odd, even)))


def test_a_pool_as_large_as_the_machine_is_left_alone() -> None:
    assert not list(check(pool(40, ALL, ALL)))


def test_a_mask_is_another_cause() -> None:
    assert not list(check(pool(40, ALL, affinity=frozenset({0}))))
