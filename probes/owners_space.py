"""The address space of one process: what a thread's descriptor means in the files that are mapped there."""

from __future__ import annotations

import os
from dataclasses import dataclass

from corelens.probes import procfs
from corelens.probes.mapped_elf import MappedElf
from corelens.probes.owners_descriptor import Descriptor, Layouts, layouts
from corelens.probes.owners_rtti import Bodies, Body
from corelens.probes.owners_teams import Teams
from corelens.probes.process_maps import DELETED, Image, Mapping, read_maps, stands
from corelens.probes.process_memory import Memory

# Reading an object that is no thread's body costs 4 us; a start routine that was handed none so often never is.
_MOST_BODY_MISSES = 3
_LIBSTDCXX = "libstdc++."


@dataclass(slots=True)
class Answer:
    """What made one thread, in the words of a `threads.owned` row."""

    how: str
    image: Image | None = None
    offset: int | None = None
    rtti: str | None = None
    master: int | None = None
    reason: str | None = None


class Unsure(Exception):
    """A thread could not be told now; says why."""


class Space:
    """An address space, by a folder in /proc, as it was when this was made: an exec gives the process another.

    Raises procfs.Unreadable when the memory may not be read. The list of mapped files is read again where it
    does not tell, at most once per look; `begin` begins a look.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.memory = Memory(folder)
        self._vector = _vector(folder)
        try:
            self._maps = read_maps(folder)
        except procfs.Unreadable:
            self.memory.close()
            raise
        self._images = self._maps.images()
        self._bodies = Bodies(self.memory, self._maps)
        self._misses: dict[int, int] = {}
        self._build_ids: dict[Image, str | None] = {}
        self._fresh = True
        self._verified: set[Mapping] = set()
        self.layouts: Layouts = layouts(self.memory, self._images)
        self.teams = Teams(self.memory)
        self.ring: dict[int, int] = {}
        """musl: threads by the id that their own pid namespace counts, to the descriptor."""

    def begin(self) -> None:
        """Begin a look: what was verified in the last one may have changed."""
        self._fresh = False
        self._verified.clear()
        self.ring = {}

    def is_empty(self) -> bool:
        """Whether nothing is mapped: the process has ended."""
        return not self._images

    def is_gone(self) -> bool:
        """Whether the process executed another program since, or ended.

        A child of vfork(2), as Python's subprocess and its spawned workers are, has the memory of its parent
        until its exec. That memory stays readable afterwards, so that only the vector tells.
        """
        if not self._images or not self.memory.read(self._images[0].header, 1):
            return True
        return _vector(self._folder) != self._vector

    def is_code(self, address: int) -> bool:
        """Whether an address lies in the code of a mapped file."""
        return self._code(address) is not None

    def answer(self, descriptor: Descriptor) -> Answer:
        """What a thread was started with. Raises Unsure for a std::thread whose object is not there."""
        mapping = self._code(descriptor.start)
        if mapping is None:
            raise Unsure("the code that it was started with lies in no file")
        body = self._body(descriptor, mapping.image)
        if body is not None:
            return Answer("rtti", body.image, body.offset, body.name)
        how = "stack" if descriptor.by_stack else "start-routine"
        return Answer(how, mapping.image, descriptor.start - mapping.image.header)

    def program(self) -> Image | None:
        """The executable; None where its path is not told."""
        try:
            path = procfs.read_link(f"{self._folder}/exe").removesuffix(DELETED)
        except procfs.Unreadable:
            return None
        return next((image for image in self._images if image.path == path), None)

    def build_id(self, image: Image) -> str | None:
        """Build id of a mapped file; None where it carries none or is not mapped any more."""
        if image not in self._build_ids:
            self._build_ids[image] = MappedElf(self.memory.read, image.header).build_id()
        return self._build_ids[image]

    # what is mapped

    def _code(self, address: int) -> Mapping | None:
        mapping = self._maps.code_at(address)
        if self._fresh or (mapping is not None and self._stands(mapping)):
            return mapping
        self._read_again()
        return self._maps.code_at(address)

    def _stands(self, mapping: Mapping) -> bool:
        if mapping not in self._verified:
            if not stands(self._folder, mapping):
                return False
            self._verified.add(mapping)
        return True

    def _read_again(self) -> None:
        self._fresh = True
        try:
            self._maps = read_maps(self._folder)
        except procfs.Unreadable:
            return
        self._images = self._maps.images()
        self._bodies = Bodies(self.memory, self._maps)
        self._misses.clear()
        self._build_ids.clear()

    # bodies of C++ threads

    def _body(self, descriptor: Descriptor, image: Image) -> Body | None:
        if self._misses.get(descriptor.start, 0) >= _MOST_BODY_MISSES:
            return None
        generic = os.path.basename(image.path).startswith(_LIBSTDCXX)  # noqa: PTH119
        body = self._bodies.of(descriptor.argument)
        if not self._fresh and (generic if body is None else not self._holds(body)):
            # The library of the body was loaded or replaced since.
            self._read_again()
            body = self._bodies.of(descriptor.argument)
        if body is None and generic:
            raise Unsure("it is a std::thread that is being born or ends: its object is not there")
        if body is None:
            self._misses[descriptor.start] = self._misses.get(descriptor.start, 0) + 1
        return body

    def _holds(self, body: Body) -> bool:
        mapping = self._maps.at(body.image.header + body.offset)
        return mapping is not None and self._stands(mapping)


def _vector(folder: str) -> bytes:
    """What the kernel handed to the program at its exec: addresses that are drawn anew for each."""
    try:
        return procfs.read_bytes(f"{folder}/auxv")
    except procfs.Unreadable:
        return b""
