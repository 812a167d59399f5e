"""Thread ids as a process in a PID namespace of its own knows them, joined to those that we see."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from corelens.probes import procfs

_LABEL = b"\nNSpid:"


def inner_tids(pid: int, tids: Iterable[int], proc: Path = procfs.PROC) -> dict[int, int] | None:
    """Our id of each thread by its own; None where the process lives in our namespace, or nobody can tell."""
    if len(_ids(f"{proc}/{pid}/status")) < 2:
        return None
    ids = {tid: _ids(f"{proc}/{pid}/task/{tid}/status") for tid in tids}
    return {numbers[-1]: tid for tid, numbers in ids.items() if numbers}


def _ids(path: str) -> list[int]:
    """Ids from our namespace inwards; empty where they cannot be read."""
    try:
        data = procfs.read_bytes(path)
    except procfs.Unreadable:
        return []
    start = data.find(_LABEL)
    if start < 0:
        return []
    words = data[start + len(_LABEL) :].partition(b"\n")[0].split()
    return [int(word) for word in words if word.isdigit()]
