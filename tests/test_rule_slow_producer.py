"""Slow producer: the parent prepares inputs on one core and its workers starve."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.facts.facts import Facts
from corelens.reports.rules.slow_producer import SLUG, check
from tests.made_crews import PROGRAM, facts, process, sample, thread, worker
from tests.rule_recordings import fires, nearly

PIPE = ("read", "pipe")
ALWAYS = dict.fromkeys(range(20), 0.98)
SOME = dict.fromkeys(range(20), 0.2)
SITE = "/opt/python/lib/python3.11/site-packages"


def producer(*, voluntary: int = 100, role: str = "pool-worker-fork") -> Facts:
    """A parent that is always busy, and two workers that wait for it."""
    workers = [worker(pid, SOME, calls={PIPE: 8.0}, role=role) for pid in (1, 2)]
    return facts(process(thread(busy=ALWAYS, voluntary=voluntary)), *workers)


def test_a_parent_that_decodes_what_its_workers_wait_for_is_found() -> None:
    (finding,) = check(fires(SLUG))
    assert finding.variant == "slow-input-generator"
    assert finding.confidence == pytest.approx(0.9)
    assert finding.gain.factor == pytest.approx(1.75, abs=0.15)
    assert "gil-contention" in finding.explains


def test_what_only_looks_like_it_is_left_alone() -> None:
    assert not list(check(nearly(SLUG)))


def test_without_a_stack_it_is_less_sure_and_says_so() -> None:
    known = fires(SLUG)
    (seen,), (unseen,) = check(known), check(replace(known, samples=()))
    assert unseen.confidence < seen.confidence
    assert unseen.against


def test_a_thread_that_stops_for_messages_moves_them() -> None:
    assert list(check(producer()))
    assert not list(check(producer(voluntary=200_000)))


def test_stacks_that_show_it_move_data_are_another_cause() -> None:
    known = producer()
    moving = sample(known.root, ("dumps", "/opt/python/lib/python3.11/multiprocessing/reduction.py"), count=9)
    assert not list(check(replace(known, samples=(moving,))))


def test_a_loader_waits_for_whoever_trains() -> None:
    known = producer(role="dataloader-worker")
    training = sample(known.root, ("main", PROGRAM), count=9)
    assert not list(check(replace(known, samples=(training,))))


def test_a_sampler_that_costs_more_than_loading() -> None:
    known = producer(role="dataloader-worker")
    drawing = sample(
        known.root,
        ("main", PROGRAM),
        ("_BaseDataLoaderIter._next_index", f"{SITE}/torch/utils/data/dataloader.py"),
        ("Weighted.__iter__", PROGRAM),
        count=9,
    )
    (finding,) = check(replace(known, samples=(drawing,)))
    assert finding.variant == "sampler"
    assert finding.gain.at_least


def test_a_loader_without_workers_loads_in_the_main_thread() -> None:
    known = facts(process(thread(busy=ALWAYS)))
    loading = sample(
        known.root,
        ("main", PROGRAM),
        ("_SingleProcessDataLoaderIter._next_data", f"{SITE}/torch/utils/data/dataloader.py"),
        ("Words.__getitem__", PROGRAM),
        count=8,
    )
    training = sample(known.root, ("main", PROGRAM), count=2)
    (finding,) = check(replace(known, samples=(loading, training)))
    assert finding.variant == "main-process-loads"
    assert not list(check(replace(known, samples=(loading, replace(training, samples=20)))))
