"""What files are mapped into a process, and where: /proc/PID/maps, taken apart once and asked often.

Reading it costs 1 to 10 ms in a program with many libraries and threads, most of it in the kernel. So it is
read again only when an address is in none of the known files, and whether a known mapping still stands is
asked of the link that the kernel keeps for it in /proc/PID/map_files.
"""

from __future__ import annotations

import bisect
import os
import re
from dataclasses import dataclass

from corelens.probes import procfs

# start-end, permissions, offset, device, inode, path. Anonymous memory and stacks are no files and do not match.
_FILE = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) (...)\S ([0-9a-f]+) \S+ \d+ +(/.*)$", re.MULTILINE)
DELETED = " (deleted)"
"""What the kernel appends to the path of a file that is there no more."""


@dataclass(frozen=True, slots=True)
class Image:
    """A file as it is mapped; `header` is the address of its first byte, from which offsets count."""

    path: str
    header: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class Mapping:
    """One stretch of a mapped file."""

    start: int
    end: int
    executable: bool
    writable: bool
    image: Image

    @property
    def link(self) -> str:
        """Name of its link in /proc/PID/map_files."""
        return f"{self.start:x}-{self.end:x}"


class Maps:
    """The mapped files of one process."""

    def __init__(self, text: bytes) -> None:
        self._mappings = _parsed(text)
        self._starts = [mapping.start for mapping in self._mappings]

    def at(self, address: int) -> Mapping | None:
        """The file mapping that an address lies in."""
        place = bisect.bisect_right(self._starts, address) - 1
        if place < 0:
            return None
        mapping = self._mappings[place]
        return mapping if address < mapping.end else None

    def code_at(self, address: int) -> Mapping | None:
        """The same where code may run there."""
        mapping = self.at(address)
        return mapping if mapping is not None and mapping.executable else None

    def images(self) -> list[Image]:
        """Every mapped file once per place where it is mapped."""
        return list(dict.fromkeys(mapping.image for mapping in self._mappings))


def read_maps(folder: str) -> Maps:
    """Read and parse, by the folder of a process in /proc; raises procfs.Unreadable."""
    return Maps(procfs.read_mappings(folder))


def stands(folder: str, mapping: Mapping) -> bool:
    """Whether a mapping is as it was read; False also where the kernel does not tell."""
    try:
        target = procfs.read_link(f"{folder}/map_files/{mapping.link}")
    except procfs.Unreadable:
        return False
    image = mapping.image
    return target == (image.path + DELETED if image.deleted else image.path)


def _parsed(text: bytes) -> list[Mapping]:
    found: list[Mapping] = []
    images: dict[bytes, Image] = {}
    for start, end, flags, offset, path in _FILE.findall(text):
        address, place = int(start, 16), int(offset, 16)
        image = images.get(path)
        # A file that begins anew is mapped a second time.
        if image is None or not place:
            image = images[path] = _image(path, address - place)
        found.append(Mapping(address, int(end, 16), flags[2:] == b"x", flags[1:2] == b"w", image))
    return found


def _image(path: bytes, header: int) -> Image:
    name = os.fsdecode(path.replace(rb"\012", b"\n"))
    deleted = name.endswith(DELETED)
    return Image(name.removesuffix(DELETED), header, deleted)
