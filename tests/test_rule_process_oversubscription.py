"""Process oversubscription: several processes bring a native pool each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.facts.facts import Facts
from corelens.reports.facts.native_teams import contention
from corelens.reports.report import Limit
from corelens.reports.rules import late_thread_limit
from corelens.reports.rules.process_oversubscription import SLUG, check
from tests.rule_recordings import fires, nearly


@pytest.fixture(name="known", scope="module")
def _known() -> Facts:
    return fires(SLUG)


def late(known: Facts) -> Facts:
    """The same pools, after a limit that came too late."""
    pid = known.processes[-1].pid
    row = Limit(
        pid, "pool-worker-fork", "OpenBLAS (numpy)", None, "OPENBLAS_NUM_THREADS", "1", None, 16, "set-too-late",
        "it appeared after the library had read its variables", None,
    )  # fmt: skip
    return replace(known, report=replace(known.report, limits=(*known.report.limits, row)))


def test_pools_of_several_processes_are_found(known: Facts) -> None:
    (finding,) = check(known)
    assert finding.variant == "procs-x-blas-pool"
    assert finding.cause.startswith(
        "2 processes (pool-worker-fork) each run up to 3 threads of OpenBLAS (numpy)"
    )
    assert finding.confidence == pytest.approx(0.9)
    assert (finding.gain.factor, finding.gain.at_least) == (5.0, True)
    assert "export OPENBLAS_NUM_THREADS=1" in finding.remedy.paste


def test_pools_that_sleep_are_left_alone() -> None:
    known = nearly(SLUG)
    assert any(thread.owner.kind == "openblas" for thread in known.threads)
    assert not list(check(known))


def test_parked_threads_are_not_counted_as_at_work(known: Facts) -> None:
    found = contention(known)
    assert found is not None
    assert {(team.size, team.pool_size) for team in found.teams} == {(3, 16)}


def test_others_on_the_machine_lower_the_confidence(known: Facts) -> None:
    crowd = replace(known, report=replace(known.report, cpu=replace(known.report.cpu, others_cores_mean=1.0)))
    (finding,) = check(crowd)
    assert finding.confidence == pytest.approx(0.7)
    assert "programs of others used 1.0 cores" in finding.against[0].statement


def test_a_limit_that_came_too_late_is_named(known: Facts) -> None:
    (finding,) = check(late(known))
    assert finding.variant == "limit-set-after-import"
    (beside,) = late_thread_limit.check(late(known))
    assert beside.contributing
    assert "OPENBLAS_NUM_THREADS=1 was set in process" in beside.cause


def test_no_late_limit_without_one(known: Facts) -> None:
    assert not list(late_thread_limit.check(known))


def test_a_limit_that_came_too_late_is_no_matter_where_pools_sleep() -> None:
    assert not list(late_thread_limit.check(late(nearly(SLUG))))
