"""The waits probe on a made-up /proc: who is read, what is written, what cannot be seen."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corelens.probes.descriptors import CLOSED, Descriptors
from corelens.probes.probe import Moment, Process
from corelens.probes.waits import WaitsProbe
from corelens.probes.waits_files import kind_of
from corelens.probes.waits_shared import shared_mappings
from tests.test_gil_probe import rows
from tests.test_vocabulary import complaints

MS = 1_000_000
FUTEX = "202 0x7f00 0x189 0x0 0x0 0x0 0xffffffff 0x7ffc10 0x7f2230"
SLEEP = "230 0x1 0x1 0x7ffd 0x0 0x0 0x0 0x7ffc10 0x7f2230"
READ_3 = "0 0x3 0x7ffd 0x1000 0x0 0x0 0x0 0x7ffc10 0x7f2230"


class Made:
    """A made-up /proc with processes whose threads are somewhere, and the probe that looks at them."""

    def __init__(self, proc: Path, machine: str = "x86_64", descriptors: Descriptors | None = None) -> None:
        self.proc = proc
        self.ran: dict[int, set[int]] = {}
        self.pids: set[int] = set()
        self.probe = WaitsProbe(self.take, proc, machine=machine, descriptors=descriptors)

    def take(self) -> dict[int, set[int]]:
        ran, self.ran = self.ran, {}
        return ran

    def put(self, tid: int, where: str, pid: int = 100) -> None:
        """Let a thread run, and be there afterwards."""
        task = self.proc / str(pid) / "task" / str(tid)
        task.mkdir(parents=True, exist_ok=True)
        (task / "syscall").write_text(where + "\n")
        self.pids.add(pid)
        self.ran.setdefault(pid, set()).add(tid)

    def open(self, descriptor: int, target: str, pid: int = 100) -> None:
        """Let a process have a file open."""
        folder = self.proc / str(pid) / "fd"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(descriptor)).unlink(missing_ok=True)
        (folder / str(descriptor)).symlink_to(target)

    def look(self, t_ns: int = 0) -> dict[str, list[dict[str, Any]]]:
        """The rows of one round by kind; every line is held against the vocabulary."""
        processes = {pid: Process(pid, None, 1, "main") for pid in self.pids}
        found: dict[str, list[dict[str, Any]]] = {}
        for line in self.probe.look(Moment(t_ns, processes, frozenset(self.pids))):
            assert list(complaints(line)) == []
            found.setdefault(line["kind"], []).extend(rows(line))
        return found

    def states(self, t_ns: int = 0) -> dict[int, tuple[str, int | None, str | None]]:
        """Call, address and file of the threads that are told to be elsewhere."""
        found = self.look(t_ns).get("waits", [])
        return {row["tid"]: (row["call"], row["address"], row["file"]) for row in found}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    fresh = Made(tmp_path)
    yield fresh
    fresh.probe.close()


@pytest.mark.parametrize(
    ("where", "call", "address"),
    [
        ("running", "running", None),
        ("-1 0x7ffc10 0x7f2230", "fault", None),
        (FUTEX, "futex", 0x7F00),
        (SLEEP, "clock_nanosleep", None),
        ("232 0x5 0x7ffd 0x20 0xffffffff 0x0 0x8 0x7ffc10 0x7f2230", "epoll_wait", None),
        ("61 0xffffffff 0x7ffd 0x0 0x0 0x0 0x0 0x7ffc10 0x7f2230", "wait4", None),
        ("999 0x1 0x2 0x3 0x4 0x5 0x6 0x7ffc10 0x7f2230", "999", None),
        ("", "running", None),
    ],
)
def test_calls_have_names(made: Made, where: str, call: str, address: int | None) -> None:
    made.put(101, where)
    assert made.states() == {101: (call, address, None)}


def test_another_machine_has_other_numbers(tmp_path: Path) -> None:
    made = Made(tmp_path, machine="aarch64")
    made.put(101, "98 0x7f00 0x189 0x0 0x0 0x0 0xffffffff 0x7ffc10 0x7f2230")
    made.put(102, "115 0x1 0x1 0x7ffd 0x0 0x0 0x0 0x7ffc10 0x7f2230")
    assert made.states() == {101: ("futex", 0x7F00, None), 102: ("clock_nanosleep", None, None)}
    made.probe.close()


def test_an_unknown_machine_is_a_gap(tmp_path: Path) -> None:
    made = Made(tmp_path, machine="vax")
    made.put(101, FUTEX)
    assert [gap["reason"] for gap in made.look()["gap"]] == ["unsupported"]
    assert made.look() == {}


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("pipe:[4711]", "pipe"),
        ("socket:[12]", "socket"),
        ("anon_inode:[eventfd]", "eventfd"),
        ("anon_inode:[eventpoll]", "epoll"),
        ("anon_inode:[timerfd]", "timerfd"),
        ("/dev/pts/3", "terminal"),
        ("/dev/null", "device"),
        ("/home/data.bin", "file"),
        ("anon_inode:[bpf-map]", "other"),
    ],
)
def test_files_have_kinds(made: Made, target: str, kind: str) -> None:
    assert kind_of(target) == kind
    made.open(3, target)
    made.put(101, READ_3)
    assert made.states() == {101: ("read", None, kind)}


def test_a_closed_file_has_no_kind(made: Made) -> None:
    made.put(101, READ_3)
    assert made.states() == {101: ("read", None, None)}


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("pipe:[4711]", "pipe:[4711]"),
        ("socket:[12]", "socket:[12]"),
        ("/home/data.bin", "/home/data.bin"),
        ("anon_inode:[eventfd]", None),
        ("/dev/pts/3", None),
    ],
)
def test_files_that_have_names_are_told_apart(made: Made, target: str, name: str | None) -> None:
    made.open(3, target)
    made.put(101, READ_3)
    assert [row["object"] for row in made.look()["waits"]] == [name]


def test_two_ends_of_a_pipe_show_the_same_name_and_who_writes(made: Made) -> None:
    made.open(3, "pipe:[1]")
    made.open(3, "pipe:[1]", pid=200)
    made.put(101, READ_3)
    made.put(201, "1" + READ_3[1:], pid=200)
    found = {row["call"]: row["object"] for row in made.look()["waits"]}
    assert found == {"read": "pipe:[1]", "write": "pipe:[1]"}


def test_of_a_list_that_is_polled_the_first_is_named(made: Made) -> None:
    made.open(3, "pipe:[1]")
    made.open(4, "pipe:[2]")
    entries = struct.pack("<ihhihh", 3, 1, 0, 4, 1, 0)
    (made.proc / "100" / "mem").write_bytes(bytes(0x10000) + entries)
    for tid, count in ((101, 1), (102, 2), (103, 0)):
        made.put(tid, f"7 0x10000 {count:#x} 0xffffffff 0x0 0x0 0x0 0x7ffc10 0x7f2230")
    made.put(104, "7 0x20000 0x1 0xffffffff 0x0 0x0 0x0 0x7ffc10 0x7f2230")
    found = {row["tid"]: (row["call"], row["file"], row["object"]) for row in made.look()["waits"]}
    assert found == {
        101: ("poll", "pipe", "pipe:[1]"),
        102: ("poll", "pipe", "pipe:[1]"),
        103: ("poll", None, None),
        104: ("poll", None, None),
    }


def test_another_file_under_the_same_number_is_another_wait(made: Made) -> None:
    made.open(3, "pipe:[1]")
    made.put(101, READ_3)
    made.look()
    made.open(3, "pipe:[2]")
    made.put(101, READ_3.replace("0x7ffc10", "0x7ffc90"))
    assert [row["object"] for row in made.look(100 * MS)["waits"]] == ["pipe:[2]"]


def test_only_threads_that_ran_are_read(made: Made) -> None:
    for tid in range(101, 141):
        made.put(tid, FUTEX)
    made.look()
    assert made.probe.readings == 40
    made.look(100 * MS)
    assert made.probe.readings == 40
    made.put(110, SLEEP)
    assert made.states(200 * MS) == {110: ("clock_nanosleep", None, None)}
    assert made.probe.readings == 41


def test_only_what_changed_is_written(made: Made) -> None:
    made.put(101, SLEEP)
    made.look()
    made.put(101, SLEEP)
    assert made.states(100 * MS) == {}
    # Another stack and program counter make no other wait.
    made.put(101, SLEEP.replace("0x7ffc10", "0x7ffc90"))
    assert made.states(200 * MS) == {}
    made.put(101, FUTEX)
    assert made.states(300 * MS) == {101: ("futex", 0x7F00, None)}
    made.put(101, FUTEX.replace("0x7f00", "0x7f40"))
    assert made.states(400 * MS) == {101: ("futex", 0x7F40, None)}


def test_everything_is_repeated_every_30_seconds(made: Made) -> None:
    made.put(101, SLEEP)
    made.put(201, FUTEX, pid=200)
    first = made.states()
    assert made.states(29_900 * MS) == {}
    assert made.states(30_000 * MS) == first


def test_a_thread_that_is_gone_is_forgotten(made: Made) -> None:
    made.put(101, SLEEP)
    made.look()
    (made.proc / "100" / "task" / "101" / "syscall").unlink()
    made.ran = {100: {101}}
    assert made.look(100 * MS) == {}
    assert made.states(30_000 * MS) == {}


def test_a_process_that_may_not_be_traced_is_one_gap(made: Made) -> None:
    made.put(101, SLEEP)
    made.put(201, SLEEP, pid=200)
    syscall = made.proc / "100" / "task" / "101" / "syscall"
    syscall.unlink()
    syscall.symlink_to("syscall")
    found = made.look()
    assert [gap["pid"] for gap in found["gap"]] == [100]
    assert [row["tid"] for row in found["waits"]] == [201]
    made.ran = {100: {101}}
    assert made.look(100 * MS) == {}


def test_those_that_run_often_keep_their_file_open_and_idle_ones_give_it_back(tmp_path: Path) -> None:
    descriptors = Descriptors(1)
    made = Made(tmp_path, descriptors=descriptors)
    for turn in range(3):
        made.put(101, SLEEP)
        made.put(102, SLEEP)
        made.look(turn * 100 * MS)
    assert descriptors.kept == 1
    made.look(4_000 * MS)
    made.look(10_100 * MS)
    assert descriptors.kept == 0
    made.put(101, FUTEX)
    assert made.states(10_200 * MS) == {101: ("futex", 0x7F00, None)}
    made.probe.close()
    assert descriptors.kept == 0
    assert CLOSED == -1


MAPS = """\
7000-8000 rw-p 00000000 00:00 0 [heap]
8000-9000 rw-s 00000000 00:1a 41 /dev/shm/sem.q (deleted)
9000-a000 r--s 00000000 08:01 17 /usr/share/locale
a000-c000 rw-s 00003000 00:01 52
"""


def test_shared_mappings_are_told_from_others() -> None:
    found = shared_mappings(MAPS.encode())
    assert [(one.start, one.end, one.offset, one.object, one.path) for one in found] == [
        (0x8000, 0x9000, 0, "00:1a:41", "/dev/shm/sem.q (deleted)"),
        (0xA000, 0xC000, 0x3000, "00:01:52", None),
    ]


def at(address: int) -> str:
    return FUTEX.replace("0x7f00", hex(address))


def test_futexes_in_shared_memory_are_told_once(made: Made) -> None:
    for tid, address in ((101, 0x7800), (102, 0x8010), (103, 0xB008), (104, 0x9010)):
        made.put(tid, at(address))
    (made.proc / "100" / "maps").write_text(MAPS)
    assert made.look()["locks.shared"] == [
        {
            "pid": 100,
            "address": 0x8010,
            "object": "00:1a:41",
            "offset": 0x10,
            "path": "/dev/shm/sem.q (deleted)",
        },
        {"pid": 100, "address": 0xB008, "object": "00:01:52", "offset": 0x4008, "path": None},
    ]
    made.put(105, at(0x8010))
    assert "locks.shared" not in made.look(5000 * MS)


def test_mappings_are_read_seldom_and_nothing_is_lost(made: Made) -> None:
    made.put(101, at(0x7800))
    (made.proc / "100" / "maps").write_text(MAPS.splitlines()[0] + "\n")
    made.look()
    (made.proc / "100" / "maps").write_text(MAPS)
    made.put(102, at(0x8010))
    assert "locks.shared" not in made.look(500 * MS)
    # It is looked up later, although its thread does not run again.
    assert [row["address"] for row in made.look(1000 * MS)["locks.shared"]] == [0x8010]
