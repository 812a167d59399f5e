"""CPU affinity: workers that a mask keeps on fewer cores."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.rules.cpu_affinity import SLUG, check
from tests.rule_recordings import fires, nearly


def test_a_mask_that_was_narrowed_is_found() -> None:
    (finding,) = check(fires(SLUG))
    assert finding.variant == "mask-changed-by-import"
    assert finding.cause.startswith(
        "2 threads that compute, in 2 process(es) (pool-worker-fork), may only run on core 0"
    )
    assert finding.confidence == pytest.approx(0.95)
    assert finding.gain.factor == pytest.approx(2.0, abs=0.05)


def test_masks_that_do_not_overlap_are_meant() -> None:
    assert not list(check(nearly(SLUG)))


def test_a_mask_from_the_start_may_be_meant() -> None:
    known = fires(SLUG)
    timeline = known.report.timeline
    small = replace(timeline, capacity_cores=tuple(1.0 for _ in timeline.capacity_cores))
    (finding,) = check(replace(known, report=replace(known.report, timeline=small)))
    assert finding.variant == "pinned-to-fewer"
    assert finding.confidence == pytest.approx(0.7)
    assert finding.against


def test_workers_that_narrow_their_own_masks_are_another_form() -> None:
    known = fires(SLUG)
    root = replace(known.root, affinity=frozenset({0, 1}))
    processes = tuple(root if process is known.root else process for process in known.processes)
    (finding,) = check(replace(known, root=root, processes=processes))
    assert finding.variant == "workers-on-same-cores"


def test_other_cores_that_others_use_lower_the_confidence() -> None:
    known = fires(SLUG)
    timeline = known.report.timeline
    full = replace(timeline, core_busy=tuple(tuple(1.0 for _ in row) for row in timeline.core_busy))
    (finding,) = check(replace(known, report=replace(known.report, timeline=full)))
    assert finding.confidence == pytest.approx(0.65)
