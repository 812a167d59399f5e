"""Memory that is too short, and a mapped file that is read for the first time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.facts.memory_strain import MemoryStrain
from corelens.reports.rules.memory_pressure import SLUG, check
from tests.rule_recordings import fires, nearly

MIB = 1 << 20


def test_a_group_that_reads_its_pages_again_and_again_is_found() -> None:
    (finding,) = check(fires(SLUG))
    assert finding.variant == "reclaim-thrash"
    assert "80 MiB" in finding.cause
    assert finding.confidence >= 0.85
    assert finding.gain.at_least
    assert finding.lost_share > 0.7
    assert "--memory=160m" in finding.remedy.paste[0]


def test_the_same_work_with_memory_enough_is_left_alone() -> None:
    assert not list(check(nearly(SLUG)))


def test_faults_without_a_shortage_have_another_cause() -> None:
    assert not list(check(replace(fires(SLUG), strain=MemoryStrain(available_least_bytes=8192 * MIB))))


def test_swap_that_grows_is_named() -> None:
    (finding,) = check(replace(fires(SLUG), strain=MemoryStrain(swap_grown_bytes=512 * MIB)))
    assert finding.variant == "swap"
    assert any("swap grew by 512 MiB" in each.statement for each in finding.evidence)


def test_a_shortage_without_faults_costs_nothing() -> None:
    known = fires(SLUG)
    calm = tuple(replace(process, major_faults=50) for process in known.processes)
    assert not list(check(replace(known, processes=calm)))


def test_faults_that_were_not_read_prove_nothing() -> None:
    known = fires(SLUG)
    unread = tuple(replace(process, major_faults=None) for process in known.processes)
    assert not list(check(replace(known, processes=unread)))


@pytest.mark.parametrize(
    ("strain", "shortage"),
    [
        (MemoryStrain(), None),
        (MemoryStrain(limit_bytes=100, near_limit_share=0.1), None),
        (MemoryStrain(limit_bytes=100, near_limit_share=0.5), "reclaim-thrash"),
        (MemoryStrain(available_least_bytes=MIB), "reclaim-thrash"),
        (MemoryStrain(available_least_bytes=512 * MIB), None),
        (MemoryStrain(swap_grown_bytes=MIB), None),
    ],
)
def test_shortage(strain: MemoryStrain, shortage: str | None) -> None:
    assert strain.shortage(1024 * MIB) == shortage
