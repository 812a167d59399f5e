"""Parsers of /proc on made-up files: whole, absent, broken."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from corelens.probes import procfs
from corelens.probes.procfs import Unreadable

STAT = (
    b"4711 (a b) (c)) S 17 4700 4699 34816 4711 4194304 101 202 3 4 55 66 7 8 20 0 9 0 123456 10000000 77 "
    b"18446744073709551615 1 2 3 4 5 0 0 16781312 2 0 0 0 17 5 0 0 0 0 0 1 2 3 4 5 6 7 1792\n"
)
STATUS = (
    b"Name:\tmy name\nUmask:\t0022\nState:\tD (disk sleep)\nTgid:\t4711\nCpus_allowed_list:\t0-3,8\n"
    b"voluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t34\n"
)


def write(proc: Path, path: str, data: bytes) -> Path:
    """Write one file of a made-up /proc and return its root."""
    file = proc / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return proc


def reason(read: object) -> str:
    """The reason for which a reading fails."""
    assert callable(read)
    with pytest.raises(Unreadable) as caught:
        read()
    return caught.value.reason


def test_stat_with_a_name_full_of_brackets(tmp_path: Path) -> None:
    stat = procfs.read_stat(write(tmp_path, "4711/stat", STAT), 4711)
    assert (stat.pid, stat.comm, stat.state, stat.ppid) == (4711, "a b) (c)", "S", 17)
    assert (stat.group, stat.session) == (4700, 4699)
    assert (stat.minor_faults, stat.major_faults) == (101, 3)
    assert (stat.user_ticks, stat.system_ticks) == (55, 66)
    assert (stat.reaped_user_ticks, stat.reaped_system_ticks) == (7, 8)
    assert (stat.threads, stat.start_ticks, stat.rss_pages, stat.core) == (9, 123456, 77, 5)
    assert stat.wait_status is not None
    assert os.WEXITSTATUS(stat.wait_status) == 7


def test_core_and_whole_stat_agree(tmp_path: Path) -> None:
    write(tmp_path, "1/task/2/stat", STAT)
    assert procfs.read_core(tmp_path, 1, 2) == procfs.read_thread_stat(tmp_path, 1, 2).core == 5


def test_our_own_stat_agrees_with_python() -> None:
    stat = procfs.read_stat(procfs.PROC, os.getpid())
    assert (stat.pid, stat.ppid) == (os.getpid(), os.getppid())
    assert (stat.group, stat.session) == (os.getpgid(0), os.getsid(0))


@pytest.mark.parametrize("data", [b"", b"nonsense", STAT[:60], STAT.replace(b"123456", b"12x456")])
def test_a_broken_stat(tmp_path: Path, data: bytes) -> None:
    write(tmp_path, "1/stat", data)
    assert reason(lambda: procfs.read_stat(tmp_path, 1)) == "broken"


def test_an_absent_process(tmp_path: Path) -> None:
    readings = (procfs.read_stat, procfs.read_command_line, procfs.read_executable, procfs.owner)
    assert {reason(lambda read=read: read(tmp_path, 1)) for read in readings} == {"gone"}


def test_switches(tmp_path: Path) -> None:
    write(tmp_path, "1/task/2/status", STATUS)
    assert procfs.read_switches(tmp_path, 1, 2) == procfs.Switches("my name", "D", 12, 34, "0-3,8")
    write(tmp_path, "1/task/2/status", STATUS.replace(b"Cpus_allowed_list", b"other"))
    assert procfs.read_switches(tmp_path, 1, 2).allowed_cores is None
    write(tmp_path, "1/task/2/status", STATUS.replace(b"nonvoluntary", b"other"))
    assert reason(lambda: procfs.read_switches(tmp_path, 1, 2)) == "broken"


def test_thread_group(tmp_path: Path) -> None:
    write(tmp_path, "4712/status", STATUS)
    assert procfs.thread_group(tmp_path, 4712) == 4711
    write(tmp_path, "4713/status", b"Name:\tx\n")
    assert reason(lambda: procfs.thread_group(tmp_path, 4713)) == "broken"


def test_what_was_read_and_written(tmp_path: Path) -> None:
    text = b"rchar: 9\nwchar: 8\nsyscr: 3\nsyscw: 2\nread_bytes: 4096\nwrite_bytes: 8192\n"
    write(tmp_path, "1/io", text + b"cancelled_write_bytes: 1\n")
    assert procfs.read_io(tmp_path, 1) == (4096, 8192, 9, 8, 3, 2)
    write(tmp_path, "1/io", b"rchar: 9\n")
    assert reason(lambda: procfs.read_io(tmp_path, 1)) == "broken"


@pytest.mark.parametrize(
    ("data", "arguments"),
    [
        (b"", []),
        (b"ls\0-l\0", ["ls", "-l"]),
        (b"ls\0\0x\0", ["ls", "", "x"]),
        (b"ray::f\0\0\0\0\0\0", ["ray::f"]),
        (b"a\xffb\0", ["a\N{REPLACEMENT CHARACTER}b"]),
    ],
)
def test_command_lines(data: bytes, arguments: list[str]) -> None:
    assert procfs.split_command_line(data) == arguments


@pytest.mark.parametrize(
    ("data", "last"), [(b"0.1 0.2 0.3 1/200 4711\n", 4711), (b"", None), (b"0.1 x\n", None)]
)
def test_last_process_id(data: bytes, last: int | None) -> None:
    assert procfs.last_process_id(data) == last


def test_only_numbers_are_processes(tmp_path: Path) -> None:
    for name in ("1", "22", "self", "sys", "4x"):
        (tmp_path / name).mkdir()
    assert sorted(procfs.process_ids(tmp_path)) == [1, 22]


def test_files_longer_than_a_page(tmp_path: Path) -> None:
    data = b"x" * 10_000
    assert procfs.read_bytes(str(write(tmp_path, "long", data) / "long")) == data


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.ENOENT, "gone"),
        (errno.ESRCH, "gone"),
        (errno.EACCES, "forbidden"),
        (errno.EPERM, "forbidden"),
        (errno.EMFILE, "descriptors"),
        (errno.ENOSYS, "unsupported"),
        (errno.EIO, "broken"),
    ],
)
def test_reasons(number: int, word: str) -> None:
    assert procfs.reason_of(OSError(number, "")) == word


def test_a_listing_that_comes_in_pieces_is_read_whole() -> None:
    # The kernel hands out whole lines of maps, so that no piece is as long as was asked for.
    assert (
        procfs.read_bytes("/proc/self/maps").splitlines()[-1].endswith((b"[vsyscall]", b"[stack]", b"[vdso]"))
    )
    assert len(procfs.read_bytes("/proc/self/maps")) > 4096
