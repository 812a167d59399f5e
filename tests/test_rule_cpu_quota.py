"""CPU quota: workers that a control group's budget stops."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.rules.cpu_quota import SLUG, check
from tests.rule_recordings import fires, nearly


def test_a_quota_below_the_workers_is_found() -> None:
    (finding,) = check(fires(SLUG))
    assert finding.variant == "pool-exceeds-quota"
    assert "pays for 0.6 cores" in finding.cause
    assert finding.gain.factor == pytest.approx(3.4, abs=0.3)


def test_a_quota_that_covers_the_workers_is_left_alone() -> None:
    known = nearly(SLUG)
    assert known.quotas
    assert not list(check(known))


def test_a_quota_above_the_own_group_is_another_form() -> None:
    known = fires(SLUG)
    above = tuple(replace(quota, nested=True) for quota in known.quotas)
    (finding,) = check(replace(known, quotas=above))
    assert finding.variant == "nested-quota"


def test_few_stopped_periods_are_no_matter() -> None:
    known = fires(SLUG)
    seldom = tuple(replace(quota, throttled_periods=quota.periods // 4) for quota in known.quotas)
    assert not list(check(replace(known, quotas=seldom)))
