"""Shares of native code, from samples that were made up, and names of places in a real file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from corelens.reports.elf import ElfFile
from corelens.reports.elf_places import Functions, PlacesOnDisk
from corelens.reports.facts.perf import perf
from corelens.reports.native_code import PerfPlace
from corelens.vocabulary import columnar_line
from tests.made_recordings import S, recording

OPENBLAS, GOMP = "/site/numpy.libs/libopenblas-1.so", "/site/torch/lib/libgomp.so.1"
NAMES = {(OPENBLAS, 0x100): "dgemm_kernel", (OPENBLAS, 0x200): "blas_thread_server"}


def name_of(path: str, build_id: str | None, size_bytes: int | None, offset: int) -> str | None:
    return NAMES.get((path, offset))


def test_waiting_is_told_from_work() -> None:
    made = recording(
        columnar_line("perf.modules", S, [(0, OPENBLAS, None, 10), (1, GOMP, "ab", 10)]),
        columnar_line("perf.samples", S, [(7, 7, 0, 0x100, 30), (7, 8, 0, 0x200, 40), (9, 9, 1, 0x50, 10)]),
        columnar_line("perf.samples", 2 * S, [(7, 8, 0, 0x100, 10), (7, 8, None, None, 10)]),
    )
    found = perf(made, name_of)
    assert found is not None
    assert (found.samples, found.waiting_share, found.unknown_share) == (100, 0.5, 0.1)
    work = next(one for one in found.places if one.place.function == "dgemm_kernel")
    assert (work.pid, work.samples, work.threads, work.place.waiting) == (7, 40, 2, False)
    assert work.process_share == pytest.approx(40 / 90)
    assert PerfPlace("libgomp.so.1", None, waiting=True) in {one.place for one in found.places}
    assert found.waiting_share_of(7) == pytest.approx(40 / 90)
    assert (found.waiting_share_of(9), found.waiting_share_of(1)) == (1.0, None)


def test_a_recording_without_samples_tells_nothing() -> None:
    assert perf(recording(), name_of) is None


def test_a_place_belongs_to_the_function_that_it_lies_in() -> None:
    functions = Functions([(0x100, 0x20, "one"), (0x140, 0x10, "two")])
    asked = [functions.around(offset) for offset in (0xFF, 0x100, 0x11F, 0x120, 0x14F, 0x150)]
    assert asked == [None, "one", "one", None, "two", None]


def test_names_are_taken_from_the_recorded_build_alone() -> None:
    path = Path(sys.executable).resolve()
    elf = ElfFile(path.read_bytes())
    offset, size, name = max(elf.functions(), key=lambda found: found[1])
    places, size_bytes = PlacesOnDisk(), path.stat().st_size
    assert places(str(path), elf.build_id(), size_bytes, offset + size // 2) == name
    assert places(str(path), "ff", size_bytes, offset) is None
    assert places("/nowhere", None, 1, 0) is None
