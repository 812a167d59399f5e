"""Where the C library keeps what it knows of a thread: the descriptor, with the routine it was started with.

glibc: `get_robust_list(2)` gives an address inside a thread's `struct pthread`, of a running thread as well as
of one that sleeps. The offsets within it come from the process's own C library, which describes the structure
to debuggers (`_thread_db_*`, exported since glibc 2.32). Older and statically linked copies say nothing, and get
the offsets that glibc had from 2.17 on; there the structure must also hold the bounds of the stack that it lies
on. In both cases the thread id in it must be that of the thread, so that a wrong layout finds nothing.
"""

from __future__ import annotations

import os
import platform
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from corelens.probes.mapped_elf import MappedElf
from corelens.probes.process_maps import Image
from corelens.probes.process_memory import LOWEST_ADDRESS, Memory

MACHINE = platform.machine()
# `tid` stands two words before `robust_head` in every 64-bit glibc: nptl/descr.h.
HEAD_AFTER_TID = 16
_GLIBC = re.compile(r"lib(c|pthread)(\.so\.[06]|-2\.\d+\.so)")
_DESCRIBED = ("_thread_db_pthread_tid", "_thread_db_pthread_start_routine")
# A description holds size in bits, count and offset.
_DESCRIPTION = struct.Struct("<III")
ROUTINE = struct.Struct("<QQ")
# From the thread id to the bounds of the stack, in every layout.
_BYTES_READ = 1024

IsCode = Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets in `struct pthread`. `described` is False where they are known by heart and not from the library."""

    tid: int
    start: int
    described: bool

    @property
    def stack(self) -> int:
        """Offset of the bounds of the stack: after the argument, 32 bytes of events, and what unwinding needs."""
        return ((self.start + 16 + 32 + 15) & ~15) + 32


Layouts = tuple[Layout, ...]

# glibc 2.17 to 2.31, and static programs of any version. The first is tried first: where the second is right,
# the first shows the scheduling policy, a small number that is no address.
_BY_HEART: dict[str, Layouts] = {
    "x86_64": (Layout(0x2D0, 0x638, False), Layout(0x2D0, 0x640, False)),
    "aarch64": (Layout(0xD0, 0x438, False), Layout(0xD0, 0x440, False)),
}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a thread's descriptor says: where it lies, and the routine with its argument that the thread runs."""

    address: int
    start: int
    argument: int
    by_stack: bool = False
    """Found through the thread's stack pointer and not through get_robust_list."""


def layouts(memory: Memory, images: list[Image]) -> Layouts:
    """The layouts to try: the one that the C library of the process describes, else those known by heart."""
    for image in images:
        if _GLIBC.fullmatch(os.path.basename(image.path)):  # noqa: PTH119
            described = _described(memory, MappedElf(memory.read, image.header))
            if described is not None:
                return (described,)
    return _BY_HEART.get(MACHINE, ())


def at_head(
    memory: Memory, tried: Layouts, head: int, is_tid: Callable[[int], bool], is_code: IsCode
) -> Descriptor | None:
    """The descriptor that a robust list's head lies in.

    `is_tid` says whether a number is the thread's id, as its own pid namespace counts. None where none is
    recognised: the thread is being born or dying, the layout is another, or its code was mapped since.
    """
    data = memory.read(head - HEAD_AFTER_TID, _BYTES_READ)
    if not is_tid(number(data)):
        return None
    for layout in tried:
        found = _in_layout(data, layout, head - HEAD_AFTER_TID - layout.tid, is_code)
        if found is not None:
            return found
    return None


def address_at(memory: Memory, tried: Layouts, head: int, is_tid: Callable[[int], bool]) -> int | None:
    """Address of the descriptor of a thread that was started by no routine: the first one."""
    if not tried or not is_tid(number(memory.read(head - HEAD_AFTER_TID, 4))):
        return None
    return head - HEAD_AFTER_TID - tried[0].tid


def number(data: bytes) -> int:
    """The 32-bit number that some bytes begin with; 0, which is no thread's id, where there are too few."""
    return int.from_bytes(data[:4], "little", signed=True) if len(data) >= 4 else 0


def _in_layout(data: bytes, layout: Layout, address: int, is_code: IsCode) -> Descriptor | None:
    place = layout.start - layout.tid
    if len(data) < place + ROUTINE.size:
        return None
    start, argument = ROUTINE.unpack_from(data, place)
    if start < LOWEST_ADDRESS or not is_code(start):
        return None
    if not layout.described and not _lies_on_its_stack(data, layout, address):
        return None
    return Descriptor(address, start, argument)


def _lies_on_its_stack(data: bytes, layout: Layout, address: int) -> bool:
    place = layout.stack - layout.tid
    if len(data) < place + ROUTINE.size:
        return False
    lowest, count = ROUTINE.unpack_from(data, place)
    return bool(lowest <= address < lowest + count)


def _described(memory: Memory, library: MappedElf) -> Layout | None:
    symbols = library.symbols(_DESCRIBED)
    offsets: list[int] = []
    for name in _DESCRIBED:
        data = memory.read(symbols[name].address, _DESCRIPTION.size) if name in symbols else b""
        if len(data) < _DESCRIPTION.size:
            return None
        offsets.append(_DESCRIPTION.unpack(data)[2])
    tid, start = offsets
    sane = tid < start <= tid + _BYTES_READ - ROUTINE.size
    return Layout(tid, start, True) if sane else None
