"""What a mapped ELF file says of itself: its build id, and where the names lie that it exports.

All is read from the memory of the process, so that a file that was deleted, replaced, or lies in another mount
namespace is understood as well as one that can be opened. Only 64-bit little-endian files are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from corelens.probes.process_memory import Read

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
SYMBOL = struct.Struct("<IBBHQQ")
_GNU_HASH = struct.Struct("<IIII")
_WORD32 = struct.Struct("<I")
_PAIR = struct.Struct("<QQ")
_NOTE = struct.Struct("<III")
MAGIC = b"\x7fELF\x02\x01"
_LOAD, _DYNAMIC, _NOTES = 1, 2, 4
_STRINGS, _SYMBOLS, _HASHES = 5, 6, 0x6FFFFEF5
_BUILD_ID = 3
# Nothing sane exceeds them; a wrong header must not make us read gigabytes.
_MOST_PROGRAM_HEADERS = 64
_MOST_TABLE_BYTES = 1 << 16
# A chain of one bucket is a few symbols long.
_LONGEST_CHAIN = 1000


class Symbol(NamedTuple):
    """Where a name lies, and how many bytes are its."""

    address: int
    size: int


Symbols = dict[str, Symbol]


@dataclass(frozen=True, slots=True)
class Segment:
    """One entry of the program header table."""

    kind: int
    offset: int
    address: int
    size: int


class MappedElf:
    """An ELF file whose first byte is mapped at `header`; nothing is found in what is none."""

    def __init__(self, read: Read, header: int) -> None:
        self._read = read
        self.segments = _segments(read, header)
        first = min(self._of_kind(_LOAD), key=lambda each: each.offset, default=None)
        self.bias = header - (first.address - first.offset) if first is not None else header
        """What to add to an address as the linker gave it."""

    def build_id(self) -> str | None:
        """The GNU build id in hexadecimal; None where it carries none or it is not mapped."""
        for segment in self._of_kind(_NOTES):
            for name, kind, value in notes(self._bytes(segment)):
                if kind == _BUILD_ID and name == b"GNU":
                    return value.hex()
        return None

    def symbols(self, names: Iterable[str]) -> Symbols:
        """Look exported names up in the GNU hash table; those that are absent are left out."""
        tables = self._tables()
        if not {_STRINGS, _SYMBOLS, _HASHES} <= tables.keys():
            return {}
        found = {name: self._lookup(tables, name) for name in names}
        return {name: symbol for name, symbol in found.items() if symbol is not None}

    def _of_kind(self, kind: int) -> Iterator[Segment]:
        return (segment for segment in self.segments if segment.kind == kind)

    def _bytes(self, segment: Segment) -> bytes:
        return self._read(self.bias + segment.address, min(segment.size, _MOST_TABLE_BYTES))

    def _tables(self) -> dict[int, int]:
        dynamic = next(self._of_kind(_DYNAMIC), None)
        if dynamic is None:
            return {}
        data = self._bytes(dynamic)
        pairs = dict(_PAIR.iter_unpack(data[: len(data) - len(data) % _PAIR.size]))
        # glibc writes addresses over the offsets in place, musl leaves them.
        return {tag: value if value >= self.bias else value + self.bias for tag, value in pairs.items()}

    def _lookup(self, tables: dict[int, int], name: str) -> Symbol | None:
        found = (self._symbol(tables, index, name) for index in self._chain(tables[_HASHES], name))
        return next((symbol for symbol in found if symbol is not None), None)

    def _chain(self, table: int, name: str) -> Iterator[int]:
        """Symbols whose hash is that of a name."""
        head = self._read(table, _GNU_HASH.size)
        buckets, first, bloom_words, _ = _GNU_HASH.unpack(head) if len(head) == _GNU_HASH.size else (0,) * 4
        if not buckets:
            return
        wanted = gnu_hash(name)
        heads = table + _GNU_HASH.size + 8 * bloom_words
        index = self._word32(heads + 4 * (wanted % buckets)) or 0
        chains = heads + 4 * (buckets - first)
        for place in range(index, index + _LONGEST_CHAIN) if index >= first else ():
            present = self._word32(chains + 4 * place)
            if present is None:
                return
            if present | 1 == wanted | 1:
                yield place
            if present & 1:
                return

    def _symbol(self, tables: dict[int, int], index: int, name: str) -> Symbol | None:
        data = self._read(tables[_SYMBOLS] + SYMBOL.size * index, SYMBOL.size)
        if len(data) < SYMBOL.size:
            return None
        text, _, _, _, value, size = SYMBOL.unpack(data)
        wanted = name.encode() + b"\0"
        same = self._read(tables[_STRINGS] + text, len(wanted)) == wanted
        return Symbol(self.bias + value, size) if same else None

    def _word32(self, address: int) -> int | None:
        data = self._read(address, _WORD32.size)
        return int(_WORD32.unpack(data)[0]) if len(data) == _WORD32.size else None


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


def _segments(read: Read, header: int) -> list[Segment]:
    data = read(header, HEADER.size)
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        return []
    fields = HEADER.unpack(data)
    table_at, entry_bytes, count = fields[5], fields[9], fields[10]
    if entry_bytes != _PROGRAM_HEADER.size or count > _MOST_PROGRAM_HEADERS:
        return []
    table = read(header + table_at, entry_bytes * count)
    whole = table[: len(table) - len(table) % entry_bytes]
    return [
        Segment(kind, offset, address, size)
        for kind, _, offset, address, _, _, size, _ in _PROGRAM_HEADER.iter_unpack(whole)
    ]
