"""Where an interpreter keeps its state: the `_PyRuntime` object in the images that a process has mapped.

The symbol is read from the mapped image, so that a library that was deleted or replaced on disk, or that lies in
another mount namespace, makes no difference. Executables that were linked statically may carry it only in the
symbol table of their file, which is then read through /proc.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from corelens.probes import procfs

Read = Callable[[int, int], bytes]
"""Bytes at an address; fewer, or none, where they cannot be read."""
Symbols = dict[str, tuple[int, int]]
"""Name to (value, size)."""

RUNTIME = "_PyRuntime"
VERSION = "Py_Version"
_LIKELY = re.compile(r"(lib)?python(\d[\d.]*[a-z]*)?(\.so[\d.]*)?( \(deleted\))?$")
_MUSL = re.compile(r"/(ld-musl-|libc\.musl-)[^/]*$")
_NAMED_VERSION = re.compile(r"python(\d)\.(\d+)")

_HEADER = struct.Struct("<4sBB10xHHI3QIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_STRTAB, _DT_SYMTAB, _DT_GNU_HASH = 5, 6, 0x6FFFFEF5
_SHT_SYMTAB, _SHT_DYNSYM = 2, 11
# A chain of one bucket is a few symbols long; more is no hash table.
_LONGEST_CHAIN = 1000
_LARGEST_TABLE = 1 << 26


@dataclass(frozen=True, slots=True)
class Runtime:
    """The `_PyRuntime` of one process; `version` is None where neither a symbol nor the name tells it."""

    address: int
    size: int
    version: tuple[int, int] | None
    path: str
    musl: bool
    """Whether the process runs on musl, whose condition variables are waited for on the waiter's own stack."""


@dataclass(frozen=True, slots=True)
class Image:
    """A mapped file: where it is loaded, and the mapping that begins there."""

    base: int
    mapping: str
    path: str


def find_runtime(proc: Path, pid: int, read: Read) -> Runtime | None:
    """Find the interpreter of a process; None when it runs none. Raises Unreadable."""
    images = list(_images(procfs.read_mappings(proc, pid)))
    for image in _likely(images, procfs.read_executable(proc, pid)):
        names = (RUNTIME, VERSION)
        found = mapped_symbols(read, image.base, names) or _symbols_of_file(proc, pid, read, image, names)
        if RUNTIME in found:
            address, size = found[RUNTIME]
            musl = any(_MUSL.search(one.path) for one in images)
            return Runtime(address, size, _version(read, found, image.path), image.path, musl)
    return None


def _likely(images: list[Image], executable: str) -> Iterator[Image]:
    """Images that may hold an interpreter: those named so, and the executable whatever its name."""
    named = [image for image in images if _LIKELY.match(image.path.rpartition("/")[2])]
    yield from named
    yield from (image for image in images if image.path == executable and image not in named)


def _images(maps: bytes) -> Iterator[Image]:
    for line in maps.splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[2] == b"00000000" and fields[5].startswith(b"/"):
            base = int(fields[0].partition(b"-")[0], 16)
            yield Image(base, fields[0].decode(), os.fsdecode(fields[5]))


def _version(read: Read, found: Symbols, path: str) -> tuple[int, int] | None:
    if VERSION in found:
        raw = read(found[VERSION][0], 4)
        if len(raw) == 4 and raw[3] == 3:
            return raw[3], raw[2]
    named = _NAMED_VERSION.search(path.rpartition("/")[2])
    return (int(named[1]), int(named[2])) if named else None


# the dynamic symbol table, in memory


def mapped_symbols(read: Read, base: int, names: Iterable[str]) -> Symbols:
    """Look names up in the hash table of an image at `base`; values are addresses. Empty without one."""
    try:
        bias, dynamic = _segments(read, base)
        if bias is None or dynamic is None:
            return {}
        return _looked_up(read, bias, _tags(read(bias + dynamic[0], dynamic[1])), names)
    except (struct.error, OverflowError, ZeroDivisionError):
        return {}


def _segments(read: Read, base: int) -> tuple[int | None, tuple[int, int] | None]:
    """What to add to addresses in the image, and (address, size) of its dynamic section."""
    bias: int | None = None
    dynamic: tuple[int, int] | None = None
    magic, bits, _, _, _, _, _, table, _, _, _, size, count, *_ = _HEADER.unpack(read(base, _HEADER.size))
    if magic != b"\x7fELF" or bits != 2:
        return None, None
    segments = read(base + table, size * count)
    for number in range(count):
        kind, _, offset, address, _, _, length, _ = _SEGMENT.unpack_from(segments, size * number)
        if kind == _PT_LOAD and bias is None:
            bias = base - (address - offset)
        elif kind == _PT_DYNAMIC:
            dynamic = (address, length)
    return bias, dynamic


def _tags(section: bytes) -> dict[int, int]:
    return {tag: value for tag, value in struct.iter_unpack("<QQ", section[: len(section) // 16 * 16]) if tag}


def _looked_up(read: Read, bias: int, tags: dict[int, int], names: Iterable[str]) -> Symbols:
    if not {_DT_STRTAB, _DT_SYMTAB, _DT_GNU_HASH} <= tags.keys():
        return {}
    # glibc turns these into addresses where it maps the image, musl leaves them as they are in the file.
    strings, symbols, table = (
        tags[tag] if tags[tag] >= bias else tags[tag] + bias for tag in (_DT_STRTAB, _DT_SYMTAB, _DT_GNU_HASH)
    )
    buckets, first, words, _ = struct.unpack("<4I", read(table, 16))
    hashes = table + 16 + 8 * words
    found: Symbols = {}
    for name in names:
        for index in _chain(read, hashes, buckets, first, name):
            string, _, _, _, value, size = _SYMBOL.unpack(read(symbols + _SYMBOL.size * index, _SYMBOL.size))
            if read(strings + string, len(name) + 1) == name.encode() + b"\0":
                found[name] = (bias + value, size)
                break
    return found


def _chain(read: Read, hashes: int, buckets: int, first: int, name: str) -> Iterator[int]:
    """Symbols whose hash is that of a name."""
    wanted = 5381
    for byte in name.encode():
        wanted = (wanted * 33 + byte) & 0xFFFFFFFF
    (index,) = struct.unpack("<I", read(hashes + 4 * (wanted % buckets), 4))
    for _ in range(_LONGEST_CHAIN):
        if index < first:
            return
        (value,) = struct.unpack("<I", read(hashes + 4 * (buckets + index - first), 4))
        if value | 1 == wanted | 1:
            yield index
        if value & 1:
            return
        index += 1


# the symbol table of a file


def _symbols_of_file(proc: Path, pid: int, read: Read, image: Image, names: Iterable[str]) -> Symbols:
    """Symbols of the file behind an image, with addresses as mapped; empty where it was stripped."""
    for path in (f"{proc}/{pid}/map_files/{image.mapping}", f"{proc}/{pid}/root{image.path}"):
        try:
            found = file_symbols(path, names)
            bias, _ = _segments(read, image.base)
        except (OSError, struct.error, OverflowError):
            continue
        if bias is not None:
            return {name: (bias + value, size) for name, (value, size) in found.items()}
    return {}


def file_symbols(path: str, names: Iterable[str]) -> Symbols:
    """Find names in the symbol tables of a file; values are as in the file. Raises OSError, struct.error."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found: Symbols = {}
        for symbols, strings in _tables(descriptor):
            found.update(_matching(symbols, strings, names))
        return found
    finally:
        os.close(descriptor)


def _tables(descriptor: int) -> Iterator[tuple[bytes, bytes]]:
    """Every symbol table of a file with its strings."""
    header = _HEADER.unpack(os.pread(descriptor, _HEADER.size, 0))
    if header[:2] != (b"\x7fELF", 2):
        return
    offset, size, count = header[8], header[13], header[14]
    raw = os.pread(descriptor, size * count, offset)
    sections: list[tuple[int, ...]] = [_SECTION.unpack_from(raw, size * number) for number in range(count)]
    for section in sections:
        if section[1] in (_SHT_SYMTAB, _SHT_DYNSYM) and section[6] < count:
            strings = sections[section[6]]
            if max(section[5], strings[5]) <= _LARGEST_TABLE:
                yield (
                    os.pread(descriptor, section[5], section[4]),
                    os.pread(descriptor, strings[5], strings[4]),
                )


def _matching(symbols: bytes, strings: bytes, names: Iterable[str]) -> Symbols:
    wanted = {strings.find(b"\0" + name.encode() + b"\0") + 1: name for name in names}
    wanted.pop(0, None)
    whole = symbols[: len(symbols) // _SYMBOL.size * _SYMBOL.size]
    return {
        wanted[string]: (value, size)
        for string, _, _, _, value, size in (_SYMBOL.iter_unpack(whole) if wanted else ())
        if string in wanted and value
    }
