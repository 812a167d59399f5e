"""Samples of code: rings of made-up bytes, what is written of them, and a real program that spins."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from corelens.probes import perf_events
from corelens.probes.perf_ring import Ring
from corelens.probes.perf_samples import PerfProbe
from corelens.probes.probe import Moment, Process
from tests.fakeproc import machine
from tests.programs import TALK, python, running
from tests.test_gil_probe import rows
from tests.test_vocabulary import complaints

RING_BYTES = 8 * mmap.PAGESIZE


def sample(address: int, pid: int, tid: int) -> bytes:
    return struct.pack("<IHHQII", 9, 2, 24, address, pid, tid)


def ring_of(records: bytes, tail: int = 0) -> Ring:
    """A ring in which the kernel has written these records from that count of bytes on."""
    ring, memory = Ring(0, 49), mmap.mmap(-1, mmap.PAGESIZE + RING_BYTES)
    struct.pack_into("<QQ", memory, 1024, tail + len(records), tail)
    for place, byte in enumerate(records):
        memory[mmap.PAGESIZE + (tail + place) % RING_BYTES] = byte
    ring._memory = memory  # pyright: ignore[reportPrivateUsage]
    return ring


def test_samples_and_losses_are_taken_once() -> None:
    lost = struct.pack("<IHHQQ", 2, 0, 24, 1, 7)
    ring = ring_of(sample(0x1000, 10, 11) + lost + sample(0x2000, 10, 12))
    assert ring.take() == [(10, 11, 0x1000), (10, 12, 0x2000)]
    assert ring.lost == 7
    assert ring.take() == []
    ring.close()


def test_a_record_that_lies_over_the_end_of_the_ring_is_whole() -> None:
    for tail in (RING_BYTES - 8, 3 * RING_BYTES - 16):
        ring = ring_of(sample(0x1000, 10, 11), tail)
        assert ring.take() == [(10, 11, 0x1000)]
        ring.close()


def test_a_record_that_cannot_be_ends_the_reading() -> None:
    ring = ring_of(sample(0x1000, 10, 11) + struct.pack("<IHH", 9, 0, 4))
    assert ring.take() == [(10, 11, 0x1000)]
    ring.close()


def moment(*pids: int) -> Moment:
    return Moment(0, {pid: Process(pid, None, 1, "main") for pid in pids}, frozenset(pids))


def look(probe: PerfProbe, *pids: int) -> list[dict[str, Any]]:
    lines = list(probe.look(moment(*pids)))
    assert [text for line in lines for text in complaints(line)] == []
    return lines


def test_samples_are_put_together_by_file_and_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = machine(tmp_path)
    fake.write("10/maps", "7000-9000 r-xp 00001000 00:01 5 /lib/libx.so\n")
    (fake.proc / "10/task").mkdir()
    probe = PerfProbe(10, fake.proc)
    taken = [(10, 11, 0x7009), (10, 11, 0x700C), (10, 12, 0x7020), (10, 12, 0xF000), (99, 99, 0x7000)]

    def take(ring: Ring) -> list[tuple[int, int, int]]:
        return [taken.pop()] if taken else []

    monkeypatch.setattr(Ring, "take", take)
    found: list[dict[str, Any]] = []
    while taken:
        found += look(probe, 10)
    (modules,) = [line for line in found if line["kind"] == "perf.modules"]
    assert (modules["module"], modules["path"], modules["build_id"]) == ([0], ["/lib/libx.so"], [None])
    places = [row for line in found if line["kind"] == "perf.samples" for row in rows(line)]
    where = {(row["tid"], row["module"], row["offset"]) for row in places}
    assert where == {(11, 0, 0x1000), (12, 0, 0x1020), (12, None, None), (99, None, None)}
    assert sum(row["samples"] for row in places) == 5
    probe.close()


def test_a_kernel_that_refuses_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = machine(tmp_path)
    (fake.proc / "10/task/10").mkdir(parents=True)

    def refuse(ring: Ring, tid: int) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Ring, "open", refuse)
    probe = PerfProbe(10, fake.proc)
    (gap,) = look(probe, 10)
    assert (gap["kind"], gap["probe"], gap["reason"]) == ("gap", "perf", "forbidden")
    assert look(probe, 10) == []
    probe.close()


@pytest.mark.skipif(perf_events.trouble() is not None, reason="needs the right to open event counters")
def test_a_thread_begun_later_is_sampled_in_the_file_whose_code_it_runs() -> None:
    source = TALK + (
        "import hashlib, threading, time\n"
        "def spin():\n"
        "    block = bytes(1 << 20)\n"
        "    while time.thread_time() < 0.4: hashlib.sha256(block).digest()\n"
        "say('ready')\nhear()\n"
        "thread = threading.Thread(target=spin); thread.start(); thread.join()\n"
        "say(thread.native_id)\nhear()\n"
    )
    with running(python(source)) as program:
        assert program.hear() == "ready"
        probe = PerfProbe(program.pid)
        program.say("go")
        tid = int(program.hear())
        found = look(probe, program.pid)
        paths = {
            row["module"]: row["path"]
            for line in found
            if line["kind"] == "perf.modules"
            for row in rows(line)
        }
        of_thread = [
            row for line in found if line["kind"] == "perf.samples" for row in rows(line) if row["tid"] == tid
        ]
        assert sum(row["samples"] for row in of_thread) >= 5
        assert any(
            "crypto" in paths.get(row["module"], "")
            or "_hashlib" in paths.get(row["module"], "")
            or "_sha" in paths.get(row["module"], "")
            for row in of_thread
        )
        probe.close()
        program.say("end")
        assert program.end() == 0
