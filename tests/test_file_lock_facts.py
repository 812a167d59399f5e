"""Locks on files, from what was seen of them at each round."""

from __future__ import annotations

import pytest

from corelens.reports.facts.file_locks import SQLITE_FIRST_BYTE, FileLock, file_locks
from corelens.vocabulary import Line, columnar_line
from tests.made_recordings import recording

ROWS = tuple[int, bool, str, str, str, int, int | None, str | None]
S = 1_000_000_000


def seen(t_s: int, *rows: ROWS) -> Line:
    return columnar_line("locks.files", t_s * S, list(rows))


def row(pid: int, *, blocked: bool = False, mode: str = "write", start: int = 0) -> ROWS:
    return (pid, blocked, "posix", mode, "fe:00:7", start, start + 100 if start else None, "/data/a")


def told(*lines: Line) -> tuple[FileLock, ...]:
    return file_locks(recording(*lines), 10 * S)


def test_what_is_held_counts_until_the_next_look() -> None:
    (lock,) = told(seen(0, row(1)), seen(3), seen(5, row(2), row(3, blocked=True)))
    assert (lock.path, lock.writers) == ("/data/a", (1, 2))
    assert lock.held_share == pytest.approx(0.8)
    assert lock.waiting_mean == pytest.approx(0.5)
    assert not lock.is_sqlite


def test_shared_locks_keep_nobody_out() -> None:
    (lock,) = told(seen(0, row(1, mode="read"), row(2, mode="read")))
    assert (lock.writers, lock.held_share) == ((), 0.0)


def test_the_bytes_tell_sqlite() -> None:
    (lock,) = told(seen(0, row(1, start=SQLITE_FIRST_BYTE)))
    assert lock.is_sqlite


def test_recordings_that_did_not_look_have_none() -> None:
    assert told() == ()
