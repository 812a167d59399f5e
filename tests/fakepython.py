"""A made-up process that runs Python: maps, memory and threads as plain files below a made-up /proc.

The memory is one sparse file, which is read at the addresses that the maps give. It holds an image with a symbol
table and, behind it, the structures of an interpreter in the layout of a version.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

from corelens.probes.gil_layout import FIXED, FREE_THREADED_AT, INTERPRETERS_HEAD_AT, PUBLISHED

BASE = 0x100000
RUNTIME = 0x200000
RUNTIME_BYTES = 0x1000
INTERPRETER = 0x300000
GIL = 0x300800
STATES = 0x400000
_STATE_BYTES = 0x1000
_HEADER = struct.Struct("<4sBBBB8xHHI3QIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SYMBOL = struct.Struct("<IBBHQQ")


def image(symbols: dict[str, tuple[int, int]]) -> bytes:
    """The first pages of a library whose hash table finds these symbols, by name to (offset, size)."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in symbols)
    table, chain, place = _SYMBOL.pack(0, 0, 0, 0, 0, 0), b"", 1
    for number, (name, (offset, size)) in enumerate(symbols.items(), 1):
        table += _SYMBOL.pack(place, 0x11, 0, 1, offset, size)
        chain += struct.pack("<I", _hash(name) & ~1 | (number == len(symbols)))
        place += len(name) + 1
    hashes = struct.pack("<4IQI", 1, 1, 1, 0, 0, 1 if symbols else 0) + chain
    at = {"names": 0x400, "table": 0x600, "hashes": 0x800, "dynamic": 0xA00}
    tags = ((5, at["names"]), (6, at["table"]), (0x6FFFFEF5, at["hashes"]), (0, 0))
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    segments = _SEGMENT.pack(1, 5, 0, 0, 0, 0x1000, 0x1000, 0x1000)
    segments += _SEGMENT.pack(2, 6, at["dynamic"], at["dynamic"], 0, len(dynamic), len(dynamic), 8)
    made = bytearray(0x1000)
    header = _HEADER.pack(b"\x7fELF", 2, 1, 1, 0, 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    for offset, data in (
        (0, header), (64, segments), (at["names"], names), (at["table"], table), (at["hashes"], hashes),
        (at["dynamic"], dynamic),
    ):  # fmt: skip
        made[offset : offset + len(data)] = data
    return bytes(made)


def _hash(name: str) -> int:
    value = 5381
    for byte in name.encode():
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value


@dataclass(slots=True)
class FakePython:
    """One process with an interpreter; `write` puts its present values into its memory."""

    proc: Path
    pid: int = 100
    version: tuple[int, int] = (3, 13)
    free_threaded: bool = False
    enabled: int = 0
    interval_us: int = 5000
    locked: int = 0
    holder: int = 0
    """Address of a thread's state."""
    switches: int = 0
    tids: tuple[int, ...] = (100,)
    inner: dict[int, int] = field(default_factory=dict[int, int])
    """Ids that the process has in its own PID namespace, where it has one."""

    def write(self) -> FakePython:
        """Make the files of the process, or bring its memory up to date."""
        folder = self.proc / str(self.pid)
        library = f"/usr/lib/libpython{self.version[0]}.{self.version[1]}.so.1.0"
        for tid in self.tids:
            task = folder / "task" / str(tid)
            task.mkdir(parents=True, exist_ok=True)
            inner = f"\t{self.inner[tid]}" if tid in self.inner else ""
            (task / "status").write_text(f"Name:\tpython\nNSpid:\t{tid}{inner}\n")
        if not (folder / "exe").is_symlink():
            (folder / "exe").symlink_to("/usr/bin/python3")
        (folder / "maps").write_text(
            "00010000-00020000 r-xp 00000000 08:01 10 /usr/bin/python3\n"
            f"{BASE:08x}-{BASE + 0x1000:08x} r--p 00000000 08:01 11 {library}\n"
        )
        self._poke(BASE, image({"_PyRuntime": (RUNTIME - BASE, RUNTIME_BYTES)}))
        self._poke(RUNTIME, bytes(RUNTIME_BYTES))
        self._write_structures()
        return self

    def state_of(self, tid: int) -> int:
        """Address of a thread's state."""
        return STATES + self.tids.index(tid) * _STATE_BYTES

    def hold(self, tid: int) -> None:
        """Let a thread take the lock."""
        self.locked, self.holder = 1, self.state_of(tid)
        self._write_gil()

    def let_go(self, switches: int = 0) -> None:
        """Free the lock, and count that many hand-offs."""
        self.locked, self.switches = 0, self.switches + switches
        self._write_gil()

    @property
    def _shift(self) -> int:
        return 8 if self.free_threaded else 0

    @property
    def _gil(self) -> int:
        fixed = FIXED.get(self.version)
        return RUNTIME + fixed.gil if fixed is not None and fixed.gil is not None else GIL

    def _write_structures(self) -> None:
        fixed = FIXED.get(self.version)
        if fixed is not None:
            self._poke_pointer(RUNTIME + fixed.interpreters_head, INTERPRETER)
            if fixed.ceval_gil is not None:
                self._poke_pointer(INTERPRETER + fixed.ceval_gil, GIL)
            self._write_threads(INTERPRETER + fixed.threads_head, fixed.native_id)
        else:
            self._write_published()
        self._write_gil()

    def _write_published(self) -> None:
        self._poke(RUNTIME, b"xdebugpy" + bytes([0, 0, self.version[1], self.version[0]]))
        table = PUBLISHED.get(self.version, PUBLISHED[3, 15])
        head, following, threads, ceval_gil = 0x300, 0x10, 0x48, 0x20
        gil = GIL - INTERPRETER
        for place, value in (
            (FREE_THREADED_AT, int(self.free_threaded)), (INTERPRETERS_HEAD_AT, head),
            (table.interpreter_next, following), (table.threads_head, threads), (table.ceval_gil, ceval_gil),
            (table.gil, gil), (table.locked, gil + 16 + self._shift), (table.holder, gil + 8 + self._shift),
            (table.thread_next, 8), (table.thread_interpreter, 16), (table.native_id, 160),
        ):  # fmt: skip
            self._poke_pointer(RUNTIME + place, value)
        self._poke_pointer(RUNTIME + head, INTERPRETER)
        self._poke_pointer(INTERPRETER + ceval_gil, GIL)
        self._write_threads(INTERPRETER + threads, 160)

    def _write_threads(self, head: int, native_id: int | None) -> None:
        following = head
        for tid in self.tids:
            state = self.state_of(tid)
            self._poke_pointer(following, state)
            self._poke_pointer(state + 16, INTERPRETER)
            if native_id is not None:
                self._poke_pointer(state + native_id, self.inner.get(tid, tid))
            following = state + 8
        self._poke_pointer(following, 0)

    def _write_gil(self) -> None:
        place = self._gil
        if self.free_threaded:
            self._poke(place, struct.pack("<q", self.enabled))
        self._poke(
            place + self._shift,
            struct.pack("<QQi4xQ", self.interval_us, self.holder, self.locked, self.switches),
        )
        self._poke(place + self._shift + 32, bytes(256))

    def _poke_pointer(self, address: int, value: int) -> None:
        self._poke(address, struct.pack("<Q", value))

    def _poke(self, address: int, data: bytes) -> None:
        descriptor = os.open(self.proc / str(self.pid) / "mem", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(descriptor, data, address)
        finally:
            os.close(descriptor)
