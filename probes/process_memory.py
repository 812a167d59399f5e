"""Reading the memory of another process through /proc/PID/mem: nothing is stopped, nothing is written.

The descriptor stands for the address space that was there when it was opened. After an exec it reads nothing
more, which is how an exec is noticed.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

from corelens.probes import procfs

Read = Callable[[int, int], bytes]
"""Up to so many bytes from an address; fewer, or none, where nothing is mapped."""

_WORD = struct.Struct("<Q")
WORD_BYTES = _WORD.size
# Below it no user program has a mapping (vm.mmap_min_addr), above it no user address lies.
LOWEST_ADDRESS = 0x10000
HIGHEST_ADDRESS = 1 << 56


class Memory:
    """The memory of one process, by its folder in /proc. Raises procfs.Unreadable when it may not be opened."""

    def __init__(self, folder: str) -> None:
        path = f"{folder}/mem"
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise procfs.Unreadable(path, procfs.reason_of(error), error.strerror or "") from error

    def read(self, address: int, count: int) -> bytes:
        """Up to `count` bytes; fewer, or none, where nothing is mapped."""
        if not LOWEST_ADDRESS <= address < HIGHEST_ADDRESS:
            return b""
        try:
            return os.pread(self._descriptor, count, address)
        except (OSError, OverflowError):
            return b""

    def word(self, address: int) -> int:
        """The pointer-sized word at an address; 0 where nothing is mapped."""
        data = self.read(address, WORD_BYTES)
        return int(_WORD.unpack(data)[0]) if len(data) == WORD_BYTES else 0

    def text(self, address: int, longest: int) -> str | None:
        """The zero-terminated text at an address; None where it does not end within `longest` bytes."""
        data = self.read(address, longest)
        end = data.find(b"\0")
        return data[:end].decode("latin-1") if end >= 0 else None

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)
