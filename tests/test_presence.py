"""Who was there at a moment: lists and counts that disagree by what happened between two readings."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from corelens.reports.facts.activity import activity
from corelens.reports.facts.bins import grid_for
from corelens.reports.facts.presence import Present, present
from corelens.reports.facts.processes import lives
from corelens.reports.facts.threads import Thread, threads
from corelens.vocabulary import Line
from tests.made_threads import MS, SECOND, born, ended, listed, ran, recording


def roll(lines: Iterable[Line], *counts: tuple[int, int]) -> list[Present]:
    made = recording([born(), *lines])
    found = threads(made, lives(made), grid_for(10 * SECOND, 100 * MS))
    return present(made, found.all, counts)


def tids(there: Present) -> list[int]:
    return sorted(thread.tid for thread in there.threads)


def test_what_is_listed_and_counted_alike_is_there() -> None:
    first, second = roll(
        [listed(0, [100]), listed(SECOND, [101, 102]), ended(2 * SECOND, [102])],
        (SECOND, 3),
        (2 * SECOND, 2),
    )
    assert (tids(first), first.unlisted) == ([100, 101, 102], 0)
    assert (tids(second), second.unlisted) == ([100, 101], 0)


def test_a_thread_listed_late_fills_the_gap_that_the_kernels_date_gives_it() -> None:
    late = listed(SECOND + 100 * MS, [101, 102], begun_ns=SECOND - 20 * MS)
    (there,) = roll([listed(0, [100]), late], (SECOND, 2))
    assert (tids(there), there.unlisted) == ([100, 101], 0)


def test_a_thread_that_began_later_fills_none() -> None:
    late = listed(SECOND + 100 * MS, [101], begun_ns=SECOND + 50 * MS)
    (there,) = roll([listed(0, [100]), late], (SECOND, 2))
    assert (tids(there), there.unlisted) == ([100], 1)


def test_a_thread_listed_just_after_the_count_gives_way() -> None:
    (there,) = roll([listed(0, [100, 101]), listed(SECOND, [102])], (SECOND, 2))
    assert tids(there) == [100, 101]


def test_a_thread_found_ended_at_the_next_look_gives_way() -> None:
    (there,) = roll([listed(0, [100, 101, 102]), ended(SECOND + 100 * MS, [101])], (SECOND, 2))
    assert tids(there) == [100, 102]


def test_an_old_thread_never_gives_way_so_the_remainder_is_negative() -> None:
    (there,) = roll([listed(0, [100, 101, 102])], (5 * SECOND, 2))
    assert (tids(there), there.unlisted) == ([100, 101, 102], -1)


def test_a_thread_listed_and_gone_in_one_look_is_gone() -> None:
    (there,) = roll([listed(0, [100]), listed(SECOND, [101]), ended(SECOND, [101])], (SECOND, 1))
    assert (tids(there), there.unlisted) == ([100], 0)


def test_a_thread_id_used_again_is_another_thread() -> None:
    lines = [listed(0, [100, 101]), ended(SECOND, [101]), listed(2 * SECOND, [101])]
    first, between, after = roll(lines, (0, 2), (SECOND, 1), (2 * SECOND, 2))
    assert [tids(first), tids(between), tids(after)] == [[100, 101], [100], [100, 101]]
    assert first.threads[1] is not after.threads[1]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Line], list[tuple[int, int]]]:
    """Threads that come, go and are listed late, and counts that need not agree with any of it."""
    lines: list[Line] = [listed(0, [100])]
    alive: set[int] = {100}
    for step in range(1, draw(st.integers(1, 12))):
        t_ns = step * 100 * MS
        going = draw(st.sets(st.sampled_from(sorted(alive)))) if alive else set[int]()
        coming = draw(st.sets(st.integers(101, 110))) - alive
        late_ns = draw(st.sampled_from([0, 50 * MS, 150 * MS]))
        if going:
            lines.append(ended(t_ns, sorted(going)))
        if coming:
            lines.append(listed(t_ns, sorted(coming), begun_ns=max(0, t_ns - late_ns)))
        alive = (alive - going) | coming
    moments = draw(st.sets(st.integers(0, 13 * 100 * MS), min_size=1, max_size=8))
    return lines, [(t_ns, draw(st.integers(1, 14))) for t_ns in sorted(moments)]


@given(histories())
def test_listed_and_unlisted_always_add_up_to_the_count(
    history: tuple[list[Line], list[tuple[int, int]]],
) -> None:
    lines, counts = history
    for there, (t_ns, count) in zip(roll(lines, *counts), counts, strict=True):
        assert (there.t_ns, len(there.threads) + there.unlisted) == (t_ns, count)
        assert len(set(there.threads)) == len(there.threads)
        assert all(thread.died_ns is None or thread.died_ns > t_ns for thread in there.threads)


def judged(lines: Iterable[Line], t_ns: int, end_ns: int = 10 * SECOND) -> dict[int, str]:
    made = recording([born(), *lines], end_ns=end_ns)
    everyone = threads(made, lives(made), grid_for(10 * SECOND, 100 * MS)).all
    (found,) = activity(made, [(t_ns, everyone)])
    words: dict[Thread, str] = {
        **dict.fromkeys(found.busy, "busy"),
        **dict.fromkeys(found.idle, "idle"),
    }
    return {thread.tid: words.get(thread, "unknown") for thread in everyone}


def test_a_thread_that_ran_or_waited_for_a_core_is_busy() -> None:
    lines = [
        listed(0, [100, 101, 102, 103]),
        ran(0, [(100, 0, 0), (101, 0, 0), (102, 0, 0)]),
        ran(3 * SECOND, [(102, 900 * MS, 0)]),
        ran(5 * SECOND, [(100, 120 * MS, 0), (101, 10 * MS, 400 * MS)]),
    ]
    assert judged(lines, 5 * SECOND) == {100: "busy", 101: "busy", 102: "idle", 103: "unknown"}


def test_polling_is_idle() -> None:
    lines = [listed(0, [100]), *(ran(step * 100 * MS, [(100, step * MS, 0)]) for step in range(100))]
    assert judged(lines, 5 * SECOND) == {100: "idle"}


def test_a_thread_born_in_the_window_is_judged_by_its_own_life() -> None:
    lines = [
        listed(0, [100]),
        ran(0, [(100, 0, 0)]),
        listed(5900 * MS, [101]),
        ran(6 * SECOND, [(100, 0, 0), (101, 8 * MS, 0)]),
    ]
    assert judged(lines, 5 * SECOND)[101] == "busy"


def test_one_reading_judges_nobody() -> None:
    assert judged([listed(0, [100]), ran(0, [(100, 5, 5)])], 0, end_ns=0) == {100: "unknown"}
