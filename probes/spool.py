"""The spool: a private folder in which the recorded program leaves its marks and the agent its findings.

The recorder makes it, names it in the environment of the program it starts, reads the files as they grow and
removes it at the end. What lies in it was written by another program, so nothing in it is trusted.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

from corelens.marks import SPOOL_VARIABLE
from corelens.vocabulary import Line

AGENT_FOLDER = Path(__file__).parent / "agent"
# Raylets write their state into their log every ten seconds, longer than many programs last; see ray_node.py.
RAY_STATE_VARIABLE, RAY_STATE_PERIOD_MS = "RAY_debug_dump_period_milliseconds", "1000"
THREADPOOLCTL_VARIABLE = "CORELENS_THREADPOOLCTL"
_LONGEST_LINE = 1 << 20
_PIECE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line, or a file, that is not what a program recorded by us would have written."""

    file: str
    detail: str


@dataclass(slots=True)
class _Tail:
    """How far a file was read, and the half line at its end."""

    offset: int = 0
    half: bytes = b""
    refused: bool = False


class Spool:
    """A folder of growing files of JSON lines; make one with `create`, remove it with `close`."""

    def __init__(self, folder: Path, *, agent: bool) -> None:
        self.folder = folder
        self.agent = agent
        self._tails: dict[str, _Tail] = {}

    @classmethod
    def create(cls, agent: bool) -> Spool:
        """Make an empty folder that only this user can enter."""
        return cls(Path(tempfile.mkdtemp(prefix="corelens-")), agent=agent)

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` with what the program needs to find the spool and, if wanted, to load the agent."""
        environment = {**base, SPOOL_VARIABLE: str(self.folder)}
        if self.agent:
            former = base.get("PYTHONPATH")
            environment["PYTHONPATH"] = f"{AGENT_FOLDER}{os.pathsep}{former}" if former else str(AGENT_FOLDER)
            if (path := _threadpoolctl_path()) is not None:
                environment[THREADPOOLCTL_VARIABLE] = path
            environment.setdefault(RAY_STATE_VARIABLE, RAY_STATE_PERIOD_MS)
        return environment

    def lines(self, prefix: str) -> Iterator[Line | BrokenLine]:
        """Yield what was added to the files `prefix-*.jsonl` since the last call; a half line waits."""
        for name in sorted(self._names(prefix)):
            tail = self._tails.setdefault(name, _Tail())
            if not tail.refused:
                yield from self._added(name, tail)

    def close(self) -> None:
        """Remove the folder and all in it; programs that still write to it are not disturbed."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _names(self, prefix: str) -> list[str]:
        try:
            names = os.listdir(self.folder)  # noqa: PTH208
        except OSError:
            return []
        return [name for name in names if name.startswith(f"{prefix}-") and name.endswith(".jsonl")]

    def _added(self, name: str, tail: _Tail) -> Iterator[Line | BrokenLine]:
        try:
            descriptor = _opened_if_longer(self.folder / name, tail.offset)
        except (OSError, ValueError) as error:
            tail.refused = True
            yield BrokenLine(name, f"cannot be read: {error}")
            return
        if descriptor is None:
            return
        try:
            while not tail.refused and (piece := os.pread(descriptor, _PIECE_BYTES, tail.offset)):
                tail.offset += len(piece)
                yield from _whole_lines(name, tail, piece)
        finally:
            os.close(descriptor)


def _opened_if_longer(path: Path, offset: int) -> int | None:
    """Open a plain file that holds more than `offset` bytes; raises ValueError for a pipe, link or device."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a plain file")
    if status.st_size <= offset:
        return None
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


def _whole_lines(name: str, tail: _Tail, piece: bytes) -> Iterator[Line | BrokenLine]:
    *whole, tail.half = (tail.half + piece).split(b"\n")
    for text in whole:
        if text:
            yield _parsed(name, text)
    if len(tail.half) > _LONGEST_LINE:
        tail.refused = True
        tail.half = b""
        yield BrokenLine(name, f"a line longer than {_LONGEST_LINE} bytes")


def _parsed(name: str, text: bytes) -> Line | BrokenLine:
    try:
        value: Any = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return BrokenLine(name, f"not a JSON line: {text[:60]!r} ({type(error).__name__})")
    if not isinstance(value, dict):
        return BrokenLine(name, f"not a JSON object: {text[:60]!r}")
    return cast(Line, value)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _threadpoolctl_path() -> str | None:
    """Where our own threadpoolctl lies, found without importing it: importing it sets a variable."""
    spec = importlib.util.find_spec("threadpoolctl")
    return spec.origin if spec is not None else None
