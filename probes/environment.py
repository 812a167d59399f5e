"""What a process was handed when it was executed: thread-limit variables and the cores it may use."""

from __future__ import annotations

from pathlib import Path

from corelens.probes import procfs
from corelens.vocabulary import LIMIT_VARIABLES

_ALLOWED = frozenset(LIMIT_VARIABLES)
_LONGEST_VALUE = 256


def limit_variables(pid: int, proc: Path = procfs.PROC) -> dict[str, str] | None:
    """Thread-limit variables at exec by name, and never another variable; None when not readable.

    What the program changes later does not show here. A program that writes its title over its environment
    (setproctitle, so Ray workers) shows only what is left.
    """
    try:
        data = procfs.read_bytes(f"{proc}/{pid}/environ")
        if not data:
            # An empty environment, or a zombie that has none any more: only the latter has lost its program.
            procfs.read_executable(proc, pid)
    except procfs.Unreadable:
        return None
    return parse_limit_variables(data)


def parse_limit_variables(environ: bytes) -> dict[str, str]:
    """The allow-listed variables of a raw environment, values cut at 256 characters."""
    pairs = (item.partition("=") for item in environ.decode(errors="replace").split("\0"))
    return {name: value[:_LONGEST_VALUE] for name, equals, value in pairs if equals and name in _ALLOWED}


def affinity(pid: int, proc: Path = procfs.PROC) -> list[int] | None:
    """Cores that the main thread of a process may run on, in order; None when not readable.

    The kernel has already taken the cpuset into account.
    """
    try:
        text = procfs.read_bytes(f"{proc}/{pid}/status")
    except procfs.Unreadable:
        return None
    for line in text.splitlines():
        name, _, value = line.partition(b":")
        if name == b"Cpus_allowed_list":
            return parse_core_list(value)
    return None


def parse_core_list(text: bytes) -> list[int] | None:
    """Cores of a list such as `0-3,8,10-11`; None when it is empty or cannot be understood."""
    cores: list[int] = []
    try:
        for piece in text.strip().split(b","):
            first, dash, last = piece.partition(b"-")
            cores.extend(range(int(first), int(last if dash else first) + 1))
    except ValueError:
        return None
    return cores or None
