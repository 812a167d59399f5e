"""The recording: an append-only file of small gzip members, each holding whole JSON lines.

`zcat FILE | jq` reads it anywhere. A writer killed at any moment leaves every finished member readable, and
the torn one up to its last whole line; damaged bytes cost the member they lie in and nothing else.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from corelens.errors import OutputExists, OutputFailed, UnreadableRecording
from corelens.vocabulary import FORMAT_VERSION, Line

# Level 6 costs 3.4 times the CPU of level 1 and saves 4 % of the size (benchmarks/recording.py --minutes 5).
_LEVEL = 1
_GZIP = 16 + zlib.MAX_WBITS
# zlib writes this header whenever no name and no time are given, which makes members easy to find again.
_MAGIC = b"\x1f\x8b\x08\x00\x00\x00\x00\x00"
_READ_BYTES = 1 << 16


class RecordingWriter:
    """Appends lines to a new file, one gzip member per `flush`.

    The file is created with mode 0600, because command lines are in it. An existing file is refused unless
    `force`. A flush that fails (disk full) takes its half-written member back, so that the file stays whole.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self.path = path
        self._pending: list[str] = []
        self._number = 0
        self._size = 0
        exclusive = os.O_TRUNC if force else os.O_EXCL
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | exclusive, 0o600)
        except FileExistsError as error:
            raise OutputExists(path) from error
        except OSError as error:
            raise _cannot_write(path, error) from error

    def add(self, line: Line) -> None:
        """Keep a line for the next flush."""
        self._pending.append(json.dumps(line, separators=(",", ":"), ensure_ascii=True))

    def flush(self, t_ns: int) -> None:
        """Write what was added as one member; `t_ns` is the moment of the flush."""
        if not self._pending:
            return
        if self._number:
            chunk = {"kind": "chunk", "t_ns": t_ns, "number": self._number}
            self._pending.insert(0, json.dumps(chunk, separators=(",", ":")))
        text = "\n".join(self._pending) + "\n"
        self._pending.clear()
        self._number += 1
        self._append(_compressed(text.encode()))

    def close(self, t_ns: int) -> None:
        """Flush and close; also after a failed flush."""
        try:
            self.flush(t_ns)
        finally:
            os.close(self._descriptor)

    def _append(self, member: bytes) -> None:
        rest = memoryview(member)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            os.ftruncate(self._descriptor, self._size)
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
            raise _cannot_write(self.path, error) from error
        self._size += len(member)


def _compressed(data: bytes) -> bytes:
    codec = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return codec.compress(data) + codec.flush()


def _cannot_write(path: Path, error: OSError) -> OutputFailed:
    return OutputFailed(f"cannot write {path}: {error.strerror}", "choose another place with -o FILE")


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of the file that could not be read."""

    offset: int
    length: int
    reason: str


@dataclass(frozen=True, slots=True)
class Recording:
    """A whole recording in memory: the header, the other lines by kind, and what was lost.

    `footer` is None when the recorder did not end properly. `missing_chunks` counts members known to be lost
    by their number.
    """

    path: Path
    header: Line
    by_kind: dict[str, list[Line]]
    footer: Line | None
    damage: tuple[Damage, ...] = ()
    missing_chunks: int = 0

    def lines(self, kind: str) -> list[Line]:
        """All lines of one kind in the order written; empty when there are none."""
        return self.by_kind.get(kind, [])

    @property
    def last_ns(self) -> int:
        """Time of the last line: the end, or the moment at which the recording was cut."""
        times = (lines[-1]["t_ns"] for kind, lines in self.by_kind.items() if kind != "header")
        return max(times, default=0)


def read(path: Path) -> Recording:
    """Read a recording, whole or cut or damaged.

    Raises UnreadableRecording when there is no such file, no header can be found, or the format is newer than
    this reader.
    """
    damage: list[Damage] = []
    by_kind: dict[str, list[Line]] = {}
    for line in read_lines(path, damage):
        by_kind.setdefault(line["kind"], []).append(line)
    header = by_kind.get("header", [None])[0]
    if header is None:
        raise _not_a_recording(path)
    footers = by_kind.get("footer", [])
    return Recording(
        path=path,
        header=header,
        by_kind=by_kind,
        footer=footers[-1] if footers else None,
        damage=tuple(damage),
        missing_chunks=_missing(by_kind.get("chunk", [])),
    )


def read_lines(path: Path, damage: list[Damage] | None = None) -> Iterator[Line]:
    """Yield the lines of a file one by one in constant memory, appending to `damage` what was skipped."""
    first = True
    for data in _members(path, damage if damage is not None else []):
        for line in _parsed(data):
            if first:
                _check_version(path, line)
                first = False
            yield line


def _check_version(path: Path, line: Line) -> None:
    version = line.get("format") if line.get("kind") == "header" else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise UnreadableRecording(
            f"{path} is a recording of format {version}, this corelens reads up to {FORMAT_VERSION}",
            "upgrade it with: pip install --upgrade corelens",
        )


def _missing(chunks: Iterable[Line]) -> int:
    numbers = [int(chunk["number"]) for chunk in chunks]
    return max(numbers) - len(numbers) if numbers else 0


def _parsed(data: bytes) -> Iterator[Line]:
    # A torn member ends in half a line, a foreign gzip file holds anything.
    for text in data.split(b"\n"):
        try:
            value: Any = json.loads(text) if text else None
        except ValueError:
            continue
        if isinstance(value, dict) and isinstance(cast(Line, value).get("kind"), str):
            yield cast(Line, value)


@dataclass(slots=True)
class _Cursor:
    """Bytes of a file from `offset` on, read as they are needed."""

    descriptor: int
    offset: int = 0
    buffer: bytes = b""
    ended: bool = field(default=False)

    def fill(self, least: int) -> None:
        while len(self.buffer) < least and not self.ended:
            more = os.pread(self.descriptor, _READ_BYTES, self.offset + len(self.buffer))
            self.buffer += more
            self.ended = not more

    def skip(self, count: int) -> None:
        self.buffer = self.buffer[count:]
        self.offset += count


def _members(path: Path, damage: list[Damage]) -> Iterator[bytes]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UnreadableRecording(f"cannot read {path}: {error.strerror}", "name a recording") from error
    try:
        cursor = _Cursor(descriptor)
        cursor.fill(len(_MAGIC))
        if not cursor.buffer.startswith(_MAGIC[:3]):
            raise _not_a_recording(path)
        while cursor.buffer:
            yield _next_member(cursor, damage)
            cursor.fill(len(_MAGIC))
    except IsADirectoryError as error:
        raise UnreadableRecording(f"{path} is a folder", "name a recording in it") from error
    finally:
        os.close(descriptor)


def _next_member(cursor: _Cursor, damage: list[Damage]) -> bytes:
    """Text of the member at the cursor; moves past it, or past the damage in its place."""
    codec = zlib.decompressobj(_GZIP)
    parts: list[bytes] = []
    used = 0
    try:
        while not codec.eof:
            cursor.fill(used + 1)
            piece = cursor.buffer[used:]
            if not piece:
                damage.append(Damage(cursor.offset, used, "cut: the file ends inside a member"))
                cursor.skip(used)
                return b"".join(parts)
            parts.append(codec.decompress(piece))
            used += len(piece) - len(codec.unused_data)
        cursor.skip(used)
    except zlib.error as error:
        _resynchronise(cursor, damage, str(error))
        return b""
    return b"".join(parts)


def _resynchronise(cursor: _Cursor, damage: list[Damage], reason: str) -> None:
    start, search = cursor.offset, 1
    while True:
        cursor.fill(search + len(_MAGIC))
        found = cursor.buffer.find(_MAGIC, search)
        if found >= 0 or cursor.ended:
            break
        search = max(1, len(cursor.buffer) - len(_MAGIC) + 1)
    cursor.skip(found if found >= 0 else len(cursor.buffer))
    damage.append(Damage(start, cursor.offset - start, reason))


def _not_a_recording(path: Path) -> UnreadableRecording:
    return UnreadableRecording(
        f"{path} is not a corelens recording", "make one with: corelens record -o FILE -- CMD"
    )
