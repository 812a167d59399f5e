"""Thread ids as a process in a PID namespace of its own knows them, joined to those that we see."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from corelens.probes import procfs

_LABEL = b"\nNSpid:"


def inner_tid(proc: Path, pid: int, tid: int) -> int | None:
    """Id of a thread as its own namespace has it; None where it is gone, or the kernel does not tell."""
    ids = _ids(proc, pid, tid)
    return ids[-1] if ids else None


def outer_tids(proc: Path, pid: int, tids: Iterable[int]) -> dict[int, int] | None:
    """Our id of each thread by its own; None where the process lives in our namespace, or nobody can tell."""
    if len(_ids(proc, pid, pid)) < 2:
        return None
    inner = ((inner_tid(proc, pid, tid), tid) for tid in tids)
    return {within: tid for within, tid in inner if within is not None}


def _ids(proc: Path, pid: int, tid: int) -> list[int]:
    """Ids of a thread from our namespace inwards; empty where they cannot be read."""
    try:
        data = procfs.read_bytes(f"{proc}/{pid}/task/{tid}/status")
    except procfs.Unreadable:
        return []
    start = data.find(_LABEL)
    if start < 0:
        return []
    words = data[start + len(_LABEL) :].partition(b"\n")[0].split()
    return [int(word) for word in words if word.isdigit()]
