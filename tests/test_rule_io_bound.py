"""Waiting for devices: syncs that look like work, pages, and requests of which too few are in flight."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.facts.blocking import blocked_in
from corelens.reports.facts.facts import Facts
from corelens.reports.rules.io_bound import SLUG, check
from tests.made_crews import BOSS, facts, process, thread, worker
from tests.rule_recordings import fires, nearly


def test_workers_that_sync_each_record_are_found() -> None:
    (finding,) = check(fires(SLUG))
    assert finding.variant == "fsync-disk"
    assert finding.confidence >= 0.8
    assert finding.lost_share > 0.7
    assert finding.gain.factor == pytest.approx(5.0)
    assert finding.gain.at_least
    assert any("os.fsync" in line for line in finding.remedy.paste)


def test_many_requests_in_flight_are_left_alone() -> None:
    assert not list(check(nearly(SLUG)))


def test_waits_too_short_to_be_met_are_counted() -> None:
    busy = thread(busy=dict.fromkeys(range(20), 0.3), doing={"running": 6.0, "disk": 3.0, "lock": 1.0})
    assert blocked_in(busy, 10.0) == pytest.approx({"disk": 5.25, "lock": 1.75})
    assert blocked_in(thread(doing={"running": 10.0}), 10.0) == {}


def test_workers_that_want_a_core_wait_less_for_the_disk() -> None:
    known = fires(SLUG)
    processes = tuple(
        replace(each, threads=tuple(replace(one, queue_s=one.queue_s + 2.3) for one in each.threads))
        if each is not known.root
        else each
        for each in known.processes
    )
    (before,), (after,) = check(known), check(replace(known, processes=processes))
    assert after.confidence < before.confidence
    assert after.against


def fetching(count: int, main: dict[str, float]) -> Facts:
    """Threads that wait for replies."""
    threads = [
        thread(tid=BOSS + n, kind="python", doing={"socket": 9.0}, calls={("recvfrom", "socket"): 9.0})
        for n in range(1, count + 1)
    ]
    return facts(process(thread(doing=main), *threads))


def test_a_handful_of_requests_in_flight_is_too_few() -> None:
    (finding,) = check(fetching(3, {"lock": 9.5}))
    assert finding.variant == "remote"
    assert finding.confidence >= 0.5
    assert "12 requests" in finding.remedy.what


def test_a_service_that_waits_for_requests_is_idle() -> None:
    assert not list(check(fetching(3, {"poll": 9.5})))


def test_enough_requests_in_flight_are_how_waiting_is_done() -> None:
    assert not list(check(fetching(8, {"lock": 9.5})))


def test_pages_that_are_read_one_by_one_are_named() -> None:
    paging = worker(1, dict.fromkeys(range(20), 0.2), doing={"paging": 8.0}, calls={("fault", None): 8.0})
    (finding,) = check(facts(process(thread()), replace(paging, major_faults=5000)))
    assert finding.variant == "page-in"
    assert finding.gain.factor == pytest.approx(1.25, abs=0.05)
