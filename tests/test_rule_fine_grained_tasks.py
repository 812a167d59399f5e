"""Fine-grained tasks: messages cost more than the tasks in them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.facts.facts import Facts
from corelens.reports.rules.fine_grained_tasks import SLUG, check
from tests.made_crews import PROGRAM, facts, process, sample, thread, worker
from tests.rule_recordings import fires, nearly

PIPE = ("read", "pipe")
BUSY = dict.fromkeys(range(20), 0.9)


def messages(*, voluntary: int = 100_000, share: float = 0.2) -> Facts:
    """A parent busy with messages, and two workers with little to do."""
    workers = [worker(pid, dict.fromkeys(range(20), share), calls={PIPE: 8.0}) for pid in (1, 2)]
    return facts(process(thread(busy=BUSY, voluntary=voluntary)), *workers)


def test_a_pool_that_is_handed_one_small_item_at_a_time_is_found() -> None:
    (finding,) = check(fires(SLUG))
    assert finding.lost_share > 0.5
    assert finding.confidence >= 0.8
    assert finding.gain.factor is not None
    assert finding.gain.factor > 5
    assert finding.gain.at_least
    assert any("chunksize=" in line for line in finding.remedy.paste)
    assert "gil-contention" in finding.explains


def test_what_only_looks_like_it_is_left_alone() -> None:
    assert not list(check(nearly(SLUG)))


def test_a_parent_seen_at_work_of_its_own_lowers_the_confidence() -> None:
    known = messages()
    at_work = sample(known.root, ("main", PROGRAM), count=5)
    (sure,), (doubtful,) = check(known), check(replace(known, samples=(at_work,)))
    assert doubtful.confidence < sure.confidence
    assert doubtful.against


def test_few_messages_are_no_small_tasks() -> None:
    assert not list(check(messages(voluntary=500)))


def test_many_messages_around_more_work_are_worth_it() -> None:
    assert not list(check(messages(share=1.0)))


def test_large_messages_are_another_cause() -> None:
    known = messages()
    large = tuple(replace(one, minor_faults=2_000_000) for one in known.processes)
    assert not list(check(replace(known, processes=large, root=large[0])))


@pytest.mark.parametrize(("size", "found"), [(300, True), (500_000, False)])
def test_bytes_per_write_tell_where_they_were_recorded(size: int, found: bool) -> None:
    known = messages()
    told = tuple(
        replace(one, write_chars=100_000 * size, write_calls=100_000, read_chars=0, read_calls=0)
        for one in known.processes
    )
    assert bool(list(check(replace(known, processes=told, root=told[0])))) is found
