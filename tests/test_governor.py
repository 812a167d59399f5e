"""The governor is told costs and answers with periods."""

from __future__ import annotations

from corelens.probes.governor import Change, Cost, Governor

MS = 1_000_000
SECOND = 1000 * MS
PERIODS = {"tree": 100 * MS, "threads": 100 * MS, "host": 500 * MS, "memory": 5 * SECOND}


def changes(governor: Governor, cpu_ms: float, by_probe_ms: dict[str, float], seconds: int) -> list[Change]:
    """Tell the governor of so many like seconds."""
    by_probe = {name: round(value * MS) for name, value in by_probe_ms.items()}
    cost = Cost(SECOND, round(cpu_ms * MS), by_probe)
    return [change for _ in range(seconds) if (change := governor.account(cost)) is not None]


def test_under_budget_nothing_changes() -> None:
    governor = Governor(0.02, PERIODS)
    assert changes(governor, 19, {"threads": 19}, 60) == []


def test_without_a_budget_nothing_changes() -> None:
    governor = Governor(None, PERIODS)
    assert changes(governor, 900, {"threads": 900}, 60) == []


def test_the_dearest_probe_is_slowed_down_after_the_first_seconds() -> None:
    governor = Governor(0.02, PERIODS)
    assert changes(governor, 30, {"threads": 20, "host": 5}, 7) == []
    assert changes(governor, 30, {"threads": 20, "host": 5}, 1) == [
        Change("threads", 200 * MS, "over-budget", 0.03)
    ]


def test_one_dear_second_changes_nothing() -> None:
    governor = Governor(0.02, PERIODS)
    assert changes(governor, 5, {"threads": 5}, 10) == []
    assert changes(governor, 60, {"threads": 60}, 1) == []
    assert changes(governor, 5, {"threads": 5}, 10) == []


def test_threads_are_read_once_a_second_at_least_and_the_tree_is_slowed_last() -> None:
    governor = Governor(0.02, PERIODS)
    found = changes(governor, 90, {"tree": 50, "threads": 30, "host": 10}, 100)
    assert [(change.probe, change.period_ns // MS) for change in found] == [
        ("threads", 200), ("threads", 400), ("threads", 800),
        ("host", 1000),
        ("tree", 200), ("tree", 400), ("tree", 800),
    ]  # fmt: skip


def test_a_slow_probe_may_become_slower_than_a_second() -> None:
    governor = Governor(0.02, PERIODS)
    found = changes(governor, 90, {"memory": 90}, 60)
    assert [(change.probe, change.period_ns // MS) for change in found] == [("memory", 10_000)]


def test_a_cheap_probe_is_left_alone() -> None:
    governor = Governor(0.02, PERIODS)
    assert changes(governor, 90, {"host": 8, "unknown": 80}, 60) == []


def test_what_was_slowed_is_taken_back_in_reverse() -> None:
    governor = Governor(0.02, PERIODS)
    dear = changes(governor, 30, {"threads": 20}, 13)
    cheap = changes(governor, 5, {"threads": 5}, 30)
    assert [change.period_ns // MS for change in dear] == [200, 400]
    assert [(change.reason, change.period_ns // MS) for change in cheap] == [
        ("under-budget", 200),
        ("under-budget", 100),
    ]


def test_between_half_and_whole_budget_it_stays() -> None:
    governor = Governor(0.02, PERIODS)
    changes(governor, 30, {"threads": 20}, 8)
    assert changes(governor, 15, {"threads": 15}, 60) == []
