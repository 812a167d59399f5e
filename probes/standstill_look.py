"""A look at everybody at once: what each thread is blocked in, who could end it, and where its Python code stands."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from corelens.probes import blocked_call, file_ends, procfs
from corelens.probes.blocked_call import BlockedCall, Target
from corelens.probes.stacks_parser import Frame
from corelens.probes.syscalls import FUTEX
from corelens.probes.waits_shared import shared_mappings
from corelens.vocabulary import Line, columnar_line

Stacks = Mapping[int, tuple[Frame, ...]]
"""Python frames by thread, outermost first."""

_MAPPED = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) ..x. [0-9a-f]+ \S+ \d+ +(/.*)$", re.MULTILINE)
# The innermost frames say what is waited for, the outermost what runs the task.
_DEEPEST = 64


@dataclass(frozen=True, slots=True)
class _Memory:
    """What is mapped into a process: code by file, and memory that others may have too."""

    maps: bytes

    def module(self, address: int) -> str | None:
        """File whose code lies there."""
        for start, end, path in _MAPPED.findall(self.maps):
            if int(start, 16) <= address < int(end, 16):
                return str(path.decode(errors="replace"))
        return None

    def shared(self, address: int) -> str | None:
        """DEVICE:INODE+OFFSET of shared memory."""
        for one in shared_mappings(self.maps):
            if one.start <= address < one.end:
                return f"{one.object}+{address - one.start + one.offset}"
        return None


def look(
    proc: Path, pids: Sequence[int], names: Mapping[bytes, str], stacks: Stacks, t_ns: int
) -> Iterator[Line]:
    """The lines `standstill.waits` and `standstill.ends`; none where nothing may be read."""
    rows = [row for pid in pids for row in _of_process(proc, pid, names, stacks)]
    if not rows:
        return
    yield columnar_line("standstill.waits", t_ns, rows)
    wanted = [(str(one), str(file)) for row in rows for one, file in row[5] or () if one in ("in", "out")]
    found = file_ends.ends(proc, pids, wanted)
    if found:
        yield columnar_line("standstill.ends", t_ns, found)


_Row = tuple[int, int, str, bool | None, int | None, list[list[str]] | None, str | None, list[Frame] | None]


def _of_process(proc: Path, pid: int, names: Mapping[bytes, str], stacks: Stacks) -> Iterator[_Row]:
    folder = f"{proc}/{pid}"
    try:
        memory = _Memory(procfs.read_mappings(folder))
        tids = sorted(int(name) for name in os.listdir(f"{folder}/task"))  # noqa: PTH208
    except (procfs.Unreadable, OSError):
        return
    for tid in tids:
        try:
            call = blocked_call.read_call(folder, tid, names)
        except procfs.Unreadable:
            continue
        address = call.arguments[0] if call.name == FUTEX and call.arguments else None
        frames = stacks.get(tid, ())[-_DEEPEST:]
        waits_for = _waits_for(folder, call, memory)
        yield (
            pid,
            tid,
            call.name,
            call.timed,
            address,
            None if waits_for is None else [list(one) for one in waits_for],
            memory.module(call.counter) if call.counter else None,
            list(frames) or None,
        )


def _waits_for(folder: str, call: BlockedCall, memory: _Memory) -> tuple[Target, ...] | None:
    if call.name == FUTEX and call.arguments:
        shared = memory.shared(call.arguments[0])
        return None if shared is None else (("memory", shared),)
    return blocked_call.targets(folder, call)
