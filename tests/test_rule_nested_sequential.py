"""Nested levels: an inner level that runs in the thread that asked for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.rules.nested_sequential import SLUG, check
from tests.rule_recordings import fires, nearly


def test_an_inner_level_in_a_daemonic_worker_is_found() -> None:
    (finding,) = check(fires(SLUG))
    assert finding.variant == "daemonic-pool-worker"
    assert "called in experiment" in finding.cause
    assert finding.gain.factor == pytest.approx(2.0, abs=0.1)


def test_an_inner_level_with_workers_is_left_alone() -> None:
    assert not list(check(nearly(SLUG)))


def test_stacks_without_joblib_prove_nothing() -> None:
    assert not list(check(replace(fires(SLUG), samples=())))
