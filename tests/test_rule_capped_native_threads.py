"""Capped native code: one thread at work in a library while cores idle."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.facts.facts import Facts
from corelens.reports.rules.capped_native_threads import SLUG, check
from tests.rule_recordings import fires, nearly


def test_native_code_that_ray_limits_is_found() -> None:
    (finding,) = check(fires(SLUG))
    assert finding.variant == "ray-default-omp-1"
    assert "@ray.remote(num_cpus=2)" in finding.remedy.paste
    assert finding.gain.factor == pytest.approx(1.85, abs=0.1)


def test_a_variable_that_was_read_proves_it_better() -> None:
    known = fires(SLUG)
    told = {process.life: {"OMP_NUM_THREADS": "1"} for process in known.processes}
    (finding,) = check(replace(known, variables_now=told))
    assert finding.confidence == pytest.approx(0.85)
    assert "OMP_NUM_THREADS=1 is set" in finding.evidence[1].statement


def with_gil_held(known: Facts) -> Facts:
    """Python code computes, not native code."""
    held = tuple(replace(gil, held_share=0.9) for gil in known.report.gil)
    return replace(known, report=replace(known.report, gil=held))


def test_code_that_holds_the_gil_is_not_capped() -> None:
    assert not list(check(with_gil_held(fires(SLUG))))
    assert not list(check(nearly(SLUG)))
