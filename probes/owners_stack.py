"""Thread descriptors where there is no robust list: musl, or a filter on the recorder's own system calls.

A thread that sleeps has saved its stack pointer in /proc/PID/task/TID/syscall, and both C libraries put the
descriptor at the upper end of the stack. It is recognised by what it holds: its own address as the first word
and the thread's id in its place. musl links all descriptors in a ring, so that one sleeping thread leads to
those that run. Only x86-64 is known.
"""

from __future__ import annotations

import struct
from pathlib import Path

from corelens.probes import procfs
from corelens.probes.owners_descriptor import (
    HEAD_AFTER_TID,
    MACHINE,
    ROUTINE,
    Descriptor,
    IsCode,
    Layouts,
    at_head,
    number,
)
from corelens.probes.process_memory import Memory

# A sleeping thread has used little of its stack; what lies above its stack pointer ends with the descriptor.
_SEARCHED_BYTES = 1 << 17
_GLIBC_TID = 0x2D0
_MUSL_TID = 48
_MUSL_NEXT = 24
_MUSL_MAPPED = 72
_MUSL_FIELDS = struct.Struct("<QQQQ")
# struct start_args: routine, argument, control word, signal mask.
_MUSL_ARGUMENTS_BYTES = 32
_MOST_THREADS = 1 << 15


def stack_pointer(proc: Path, pid: int, tid: int) -> int | None:
    """The stack pointer that a thread saved when it last entered the kernel; None while it runs."""
    try:
        fields = procfs.read_bytes(f"{proc}/{pid}/task/{tid}/syscall").split()
        return int(fields[-2], 16) if len(fields) >= 3 else None
    except (procfs.Unreadable, ValueError):
        return None


def above(memory: Memory, pointer: int, tid: int) -> int | None:
    """The descriptor that lies above a stack pointer: it holds the id, and its own address as its first word."""
    pointer &= ~7
    data = memory.read(pointer, _SEARCHED_BYTES)
    wanted = struct.pack("<i", tid)
    place = data.find(wanted)
    while place >= 0:
        for offset in (_GLIBC_TID, _MUSL_TID):
            address = pointer + place - offset
            if place % 4 == 0 and memory.word(address) == address:
                return address
        place = data.find(wanted, place + 1)
    return None


def on_stack(memory: Memory, tried: Layouts, address: int, tid: int, is_code: IsCode) -> Descriptor | None:
    """Read a descriptor that was found above a stack pointer, of either C library."""
    if MACHINE != "x86_64":
        return None
    if _id_at(memory, address + _MUSL_TID) == tid:
        return _in_musl(memory, address, is_code)
    head = address + _GLIBC_TID + HEAD_AFTER_TID
    found = at_head(memory, tried, head, lambda found: found == tid, is_code)
    return None if found is None else Descriptor(found.address, found.start, found.argument, by_stack=True)


def neighbours(memory: Memory, address: int) -> dict[int, int]:
    """All threads of a process on musl, id to descriptor: each points to the next, in a ring."""
    found: dict[int, int] = {}
    each = address
    while len(found) < _MOST_THREADS and memory.word(each) == each:
        found[_id_at(memory, each + _MUSL_TID)] = each
        each = memory.word(each + _MUSL_NEXT)
        if each == address:
            break
    return found


def _in_musl(memory: Memory, address: int, is_code: IsCode) -> Descriptor | None:
    data = memory.read(address + _MUSL_MAPPED, _MUSL_FIELDS.size)
    if len(data) < _MUSL_FIELDS.size:
        return None
    lowest, count, top, _ = _MUSL_FIELDS.unpack(data)
    if not lowest <= top <= lowest + count or not lowest <= address < lowest + count:
        return None
    routine = memory.read((top & ~7) - _MUSL_ARGUMENTS_BYTES, ROUTINE.size)
    if len(routine) < ROUTINE.size:
        return None
    start, argument = ROUTINE.unpack(routine)
    return Descriptor(address, start, argument, by_stack=True) if is_code(start) else None


def _id_at(memory: Memory, address: int) -> int:
    return number(memory.read(address, 4))
