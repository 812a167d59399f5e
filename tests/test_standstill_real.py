"""Real programs that hang, and such that merely wait: they say that they are ready, then are looked at."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from corelens.probes import procfs
from corelens.probes.standstill_look import look
from corelens.probes.syscalls import names_by_number
from corelens.reports.diagnosis import diagnosed
from corelens.reports.facts.wait_chain import judged
from corelens.vocabulary import Line
from tests import deadlock_programs as programs
from tests.programs import python, record, running, wait_until


@contextlib.contextmanager
def ready(source: str) -> Generator[int]:
    """Start a program in a session of its own and end all of it; yields its pid once it is ready."""
    with running(python(source), start_new_session=True) as program:
        try:
            assert program.hear() == "ready"
            yield program.pid
        finally:
            os.killpg(program.pid, signal.SIGKILL)


def parents_of(root: int) -> dict[int, int | None]:
    """The living processes of the session of a program, with their parents."""
    found: dict[int, int | None] = {}
    for pid in procfs.process_ids(procfs.PROC):
        with contextlib.suppress(procfs.Unreadable):
            stat = procfs.read_stat(procfs.PROC, pid)
            if stat.session == root and stat.state not in "ZX":
                found[pid] = None if pid == root else stat.ppid
    return found


def seen(root: int) -> tuple[list[Line], dict[int, int | None]]:
    """A look at everybody, without Python stacks."""
    parents = parents_of(root)
    return list(look(procfs.PROC, sorted(parents), names_by_number(), {}, 0)), parents


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (programs.LOCK_HELD_AT_FORK, "where no other thread exists"),
        (programs.JOIN_BEFORE_DRAIN, "waits for room in a full pipe"),
        (programs.BOTH_WRITE, "waits for room in a full socket"),
        (programs.LOCK_CYCLE, "waits for a lock that only its own process can open"),
        (programs.POOL_WAITS_FOR_ITSELF, "waits for a lock that only its own process can open"),
        (programs.TASK_LOST, "waits for a lock that only its own process can open"),
        (programs.ANSWER_NEVER_COMES, "that nobody but itself could write"),
    ],
)
def test_who_waits_for_whom_is_told_where_nothing_can_move(source: str, words: str) -> None:
    with ready(source) as pid:
        told: list[str | None] = [None]

        def stuck() -> bool:
            told[0] = judged(*seen(pid))
            return told[0] is not None

        wait_until(stuck, "a chain of waits that nobody can end")
        assert words in (told[0] or "")


@pytest.mark.parametrize(
    "source",
    [programs.IDLE_SERVER, programs.PREFORKED_SERVER, programs.WAITS_FOR_A_TIME, programs.READS_ITS_INPUT],
)
def test_who_waits_for_somebody_outside_or_for_a_time_may_go_on(source: str) -> None:
    with ready(source) as pid:

        def settled() -> bool:
            rows = next(line for line in seen(pid)[0] if line["kind"] == "standstill.waits")
            return len(rows["call"]) > 1 and "running" not in rows["call"]

        wait_until(settled, "everybody waiting")
        assert judged(*seen(pid)) is None


def test_a_deadlocked_program_is_told_of_and_ended_and_the_report_says_why(tmp_path: Path) -> None:
    done, recording = record(
        tmp_path / "r.corelens", python(programs.LOCK_CYCLE), "--watch", "0.5", "--kill-deadlocked", "--quiet"
    )
    assert done.returncode == 12
    first, second = done.stderr.splitlines()
    assert "nothing ever will: main thread of process" in first
    assert "--kill-deadlocked" in second
    report = diagnosed(recording)
    assert report.diagnosis is not None
    assert (report.diagnosis.verdict, report.diagnosis.variant) == ("deadlock", "lock-cycle")
    assert report.standstill is not None
    assert report.standstill.killed
    assert report.standstill.deadlock
