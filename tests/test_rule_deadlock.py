"""Deadlocks: a wait that nobody can end, told from waits that merely last."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.facts.facts import Facts
from corelens.reports.facts.standstill import Still
from corelens.reports.facts.wait_chain import Place
from corelens.reports.findings import Finding
from corelens.reports.rules.deadlock import SLUG, check
from tests.rule_recordings import fires, nearly


def still_of(known: Facts) -> Still:
    assert known.standstill is not None
    return known.standstill


def found(known: Facts, still: Still) -> list[Finding]:
    return list(check(replace(known, standstill=still)))


def test_a_forked_child_that_waits_for_a_lock_which_nobody_there_holds_is_found() -> None:
    known = fires(SLUG)
    (finding,) = check(known)
    assert finding.variant == "lock-held-at-fork"
    assert finding.confidence > 0.9
    assert finding.lost_share > 0.9
    assert finding.gain.factor is None
    assert "in task (program.py:8)" in finding.cause
    assert any("spawn" in line for line in finding.remedy.paste)


def test_a_wait_with_a_timeout_is_left_alone_however_long_it_lasts() -> None:
    known = nearly(SLUG)
    assert still_of(known).length_s > 5
    assert not list(check(known))


def test_what_goes_on_afterwards_was_no_deadlock() -> None:
    known = fires(SLUG)
    assert not found(known, replace(still_of(known), to_the_end=False))


def test_without_a_look_at_everybody_it_is_less_sure() -> None:
    known = fires(SLUG)
    still = still_of(known)
    (finding,) = found(known, replace(still, scene=replace(still.scene, looked=False)))
    assert finding.confidence == pytest.approx(0.75)
    assert any("timeouts" in one.statement for one in finding.against)


def test_a_program_that_ended_well_after_it_speaks_against_it() -> None:
    known = fires(SLUG)
    ended = replace(known, root=replace(known.root, exit_code=0))
    (finding,) = check(ended)
    assert finding.confidence < 0.8
    assert finding.against


def polling(known: Facts, wakes: int) -> tuple[Still, Place]:
    """The standstill beside a thread of the parent that looks at something now and then."""
    still = still_of(known)
    poller = Place(known.root.pid, 99, "clock_nanosleep", "sleep", timed=True)
    child = tuple(place for place in still.stuck if place.pid != known.root.pid)
    return replace(still, stuck=child, awake=(poller,), wakes={99: wakes}), poller


def test_a_thread_that_polls_does_not_hide_a_child_which_nobody_can_help() -> None:
    known = fires(SLUG)
    still, _ = polling(known, wakes=50)
    (finding,) = found(known, still)
    assert 0.5 <= finding.confidence < 0.9
    assert finding.against


def test_a_thread_that_sleeps_once_may_be_about_to_do_something() -> None:
    known = fires(SLUG)
    still, _ = polling(known, wakes=0)
    assert not found(known, still)


def test_a_wait_in_libgomp_names_the_team_that_the_fork_left_behind() -> None:
    known = fires(SLUG)
    still = still_of(known)

    def moved(place: Place) -> Place:
        return (
            replace(place, module="/opt/lib/libgomp-24e2ab19.so.1.0.0")
            if place.pid != known.root.pid
            else place
        )

    (finding,) = found(known, replace(still, stuck=tuple(map(moved, still.stuck))))
    assert finding.variant == "fork-after-openmp"
    assert "libgomp" in finding.cause
