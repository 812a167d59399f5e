"""`corelens.record()` records this very process from outside and leaves nothing running."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import corelens
from corelens.errors import OutputExists
from corelens.recorder_child import RecorderFailed
from corelens.recording import Recording, read

WORK_S = 0.3


def work() -> float:
    """Use a known amount of CPU and return it."""
    begun = time.process_time()
    while time.process_time() - begun < WORK_S:
        pass
    return time.process_time() - begun


def cpu_s(recording: Recording, pid: int) -> float:
    """CPU that a process used between its first and its last reading."""
    readings = [
        cpu_ns
        for line in recording.lines("processes")
        for each, cpu_ns in zip(line["pid"], line["cpu_ns"], strict=True)
        if each == pid
    ]
    return (readings[-1] - readings[0]) / 1e9


def test_what_the_block_does_is_in_the_recording(tmp_path: Path) -> None:
    with corelens.record(tmp_path / "a.corelens", labels={"step": "one"}) as path:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        used_s = work()
        child.communicate(b"\n")
    recording = read(path)
    assert recording.header["labels"] == {"step": "one"}
    assert recording.header["target"]["how"] == "attached"
    assert recording.footer is not None
    assert cpu_s(recording, os.getpid()) >= used_s * 0.98 - 0.02
    born = {line["pid"]: line for line in recording.lines("process.born")}
    assert born[child.pid]["ppid"] == os.getpid()


def test_the_recorder_is_not_part_of_what_it_records(tmp_path: Path) -> None:
    with corelens.record(tmp_path / "a.corelens") as path:
        work()
    assert [line["pid"] for line in read(path).lines("process.born")] == [os.getpid()]


def test_a_block_that_raises_still_leaves_a_whole_recording(tmp_path: Path) -> None:
    path = tmp_path / "a.corelens"
    with pytest.raises(ZeroDivisionError), corelens.record(path):
        raise ZeroDivisionError
    assert read(path).footer is not None


def test_an_existing_file_is_kept_without_force(tmp_path: Path) -> None:
    path = tmp_path / "a.corelens"
    path.write_text("mine")
    with pytest.raises(OutputExists), corelens.record(path):
        pytest.fail("the block must not run")
    assert path.read_text() == "mine"
    with corelens.record(path, force=True):
        pass
    assert read(path).footer is not None


def test_a_recorder_that_cannot_begin_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(RecorderFailed, match="is no folder"),
        corelens.record(tmp_path / "none" / "a.corelens"),
    ):
        pytest.fail("the block must not run")
