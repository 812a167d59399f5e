"""What a mapped ELF file says of itself: its build id, and the addresses of the names it exports.

All is read from the memory of the process, so that a file that was deleted, replaced, or lies in another mount
namespace is understood as well as one that can be opened. Only 64-bit little-endian files are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from corelens.probes.process_memory import Memory

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_GNU_HASH = struct.Struct("<IIII")
_WORD32 = struct.Struct("<I")
_PAIR = struct.Struct("<QQ")
_NOTE = struct.Struct("<III")
_MAGIC = b"\x7fELF\x02\x01"
_LOAD, _DYNAMIC, _NOTES = 1, 2, 4
_STRINGS, _SYMBOLS, _HASHES = 5, 6, 0x6FFFFEF5
_BUILD_ID = 3
# Nothing sane exceeds them; a wrong header must not make us read gigabytes.
_MOST_PROGRAM_HEADERS = 64
_MOST_TABLE_BYTES = 1 << 16
_LONGEST_CHAIN = 256
_LONGEST_NAME = 256


@dataclass(frozen=True, slots=True)
class Segment:
    """One entry of the program header table."""

    kind: int
    offset: int
    address: int
    size: int


class MappedElf:
    """An ELF file whose first byte is mapped at `header`; nothing is found in what is none."""

    def __init__(self, memory: Memory, header: int) -> None:
        self._memory = memory
        self.segments = _segments(memory, header)
        first = next((each for each in self.segments if each.kind == _LOAD and each.offset == 0), None)
        self._bias = header - first.address if first is not None else header

    def build_id(self) -> str | None:
        """The GNU build id in hexadecimal; None where it carries none or it is not mapped."""
        for segment in self._of_kind(_NOTES):
            for name, kind, value in notes(self._bytes(segment)):
                if kind == _BUILD_ID and name == b"GNU":
                    return value.hex()
        return None

    def symbols(self, names: Iterable[str]) -> dict[str, int]:
        """Addresses of exported names, found through the GNU hash table; those that are absent are left out."""
        tables = self._tables()
        if not {_STRINGS, _SYMBOLS, _HASHES} <= tables.keys():
            return {}
        found = {name: self._lookup(tables, name) for name in names}
        return {name: address for name, address in found.items() if address is not None}

    def _of_kind(self, kind: int) -> Iterator[Segment]:
        return (segment for segment in self.segments if segment.kind == kind)

    def _bytes(self, segment: Segment) -> bytes:
        return self._memory.read(self._bias + segment.address, min(segment.size, _MOST_TABLE_BYTES))

    def _tables(self) -> dict[int, int]:
        dynamic = next(self._of_kind(_DYNAMIC), None)
        if dynamic is None:
            return {}
        data = self._bytes(dynamic)
        pairs = dict(_PAIR.iter_unpack(data[: len(data) - len(data) % _PAIR.size]))
        # glibc writes addresses over the offsets in place, musl leaves them.
        return {tag: value if value >= self._bias else value + self._bias for tag, value in pairs.items()}

    def _lookup(self, tables: dict[int, int], name: str) -> int | None:
        head = self._memory.read(tables[_HASHES], _GNU_HASH.size)
        if len(head) < _GNU_HASH.size:
            return None
        buckets, first, bloom_words, _ = _GNU_HASH.unpack(head)
        if not buckets:
            return None
        wanted = gnu_hash(name)
        table = tables[_HASHES] + _GNU_HASH.size + 8 * bloom_words
        index = self._word32(table + 4 * (wanted % buckets))
        chains = table + 4 * buckets
        for place in range(max(index, first), index + _LONGEST_CHAIN) if index >= first else ():
            present = self._word32(chains + 4 * (place - first))
            if (present ^ wanted) >> 1 == 0 and (address := self._symbol(tables, place, name)) is not None:
                return address
            if present & 1:
                break
        return None

    def _symbol(self, tables: dict[int, int], index: int, name: str) -> int | None:
        data = self._memory.read(tables[_SYMBOLS] + _SYMBOL.size * index, _SYMBOL.size)
        if len(data) < _SYMBOL.size:
            return None
        text, _, _, _, value, _ = _SYMBOL.unpack(data)
        same = self._memory.text(tables[_STRINGS] + text, _LONGEST_NAME) == name
        return self._bias + value if same else None

    def _word32(self, address: int) -> int:
        data = self._memory.read(address, _WORD32.size)
        return int(_WORD32.unpack(data)[0]) if len(data) == _WORD32.size else 0


def gnu_hash(name: str) -> int:
    """Hash of a name as the GNU hash table of an ELF file uses it."""
    value = 5381
    for character in name.encode():
        value = (value * 33 + character) & 0xFFFFFFFF
    return value


def notes(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Name, type and content of every note; what is cut off is left out."""
    place = 0
    while place + _NOTE.size <= len(data):
        name_bytes, value_bytes, kind = _NOTE.unpack_from(data, place)
        name_at = place + _NOTE.size
        value_at = name_at + _aligned(name_bytes)
        place = value_at + _aligned(value_bytes)
        if place > len(data):
            return
        yield (
            data[name_at : name_at + name_bytes].rstrip(b"\0"),
            kind,
            data[value_at : value_at + value_bytes],
        )


def _aligned(count: int) -> int:
    return (count + 3) & ~3


def _segments(memory: Memory, header: int) -> list[Segment]:
    data = memory.read(header, _HEADER.size)
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        return []
    fields = _HEADER.unpack(data)
    table_at, entry_bytes, count = fields[5], fields[9], fields[10]
    if entry_bytes != _PROGRAM_HEADER.size or count > _MOST_PROGRAM_HEADERS:
        return []
    table = memory.read(header + table_at, entry_bytes * count)
    whole = table[: len(table) - len(table) % entry_bytes]
    return [
        Segment(kind, offset, address, size)
        for kind, _, offset, address, _, _, size, _ in _PROGRAM_HEADER.iter_unpack(whole)
    ]
