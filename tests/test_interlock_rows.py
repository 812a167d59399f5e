"""How the GIL, waits and locks are laid out, and where the units of their numbers stand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from corelens.reports.interlock_rows import (
    MOST_LOCKS,
    MOST_PROCESSES,
    gil_notes,
    gil_rows,
    lock_notes,
    lock_rows,
    wait_rows,
)
from corelens.reports.json_report import json_report
from corelens.reports.report import Gil, GilThread, Lock, Report, Wait
from corelens.reports.sections import Section, sections
from tests import made_reports

GIL = Gil(
    pid=100, role="main", version="3.11", gil="yes", how="offsets", reason=None, interval_us=5000,
    looks=2000, held_share=0.31, handoffs=300_000, handoffs_per_s=27_123.4, handoffs_per_s_peak=30_000.0,
    waited_thread_s=8.0, waiting_threads_mean=1.25, wait_share=0.4, busiest_tid=101, busiest_share=0.5,
    pattern="convoy", threads=(GilThread(101, "worker", 20, 0.5, 0.3),), held_share_by_bin=(0.3, None),
    handoffs_per_s_by_bin=(27_000.0, None),
)  # fmt: skip
UNKNOWN = replace(
    GIL, pid=200, version=None, gil="unknown", how="nothing", reason="may not be traced", looks=0,
    held_share=None, handoffs=None, handoffs_per_s=None, handoffs_per_s_peak=None, waited_thread_s=0.0,
    waiting_threads_mean=None, wait_share=None, busiest_tid=None, busiest_share=None, pattern=None, threads=(),
)  # fmt: skip
LOCK = Lock((100,), 0x7F00, False, None, "convoy", 4, 2.5, 3, 12.0, 0.6, 125.4)
SHARED = replace(LOCK, pids=(100, 200, 300), shared=True, path="/dev/shm/q", pattern="parked")
WAIT = Wait("gil", "the GIL", 8.0, 0.4, 4, 1)


def report(**parts: object) -> Report:
    return replace(made_reports.report(), **parts)  # type: ignore[arg-type]


def titled(made: Report, title: str) -> Section:
    (found,) = [section for section in sections(made) if section.title == title]
    return found


def test_a_process_in_a_row() -> None:
    assert list(gil_rows([GIL])) == [
        (
            "100", "main", "3.11", "yes", "31.0 %", "27,123", "1.25", "40.0 %", "101 (50 %)",
            "convoy",
        )
    ]  # fmt: skip


def test_what_is_not_known_is_a_dash_with_a_reason() -> None:
    (row,) = gil_rows([UNKNOWN])
    assert row == ("200", "main", "—", "unknown", *["—"] * 6)
    assert list(gil_notes([UNKNOWN, UNKNOWN])) == ["may not be traced"]


@pytest.mark.parametrize(("pattern", "word"), [("convoy", "convoy: "), ("saturation", "saturated: ")])
def test_a_pattern_is_explained(pattern: str, word: str) -> None:
    (note,) = gil_notes([replace(GIL, pattern=pattern)])
    assert note.startswith(word)


def test_processes_that_lose_most_come_first_and_the_rest_is_counted() -> None:
    gils = [replace(GIL, pid=pid, waited_thread_s=float(pid)) for pid in range(MOST_PROCESSES + 3)]
    rows = list(gil_rows(gils))
    assert [row[0] for row in rows[:2]] == [str(MOST_PROCESSES + 2), str(MOST_PROCESSES + 1)]
    assert len(rows) == MOST_PROCESSES
    assert list(gil_notes(gils))[-1].startswith("3 more processes")


def test_waits_in_rows() -> None:
    assert list(wait_rows([WAIT])) == [("the GIL", "8.0", "40.0 %", "4", "1")]


def test_locks_in_rows() -> None:
    own, shared = lock_rows([LOCK, SHARED])
    assert own == ("0x7f00 of process 100", "1", "4", "2.5 / 3", "12.0", "60.0 %", "125", "convoy")
    assert shared[0] == "0x7f00 in /dev/shm/q (shared) of 3 processes"
    assert [note.partition(":")[0] for note in lock_notes([LOCK, SHARED])] == ["convoy", "parked"]
    assert list(lock_notes([LOCK] * (MOST_LOCKS + 2)))[-1] == "2 more are in the JSON report"


def test_each_is_a_part_of_the_report() -> None:
    made = report(gil=(GIL,), waits=(WAIT,), locks=(LOCK,))
    for title in ("The GIL", "What blocked threads wait for", "Locks"):
        section = titled(made, title)
        assert len(section.rows) == 1
        assert len(section.columns) == len(section.numeric) == len(section.rows[0])
    assert "The GIL" not in [section.title for section in sections(made_reports.report())]


def test_they_are_in_the_json_report() -> None:
    found = json.loads(json_report(report(gil=(GIL, UNKNOWN), waits=(WAIT,), locks=(SHARED,))))["facts"]
    assert found["gil"][0]["handoffs_per_s"] == 27_123.4
    assert found["gil"][1]["held_share"] is None
    assert found["locks"][0]["pids"] == [100, 200, 300]
