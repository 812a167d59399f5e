"""A program can say what its Python threads are called, and a report believes it of that process alone."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from corelens import marks
from corelens.recording import Recording
from corelens.reports.facts import owned
from corelens.reports.facts.bins import grid_for
from corelens.reports.facts.owners import owners
from corelens.reports.facts.processes import lives
from corelens.reports.facts.threads import threads
from corelens.vocabulary import Line, columnar_line
from tests.made_threads import MS, SECOND, born, listed, recording

PYTHON = "/usr/lib/libpython3.11.so.1.0"


def test_a_program_names_its_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corelens.marks._spool", str(tmp_path))
    stop = threading.Event()
    worker = threading.Thread(target=stop.wait, name="worker-7")
    worker.start()
    try:
        marks.threads()
    finally:
        stop.set()
        worker.join()
    (line,) = [
        json.loads(text) for text in (tmp_path / f"marks-{os.getpid()}.jsonl").read_text().splitlines()
    ]
    assert (line["name"], line["phase"], line["span"]) == ("threads", "point", None)
    assert line["attributes"]["names"][str(worker.native_id)] == "worker-7"


def test_a_thread_that_is_merely_numbered_is_told_by_its_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TMonitor(threading.Thread):
        def run(self) -> None:
            stop.wait()

    monkeypatch.setattr("corelens.marks._spool", str(tmp_path))
    stop = threading.Event()
    monitor = TMonitor()
    monitor.start()
    try:
        marks.threads()
    finally:
        stop.set()
        monitor.join()
    names = json.loads((tmp_path / f"marks-{os.getpid()}.jsonl").read_text())["attributes"]["names"]
    assert names[str(monitor.native_id)] == f"{monitor.name} (TMonitor)"
    assert names[str(threading.main_thread().native_id)] == threading.main_thread().name


def test_without_a_recorder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corelens.marks._spool", None)
    monkeypatch.chdir(tmp_path)
    marks.threads()
    assert list(tmp_path.iterdir()) == []


def named(names: object, pid: int = 100) -> Recording:
    """One process with a main and a Python thread, 101, and a mark that says names."""
    mark: Line = {
        "kind": "mark", "t_ns": SECOND, "pid": pid, "tid": pid, "name": "threads", "phase": "point", "span": None,
        "attributes": {"names": names},
    }  # fmt: skip
    rows = [(100, 101, "start-routine", 0, 16, None, None, None)]
    lines = [
        born(),
        listed(0, [100, 101]),
        columnar_line("modules", 0, [(0, PYTHON, None, False)]),
        columnar_line("threads.owned", 0, rows),
        mark,
    ]
    return recording(lines)


def owner_of_101(made: Recording) -> tuple[str, str]:
    alive = lives(made)
    everyone = threads(made, alive, grid_for(10 * SECOND, 100 * MS)).all
    found = owners(made, alive, everyone)
    owner = next(each.owner for thread, each in found.items() if thread.tid == 101)
    return owner.kind, owner.label


def test_names_tell_helpers_from_workers() -> None:
    assert owner_of_101(named({"101": "trial-3"})) == (owned.PYTHON, "Python thread trial-3")
    assert owner_of_101(named({"101": "tqdm_monitor"})) == (owned.PYTHON_HELPER, "tqdm monitor")


@pytest.mark.parametrize(
    "names",
    [None, [], "101", {"x": "tqdm_monitor"}, {"101": 7}, {"-101": "tqdm_monitor"}, {"999": "tqdm_monitor"}],
)
def test_a_mark_can_hold_anything(names: object) -> None:
    assert owner_of_101(named(names)) == (owned.PYTHON, "Python thread")


def test_another_process_names_nothing_here() -> None:
    assert owner_of_101(named({"101": "tqdm_monitor"}, pid=55)) == (owned.PYTHON, "Python thread")
