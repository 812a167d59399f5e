"""Thread-limit variables as they are now: the environment in the memory of a process, which code can change.

What /proc shows is what the program was handed when it was executed. A variable that is set later, as
`os.environ` does, is found by following the C library's own `environ` pointer.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corelens.probes import procfs
from corelens.probes.environment import limit_variables, parse_limit_variables
from corelens.probes.gaps import Gaps
from corelens.probes.mapped_elf import MappedElf
from corelens.probes.probe import Moment, Process
from corelens.probes.process_maps import Image, read_maps
from corelens.probes.process_memory import LOWEST_ADDRESS, WORD_BYTES, Memory
from corelens.vocabulary import Line, columnar_line

DEFAULT_PERIOD_NS = 500_000_000
# A program changes its variables while it starts, if it does: looked at again at distances that grow.
_LONGEST_DISTANCE_NS = 30_000_000_000
_DISTANCE_PER_AGE = 0.5
_MOST_VARIABLES = 4096
_LONGEST_BLOCK = 1 << 18
# Long enough for the longest allowed name and the part of its value that is kept.
_LONGEST_VARIABLE = 512
_LIBC = re.compile(r"/(libc[.-][^/]*so[^/]*|ld-musl-[^/]*)$")
_NAMES = ("environ", "__environ")


@dataclass(slots=True)
class _Watched:
    """One process, where its pointer lies, and what was said of it last."""

    start_ticks: int
    pointer: int | None
    first_ns: int
    again_ns: int
    said: dict[str, str] | None


class VariablesProbe:
    """Writes a `variables` line for processes whose thread-limit variables differ from what was said of them."""

    name = "variables"

    def __init__(self, proc: Path = procfs.PROC, period_ns: int = DEFAULT_PERIOD_NS) -> None:
        self.period_ns = period_ns
        self._proc = proc
        self._watched: dict[int, _Watched] = {}
        self._gaps = Gaps(self.name)

    def look(self, moment: Moment) -> Iterator[Line]:
        """Look at the processes whose turn it is."""
        for pid in self._watched.keys() - moment.processes.keys():
            del self._watched[pid]
        rows: list[tuple[int, dict[str, str]]] = []
        for process in moment.processes.values():
            try:
                rows += self._changed(process, moment)
            except procfs.Unreadable as error:
                if error.reason != "gone":
                    yield from self._gaps.once(moment.t_ns, process.pid, error)
        if rows:
            yield columnar_line("variables", moment.t_ns, rows)

    def close(self) -> None:
        """Nothing is kept open."""

    def _changed(self, process: Process, moment: Moment) -> Iterator[tuple[int, dict[str, str]]]:
        known = self._watched.get(process.pid)
        if known is None or known.start_ticks != process.start_ticks:
            # A process is first looked at one round after it was seen: it may be about to execute its program.
            known = _Watched(process.start_ticks, None, moment.t_ns, moment.t_ns + self.period_ns, None)
            self._watched[process.pid] = known
        if moment.t_ns < known.again_ns or (process.pid not in moment.moved and known.said is not None):
            return
        distance_ns = min(int(_DISTANCE_PER_AGE * (moment.t_ns - known.first_ns)), _LONGEST_DISTANCE_NS)
        known.again_ns = moment.t_ns + distance_ns
        now = self._now(process.pid, known)
        if now is None:
            return
        before = known.said if known.said is not None else limit_variables(process.pid, self._proc)
        known.said = now
        if now != before:
            yield process.pid, now

    def _now(self, pid: int, known: _Watched) -> dict[str, str] | None:
        """The variables now; None where the pointer is not found, as before the C library is mapped."""
        memory = Memory(f"{self._proc}/{pid}")
        try:
            if known.pointer is None:
                known.pointer = _pointer(
                    f"{self._proc}/{pid}", procfs.read_executable(self._proc, pid), memory
                )
            return None if known.pointer is None else _read(memory, known.pointer)
        finally:
            memory.close()


def _pointer(folder: str, executable: str, memory: Memory) -> int | None:
    """Where the C library keeps the address of the environment.

    A program that was linked to a fixed address has a copy of its own, which the library uses too.
    """
    images = read_maps(folder).images()
    for image in (*_of_program(images, executable), *(one for one in images if _LIBC.search(one.path))):
        symbols = MappedElf(memory.read, image.header).symbols(_NAMES)
        for name in _NAMES:
            if name in symbols:
                return symbols[name].address
    return None


def _of_program(images: list[Image], executable: str) -> Iterator[Image]:
    return (image for image in images if image.path == executable)


def _read(memory: Memory, pointer: int) -> dict[str, str] | None:
    """Allow-listed variables; None while the environment is being replaced and does not read well."""
    table = memory.word(pointer)
    words = memory.read(table, _MOST_VARIABLES * WORD_BYTES)
    if table < LOWEST_ADDRESS or len(words) < WORD_BYTES:
        return None
    count = len(words) // WORD_BYTES
    addresses = list(_until_zero(struct.unpack(f"<{count}Q", words[: count * WORD_BYTES])))
    block = _Block(memory, addresses)
    return parse_limit_variables(b"\0".join(block.text(address) for address in addresses))


def _until_zero(addresses: tuple[int, ...]) -> Iterator[int]:
    for address in addresses:
        if address == 0:
            return
        yield address


class _Block:
    """Most variables lie side by side, as the program was handed them: they are read at once, the others alone."""

    def __init__(self, memory: Memory, addresses: list[int]) -> None:
        self._memory = memory
        self._start = min((one for one in addresses if one > (max(addresses) - _LONGEST_BLOCK)), default=0)
        size = max(addresses, default=0) - self._start + _LONGEST_VARIABLE
        self._data = memory.read(self._start, size) if addresses else b""

    def text(self, address: int) -> bytes:
        """The text at an address, its end cut where it is long."""
        offset = address - self._start
        within = 0 <= offset < len(self._data)
        data = self._data[offset : offset + _LONGEST_VARIABLE] if within else b""
        if b"\0" not in data:
            data = self._memory.read(address, _LONGEST_VARIABLE)
        return data.partition(b"\0")[0]
