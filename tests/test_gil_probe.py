"""The GIL probe on made-up processes: finding, verifying, counting, and saying what it cannot see."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from corelens.probes import gil_image
from corelens.probes.gil import (
    CONTENDED_STRATUM_NS,
    ENOUGH_LOOKS,
    LONELY_STRATUM_NS,
    MOST_AT_ONCE,
    SETTLED_STRATUM_NS,
    GilProbe,
)
from corelens.probes.mapped_elf import MappedElf, Symbols
from corelens.probes.probe import Moment, Process
from corelens.vocabulary import Line
from tests.fakepython import BASE, GIL, RUNTIME, RUNTIME_BYTES, FakePython, image
from tests.test_vocabulary import complaints

MS = 1_000_000
ROUND_NS = 100 * MS
VERSIONS = [(3, 10), (3, 11), (3, 12), (3, 13), (3, 14), (3, 15)]


def moment(t_ns: int, *pids: int) -> Moment:
    return Moment(t_ns, {pid: Process(pid, None, 1, "main") for pid in pids}, frozenset(pids))


def lines_of(probe: GilProbe, t_ns: int, *pids: int) -> dict[str, list[dict[str, Any]]]:
    """The rows of one round by kind; every line is held against the vocabulary."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in probe.look(moment(t_ns, *pids)):
        assert list(complaints(line)) == []
        found.setdefault(line["kind"], []).extend(rows(line))
    return found


def rows(line: Line) -> Iterator[dict[str, Any]]:
    names = [name for name, value in line.items() if isinstance(value, list)]
    if not names:
        yield line
    for row in zip(*(line[name] for name in names), strict=True):
        yield dict(zip(names, row, strict=True))


@pytest.fixture
def probe(tmp_path: Path) -> Iterator[GilProbe]:
    made = GilProbe(tmp_path, draw=lambda: 0.5)
    yield made
    made.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_found_and_counted(
    tmp_path: Path, probe: GilProbe, version: tuple[int, int]
) -> None:
    made = FakePython(tmp_path, version=version, tids=(100, 101), switches=7).write()
    made.hold(101)
    found = lines_of(probe, 0, 100)
    (told,) = found["gil.found"]
    assert (told["version"], told["gil"], told["reason"]) == (f"3.{version[1]}", "yes", None)
    assert told["how"] == ("offsets" if version < (3, 13) else "published")
    assert told["interval_us"] == 5000
    assert told["wait_end"] > told["wait_start"] > RUNTIME
    made.let_go(switches=3)
    probe.glance(1)
    (row,) = lines_of(probe, ROUND_NS, 100)["gil"]
    # The version before the kernel's ids were kept cannot say who held it.
    holder = None if version == (3, 10) else 101
    assert row == {"pid": 100, "looks": 3, "held": 1, "switches": 10, "locked": False, "holder": holder}
    assert found.get("gil.held", []) == ([] if holder is None else [{"pid": 100, "tid": 101, "held": 1}])


def test_the_range_waited_on_is_behind_the_counter(tmp_path: Path, probe: GilProbe) -> None:
    FakePython(tmp_path).write()
    (told,) = lines_of(probe, 0, 100)["gil.found"]
    assert told["wait_start"] == GIL + 32
    assert 176 <= told["wait_end"] - told["wait_start"] <= 192


def test_who_holds_it_is_counted_by_thread(tmp_path: Path, probe: GilProbe) -> None:
    made = FakePython(tmp_path, tids=(100, 101, 102)).write()
    lines_of(probe, 0, 100)
    for tid in (101, 101, 102):
        made.hold(tid)
        probe.glance(1)
    made.hold(100)
    found = lines_of(probe, ROUND_NS, 100)
    assert {row["tid"]: row["held"] for row in found["gil.held"]} == {100: 1, 101: 2, 102: 1}
    made.hold(102)
    found = lines_of(probe, 2 * ROUND_NS, 100)
    assert found["gil.held"] == [{"pid": 100, "tid": 102, "held": 2}]


def test_a_process_that_does_not_run_is_left_alone(tmp_path: Path, probe: GilProbe) -> None:
    FakePython(tmp_path).write()
    lines_of(probe, 0, 100)
    assert probe.next_glance_ns is not None
    still = Moment(ROUND_NS, moment(0, 100).processes, frozenset())
    assert list(probe.look(still)) == []
    assert probe.next_glance_ns is None


def test_free_threaded_interpreters_have_no_lock_until_it_is_turned_on(
    tmp_path: Path, probe: GilProbe
) -> None:
    made = FakePython(tmp_path, free_threaded=True).write()
    found = lines_of(probe, 0, 100)
    (told,) = found["gil.found"]
    assert (told["gil"], told["how"], told["wait_start"]) == ("no", "published", None)
    assert told["reason"] == "a free-threaded interpreter with the lock off"
    assert "gil" not in found
    made.enabled = 1
    made.hold(100)
    found = lines_of(probe, 1000 * MS, 100)
    assert found["gil.found"][0]["gil"] == "yes"
    assert found["gil"] == [{"pid": 100, "looks": 1, "held": 1, "switches": 0, "locked": True, "holder": 100}]
    made.enabled = 0
    made.let_go()
    found = lines_of(probe, 2000 * MS, 100)
    assert found["gil.found"][0]["gil"] == "no"
    assert "gil" not in found


def test_an_unknown_version_tells_who_waits_and_no_more(tmp_path: Path, probe: GilProbe) -> None:
    FakePython(tmp_path, version=(3, 99)).write()
    found = lines_of(probe, 0, 100)
    (told,) = found["gil.found"]
    assert (told["gil"], told["how"]) == ("unknown", "waiters")
    assert (told["wait_start"], told["wait_end"]) == (RUNTIME, RUNTIME + RUNTIME_BYTES)
    assert "not known" in told["reason"]
    assert found["gap"][0]["reason"] == "unsupported"
    assert "gil" not in found


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("interval_us", 0, "switch interval reads 0 us"),
        ("interval_us", 1 << 60, "switch interval reads"),
        ("locked", 17, "reads 17, neither held nor free"),
    ],
)
def test_another_layout_is_not_believed(
    tmp_path: Path, probe: GilProbe, field: str, value: int, said: str
) -> None:
    made = FakePython(tmp_path)
    setattr(made, field, value)
    made.write()
    found = [lines_of(probe, turn * ROUND_NS, 100) for turn in range(20)]
    assert found[:19] == [{}] * 19
    (told,) = found[19]["gil.found"]
    assert (told["gil"], told["how"]) == ("unknown", "waiters")
    assert said in told["reason"]


def test_a_holder_that_is_no_thread_is_not_believed(tmp_path: Path, probe: GilProbe) -> None:
    FakePython(tmp_path, locked=1, holder=0x1234).write()
    found = [lines_of(probe, turn * ROUND_NS, 100) for turn in range(20)]
    assert "held by no thread" in found[19]["gil.found"][0]["reason"]


def test_a_thread_id_of_nobody_is_not_believed(tmp_path: Path, probe: GilProbe) -> None:
    made = FakePython(tmp_path, tids=(100, 101)).write()
    (tmp_path / "100" / "task" / "101" / "status").unlink()
    (tmp_path / "100" / "task" / "101").rmdir()
    found = [lines_of(probe, turn * ROUND_NS, 100) for turn in range(20)]
    assert made.tids[1] == 101
    assert "thread 101" in found[19]["gil.found"][0]["reason"]


def test_an_interpreter_that_is_only_starting_is_tried_again(tmp_path: Path, probe: GilProbe) -> None:
    made = FakePython(tmp_path, locked=-1, interval_us=0).write()
    assert lines_of(probe, 0, 100) == {}
    made.locked, made.interval_us = 0, 5000
    made.write()
    assert lines_of(probe, ROUND_NS, 100)["gil.found"][0]["gil"] == "yes"


def test_what_runs_no_python_is_asked_ever_more_seldom(tmp_path: Path, probe: GilProbe) -> None:
    made = FakePython(tmp_path).write()
    (tmp_path / "100" / "maps").write_text("00010000-00020000 r-xp 00000000 08:01 10 /usr/bin/python3\n")
    for turn in range(50):
        assert lines_of(probe, turn * ROUND_NS, 100) == {}
    made.write()
    # It was asked at 0, 0.1, 0.3, 0.7, 1.5 and 3.1 s, and will be at 6.3 s.
    assert lines_of(probe, 6_200 * MS, 100) == {}
    assert lines_of(probe, 6_300 * MS, 100)["gil.found"][0]["gil"] == "yes"


def test_a_shell_that_becomes_python_is_noticed_within_a_second(tmp_path: Path, probe: GilProbe) -> None:
    made = FakePython(tmp_path).write()
    exe, maps = tmp_path / "100" / "exe", tmp_path / "100" / "maps"
    exe.unlink()
    exe.symlink_to("/bin/sh")
    maps.write_text("00010000-00020000 r-xp 00000000 08:01 10 /bin/sh\n")
    # After this it would be asked again at 102.3 s.
    for turn in range(720):
        assert lines_of(probe, turn * ROUND_NS, 100) == {}
    exe.unlink()
    exe.symlink_to("/usr/bin/python3")
    made.write()
    found = [turn for turn in range(720, 740) if "gil.found" in lines_of(probe, turn * ROUND_NS, 100)]
    assert found[0] <= 730


def test_on_musl_waiters_are_not_told(tmp_path: Path, probe: GilProbe) -> None:
    FakePython(tmp_path).write()
    maps = tmp_path / "100" / "maps"
    libc = "500000-501000 r-xp 00000000 08:01 12 /lib/ld-musl-x86_64.so.1\n"
    maps.write_text(maps.read_text() + libc)
    found = lines_of(probe, 0, 100)
    (told,) = found["gil.found"]
    assert (told["gil"], told["wait_start"], told["wait_end"]) == ("yes", None, None)
    assert told["reason"].startswith("on musl")
    assert found["gil"][0]["looks"] == 1


def test_another_program_in_the_same_process_is_found_anew(tmp_path: Path, probe: GilProbe) -> None:
    made = FakePython(tmp_path, version=(3, 12), switches=500).write()
    lines_of(probe, 0, 100)
    # As after an exec: the memory that was opened is there no more.
    os.truncate(tmp_path / "100" / "mem", 0)
    probe.glance(1)
    made.version, made.switches = (3, 14), 3
    made.write()
    found = lines_of(probe, ROUND_NS, 100)
    assert found["gil.found"][0]["version"] == "3.14"
    (row,) = found["gil"]
    assert (row["looks"], row["switches"]) == (2, 3)


def test_memory_opened_before_an_exec_is_opened_anew(tmp_path: Path, probe: GilProbe) -> None:
    # As of a child of vfork: what was opened is its parent's memory, and goes on to be that.
    made = FakePython(tmp_path, tids=(100, 101), switches=500).write()
    (tmp_path / "100" / "task" / "101" / "status").unlink()
    (tmp_path / "100" / "task" / "101").rmdir()
    assert lines_of(probe, 0, 100) == {}
    (tmp_path / "100" / "mem").unlink()
    made.tids, made.switches = (100,), 3
    made.write()
    found = lines_of(probe, ROUND_NS, 100)
    assert found["gil.found"][0]["gil"] == "yes"
    assert found["gil"][0]["switches"] == 3


def test_a_reused_pid_is_another_process(tmp_path: Path, probe: GilProbe) -> None:
    FakePython(tmp_path).write()
    lines_of(probe, 0, 100)
    other = Moment(ROUND_NS, {100: Process(100, None, 2, "main")}, frozenset({100}))
    kinds = {line["kind"]: line for line in probe.look(other)}
    assert kinds["gil"]["looks"] == [1]


def test_memory_that_cannot_be_read_is_a_gap(tmp_path: Path, probe: GilProbe) -> None:
    FakePython(tmp_path).write()
    (tmp_path / "100" / "mem").unlink()
    (tmp_path / "100" / "mem").symlink_to("mem")
    found = lines_of(probe, 0, 100)
    assert found["gap"][0]["what"] == "the GIL's state"
    assert found["gil.found"][0]["gil"] == "unknown"
    assert lines_of(probe, 200 * MS, 100) == {}


@pytest.mark.parametrize("first", [1, 100])
def test_threads_of_another_pid_namespace_are_told_by_our_ids(
    tmp_path: Path, probe: GilProbe, first: int
) -> None:
    made = FakePython(tmp_path, tids=(100, 101), inner={100: first, 101: 2}).write()
    made.hold(101)
    assert lines_of(probe, 0, 100)["gil"][0]["holder"] == 101


def test_what_was_found_is_repeated(tmp_path: Path, probe: GilProbe) -> None:
    FakePython(tmp_path).write()
    first = lines_of(probe, 0, 100)["gil.found"]
    assert "gil.found" not in lines_of(probe, ROUND_NS, 100)
    assert lines_of(probe, 30_000 * MS, 100)["gil.found"] == first


# between the rounds


def glances(probe: GilProbe, since_ns: int, until_ns: int) -> list[int]:
    """Glance as the recorder does; returns when."""
    times: list[int] = []
    while (due_ns := probe.next_glance_ns) is not None and due_ns < until_ns:
        times.append(due_ns - since_ns)
        probe.glance(due_ns)
    return times


def test_one_glance_falls_into_each_stretch(tmp_path: Path) -> None:
    draws = iter([0.25, 0.75, 0.0, 0.5, 0.999, *repeat(0.1, 100)])
    probe = GilProbe(tmp_path, draw=lambda: next(draws))
    FakePython(tmp_path).write()
    lines_of(probe, 0, 100)
    times = glances(probe, 0, 5 * LONELY_STRATUM_NS)
    assert [t // LONELY_STRATUM_NS for t in times] == [0, 1, 2, 3, 4]
    assert times[:2] == [LONELY_STRATUM_NS // 4, LONELY_STRATUM_NS * 7 // 4]
    probe.close()


def test_a_lock_that_changes_hands_is_looked_at_more_often(tmp_path: Path, probe: GilProbe) -> None:
    made = FakePython(tmp_path, tids=(100, 101)).write()
    lines_of(probe, 0, 100)
    glances(probe, 0, ROUND_NS)
    made.let_go(switches=1)
    lines_of(probe, ROUND_NS, 100)
    assert len(glances(probe, ROUND_NS, 2 * ROUND_NS)) == ROUND_NS // CONTENDED_STRATUM_NS
    # A second later nothing has changed hands any more.
    glances(probe, 2 * ROUND_NS, 1_200 * MS)
    lines_of(probe, 1_200 * MS, 100)
    assert len(glances(probe, 1_200 * MS, 1_300 * MS)) == ROUND_NS // LONELY_STRATUM_NS


def test_enough_looks_make_it_less_often_again(tmp_path: Path, probe: GilProbe) -> None:
    made = FakePython(tmp_path, tids=(100, 101)).write()
    lines_of(probe, 0, 100)
    for turn in range(ENOUGH_LOOKS):
        probe.glance(turn * ROUND_NS // ENOUGH_LOOKS)
    made.let_go(switches=1)
    lines_of(probe, ROUND_NS, 100)
    assert len(glances(probe, ROUND_NS, 2 * ROUND_NS)) == ROUND_NS // SETTLED_STRATUM_NS


def test_the_governor_slows_the_glances_down(tmp_path: Path, probe: GilProbe) -> None:
    FakePython(tmp_path).write()
    lines_of(probe, 0, 100)
    probe.period_ns *= 2
    glances(probe, 0, 2 * ROUND_NS)
    lines_of(probe, 2 * ROUND_NS, 100)
    assert len(glances(probe, 2 * ROUND_NS, 4 * ROUND_NS)) == 2 * ROUND_NS // LONELY_STRATUM_NS // 2


def test_late_glances_are_not_made_up_for(tmp_path: Path, probe: GilProbe) -> None:
    FakePython(tmp_path).write()
    lines_of(probe, 0, 100)
    late_ns = 5 * LONELY_STRATUM_NS
    probe.glance(late_ns)
    assert probe.next_glance_ns is not None
    assert probe.next_glance_ns >= late_ns


def test_many_processes_take_turns_and_contended_ones_come_first(tmp_path: Path, probe: GilProbe) -> None:
    pids = range(100, 100 + 2 * MOST_AT_ONCE)
    made = {pid: FakePython(tmp_path, pid=pid, tids=(pid,)).write() for pid in pids}
    lines_of(probe, 0, *pids)
    made[107].let_go(switches=1)
    looks = dict.fromkeys(pids, 0)
    for turn in range(1, 2 * MOST_AT_ONCE + 1):
        made[107].let_go(switches=1)
        for row in lines_of(probe, turn * ROUND_NS, *pids)["gil"]:
            looks[row["pid"]] = row["looks"]
        glances(probe, 0, (turn + 1) * ROUND_NS)
    assert looks[107] > max(number for pid, number in looks.items() if pid != 107)
    assert min(looks.values()) > 2 * MOST_AT_ONCE + 10


# symbols


def lookup(data: bytes, *names: str) -> Symbols:
    """Symbols of an image that is mapped alone in the memory."""

    def read(address: int, size: int) -> bytes:
        return data[address - BASE : address - BASE + size]

    return MappedElf(read, BASE).symbols(names)


def test_symbols_are_found_in_a_mapped_image() -> None:
    data = image({"_PyRuntime": (0x2000, 64), "Py_Version": (0x3000, 8)})
    found = lookup(data, "Py_Version", "_PyRuntime", "absent")
    assert found == {"_PyRuntime": (BASE + 0x2000, 64), "Py_Version": (BASE + 0x3000, 8)}


@pytest.mark.parametrize("cut", [0, 10, 63, 200, 0x420, 0x610, 0x810, 0xA08])
def test_a_cut_image_has_no_symbols(cut: int) -> None:
    assert lookup(image({"_PyRuntime": (0x2000, 64)})[:cut], "_PyRuntime") == {}


def test_an_image_without_the_name_has_none() -> None:
    assert lookup(image({}), "_PyRuntime") == {}


def test_symbols_of_a_file_that_has_them_only_there(tmp_path: Path) -> None:
    """The interpreter that runs this test has its symbols in its file as well as in memory."""
    runtime = gil_image.find_runtime(Path("/proc"), os.getpid(), _own_memory)
    assert runtime is not None
    found = gil_image.file_symbols(runtime.path, ["_PyRuntime", "no_such_symbol"])
    assert found.keys() == {"_PyRuntime"}
    assert found["_PyRuntime"][1] == runtime.size
    assert runtime.version == sys.version_info[:2]
    (tmp_path / "text").write_text(
        "no image at all, but longer than the header of one would be: it is 64 bytes"
    )
    assert gil_image.file_symbols(str(tmp_path / "text"), ["_PyRuntime"]) == {}


def _own_memory(address: int, size: int) -> bytes:
    return ctypes.string_at(address, size)


def test_a_stripped_image_is_looked_up_in_its_file(tmp_path: Path) -> None:
    """What is mapped has no hash table; the file, through the root of the process, has the symbols."""
    runtime = gil_image.find_runtime(Path("/proc"), os.getpid(), _own_memory)
    assert runtime is not None
    folder = tmp_path / "100"
    (folder / "root").mkdir(parents=True)
    (folder / "root" / "python3").symlink_to(runtime.path)
    (folder / "exe").symlink_to("/python3")
    (folder / "maps").write_text(f"{BASE:08x}-{BASE + 0x1000:08x} r--p 00000000 08:01 11 /python3\n")
    data = image({})
    bare = data[:0xA00] + bytes(0x600)

    def read(address: int, size: int) -> bytes:
        return bare[address - BASE : address - BASE + size] if address >= BASE else b""

    found = gil_image.find_runtime(tmp_path, 100, read)
    value = gil_image.file_symbols(runtime.path, ["_PyRuntime"])["_PyRuntime"][0]
    assert found is not None
    assert (found.address, found.size) == (BASE + value, runtime.size)
    # Once it is deleted, what lies under its name is another file.
    maps = (folder / "maps").read_text()
    (folder / "maps").write_text(maps.replace("/python3", "/python3 (deleted)"))
    assert gil_image.find_runtime(tmp_path, 100, read) is None
