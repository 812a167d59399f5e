"""A thread limit that came too late: it stands beside the cause that it failed to prevent."""

from __future__ import annotations

from dataclasses import replace

from corelens.reports.rules import process_oversubscription
from corelens.reports.rules.late_thread_limit import SLUG, check
from tests.rule_recordings import fires, nearly


def test_a_variable_that_was_set_after_the_import_is_found() -> None:
    (finding,) = check(fires(SLUG))
    assert finding.contributing
    assert finding.cause.startswith("OPENBLAS_NUM_THREADS=1 was set in process")
    (cause,) = process_oversubscription.check(fires(SLUG))
    assert cause.variant == "limit-set-after-import"


def test_pools_that_nothing_limits_have_no_late_limit() -> None:
    known = nearly(SLUG)
    assert not list(check(known))
    (cause,) = process_oversubscription.check(known)
    assert cause.variant == "procs-x-blas-pool"


def test_limits_that_took_effect_are_none() -> None:
    known = fires(SLUG)
    limits = tuple(replace(row, verdict="took-effect") for row in known.report.limits)
    assert not list(check(replace(known, report=replace(known.report, limits=limits))))
