"""The ledger of real programs: what is written down against /proc, and the model against both."""

from __future__ import annotations

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from corelens.recording import read
from corelens.reports.elf import SymbolsOnDisk
from corelens.reports.facts import owned, summarise
from tests.programs import TALK, python, record, recorder, running

TEAMS = (
    TALK
    + """
import threading
import torch
torch.set_num_threads(16)
stop, opened = threading.Event(), threading.Barrier(4)
def work():
    torch.ones(1 << 21).exp_()
    opened.wait()
    stop.wait()
for _ in range(3):
    threading.Thread(target=work).start()
opened.wait()
say("ready")
hear()
stop.set()
"""
)

# As many as can be started and ended one after the other between two looks.
CHURN = """
import threading
for _ in range(3000):
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
"""


@pytest.mark.lab
@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed (extra lab)")
def test_teams_of_a_running_program_are_seen_counted_and_predicted(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    with running(python(TEAMS)) as program:
        assert program.hear() == "ready"
        there = len(os.listdir(f"/proc/{program.pid}/task"))  # noqa: PTH208
        command = [*recorder(path, "-p", str(program.pid), "--duration", "1")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert program.end() == 0
    ledger = summarise(read(path), SymbolsOnDisk()).ledger
    assert ledger is not None
    (process,) = ledger.processes
    by_owner = {line.owner: line for line in process.lines}
    assert ledger.threads == there == sum(line.threads for line in process.lines)
    (teams,) = by_owner[owned.OPENMP_GNU].teams
    assert (teams.teams, teams.threads_each) == (3, 15)
    assert (by_owner[owned.PYTHON].threads, by_owner[owned.TORCH_PTHREADPOOL].threads) == (3, 15)
    assert (process.difference, process.differences, process.reason) == (0, (), None), process


def test_threads_that_come_and_go_are_accounted_for(tmp_path: Path) -> None:
    done, recording = record(tmp_path / "r.corelens", python(CHURN))
    assert done.returncode == 0, done.stderr
    report = summarise(recording)
    assert report.ledger is not None
    for process in (*report.ledger.processes, *report.ledger.own_peaks):
        assert process.threads == sum(line.threads for line in process.lines)
    over_time = [each.threads for each in report.ledger.over_time]
    sums = [
        None if None in column else sum(count or 0 for count in column)
        for column in zip(*over_time, strict=True)
    ]
    assert tuple(sums) == report.timeline.threads
    assert report.ledger.threads == report.threads.peak
