"""Names of the functions that places in files on this machine lie in, for samples of code.

A file is believed when its build id is the recorded one, or, where it carries none as many in wheels do, when it is as
long as the recorded one.
"""

from __future__ import annotations

import bisect
import mmap
from dataclasses import dataclass, field
from pathlib import Path

from corelens.reports.elf import ElfFile


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions of one file in the order of their places."""

    places: list[tuple[int, int, str]] = field(default_factory=list[tuple[int, int, str]])

    def around(self, offset: int) -> str | None:
        """The function that a place lies in."""
        after = bisect.bisect_right(self.places, offset, key=lambda place: place[0])
        if not after:
            return None
        start, size, name = self.places[after - 1]
        return name if name and offset < start + size else None


class PlacesOnDisk:
    """Names places; each file is taken apart once. None where it is absent, another build, or has no name there."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, str | None, int | None], Functions] = {}

    def __call__(self, path: str, build_id: str | None, size_bytes: int | None, offset: int) -> str | None:
        key = (path, build_id, size_bytes)
        if key not in self._files:
            self._files[key] = _functions(*key)
        return self._files[key].around(offset)


def _functions(path: str, build_id: str | None, size_bytes: int | None) -> Functions:
    try:
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            elf = ElfFile(data)
            if elf.build_id() != build_id or (build_id is None and len(data) != size_bytes):
                return Functions()
            return Functions(sorted(elf.functions()))
    except (OSError, ValueError):
        return Functions()
