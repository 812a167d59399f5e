"""Thread oversubscription: several callers of one process, each with a team, or with one pool together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts
from corelens.reports.rules.thread_oversubscription import SLUG, check
from tests.rule_recordings import fires, nearly


def with_threads(known: Facts, *threads: ThreadFacts) -> Facts:
    """The recorded program with other threads."""
    root: ProcessFacts = replace(known.root, threads=threads)
    return replace(known, processes=(root,), root=root)


def test_callers_of_one_pool_are_found() -> None:
    (finding,) = check(fires(SLUG))
    assert finding.variant == "blas-pool-shared-by-threads"
    assert "8 calling threads" in finding.cause
    assert finding.confidence >= 0.9
    assert finding.lost_share > 0.8
    assert (finding.gain.factor, finding.gain.at_least) == (5.0, True)


def test_callers_without_a_pool_are_left_alone() -> None:
    assert not list(check(nearly(SLUG)))


def test_teams_that_sleep_and_wake_are_told_by_the_kernel_time() -> None:
    known = fires(SLUG)
    asleep = [
        replace(thread, voluntary=100_000) if thread.owner.kind == "openblas" else thread
        for thread in known.root.threads
    ]
    known = with_threads(known, *asleep)
    root = replace(known.root, system_s=known.root.run_s * 0.35)
    known = replace(known, processes=(root,), root=root)
    (finding,) = check(known)
    assert not finding.gain.at_least
    assert finding.gain.factor == pytest.approx(1 / (1 - 2 * 0.30), abs=0.01)


def test_each_caller_with_a_team_is_another_form() -> None:
    known = fires(SLUG)
    masters = [thread.tid for thread in known.root.threads if thread.owner.kind == "python"]
    made = [
        replace(
            thread,
            owner=replace(thread.owner, kind="openmp-gnu", label="libgomp (torch)"),
            master_tid=masters[place % 2],
        )
        if thread.owner.kind == "openblas"
        else thread
        for place, thread in enumerate(known.root.threads)
    ]
    (finding,) = check(with_threads(known, *made))
    assert finding.variant == "omp-team-per-calling-thread"
    assert "import torch; torch.set_num_threads(1)" in finding.remedy.paste
