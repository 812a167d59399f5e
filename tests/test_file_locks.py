"""Locks on files: the kernel's list taken apart, what is written of it, and real locks between processes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

from corelens.probes.file_locks import FileLock, FileLocksProbe, parse_locks
from corelens.probes.probe import Moment, Process
from tests.fakeprocesses import SECOND
from tests.programs import TALK, python, running, wait_until
from tests.test_gil_probe import rows
from tests.test_vocabulary import complaints

TEXT = b"""\
1: FLOCK  ADVISORY  WRITE 60 fe:00:17 0 EOF
2: POSIX  ADVISORY  WRITE 70 fe:00:18 1073741825 1073741825
2: -> POSIX  ADVISORY  READ 71 fe:00:18 1073741824 1073741824
2:  -> POSIX  ADVISORY  READ 72 fe:00:18 0 EOF
3: OFDLCK ADVISORY  READ -1 fe:00:18 0 9
4: LEASE  ACTIVE    WRITE 70 fe:00:19 0 EOF
5: nonsense
"""


def test_the_list_of_the_kernel() -> None:
    assert parse_locks(TEXT) == [
        FileLock(60, False, "flock", "write", "fe:00:17", 0, None),
        FileLock(70, False, "posix", "write", "fe:00:18", 1073741825, 1073741825),
        FileLock(71, True, "posix", "read", "fe:00:18", 1073741824, 1073741824),
        FileLock(72, True, "posix", "read", "fe:00:18", 0, None),
        FileLock(-1, False, "ofd", "read", "fe:00:18", 0, 9),
    ]
    assert parse_locks(b"") == []


def look(probe: FileLocksProbe, t_ns: int, *pids: int) -> list[dict[str, Any]]:
    lines = list(probe.look(Moment(t_ns, {pid: Process(pid, None, 1, "main") for pid in pids}, frozenset())))
    assert [text for line in lines for text in complaints(line)] == []
    return lines


def test_all_locks_of_our_files_are_written_and_none_of_others(tmp_path: Path) -> None:
    (tmp_path / "locks").write_bytes(TEXT)
    probe = FileLocksProbe(tmp_path)
    (line,) = look(probe, 0, 71)
    assert sorted(line["pid"]) == [-1, 70, 71, 72]
    assert look(probe, SECOND, 71) == []
    # Whoever joins later brings the files that it has locked with it.
    assert sorted(look(probe, 2 * SECOND, 71, 60)[0]["pid"]) == [-1, 60, 70, 71, 72]
    (tmp_path / "locks").write_bytes(b"")
    assert [line["pid"] for line in look(probe, 3 * SECOND, 71, 60)] == [[]]
    probe.close()


def test_a_program_without_locks_is_looked_at_seldom(tmp_path: Path) -> None:
    (tmp_path / "locks").write_bytes(b"")
    probe = FileLocksProbe(tmp_path)
    look(probe, 0, 71)
    (tmp_path / "locks").write_bytes(TEXT)
    assert look(probe, SECOND // 2, 71) == []
    assert len(look(probe, SECOND, 71)) == 1
    # From the first lock on in every round.
    (tmp_path / "locks").write_bytes(b"")
    assert [line["pid"] for line in look(probe, SECOND + SECOND // 10, 71)] == [[]]
    probe.close()


def test_a_kernel_without_the_list_is_one_gap(tmp_path: Path) -> None:
    probe = FileLocksProbe(tmp_path)
    (gap,) = look(probe, 0, 71)
    assert (gap["kind"], gap["probe"], gap["reason"]) == ("gap", "file-locks", "gone")
    assert look(probe, SECOND, 71) == []


LOCKER = (
    TALK
    + """
import fcntl
file = open(sys.argv[1], "r+")
say("ready")
fcntl.lockf(file, fcntl.LOCK_EX)
say("locked")
hear()
"""
)


def test_who_holds_a_lock_and_who_waits_for_it(tmp_path: Path) -> None:
    path = tmp_path / "database"
    path.touch()
    with path.open("r+") as file, running(python(LOCKER, path)) as waiter:
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert waiter.hear() == "ready"
        probe = FileLocksProbe()
        seen: list[dict[str, Any]] = []

        def waits() -> bool:
            seen.extend(row for line in look(probe, 0, waiter.pid) for row in rows(line))
            return any(row["blocked"] for row in seen)

        wait_until(waits, "the other program to wait for the lock")
        assert {(row["pid"], row["blocked"]) for row in seen} == {(os.getpid(), False), (waiter.pid, True)}
        assert {(row["how"], row["mode"], row["path"]) for row in seen} == {("posix", "write", str(path))}
        fcntl.lockf(file, fcntl.LOCK_UN)
        assert waiter.hear() == "locked"
        (line,) = look(probe, SECOND, waiter.pid)
        assert (line["pid"], line["blocked"]) == ([waiter.pid], [False])
        probe.close()
        assert waiter.end() == 0
