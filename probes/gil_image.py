"""Where an interpreter keeps its state: the `_PyRuntime` object in the images that a process has mapped.

The symbol is read from the mapped image, so that a library that was deleted or replaced on disk, or that lies in
another mount namespace, makes no difference. Executables that were linked statically may carry it only in the
symbol table of their file, which is then read through /proc.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from corelens.probes import procfs
from corelens.probes.mapped_elf import HEADER, MAGIC, SYMBOL, MappedElf, Symbol, Symbols
from corelens.probes.process_maps import DELETED, Image, Maps, read_maps
from corelens.probes.process_memory import Read

RUNTIME = "_PyRuntime"
VERSION = "Py_Version"
_LIKELY = re.compile(r"(lib)?python(\d[\d.]*[a-z]*)?(\.so[\d.]*)?$")
_MUSL = re.compile(r"/(ld-musl-|libc\.musl-)[^/]*$")
_NAMED_VERSION = re.compile(r"python(\d)\.(\d+)")

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SHT_SYMTAB, _SHT_DYNSYM = 2, 11
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


def find_runtime(proc: Path, pid: int, read: Read) -> Runtime | None:
    """Find the interpreter of a process; None when it runs none. Raises Unreadable."""
    maps = read_maps(f"{proc}/{pid}")
    images = maps.images()
    for image in _likely(images, procfs.read_executable(proc, pid)):
        elf = MappedElf(read, image.header)
        names = (RUNTIME, VERSION)
        found = elf.symbols(names) or _symbols_of_file(_paths(f"{proc}/{pid}", maps, image), elf, names)
        if RUNTIME in found:
            address, size = found[RUNTIME]
            musl = any(_MUSL.search(one.path) for one in images)
            return Runtime(address, size, _version(read, found, image.path), image.path, musl)
    return None


def _likely(images: list[Image], executable: str) -> Iterator[Image]:
    """Images that may hold an interpreter: those named so, and the executable whatever its name."""
    named = [image for image in images if _LIKELY.match(image.path.rpartition("/")[2])]
    yield from named
    program = executable.removesuffix(DELETED)
    yield from (image for image in images if image.path == program and image not in named)


def _version(read: Read, found: Symbols, path: str) -> tuple[int, int] | None:
    if VERSION in found:
        raw = read(found[VERSION][0], 4)
        if len(raw) == 4 and raw[3] == 3:
            return raw[3], raw[2]
    named = _NAMED_VERSION.search(path.rpartition("/")[2])
    return (int(named[1]), int(named[2])) if named else None


# the symbol table of a file


def _paths(folder: str, maps: Maps, image: Image) -> Iterator[str]:
    """Where the file behind an image can be opened; under its own name another may lie once it was deleted."""
    mapping = maps.at(image.header)
    if mapping is not None:
        yield f"{folder}/map_files/{mapping.link}"
    if not image.deleted:
        yield f"{folder}/root{image.path}"


def _symbols_of_file(paths: Iterable[str], elf: MappedElf, names: Iterable[str]) -> Symbols:
    """Symbols of the file behind an image, with addresses as mapped; empty where it was stripped."""
    for path in paths if elf.segments else ():
        try:
            found = file_symbols(path, names)
        except (OSError, struct.error, OverflowError):
            continue
        return {name: Symbol(elf.bias + value, size) for name, (value, size) in found.items()}
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
    header = HEADER.unpack(os.pread(descriptor, HEADER.size, 0))
    if not header[0].startswith(MAGIC):
        return
    offset, size, count = header[6], header[11], header[12]
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
    whole = symbols[: len(symbols) // SYMBOL.size * SYMBOL.size]
    return {
        wanted[string]: Symbol(value, size)
        for string, _, _, _, value, size in (SYMBOL.iter_unpack(whole) if wanted else ())
        if string in wanted and value
    }
