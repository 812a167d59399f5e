"""Members of the tree: what is known of a process, what stays unknown, and the lines that say so."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest

from corelens.probes import members, pidfd, procfs
from corelens.probes.members import Member
from corelens.vocabulary import KINDS, columns
from tests.fakeprocesses import MS, FakeProcesses, fake_processes, stat_line
from tests.programs import WAITING_THREADS, python, running, wait_until

PID = 42
TICK = procfs.NS_PER_TICK
MOVED = ("read_chars", "write_chars", "read_calls", "write_calls")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProcesses:
    made = fake_processes(tmp_path, monkeypatch)
    made.start(
        PID,
        7,
        argv=("python", "-m", "job", "--token", "s3cret"),
        exe="/usr/bin/python",
        environ=("OMP_NUM_THREADS=4", "SECRET=x"),
        group=40,
    )
    return made


@pytest.fixture
def member(fake: FakeProcesses) -> Generator[Member]:
    made = follow(fake)
    yield made
    made.close()


def follow(fake: FakeProcesses) -> Member:
    return members.follow(fake.proc, procfs.read_stat(fake.proc, PID), "child", 3)


def fields(kind: str) -> set[str]:
    return {field.name for field in KINDS[kind].fields}


def test_a_birth_says_all_that_is_known(fake: FakeProcesses, member: Member) -> None:
    line = members.born_line(member, 3)
    assert line == {
        "kind": "process.born",
        "t_ns": 3,
        "pid": PID,
        "ppid": 7,
        "start_ticks": 100,
        "comm": "program",
        "argv": ["python", "-m", "job", "--token", "***"],
        "exe": "/usr/bin/python",
        "role": "unknown",
        "affinity": [0, 1],
        "variables": {"OMP_NUM_THREADS": "4"},
        "joined_by": "child",
        "uid": os.getuid(),
        "cpu_ns": 0,
        "again": False,
    }
    assert fields("process.born") == set(line) - {"kind"}
    assert member.group == 40


def test_arguments_are_unmasked_when_asked_for(member: Member) -> None:
    argv = ["python", "-m", "job", "--token", "s3cret"]
    assert members.born_line(member, 3, list, again=True)["argv"] == argv
    assert members.changed_line(member, 3, list)["argv"] == argv
    assert members.changed_line(member, 3)["argv"][-1] != "s3cret"


def test_a_change_has_the_fields_of_its_kind(member: Member) -> None:
    assert fields("process.changed") == set(members.changed_line(member, 3)) - {"kind"}


def test_what_is_hidden_is_null(fake: FakeProcesses) -> None:
    fake.forbidden = {f"{PID}/{name}" for name in ("exe", "environ", "cmdline", "status")}
    member = follow(fake)
    line = members.born_line(member, 3)
    hidden = {name: line[name] for name in ("argv", "exe", "affinity", "variables")}
    assert hidden == dict.fromkeys(hidden)
    member.close()


def test_a_process_of_no_parent(fake: FakeProcesses) -> None:
    fake.machine.write(f"{PID}/stat", stat_line(PID, "program", 0, 100))
    member = follow(fake)
    assert members.born_line(member, 3)["ppid"] is None
    member.close()


def test_a_process_that_is_gone_by_now(fake: FakeProcesses) -> None:
    stat = procfs.read_stat(fake.proc, PID)
    fake.end(PID)
    member = members.follow(fake.proc, stat, "child", 3)
    assert (member.read_threads(), member.read_cpu_ns(), member.uid) == (None, None, None)
    assert members.born_line(member, 3)["cpu_ns"] is None


def test_its_clock_and_its_threads(fake: FakeProcesses, member: Member) -> None:
    assert (member.read_cpu_ns(), member.read_threads()) == (0, 1)
    fake.thread(PID, 50, run_ns=5 * MS)
    assert (member.read_cpu_ns(), member.read_threads()) == (5 * MS, 2)
    fake.end_thread(PID, 50)
    assert (member.read_cpu_ns(), member.read_threads()) == (5 * MS, 1)


def test_without_a_descriptor_the_threads_are_still_counted(fake: FakeProcesses) -> None:
    fake.full = {f"{PID}/task"}
    member = follow(fake)
    assert member.read_threads() == 1
    fake.thread(PID, 50)
    assert member.read_threads() == 2
    fake.end(PID)
    assert member.read_threads() is None


def test_descriptors_are_given_back_once(member: Member) -> None:
    member.close()
    member.close()
    assert (member.tasks, member.pidfd) == (None, None)


# identities


def test_the_same_program_may_change_its_name_and_its_cores(fake: FakeProcesses, member: Member) -> None:
    fake.machine.write(f"{PID}/status", "Name:\tx\nCpus_allowed_list:\t1\n")
    again = members.reread_identity(fake.proc, PID, "renamed", member.identity)
    assert again == replace(member.identity, comm="renamed", affinity=[1])


def test_cores_that_cannot_be_read_again_stay(fake: FakeProcesses, member: Member) -> None:
    fake.forbidden = {f"{PID}/status"}
    assert members.reread_identity(fake.proc, PID, "program", member.identity) == member.identity


def test_another_program_is_read_anew(fake: FakeProcesses, member: Member) -> None:
    fake.machine.write(f"{PID}/cmdline", "sort\0-n\0")
    fake.machine.write(f"{PID}/environ", "OMP_NUM_THREADS=9\0")
    (fake.proc / f"{PID}/exe").unlink()
    (fake.proc / f"{PID}/exe").symlink_to("/usr/bin/sort")
    again = members.reread_identity(fake.proc, PID, "sort", member.identity)
    assert (again.argv, again.exe) == (("sort", "-n"), "/usr/bin/sort")
    assert again.variables == {"OMP_NUM_THREADS": "9"}


@pytest.mark.parametrize("ending", ["zombie", "gone"])
def test_a_process_that_is_ending_keeps_its_identity(
    fake: FakeProcesses, member: Member, ending: str
) -> None:
    if ending == "zombie":
        fake.zombie(PID)
    else:
        fake.end(PID)
    assert members.reread_identity(fake.proc, PID, "program", member.identity) is member.identity


# ends


@pytest.mark.parametrize(
    ("status", "exit_code", "number"),
    [
        (0, 0, None),
        (7 << 8, 7, None),
        (255 << 8, 255, None),
        (signal.SIGKILL, None, 9),
        (signal.SIGSEGV | 0x80, None, 11),
        (None, None, None),
    ],
)
def test_how_a_process_ended(
    member: Member, status: int | None, exit_code: int | None, number: int | None
) -> None:
    member.cpu_ns = 5
    line = members.died_line(member, 9, status, "pidfd")
    assert (line["exit_code"], line["signal"]) == (exit_code, number)
    assert (line["t_ns"], line["pid"], line["cpu_ns"], line["how"]) == (9, PID, 5, "pidfd")
    assert fields("process.died") == set(line) - {"kind"}


def test_details_in_bytes_and_nanoseconds(fake: FakeProcesses) -> None:
    fake.machine.write(f"{PID}/stat", stat_line(PID, "program", 7, 100, user=3))
    row = dict(zip(columns("process.detail"), detail(fake), strict=True))
    assert (row["pid"], row["user_ns"], row["system_ns"], row["state"]) == (PID, 3 * TICK, 0, "S")
    assert row["rss_bytes"] == 7 * procfs.PAGE_BYTES
    assert (row["read_bytes"], row["write_bytes"]) == (4096, 8192)
    assert [row[name] for name in MOVED] == [5, 6, 7, 8]


def test_a_zombie_has_no_memory_and_a_hidden_process_no_storage(fake: FakeProcesses) -> None:
    fake.zombie(PID, user=2)
    fake.forbidden = {f"{PID}/io"}
    row = dict(zip(columns("process.detail"), detail(fake), strict=True))
    assert (row["state"], row["rss_bytes"], row["user_ns"]) == ("Z", None, 2 * TICK)
    assert (row["read_bytes"], row["write_bytes"]) == (None, None)
    assert [row[name] for name in MOVED] == [None] * 4


def detail(fake: FakeProcesses) -> tuple[object, ...]:
    return members.detail_row(fake.proc, procfs.read_stat(fake.proc, PID))


# pidfds and clocks of real processes


def test_a_pidfd_tells_of_the_end() -> None:
    with running(python(WAITING_THREADS, 0)) as program:
        assert program.hear() == "ready"
        member = members.follow(procfs.PROC, procfs.read_stat(procfs.PROC, program.pid), "root", 0)
        assert member.pidfd is not None
        assert pidfd.wait_status(member.pidfd) is None
        assert (member.read_threads(), member.uid) == (1, os.getuid())
        assert pidfd.is_process(program.pid)
        assert program.end() == 0
        assert member.read_cpu_ns() is None
        assert not pidfd.is_process(program.pid)
        assert pidfd.open_pidfd(program.pid) is None
        member.close()


def test_a_thread_is_no_process() -> None:
    with running(python(WAITING_THREADS, 3)) as program:
        assert program.hear() == "ready"
        tids = {int(path.name) for path in Path(f"/proc/{program.pid}/task").iterdir()}
        assert len(tids) == 4
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        assert [tid for tid in tids if pidfd.is_process(tid)] == [program.pid]
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_the_clock_of_a_process_is_its_cpu_time() -> None:
    member = members.follow(procfs.PROC, procfs.read_stat(procfs.PROC, os.getpid()), "root", 0)
    before = time.process_time_ns()
    read = member.read_cpu_ns()
    assert read is not None
    assert before <= read <= time.process_time_ns()
    member.close()


@pytest.mark.parametrize("reaped", [False, True])
def test_the_wait_status_of_an_ended_process(reaped: bool) -> None:
    with running(python("import sys; sys.stdin.readline(); sys.exit(7)")) as program:
        handle = pidfd.open_pidfd(program.pid)
        assert handle is not None
        try:
            program.say("end")
            wait_until(lambda: procfs.read_stat(procfs.PROC, program.pid).state == "Z", "the program to end")
            if reaped:
                assert program.end() == 7
            status = pidfd.wait_status(handle)
        finally:
            os.close(handle)
    release = tuple(map(int, os.uname().release.split(".")[:2]))
    if release < (6, 15):
        assert status is None
    elif reaped:
        assert status is not None
        assert os.waitstatus_to_exitcode(status) == 7
    else:
        assert status is None or os.waitstatus_to_exitcode(status) == 7
