"""What py-spy prints, as values; whatever is not whole is told apart, because a look without a stop can be torn.

A torn stack is one whose frames changed while they were read. py-spy gives up on most of them itself. Those
that slip through have lost their outer end: their outermost frame is not the one that the thread began with.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

Frame = tuple[str, str, int | None]
"""Function, file, and line where it is known."""

# Where threads begin that were made by the threading module, scripts and `python -m`.
_NAMED_ROOTS = frozenset({"<module>", "_run_module_as_main", "_bootstrap", "Thread._bootstrap"})
# So many samples in a row with the same other beginning are no accident: the thread runs another program now,
# or was made in C.
_SURE = 3

_RAW_FRAME = re.compile(r"(?P<function>.*?) \((?P<file>.*?)(?::(?P<line>\d+))?\)", re.S)
_RAW_THREAD = re.compile(r"thread \((?P<id>\d+|0x[0-9A-Fa-f]+)\)(?:: (?P<name>.*))?", re.S)


@dataclass(frozen=True, slots=True)
class Seen:
    """One stack of one thread, outermost frame first, and how many samples showed it."""

    tid: int | None
    """None: this version of Python does not tell."""
    pthread: int | None
    """Address of the thread's descriptor in its process; None where only the tid was given."""
    name: str | None
    frames: tuple[Frame, ...]
    samples: int
    active: bool | None
    """Not idle as py-spy sees it; None where it was not asked, or cannot tell."""
    gil: bool | None
    """Held the interpreter lock; None where py-spy was not asked."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """The stacks of one run, and how many samples made no sense."""

    seen: list[Seen]
    broken: int


def parse_dump(data: bytes) -> Parsed:
    """Parse `py-spy dump --json`; raises ValueError where it is no list of threads."""
    threads: Any = json.loads(data)
    if not isinstance(threads, list):
        raise ValueError("not a list of threads")
    found = list(map(_dumped, cast(Iterable[Any], threads)))
    seen = [one for one in found if one is not None]
    return Parsed(seen, len(found) - len(seen))


def _dumped(thread: Any) -> Seen | None:
    try:
        tid, pthread, name = thread["os_thread_id"], thread["thread_id"], thread["thread_name"]
        frames = tuple(_dumped_frame(frame) for frame in reversed(thread["frames"]))
        active, gil = thread["active"], thread["owns_gil"]
    except (KeyError, TypeError, ValueError):
        return None
    whole = (
        isinstance(tid, int | None)
        and isinstance(pthread, int)
        and isinstance(name, str | None)
        and isinstance(active, bool)
        and isinstance(gil, bool)
    )
    # Without the kernel's id py-spy cannot look whether the thread sleeps, and calls it active.
    known = active if tid is not None else None
    return Seen(tid, pthread, name, frames, 1, known, gil) if whole else None


def _dumped_frame(frame: Any) -> Frame:
    function, file, line = frame["name"], frame["filename"], frame["line"]
    if not (isinstance(function, str) and function and isinstance(file, str) and isinstance(line, int)):
        raise ValueError("not a frame")
    return function, file, line if line > 0 else None


def parse_samples(data: bytes, *, gil: bool) -> Parsed:
    """Parse `py-spy record --format raw --threads`: one line per stack, with its number of samples."""
    seen: list[Seen] = []
    broken = 0
    for text in data.decode(errors="replace").splitlines():
        stack, _, count = text.rpartition(" ")
        samples = int(count) if count.isdecimal() else 0
        one = _sampled(stack, samples, gil=gil)
        if one is None:
            broken += max(samples, 1)
        else:
            seen.append(one)
    return Parsed(seen, broken)


def _sampled(stack: str, samples: int, *, gil: bool) -> Seen | None:
    head, *rest = _pieces(stack)
    thread = _RAW_THREAD.fullmatch(head)
    frames = [_RAW_FRAME.fullmatch(piece) for piece in rest]
    if thread is None or None in frames or not samples:
        return None
    number = int(thread["id"], 0)
    is_address = thread["id"].startswith("0x")
    return Seen(
        tid=None if is_address else number,
        pthread=number if is_address else None,
        name=thread["name"],
        frames=tuple(_raw_frame(frame) for frame in frames if frame is not None),
        samples=samples,
        active=None if gil or is_address else True,
        gil=True if gil else None,
    )


def _raw_frame(match: re.Match[str]) -> Frame:
    return match["function"], match["file"], int(match["line"]) if match["line"] else None


def _pieces(stack: str) -> list[str]:
    """Split at the semicolons between frames, and not at those in the name of a thread or a file."""
    pieces: list[str] = []
    for part in stack.split(";"):
        if len(pieces) > 1 and not pieces[-1].endswith(")"):
            pieces[-1] += f";{part}"
        elif len(pieces) == 1 and " (" not in part:
            pieces[0] += f";{part}"
        else:
            pieces.append(part)
    return pieces


class Roots:
    """Where each thread of one process begins: the outermost frame of its whole stacks, the line aside."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, str]] = {}
        self._doubted: dict[int, tuple[tuple[str, str], int]] = {}

    def whole(self, stacks: Iterable[tuple[int, Seen]]) -> set[int]:
        """Positions of the stacks of one run that begin where their thread does; empty stacks are not whole."""
        placed = [(place, tid, one) for place, (tid, one) in enumerate(stacks) if one.frames]
        tallies: dict[int, Counter[tuple[str, str]]] = {}
        for _, tid, one in placed:
            tallies.setdefault(tid, Counter())[one.frames[0][:2]] += one.samples
        settled = {tid: self._settle(tid, tally) for tid, tally in tallies.items()}
        return {place for place, tid, one in placed if one.frames[0][:2] == settled[tid]}

    def forget(self, living: set[int]) -> None:
        """Drop the threads that are not there any more: their ids come to mean others."""
        for table in (self._known, self._doubted):
            for tid in table.keys() - living:
                del table[tid]

    def _settle(self, tid: int, tally: Counter[tuple[str, str]]) -> tuple[str, str] | None:
        known = self._known.get(tid)
        if known in tally:
            self._doubted.pop(tid, None)
            return known
        root = max(tally, key=lambda each: (each[0] in _NAMED_ROOTS, tally[each]))
        before, times = self._doubted.get(tid, (root, 0))
        times = tally[root] + (times if before == root else 0)
        self._doubted[tid] = root, times
        if (known is None and root[0] in _NAMED_ROOTS) or times >= _SURE:
            self._known[tid] = root
            self._doubted.pop(tid, None)
            return root
        return None
