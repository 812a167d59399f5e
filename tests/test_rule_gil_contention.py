"""The interpreter lock: threads that compute in turn, and threads that compute beside each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.facts.facts import Facts, ThreadFacts
from corelens.reports.rules.gil_contention import SLUG, check
from tests.rule_recordings import fires, nearly


def with_threads(known: Facts, change: dict[str, float]) -> Facts:
    """The same facts with fields of the root's threads changed."""
    threads = tuple(replace(thread, **change) for thread in known.root.threads)
    root = replace(known.root, threads=threads)
    return replace(known, processes=(root,), root=root)


def test_threads_that_take_turns_are_found() -> None:
    (finding,) = check(fires(SLUG))
    assert finding.variant == "pure-python-threads"
    assert finding.cause.startswith("4 threads of process ")
    assert "objective" in finding.cause
    assert finding.confidence >= 0.85
    assert finding.lost_share == pytest.approx(0.48, abs=0.05)
    assert finding.gain.factor == pytest.approx(2.0, abs=0.1)
    assert any("JournalStorage" in line for line in finding.remedy.paste)


def test_threads_that_let_go_of_the_lock_are_left_alone() -> None:
    assert not list(check(nearly(SLUG)))


def test_threads_short_of_cores_wait_for_the_lock_because_of_that() -> None:
    known = fires(SLUG)
    (before,), (after,) = check(known), check(with_threads(known, {"queue_s": 9.0}))
    assert after.confidence == pytest.approx(before.confidence - 0.3)
    assert "for a core" in after.against[0].statement


def test_a_build_without_the_lock_has_no_such_finding() -> None:
    known = fires(SLUG)
    free = replace(known.report, gil=tuple(replace(gil, gil="no") for gil in known.report.gil))
    assert not list(check(replace(known, report=free)))


def test_one_thread_that_waits_for_the_lock_is_not_enough() -> None:
    known = fires(SLUG)
    first = next(thread for thread in known.root.threads if thread.doing.get("gil", 0.0) > 1.0)
    threads = tuple(thread if thread is first else _patient(thread) for thread in known.root.threads)
    root = replace(known.root, threads=threads)
    assert not list(check(replace(known, processes=(root,), root=root)))


def _patient(thread: ThreadFacts) -> ThreadFacts:
    return replace(thread, doing={what: spent for what, spent in thread.doing.items() if what != "gil"})


def test_a_thread_that_computes_alone_starves_those_that_do_io() -> None:
    known = fires(SLUG)
    (gil,) = known.report.gil
    alone = replace(gil, busiest_share=0.95)
    threads = tuple(_on_sockets(thread, gil.busiest_tid) for thread in known.root.threads)
    root = replace(known.root, threads=threads)
    report = replace(known.report, gil=(alone,))
    (finding,) = check(replace(known, processes=(root,), root=root, report=report))
    assert finding.variant == "compute-starves-io"
    assert any("ProcessPoolExecutor" in line for line in finding.remedy.paste) or "optuna" in str(finding)


def _on_sockets(thread: ThreadFacts, holder: int | None) -> ThreadFacts:
    if thread.tid == holder:
        return thread
    return replace(thread, doing={**thread.doing, "socket": 0.5})
