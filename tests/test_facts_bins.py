"""Bins of time: what is spread over them adds up, and what holds its value is read off at the right moment."""

from __future__ import annotations

from itertools import pairwise
from operator import mul

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corelens.reports.facts.bins import (
    MOST_BINS,
    Amounts,
    Grid,
    grid_for,
    largest,
    time_mean,
    unseen_bins,
    value_at,
)
from corelens.reports.facts.pace import Pace
from corelens.reports.facts.spread import spread
from corelens.reports.report import Spread
from tests.made_recordings import ALWAYS_THE_SAME, MS, S, header, ns, rate, recording

TIMES = st.integers(min_value=0, max_value=20 * S)
GRIDS = st.builds(Grid, st.sampled_from([100 * MS, S, 7 * S]), st.integers(min_value=1, max_value=20 * S))
LEVELS = st.lists(st.tuples(TIMES, st.integers(0, 9)), max_size=8).map(sorted)
INTERVALS = st.lists(st.tuples(TIMES, TIMES, st.floats(0, 1e10)), max_size=8)


@ALWAYS_THE_SAME
@example(60 * S + 1, 10 * MS)
@example(600 * 3600 * S + 300 * S, S)
@given(st.integers(min_value=1, max_value=400 * 86_400 * S), st.sampled_from([10 * MS, 100 * MS, S, 10 * S]))
def test_a_grid_covers_the_recording_in_few_bins_of_two_readings(end_ns: int, period_ns: int) -> None:
    grid = grid_for(end_ns, period_ns)
    assert (grid.count - 1) * grid.step_ns < end_ns <= grid.count * grid.step_ns
    assert grid.count <= MOST_BINS
    assert grid.step_ns >= 2 * period_ns
    assert sum(map(grid.width_ns, range(grid.count))) == end_ns


@pytest.mark.parametrize(
    ("end_s", "period_ns", "step_s"),
    [
        (1, 10 * MS, 0.1),
        (60, 10 * MS, 0.1),
        (60.000000001, 10 * MS, 0.2),
        (10, 100 * MS, 0.2),
        (10, 10 * S, 20),
        (600, 100 * MS, 1),
        (86_400, 100 * MS, 300),
        (25 * 86_400, S, 3600),
        (25 * 86_400 + 300, S, 7200),
    ],
)
def test_steps_are_round(end_s: float, period_ns: int, step_s: float) -> None:
    assert grid_for(ns(end_s), period_ns).step_ns == ns(step_s)


@pytest.mark.parametrize("step_s", [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200])
def test_every_round_step_is_used(step_s: float) -> None:
    assert grid_for(ns(600 * step_s), MS).step_ns == ns(step_s)


@ALWAYS_THE_SAME
@given(GRIDS, INTERVALS)
def test_amounts_add_up_wherever_they_fall(grid: Grid, intervals: list[tuple[int, int, float]]) -> None:
    amounts = Amounts(grid)
    for start, end, amount in intervals:
        amounts.add(start, end, amount)
    total = sum(amount for _, _, amount in intervals)
    assert sum(amounts.bins) == pytest.approx(total, abs=1e-3)
    assert amounts.until(grid.end_ns) == pytest.approx(total, abs=1e-3)
    if all(end <= grid.end_ns for _, end, _ in intervals):
        widths = map(grid.width_ns, range(grid.count))
        assert sum(map(mul, amounts.rates(), widths)) == pytest.approx(total, abs=1e-3)


@ALWAYS_THE_SAME
@given(GRIDS, st.data())
def test_an_even_rate_is_even_in_every_bin(grid: Grid, data: st.DataObject) -> None:
    # Intervals that follow one another, the last one beyond the end: a look may come after the target's end.
    edges = sorted({0, *data.draw(st.lists(TIMES, max_size=6)), grid.end_ns + data.draw(TIMES)})
    amounts = Amounts(grid)
    for start, end in pairwise(edges):
        amounts.add(start, end, 2.0 * (end - start))
    assert amounts.rates() == pytest.approx([2.0] * grid.count)


def test_the_first_and_the_last_bin_take_part_of_an_interval() -> None:
    amounts = Amounts(Grid(S, 3 * S))
    amounts.add(S // 2, 2 * S + S // 4, 7.0)
    assert amounts.bins == pytest.approx([2.0, 4.0, 1.0])


def test_what_falls_to_one_moment_falls_to_its_bin() -> None:
    amounts = Amounts(Grid(S, 3 * S))
    amounts.add(S, S, 1.0)
    amounts.add(9 * S, 9 * S, 2.0)
    assert amounts.bins == [1.0, 0.0, 2.0]


@pytest.mark.parametrize(
    ("t_s", "expected"), [(0, 0.0), (0.5, 1.0), (1, 2.0), (2.25, 4.5), (2.5, 5.0), (9, 5.0)]
)
def test_until_takes_part_of_a_bin(t_s: float, expected: float) -> None:
    amounts = Amounts(Grid(S, ns(2.5)))
    amounts.add(0, ns(2.5), 5.0)
    assert amounts.until(ns(t_s)) == pytest.approx(expected)


@ALWAYS_THE_SAME
@given(GRIDS, LEVELS)
def test_the_largest_level_of_a_bin_is_one_that_held_in_it(grid: Grid, levels: list[tuple[int, int]]) -> None:
    for index, found in enumerate(largest(levels, grid)):
        start, end = index * grid.step_ns, (index + 1) * grid.step_ns
        before = [value for t_ns, value in levels if t_ns <= start]
        assert found == max(
            [*before[-1:], *(value for t_ns, value in levels if start < t_ns < end)], default=0
        )


@ALWAYS_THE_SAME
@given(LEVELS, TIMES)
def test_the_mean_of_a_level_is_between_its_extremes(levels: list[tuple[int, int]], end_ns: int) -> None:
    found = time_mean(levels, 0, end_ns)
    if not levels:
        assert found is None
    else:
        assert found is not None
        values = [value for _, value in levels]
        assert min(values) - 1e-9 <= found <= max(values) + 1e-9


def test_a_level_counts_for_as_long_as_it_held() -> None:
    assert time_mean([(0, 1.0), (3 * S, 5.0)], 0, 4 * S) == 2.0
    assert time_mean([(2 * S, 4.0)], 0, 4 * S) == 4.0
    assert time_mean([(0, 1.0), (9 * S, 5.0)], 0, 4 * S) == 1.0
    assert time_mean([(0, 1.0), (S, 3.0)], 2 * S, 2 * S) == 3.0
    assert value_at([(S, 1.0), (2 * S, 5.0)], 0) == 1.0
    assert value_at([(S, 1.0), (2 * S, 5.0)], 2 * S) == 5.0


def test_three_seconds_of_silence_are_not_seen() -> None:
    grid = Grid(S, 10 * S)
    assert unseen_bins([S, 2 * S, ns(7.5), 8 * S], grid) == {2, 3, 4, 5, 6}
    assert unseen_bins([3 * S, 6 * S, 9 * S], grid) == set()
    assert unseen_bins([], grid) == set(range(10))
    assert unseen_bins([], Grid(S, 2 * S)) == set()


def test_the_governor_changes_the_pace_of_its_probe_alone() -> None:
    made = recording(
        rate(2, "threads", 0.5), rate(4, "threads", 1.0), rate(3, "tree", 2.0),
        head=header(periods_ns={"threads": 100 * MS}),
    )  # fmt: skip
    pace = Pace(made, "threads")
    assert [pace.at(ns(t_s)) for t_s in (0, 1, 2, 2.1, 4, 9)] == [
        100 * MS, 100 * MS, 100 * MS, 500 * MS, 500 * MS, S,
    ]  # fmt: skip
    assert Pace(made, "host").first_ns == 100 * MS


def test_what_is_read_late_was_used_since_the_last_look_or_needed_longer() -> None:
    pace = Pace(recording(), "threads")
    assert pace.since(0, 5 * S, 0) == ns(4.9)
    assert pace.since(ns(4.95), 5 * S, 0) == ns(4.95)
    assert pace.since(0, 5 * S, 2 * S) == 3 * S
    assert pace.since(4 * S, 5 * S, 2 * S) == 4 * S


def test_a_spread_of_nothing_is_absent() -> None:
    assert spread([]) is None
    assert spread([3.0, 1.0, 2.0, 10.0]) == Spread(4, 1.0, 2.5, 10.0, 4.0)
