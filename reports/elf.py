"""Names of functions in ELF files on this machine, for libraries that a recording tells of.

A start routine is the first byte of a function, so its symbol is found by searching the symbol table for its
address: 5 ms in the largest libraries, where taking the table apart would take 100. A file is believed only when
its build id is the recorded one.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_NOTE = struct.Struct("<III")
_ADDRESS = struct.Struct("<Q")
_MAGIC = b"\x7fELF\x02\x01"
_LOAD, _NOTES = 1, 4
_SYMBOL_TABLES = (2, 11)
_FUNCTION = 2
_BUILD_ID = 3
_ADDRESS_IN_SYMBOL = 8
_LONGEST_NAME = 4096


@dataclass(frozen=True, slots=True)
class _Table:
    """Where a symbol table and its names lie in the file."""

    start: int
    end: int
    names: int


class ElfFile:
    """One ELF file, mapped into memory. Raises ValueError for what is none that we read."""

    def __init__(self, data: mmap.mmap | bytes) -> None:
        if len(data) < _HEADER.size or data[:6] != _MAGIC:
            raise ValueError("no 64-bit little-endian ELF file")
        self._data = data
        fields = _HEADER.unpack_from(data)
        self._programs = [*self._entries(_PROGRAM, fields[5], fields[9], fields[10])]
        self._sections = [*self._entries(_SECTION, fields[6], fields[11], fields[12])]

    def build_id(self) -> str | None:
        """The GNU build id in hexadecimal; None where it carries none."""
        for kind, _, offset, _, _, size, _, _ in self._programs:
            if kind == _NOTES:
                found = _build_id(bytes(self._data[offset : offset + size]))
                if found is not None:
                    return found
        return None

    def function_at(self, offset: int) -> str | None:
        """Name of the function that begins at an offset from where the file's first byte is mapped."""
        wanted = _ADDRESS.pack(offset + self._first_address())
        for table in self._tables():
            name = self._find(table, wanted)
            if name is not None:
                return name
        return None

    def functions(self) -> Iterator[tuple[int, int, str]]:
        """(offset from the file's first byte, size, name) of every function that has a name and a size."""
        first = self._first_address()
        for table in self._tables():
            whole = (table.end - table.start) // _SYMBOL.size * _SYMBOL.size
            for fields in _SYMBOL.iter_unpack(self._data[table.start : table.start + whole]):
                text, about, _, section, address, size = fields
                if about & 15 == _FUNCTION and section and size:
                    yield address - first, size, self._text(table.names + text) or ""

    def _entries(self, form: struct.Struct, start: int, entry: int, count: int) -> Iterator[tuple[int, ...]]:
        if count and entry != form.size:
            raise ValueError("a table of the ELF file has entries of another size")
        try:
            for place in range(count):
                yield form.unpack_from(self._data, start + place * entry)
        except struct.error as error:
            raise ValueError("the ELF file is cut") from error

    def _first_address(self) -> int:
        """Address that the linker gave to the first byte of the file; not 0 in a fixed executable."""
        loads = (fields for fields in self._programs if fields[0] == _LOAD and fields[2] == 0)
        return next((fields[3] for fields in loads), 0)

    def _tables(self) -> Iterator[_Table]:
        """The full symbol table before that of exported names only."""
        for wanted in _SYMBOL_TABLES:
            for section in self._sections:
                kind, offset, size, link = section[1], section[4], section[5], section[6]
                if kind == wanted and link < len(self._sections):
                    yield _Table(offset, offset + size, self._sections[link][4])

    def _find(self, table: _Table, wanted: bytes) -> str | None:
        place = self._data.find(wanted, table.start, table.end)
        while place >= 0:
            start = place - _ADDRESS_IN_SYMBOL
            if (start - table.start) % _SYMBOL.size == 0 and start + _SYMBOL.size <= table.end:
                text, about, _, section, _, _ = _SYMBOL.unpack_from(self._data, start)
                if about & 15 == _FUNCTION and section:
                    return self._text(table.names + text)
            place = self._data.find(wanted, place + 1, table.end)
        return None

    def _text(self, start: int) -> str | None:
        end = self._data.find(b"\0", start, start + _LONGEST_NAME)
        return bytes(self._data[start:end]).decode("latin-1") if end > start else None


class SymbolsOnDisk:
    """Names functions by the files on this machine; each question is answered once.

    None where the file is absent, is another build than the recorded one, or carries no name for the place.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, int], str | None] = {}

    def __call__(self, path: str, build_id: str | None, offset: int) -> str | None:
        if build_id is None:
            # Nothing tells whether it is the file that was recorded.
            return None
        key = (path, build_id, offset)
        if key not in self._known:
            self._known[key] = _looked_up(*key)
        return self._known[key]


def _looked_up(path: str, build_id: str, offset: int) -> str | None:
    try:
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            elf = ElfFile(data)
            return elf.function_at(offset) if elf.build_id() == build_id else None
    except (OSError, ValueError):
        return None


def _build_id(data: bytes) -> str | None:
    place = 0
    while place + _NOTE.size <= len(data):
        name_bytes, value_bytes, kind = _NOTE.unpack_from(data, place)
        name_at = place + _NOTE.size
        value_at = name_at + _aligned(name_bytes)
        place = value_at + _aligned(value_bytes)
        if kind == _BUILD_ID and data[name_at : name_at + 4] == b"GNU\0":
            return data[value_at : value_at + value_bytes].hex()
    return None


def _aligned(count: int) -> int:
    return (count + 3) & ~3
