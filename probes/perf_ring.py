"""Sampling where code runs: a software clock of the kernel, whose samples lie in a ring buffer for each core.

The clock runs while a thread is on a core. What a thread begets, threads and processes, inherits it, and an exec keeps
it. Only user code is sampled, so no right beyond that over the process is needed (perf_event_paranoid 2).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections.abc import Iterator

from corelens.probes.perf_events import ATTRIBUTES, EXCLUDE_HYPERVISOR, EXCLUDE_KERNEL, system_call

_SOFTWARE, _CPU_CLOCK = 1, 0
_IP_AND_THREAD = 1 << 0 | 1 << 1
_INHERIT, _FREQUENCY = 1 << 1, 1 << 10
_CLOSE_ON_EXEC = 1 << 3
_SET_OUTPUT = 0x2405
# 32 KiB hold 1300 samples: 26 s of one core at 49 Hz.
_DATA_BYTES = 8 * mmap.PAGESIZE
_HEAD_AT, _TAIL_AT = 1024, 1032
_HEADER = struct.Struct("<IHH")
_SAMPLE = struct.Struct("<QII")
_LOST = struct.Struct("<QQ")
_IS_LOST, _IS_SAMPLE = 2, 9

Sample = tuple[int, int, int]
"""Process, thread and address."""


class Ring:
    """The samples of one core; `open` adds a thread and all that it begets."""

    def __init__(self, core: int, rate_hz: int) -> None:
        self.lost = 0
        self._core = core
        self._rate_hz = rate_hz
        self._descriptors: list[int] = []
        self._memory: mmap.mmap | None = None

    def open(self, tid: int) -> None:
        """Sample a thread while it runs on this core; raises OSError."""
        flags = _INHERIT | _FREQUENCY | EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR
        head = (_SOFTWARE, ATTRIBUTES.size, _CPU_CLOCK, self._rate_hz, _IP_AND_THREAD, 0, flags, 0, 0, 0)
        descriptor = system_call(ATTRIBUTES.pack(*head), tid, self._core, _CLOSE_ON_EXEC)
        self._descriptors.append(descriptor)
        if self._memory is None:
            self._memory = mmap.mmap(descriptor, mmap.PAGESIZE + _DATA_BYTES)
        else:
            _send_to(descriptor, self._descriptors[0])

    def take(self) -> list[Sample]:
        """The samples since the last call."""
        if self._memory is None:
            return []
        head, tail = struct.unpack_from("<QQ", self._memory, _HEAD_AT)
        data = _between(self._memory, tail, head)
        struct.pack_into("<Q", self._memory, _TAIL_AT, head)
        return list(self._samples(data))

    def close(self) -> None:
        """End the sampling."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()

    def _samples(self, data: bytes) -> Iterator[Sample]:
        place = 0
        while place + _HEADER.size <= len(data):
            kind, _, size = _HEADER.unpack_from(data, place)
            if size < _HEADER.size or place + size > len(data):
                return
            if kind == _IS_SAMPLE and size >= _HEADER.size + _SAMPLE.size:
                address, pid, tid = _SAMPLE.unpack_from(data, place + _HEADER.size)
                yield pid, tid, address
            elif kind == _IS_LOST and size >= _HEADER.size + _LOST.size:
                self.lost += _LOST.unpack_from(data, place + _HEADER.size)[1]
            place += size


def _between(memory: mmap.mmap, tail: int, head: int) -> bytes:
    """What the kernel wrote from one count of bytes to the other, where the ring may begin anew between."""
    if not 0 < head - tail <= _DATA_BYTES:
        return b""
    start, count = mmap.PAGESIZE + tail % _DATA_BYTES, head - tail
    first = memory[start : min(start + count, len(memory))]
    return first + memory[mmap.PAGESIZE : mmap.PAGESIZE + count - len(first)]


def _send_to(descriptor: int, first: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ioctl(descriptor, _SET_OUTPUT, first) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
