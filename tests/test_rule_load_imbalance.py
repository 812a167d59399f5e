"""Load imbalance: some workers go on while the others have run out of work."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.facts.facts import Facts, ProcessFacts
from corelens.reports.rules.load_imbalance import SLUG, check
from tests.made_crews import PROGRAM, facts, process, sample, thread, worker
from tests.rule_recordings import fires, nearly

PIPE = ("read", "pipe")
LONG, SHORT = dict.fromkeys(range(20), 1.0), dict.fromkeys(range(8), 1.0)


def straggler(boss: ProcessFacts, starved_s: float = 6.0) -> Facts:
    """One worker ends after 4 s, the other after 10 s."""
    return facts(boss, worker(1, SHORT, calls={PIPE: starved_s}), worker(2, LONG))


def test_uneven_shares_are_found() -> None:
    (finding,) = check(fires(SLUG))
    assert finding.confidence >= 0.5
    assert finding.lost_share > 0.3
    assert finding.gain.factor == pytest.approx(1.9, abs=0.2)


def test_what_only_looks_like_it_is_left_alone() -> None:
    assert not list(check(nearly(SLUG)))


def test_a_straggler_is_named_with_its_code_and_its_time() -> None:
    known = straggler(process(thread()))
    at_work = sample(known.processes[2], ("fit", PROGRAM))
    (finding,) = check(replace(known, samples=(at_work,)))
    assert finding.variant == "straggler"
    assert "process 2, in fit (program.py:7)" in finding.cause
    assert (finding.evidence[0].from_s, finding.evidence[0].until_s) == (4.0, 10.0)
    assert finding.lost_core_s == pytest.approx(6.0)
    assert finding.gain.factor == pytest.approx(10 / 7)


def test_others_that_never_had_work_prove_it_less_well() -> None:
    (finding,) = check(facts(process(thread()), worker(1, {}, calls={PIPE: 10.0}), worker(2, LONG)))
    (proven,) = check(straggler(process(thread())))
    assert finding.variant == "too-few-tasks"
    assert finding.confidence < proven.confidence


def test_workers_that_ended_have_run_out_of_work_too() -> None:
    gone = worker(1, SHORT, life_s=(0.0, 4.0))
    assert len(list(check(facts(process(thread()), gone, worker(2, LONG))))) == 1


def test_others_that_wait_for_something_else_are_another_cause() -> None:
    assert not list(check(straggler(process(thread()), starved_s=1.0)))


def test_a_busy_parent_is_another_cause() -> None:
    assert not list(check(straggler(process(thread(busy=dict.fromkeys(range(20), 0.9))))))


def test_a_short_tail_is_natural() -> None:
    almost = worker(1, dict.fromkeys(range(19), 1.0), calls={PIPE: 0.5})
    assert not list(check(facts(process(thread()), almost, worker(2, LONG))))


def waves(*, full: bool) -> Facts:
    """Four times both work for 1 s, if they ever do, and then the second goes on for 1.5 s."""
    both = [index for index in range(20) if index % 5 < 2]
    first = dict.fromkeys(both if full else (), 1.0)
    second = dict.fromkeys(range(20), 1.0)
    return facts(process(thread()), worker(1, first, calls={PIPE: 6.0}), worker(2, second))


def test_a_straggler_in_each_wave() -> None:
    (finding,) = check(waves(full=True))
    assert finding.variant == "straggler-in-each-wave"
    assert finding.lost_core_s == pytest.approx(6.0)
    assert finding.gain.factor == pytest.approx(10 / 7)


def test_without_work_for_all_there_are_no_waves() -> None:
    assert "straggler-in-each-wave" not in [finding.variant for finding in check(waves(full=False))]
