"""The C++ type of what a `std::thread` runs, read from the object that its start routine was handed.

All such threads begin in one routine of libstdc++, so the routine does not tell whose they are. Its argument
is a `std::thread::_State`: the virtual table that it points to lies in the library that made the thread, and the
type's name stands behind the table. No symbol table is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

from corelens.probes.process_maps import Image, Mapping, Maps
from corelens.probes.process_memory import WORD_BYTES, Memory

_LONGEST_NAME = 1024
# std::thread::_State_impl<...> since GCC 5, std::thread::_Impl<...> before.
_BODIES = ("NSt6thread", "St6thread")
# aarch64 marks names that must be compared by address in the highest bit.
_ADDRESS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Body:
    """Type of a thread's body: its mangled name, and the virtual table with the library that holds it."""

    name: str
    image: Image
    offset: int


class Bodies:
    """Finds the types of thread bodies in one process; each virtual table is read once."""

    def __init__(self, memory: Memory, maps: Maps) -> None:
        self._memory = memory
        self._maps = maps
        self._known: dict[int, Body | None] = {}

    def of(self, argument: int) -> Body | None:
        """The type of the object at an address; None where it is no thread's body."""
        table = self._memory.word(argument)
        if table not in self._known:
            body = self._read(table)
            if body is None:
                # Whatever lay there may be another thing the next time.
                return None
            self._known[table] = body
        return self._known[table]

    def _read(self, table: int) -> Body | None:
        mapping = self._constant(table)
        if mapping is None or table % WORD_BYTES:
            return None
        about = self._memory.word(table - WORD_BYTES)
        if self._constant(about) is None:
            return None
        text = self._memory.text(self._memory.word(about + WORD_BYTES) & _ADDRESS, _LONGEST_NAME)
        if text is None or not text.lstrip("*").startswith(_BODIES):
            return None
        return Body(text.lstrip("*"), mapping.image, table - mapping.image.header)

    def _constant(self, address: int) -> Mapping | None:
        mapping = self._maps.at(address)
        return None if mapping is None or mapping.executable else mapping
