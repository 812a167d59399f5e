"""Descriptors that are kept, counted and given back."""

from __future__ import annotations

import os
import resource
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from corelens.probes.descriptors import CLOSED, SCHEDSTAT_BYTES, Descriptors, raise_limit


@dataclass
class Holder:
    """Whoever may keep a descriptor."""

    descriptor: int = CLOSED


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "schedstat"
    file.write_text("1 2 3\n")
    return str(file)


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_a_file_is_read_and_kept_open(path: str) -> None:
    descriptors, holder = Descriptors(limit=1), Holder()
    assert descriptors.open_and_read(holder, path) == b"1 2 3\n"
    assert (descriptors.kept, descriptors.short) == (1, False)
    Path(path).write_text("4 5 6\n")
    assert os.pread(holder.descriptor, SCHEDSTAT_BYTES, 0) == b"4 5 6\n"
    assert not os.get_inheritable(holder.descriptor)
    kept = holder.descriptor
    descriptors.give_back(holder)
    assert (holder.descriptor, descriptors.kept, is_open(kept)) == (CLOSED, 0, False)


def test_beyond_the_limit_files_are_read_and_closed(path: str) -> None:
    descriptors, first, second = Descriptors(limit=1), Holder(), Holder()
    descriptors.open_and_read(first, path)
    lowest = os.dup(0)
    os.close(lowest)
    assert descriptors.open_and_read(second, path) == b"1 2 3\n"
    assert (second.descriptor, descriptors.kept, descriptors.short) == (CLOSED, 1, True)
    assert not is_open(lowest)
    descriptors.give_back(second)
    assert descriptors.kept == 1
    descriptors.give_back(first)
    descriptors.open_and_read(second, path)
    assert second.descriptor != CLOSED
    descriptors.give_back(second)


def test_giving_back_twice_closes_once(path: str) -> None:
    descriptors, holder = Descriptors(limit=1), Holder()
    descriptors.open_and_read(holder, path)
    descriptors.give_back(holder)
    descriptors.give_back(holder)
    assert descriptors.kept == 0


def test_an_absent_file_raises_and_keeps_nothing(tmp_path: Path) -> None:
    descriptors, holder = Descriptors(limit=1), Holder()
    with pytest.raises(FileNotFoundError):
        descriptors.open_and_read(holder, str(tmp_path / "none"))
    assert (holder.descriptor, descriptors.kept) == (CLOSED, 0)


def test_a_file_whose_thread_ends_while_it_is_opened(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []

    def gone(descriptor: int, size: int, offset: int) -> bytes:
        opened.append(descriptor)
        raise ProcessLookupError

    monkeypatch.setattr(os, "pread", gone)
    descriptors, holder = Descriptors(limit=1), Holder()
    with pytest.raises(ProcessLookupError):
        descriptors.open_and_read(holder, path)
    assert (holder.descriptor, descriptors.kept) == (CLOSED, 0)
    assert not is_open(opened[0])


def test_closed_reads_as_a_closed_one_does() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pread(CLOSED, 1, 0)


@pytest.fixture
def limits() -> Generator[tuple[int, int]]:
    """The limits of open files, which are put back."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(("soft", "left"), [(400, 64), (1024, 128)])
def test_the_recorder_keeps_some_for_itself(limits: tuple[int, int], soft: int, left: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, limits[1]))
    assert Descriptors().limit == soft - left


def test_the_soft_limit_is_raised_to_the_hard_one(limits: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, limits[1]))
    assert raise_limit() == (400, limits[1])
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (limits[1], limits[1])
    assert raise_limit() == (limits[1], limits[1])
